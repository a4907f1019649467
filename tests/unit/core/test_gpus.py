"""Devices for commands, with ids in place of real GPUs."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
from snakemake.profiles import ProfileConfigFileParser

from seglib.core import gpus

ROOT = Path(__file__).parents[3]
# Ends when so many have begun, and so only if that many may run at once; then says when it ran, and where.
RECORD = """
import os, sys, time
out, together = sys.argv[1], int(sys.argv[2])
began = time.monotonic()
os.makedirs(out + ".begun", exist_ok=True)
open(f"{out}.begun/{os.getpid()}", "w").close()
while len(os.listdir(out + ".begun")) < together:
    time.sleep(0.05)
with open(out, "a") as file:
    file.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {began} {time.monotonic()}\\n")
"""
# Of two GPUs, the second of which is divided.
LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-c6d4f1ef-42e4-7de3-91c7-45d71c87eb3f)
  MIG 3g.20gb     Device  0: (UUID: MIG-0c757cd7-e942-5726-a0b8-0e8fb7067135)
  MIG 3g.20gb     Device  1: (UUID: MIG-84a7bd5c-3a3e-5d5b-8d6c-2e3ff5d1f0a9)
"""
FIRST, PART, OTHER_PART = (
    "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77",
    "MIG-0c757cd7-e942-5726-a0b8-0e8fb7067135",
    "MIG-84a7bd5c-3a3e-5d5b-8d6c-2e3ff5d1f0a9",
)


@pytest.fixture
def start(tmp_path):
    """Start a command through seglib.core.gpus, in an environment without GPUs and schedulers."""
    started = []

    def start(count, *command, **environment):
        clean = {name: value for name, value in os.environ.items() if name not in gpus.SCHEDULERS}
        clean |= {"SEGLIB_GPU_LOCKS": str(tmp_path / "locks"), "PYTHONPATH": str(ROOT)}
        clean.pop("CUDA_VISIBLE_DEVICES", None)
        process = subprocess.Popen(
            [sys.executable, "-m", "seglib.core.gpus", str(count), *command],
            env=clean | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def smi(tmp_path):
    """A folder for PATH with an `nvidia-smi` that lists two GPUs."""
    command = tmp_path / "bin" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    command.chmod(0o755)
    return f"{command.parent}:{os.environ['PATH']}"


def records(path):
    return [line.split() for line in path.read_text().splitlines()]


def test_eight_devices_run_eight_commands_and_are_never_shared(start, tmp_path):
    out = tmp_path / "record"
    for _ in range(20):
        start(1, sys.executable, "-c", RECORD, out, "8", CUDA_VISIBLE_DEVICES="0,1,2,3,4,5,6,7")
    deadline_s = time.monotonic() + 60
    while not out.exists() or len(records(out)) < 20:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    used = defaultdict(list)
    for device, began, ended in records(out):
        used[device].append((float(began), float(ended)))
    assert set(used) == set("01234567")
    for intervals in used.values():
        ordered = sorted(intervals)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))


def test_two_commands_share_no_device_when_each_wants_several(start, tmp_path):
    out = tmp_path / "record"
    commands = [
        start(2, sys.executable, "-c", RECORD, out, "1", CUDA_VISIBLE_DEVICES="0,1,2") for _ in range(2)
    ]
    assert [command.wait(timeout=60) for command in commands] == [0, 0]
    (first, _, ended), (second, began, _) = sorted(records(out), key=lambda record: float(record[1]))
    assert first == second == "0,1"
    assert float(ended) <= float(began)


def test_a_killed_command_leaves_its_device_free(start):
    held = start(1, "sleep", "60", CUDA_VISIBLE_DEVICES="0")
    assert held.stderr.readline() == "seglib.core.gpus: on 0\n"
    waiting = start(1, "true", CUDA_VISIBLE_DEVICES="0")
    assert "waiting for 1 of 1 GPUs" in waiting.stderr.readline()
    held.kill()
    assert waiting.wait(timeout=60) == 0


def test_signals_and_exit_codes_are_those_of_the_command(start):
    sleeping = start(1, "sleep", "60", CUDA_VISIBLE_DEVICES="0")
    sleeping.stderr.readline()
    sleeping.send_signal(signal.SIGTERM)
    assert sleeping.wait(timeout=60) == -signal.SIGTERM
    assert start(1, "sh", "-c", "exit 7").wait(timeout=60) == 7


@pytest.mark.parametrize("environment", [{}, {"CUDA_VISIBLE_DEVICES": ""}, {"CUDA_VISIBLE_DEVICES": "-1"}])
def test_without_devices_commands_run_at_once_and_together(start, tmp_path, environment):
    if "CUDA_VISIBLE_DEVICES" not in environment and gpus.find_devices({"PATH": os.environ["PATH"]}):
        pytest.skip("this machine has GPUs")
    out = tmp_path / "record"
    commands = [start(1, sys.executable, "-c", RECORD, out, "3", **environment) for _ in range(3)]
    assert [command.wait(timeout=60) for command in commands] == [0, 0, 0]
    assert not (tmp_path / "locks").exists()


@pytest.mark.parametrize("scheduler", gpus.SCHEDULERS)
def test_what_a_scheduler_gave_is_taken_as_it_is(start, tmp_path, scheduler):
    environment = {scheduler: "17", "CUDA_VISIBLE_DEVICES": "0"}
    out = tmp_path / "record"
    commands = [start(1, sys.executable, "-c", RECORD, out, "2", **environment) for _ in range(2)]
    assert [command.wait(timeout=60) for command in commands] == [0, 0]
    assert [record[0] for record in records(out)] == ["0", "0"]  # "0" of another job is another device


def test_commands_in_one_big_allocation_share_it_out(start, tmp_path):
    out = tmp_path / "record"
    environment = {"SLURM_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "0,1"}
    commands = [start(1, sys.executable, "-c", RECORD, out, "2", **environment) for _ in range(2)]
    assert [command.wait(timeout=60) for command in commands] == [0, 0]
    assert {record[0] for record in records(out)} == {"0", "1"}


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [FIRST, PART, OTHER_PART]),
        ("0", [FIRST]),
        ("1,0", [PART, FIRST]),
        (f"{OTHER_PART}", [OTHER_PART]),
        ("0,-1,1", [FIRST]),
        ("", []),
    ],
)
def test_devices_are_found_and_counted_alike(monkeypatch, smi, visible, expected):
    """By seglib.core.gpus, which hands them out, and by the default profile, which limits jobs to them."""
    monkeypatch.setenv("PATH", smi)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.find_devices(os.environ) == expected
    with open(ROOT / "profiles/default/profile.yaml") as file:
        assert ProfileConfigFileParser().parse(file)["resources"] == [f"gpu={len(expected)}"]


def test_mistakes_are_one_line(start):
    cases = [
        ((4, "true"), {"CUDA_VISIBLE_DEVICES": "0,1"}, "4 GPUs are wanted, and 2 are here: 0, 1", 2),
        ((1, "no-such-command"), {}, "error: no-such-command: No such file or directory", 127),
        (("many", "true"), {}, "usage: python -m seglib.core.gpus COUNT COMMAND", 1),
    ]
    for arguments, environment, message, code in cases:
        process = start(*arguments, **environment)
        _, output = process.communicate(timeout=60)
        assert process.returncode == code
        assert message in output
        assert len(output.splitlines()) == 1


def test_a_lock_file_that_is_a_link_is_not_followed(start, tmp_path):
    """In a folder that all may write to, somebody could have put one there."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "0.lock").symlink_to(tmp_path / "elsewhere")
    process = start(1, "true", CUDA_VISIBLE_DEVICES="0")
    assert process.wait(timeout=60) == 2
    assert not (tmp_path / "elsewhere").exists()
