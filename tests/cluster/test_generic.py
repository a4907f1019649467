"""profiles/cluster-generic on the same Slurm, which here is just a scheduler with some submit command."""

import copy
import json
import os
import signal
import subprocess

import pytest

from tests.cluster.project import running_job, wait_until
from tests.workflow.project import CONFIG, FCN

pytestmark = pytest.mark.cluster

TARGET = f"results/cells/{FCN}/val-ss/metrics.json"
RUN = ("--workflow-profile", "profiles/cluster-generic", "--seconds-between-status-checks", "1", "--", TARGET)


def test_a_run_that_was_killed_goes_on(project):
    """Snakemake dies, its job does not; then what docs/troubleshooting.md says is done."""
    config = copy.deepcopy(CONFIG) | {"checkpoint_interval_s": 0.5}
    config["recipes"]["slow"]["iterations"] = 200
    project.configure(config)
    earlier = set(project.finished_jobs())
    run = project.start(*RUN, log="killed.log")
    wait_until(lambda: project.has_checkpoint(FCN), what="checkpoint", process=run)
    os.kill(
        project.step_process("train", FCN), signal.SIGSTOP
    )  # so that it is not done before it is cancelled
    run.kill()
    run.wait()

    refused = project.snakemake(*RUN, check=False)
    assert refused.returncode != 0
    assert "Directory cannot be locked" in refused.output
    subprocess.run(["scancel", running_job("snakejob.train")], check=True)
    wait_until(lambda: project.step_process("train", FCN) is None, what="end of the training")
    project.snakemake("--unlock")
    project.snakemake(*RUN)

    assert json.loads((project.folder / TARGET).read_text())["num_images"]
    record = json.loads((project.folder / "results/cells" / FCN / "train/provenance.json").read_text())
    assert record["resumed"] == 1
    jobs = [job for id, job in sorted(project.finished_jobs().items()) if id not in earlier]
    assert [(job["Partition"], job["JobState"]) for job in jobs] == [
        ("cpu", "COMPLETED"),  # prepare
        ("gpu", "CANCELLED"),
        ("gpu", "COMPLETED"),  # train
        ("gpu", "COMPLETED"),  # predict
        ("cpu", "COMPLETED"),  # score
    ]
