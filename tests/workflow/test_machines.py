"""What a run does with the machine: devices, crashes, and what it must not write down."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.workflow.project import FCN, SECRET

DEVICES = {"CUDA_VISIBLE_DEVICES": "0,1"}


def asked_gpus(output):
    """Rule -> devices of its jobs in a dry run."""
    blocks = re.findall(r"^rule (\w+):\n((?:    .*\n)*)", output, re.MULTILINE)
    return {rule: re.findall(r"\bgpu=(\d+)", block) for rule, block in blocks}


def test_a_job_has_a_device_to_itself_where_there_are_some(project):
    output = project.snakemake("-n", "--forceall", **DEVICES).output
    asked = asked_gpus(output)
    assert asked["train"] == asked["predict"] == ["1"]
    assert asked["score"] == asked["complexity"] == []
    assert "python -m seglib.core.gpus 1 python -m seglib train " in output


def test_without_devices_the_command_is_plain(project):
    output = project.snakemake("-n", "--forceall", CUDA_VISIBLE_DEVICES="").output
    assert "seglib.core.gpus" not in output
    assert asked_gpus(output)["train"] == ["0"]


@pytest.mark.parametrize(("present", "processes"), [("0,1,2,3", 4), ("0,1", 2)])
def test_a_training_over_several_devices_is_one_torchrun_on_those_there_are(project, present, processes):
    project.configure_block(0, gpus=4)
    output = project.snakemake("-n", "--forcerun", "train", CUDA_VISIBLE_DEVICES=present).output
    torchrun = f"-m torch.distributed.run --standalone --nproc-per-node {processes}"
    torchrun += " --signals-to-handle SIGTERM,SIGINT,SIGUSR1"
    assert f"python -m seglib.core.gpus {processes} python {torchrun} -m seglib train --cell" in output


def test_the_number_of_devices_reruns_nothing(project):
    project.configure_block(0, gpus=4)
    assert project.planned(CUDA_VISIBLE_DEVICES="0,1,2,3") <= {("compare", ""), ("report", "")}


def test_speed_has_the_machine_to_itself(project):
    output = project.snakemake("-n", "--forcerun", "speed", **DEVICES).output
    [block] = set(re.findall(r"^rule speed:\n(?:    .*\n)*?    (threads: \d+)\n", output, re.MULTILINE))
    assert block == "threads: 2"  # of `--cores 2`


def test_a_run_that_was_killed_leaves_a_lock_and_half_a_result(project):
    """As on a dead node: neither is trusted, and both are told apart from what is whole."""
    metrics = project.folder / "results/cells" / FCN / "val-ss/metrics.json"
    log = project.folder / "logs/cells" / FCN / "val-ss/score.log"
    before = log.stat().st_mtime_ns
    target = metrics.relative_to(project.folder)
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "2", target, "--force"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while run.poll() is None and (not log.exists() or log.stat().st_mtime_ns == before):
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    metrics.write_text("{")

    refused = project.snakemake(check=False)
    assert refused.returncode != 0
    assert "Directory cannot be locked" in refused.output
    assert "--unlock" in refused.output
    project.snakemake("--unlock")
    assert ("score", FCN) in project.planned()


def test_no_secret_of_the_environment_is_written_down(finished):
    assert SECRET not in finished.first_output
    files = [path for path in finished.folder.rglob("*") if path.is_file()]
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
