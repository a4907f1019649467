"""profiles/cluster-generic on the same Slurm, which here is just a scheduler with some submit command."""

import json

import pytest

from tests.cluster.project import wait_until
from tests.workflow.project import CONFIG, FCN

pytestmark = pytest.mark.cluster

PROFILE = ("--workflow-profile", "profiles/cluster-generic", "--seconds-between-status-checks", "1")
TARGET = f"results/cells/{FCN}/val-ss/metrics.json"


def test_a_run_that_was_killed_finds_its_jobs_again(project):
    """Snakemake dies, its jobs do not: the next run waits for the job that is under way and goes on."""
    project.configure(CONFIG)
    before = set(project.finished_jobs())
    run = project.start(*PROFILE, TARGET, log="killed.log")
    log = project.folder / "killed.log"
    wait_until(lambda: log.read_text().count("Submitted job") == 2, what="training", process=run)
    run.kill()
    run.wait()

    refused = project.snakemake(*PROFILE, TARGET, check=False)
    assert refused.returncode != 0
    assert "--unlock" in refused.output
    project.snakemake("--unlock")
    result = project.snakemake(*PROFILE, TARGET)

    assert "Resuming incomplete job" in result.output
    assert json.loads((project.folder / TARGET).read_text())["images"]
    jobs = [record for id, record in project.finished_jobs().items() if id not in before]
    assert [job["Partition"] for job in jobs].count("gpu") == 2  # train and predict
    assert len(jobs) == 4  # none of prepare, train, predict, score ran twice
