"""profiles/cluster-generic on the same Slurm, which here is just a scheduler with some submit command."""

import copy
import json
import os
import signal

import pytest

from tests.cluster.project import training_process, wait_until
from tests.workflow.project import CONFIG, FCN

pytestmark = pytest.mark.cluster

TARGET = f"results/cells/{FCN}/val-ss/metrics.json"
RUN = ("--workflow-profile", "profiles/cluster-generic", "--seconds-between-status-checks", "1", "--", TARGET)


def test_a_run_that_was_killed_finds_its_jobs_again(project):
    """Snakemake dies, its jobs do not: the next run waits for the training that is under way and goes on."""
    config = copy.deepcopy(CONFIG)
    config["recipes"]["slow"]["iterations"] = 50
    project.configure(config)
    earlier = set(project.finished_jobs())
    run = project.start(*RUN, log="killed.log")
    training = wait_until(lambda: training_process(FCN), what="training", process=run)
    os.kill(training, signal.SIGSTOP)  # not to be done before the next run looks for it
    run.kill()
    run.wait()

    refused = project.snakemake(*RUN, check=False)
    assert refused.returncode != 0
    assert "Directory cannot be locked" in refused.output
    project.snakemake("--unlock")
    run = project.start(*RUN, log="next.log")
    log = project.folder / "next.log"
    wait_until(lambda: "Resuming incomplete job" in log.read_text(), what="found job", process=run)
    os.kill(training, signal.SIGCONT)

    assert run.wait(timeout=600) == 0
    assert json.loads((project.folder / TARGET).read_text())["num_images"]
    partitions = [job["Partition"] for id, job in project.finished_jobs().items() if id not in earlier]
    assert partitions == ["cpu", "gpu", "gpu", "cpu"]  # prepare, train, predict, score: none a second time
