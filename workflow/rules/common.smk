"""What the rules share: the run that the configuration describes, and what only Snakemake knows of it."""

import functools
import os
from pathlib import Path

from seglib.claims import reading
from seglib.experiment import records, rules
from seglib.experiment.rules import grow

RUN = rules.Run(config, Path(workflow.basedir, "config", "ablations"))
ALL_CORES = 1024
"""Threads of a job that takes what there is: Snakemake lowers it to `--cores`. A cluster is asked for
`cpus_per_task` instead."""


pathvars:
    data=RUN.config.data,
    results=RUN.config.results,
    reports=RUN.config.reports,
    logs=RUN.config.logs,


wildcard_constraints:
    dataset=r"[a-z0-9_]+",
    cell=rules.CELL,
    test=rules.TEST,
    ablation=r"[a-z0-9_.]+",
    model=rules.MODEL,


def find_manifest(wildcards):
    """The prepared data of a cell. Its time stamp means nothing: `digest_data` says whether it changed."""
    return ancient(checkpoints.prepare.get(dataset=RUN.cells[wildcards.cell].dataset).output.manifest)


def digest_data(wildcards):
    """Digest of the pixels that a cell is trained and tested on."""
    return read_data_digest(
        checkpoints.prepare.get(dataset=RUN.cells[wildcards.cell].dataset).output.manifest
    )


@functools.cache
def read_data_digest(manifest):
    return records.read(records.Manifest, Path(manifest)).data_digest


def list_claims(wildcards):
    """The files of reported numbers that a configuration adds."""
    return reading.files(RUN.find_plan(wildcards).config.claims)


def list_wanted_reports():
    """Configuration and folder of every page that this run was asked for."""
    return RUN.list_reports({os.path.normpath(target) for target in workflow.dag_settings.targets or ["all"]})
