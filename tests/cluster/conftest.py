"""A real Slurm for the tests of this folder: `make test-cluster`."""

import os
import shutil
import subprocess

import pytest

from tests.cluster.project import SCRIPT, ClusterProject
from tests.workflow.project import copy_code


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The folder of a running Slurm with the partitions `cpu` and `gpu` (two devices)."""
    missing = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("starting Slurm and munge takes root")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run(["bash", SCRIPT, "start", folder], check=True)
    yield folder
    subprocess.run(["bash", SCRIPT, "stop", folder], check=True)


@pytest.fixture(scope="module")
def project(slurm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    copy_code(folder)
    project = ClusterProject(folder, slurm)
    yield project
    project.end()
