import shutil

import pytest

from tests.workflow.project import CONFIG, SECRET, Project, copy_code


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Three tiny cells, really trained and reported. Tests that change anything use `project`."""
    folder = tmp_path_factory.mktemp("finished")
    copy_code(folder)
    project = Project(folder)
    project.configure(CONFIG)
    project.first_output = project.snakemake(CITYSCAPES_PASSWORD=SECRET).output
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished run, time stamps and Snakemake's records included."""
    shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")
