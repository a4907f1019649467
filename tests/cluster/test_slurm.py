"""profiles/slurm on a real Slurm: interrupted and failing jobs, in one run that several tests look at.

Three trainings: one is told to stop by `scancel`, one meets its time limit, one fails.
"""

import contextlib
import copy
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from tests.cluster.project import SCRIPT, running_job, wait_until, was_sent
from tests.workflow.project import CONFIG, SECRET

pytestmark = pytest.mark.cluster

CANCELLED, LIMITED, BROKEN = (
    f"scenes/fcn/small/{name}" for name in ("slow/seed0", "slow/seed1", "fast/seed0")
)
# The profile as it is, but for waits and limits that suit trainings of seconds.
PROFILE = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1")
PROFILE += ("--max-status-checks-per-second", "2")
LIMITS = (
    "--set-resources",
    "train:slurm_partition=gpu",
    "train:tasks_per_gpu=0",
    "train:slurm_extra='--signal=TERM@20'",
    "train:runtime=attempt if 'seed1' in wildcards.cell else 10 * attempt",
    "predict:slurm_partition=gpu",
    "--retries",
    "2",
)


@pytest.fixture(scope="module")
def run(project):
    """The whole story: a run with a failing cell, then one without it that ends in the report."""
    config = copy.deepcopy(CONFIG) | {"checkpoint_interval_s": 0.5}
    config["recipes"]["slow"]["iterations"] = 200
    config["recipes"]["fast"] |= {"lr": 1.0e30, "iterations": 6}
    [block] = [block for block in config["matrix"] if block["methods"] == ["fcn"]]
    slow, fast = block | {"recipes": ["slow"], "seeds": [0, 1]}, block | {"recipes": ["fast"]}
    config["matrix"] = [slow, fast]
    project.configure(config)

    first = project.start(*PROFILE, *LIMITS, log="first.log")
    wait_until(lambda: running_job("train"), what="training", process=first)
    with ThreadPoolExecutor() as pool:  # either may be the first to be under way
        told = [
            pool.submit(stop_until_told, project, first, CANCELLED, cancel),
            pool.submit(stop_until_told, project, first, LIMITED),
        ]
        second = project.snakemake_at_once()
        for step in told:
            step.result()
    failed_code = first.wait(timeout=900)

    config["matrix"] = [slow]
    project.configure(config)
    last = project.start(*PROFILE, log="last.log")
    wait_until(lambda: project.step_process("report"), what="report", process=last)
    restart_controller(project.slurm)
    return SimpleNamespace(
        failed_code=failed_code,
        second=second,
        code=last.wait(timeout=900),
        submitted=project.submitted("first.log") | project.submitted("last.log"),
        jobs=project.finished_jobs(),
    )


def stop_until_told(project, process, cell, tell=lambda cell: None):
    """Hold a training in the middle until SIGTERM has reached it; so it is never too fast for that.

    Slurm sends it when `tell` asks for it or the time is nearly up. On a slow machine the first attempt may
    be over before it has begun; then it is the next one.
    """
    training = wait_until(
        lambda: project.has_checkpoint(cell) and project.step_process("train", cell),
        what=f"training of {cell} with a checkpoint",
        process=process,
    )
    os.kill(training, signal.SIGSTOP)
    tell(cell)
    wait_until(lambda: was_sent(training, signal.SIGTERM), what=f"SIGTERM for {cell}", process=process)
    with contextlib.suppress(ProcessLookupError):
        os.kill(training, signal.SIGCONT)


def cancel(cell):
    job = wait_until(lambda: running_job(cell.replace("/", "_")), what=f"job of {cell}")
    subprocess.run(["scancel", "--signal=TERM", job], check=True)


def restart_controller(slurm):
    """Away for longer than Snakemake's interval between two questions."""
    subprocess.run(["bash", SCRIPT, "stop-controller", slurm], check=True)
    assert subprocess.run(["squeue"], capture_output=True, timeout=60).returncode != 0
    subprocess.run(["bash", SCRIPT, "start-controller", slurm], check=True)


def jobs_of(run, name):
    """Slurm's records of the jobs whose name starts like this, in order of submission."""
    return [run.jobs[id] for id, job in sorted(run.submitted.items()) if job.startswith(name)]


def test_the_matrix_runs_to_a_report_and_survives_an_absent_controller(run, project):
    assert run.code == 0, (project.folder / "last.log").read_text()
    assert "seed1" in (project.folder / "reports" / "index.html").read_text()


def test_a_failing_cell_stops_no_other_and_is_reported(run, project):
    assert run.failed_code != 0
    for cell in (CANCELLED, LIMITED):
        assert (project.folder / "results/cells" / cell / "val-ss/metrics.json").exists()
    # Later attempts of a failure that would repeat end at once, with its reason.
    log = (project.folder / "logs/cells" / BROKEN / "train.log").read_text()
    assert "not finite" in log
    assert "so ended the attempt of" in log


@pytest.mark.parametrize("cell", [CANCELLED, LIMITED], ids=["scancel", "time limit"])
def test_an_interrupted_training_ends_with_the_same_weights(run, project, cell, tmp_path):
    train = project.folder / "results/cells" / cell / "train"
    assert json.loads((train / "provenance.json").read_text())["resumed"] >= 1
    undisturbed = [sys.executable, "-m", "seglib", "train", "--cell", train / "cell.json"]
    undisturbed += ["--data", "data/scenes", "--out", tmp_path, "--checkpoints", tmp_path / "checkpoints"]
    subprocess.run([*undisturbed, "--device", "cpu"], cwd=project.folder, check=True)
    assert (train / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_every_attempt_may_take_longer_and_more(run):
    attempts = jobs_of(run, "rule_train/" + LIMITED.replace("/", "_"))
    assert len(attempts) > 1
    assert [job["TimeLimit"] for job in attempts] == [f"00:0{i}:00" for i, _ in enumerate(attempts, 1)]
    assert len({re.search(r"mem=(\w+)", job["TRES"])[1] for job in attempts}) == len(attempts)


def test_only_steps_that_use_a_gpu_run_on_gpu_nodes(run):
    used = {
        (name.split("/")[0], run.jobs[id]["NodeList"], run.jobs[id].get("TresPerJob") == "gres:gpu:1")
        for id, name in run.submitted.items()
    }
    assert used == {
        ("rule_prepare", "node-cpu", False),
        ("group_models_complexity", "node-cpu", False),
        ("rule_train", "node-gpu", True),
        ("rule_predict", "node-gpu", True),
        ("rule_speed", "node-gpu", True),
        ("rule_score", "node-cpu", False),
        ("group_report_compare_report", "node-cpu", False),
    }


def test_two_gpu_jobs_run_at_once(run):
    intervals = sorted((job["StartTime"], job["EndTime"]) for job in jobs_of(run, "rule_train"))
    assert any(later[0] < earlier[1] for earlier, later in itertools.pairwise(intervals))


def test_a_second_run_in_the_folder_is_refused(run):
    assert run.second.returncode != 0
    assert "Directory cannot be locked" in run.second.output


def test_no_secret_is_written_down(run, project):
    """Slurm itself keeps a job's environment, readable for root only, until the job is over."""
    files = [path for folder in (project.folder, project.slurm) for path in folder.rglob("*")]
    read = [path for path in files if path.is_file() and path.name != "environment"]
    assert any(path.name == "script" for path in read), "Slurm's job scripts are not where they were"
    assert [path for path in read if SECRET.encode() in path.read_bytes()] == []


def test_a_partition_that_does_not_exist(project, run):
    wrong = ("--retries", "0", "--default-resources", "slurm_partition=nowhere")
    result = project.snakemake(*PROFILE, *wrong, "--force", "--", "data/scenes/manifest.json", check=False)
    assert result.returncode != 0
    assert "invalid partition specified: nowhere" in result.output
