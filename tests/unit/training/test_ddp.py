"""Several processes train as one does: the same weights, one set of files, one end."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from seglib.core import registry
from seglib.data.manifest import read_prepared
from seglib.experiment.recipe import Loss
from seglib.models.segmentor import Segmentor, TrainingPosition, build_segmentor
from seglib.numerics import collectives
from seglib.training import train_step, trainer
from seglib.training.train_step import Stepper
from seglib.training.training_set import TrainSet
from tests.unit.models.method_tester import small_options
from tests.unit.processes import Processes
from tests.unit.training.test_trainer import assert_same, command, make_cell, newest, read_log, train

WEIGHTS = (1.0, 2.0, 0.5, 4.0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pair():
    pair = Processes(2)
    yield pair
    pair.close()


@pytest.fixture
def trio():
    trio = Processes(3)
    yield trio
    trio.close()


def double_steps(cells, folder) -> dict:
    """Loss terms and, at the end, all tensors of two steps in float64, the second in the second epoch."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    found = {}
    try:
        with collectives.processes(CPU):
            for name, cell in cells.items():
                train_step.build_segmentor = build_with_spare if "spare" in name else build_segmentor
                stepper = Stepper(cell=cell, num_classes=4, weights=None, device=CPU)
                place = {"rank": collectives.rank(), "processes": collectives.world_size()}
                data = TrainSet(
                    data=read_prepared(folder), recipe=cell.recipe, seed=0, fill=(0, 0, 0), **place
                )
                losses = [
                    stepper.step(data.batch(i), TrainingPosition(i, iterations=8, epoch=i)) for i in range(2)
                ]
                tensors = {k: v.numpy().copy() for k, v in stepper.model.state_dict().items()}
                found[name] = (losses, tensors)
    finally:
        torch.set_default_dtype(torch.float32)
        train_step.build_segmentor = build_segmentor
    return found


def build_with_spare(**arguments) -> Segmentor:
    """With a parameter that no loss reaches, as HRNet has them under some methods."""
    model = build_segmentor(**arguments)
    model.method.spare = nn.Parameter(torch.ones(3))
    return model


def differences(found: dict, expected: dict) -> dict[str, list[str]]:
    """What differs by more than 1e-8, for each cell where anything does."""
    wrong = {}
    for name, (losses, tensors) in expected.items():
        other_losses, others = found[name]
        far = {
            key: abs(tensors[key] - others[key]).max() for key in tensors if key not in counted_twice(name)
        }
        wrong[name] = [f"{key} by {distance:.1e}" for key, distance in far.items() if not distance <= 1e-8]
        for i, terms in enumerate(losses):
            if other_losses[i] != pytest.approx(terms, rel=0, abs=1e-8):
                wrong[name].append(f"step {i}: {other_losses[i]} instead of {terms}")
    return {name: what for name, what in wrong.items() if what}


def counted_twice(name: str) -> set[str]:
    """The consistency loss shows the batch norm of stage 2 the memory's vectors once per process."""
    return {"method.stage2.0.1.running_var"} if name.startswith("mcibi") else set()


def test_two_processes_train_every_method_as_one(pair, miniature):
    recipe = {"loss": Loss(class_weights=WEIGHTS)}
    cells = {
        method: make_cell(method, {**small_options(method), "dropout": 0.0}, **recipe)
        for method in registry.METHODS
    }
    parts = {"accumulate": 2, "clip_grad_norm": 0.1, "optimizer": "adamw", "lr": 0.001}
    cells["fcn in parts"] = make_cell("fcn", {"width": 16, "dropout": 0.0}, **recipe, **parts)
    spare = make_cell("fcn", {"width": 16, "dropout": 0.0}, weight_decay=0.1)
    cells["fcn with a spare parameter"] = spare
    first, second = pair.run(double_steps, cells, miniature)
    assert differences(second, first) == {}
    assert differences(first, double_steps(cells, miniature)) == {}


def train_here(cell, data: Path, folder: Path, stop_at: int | None = None) -> None:
    """Train; the second process gets a SIGTERM in the step after ``stop_at`` ones."""
    step = Stepper.step

    def stopping(self, batch, progress):
        if progress.iteration == stop_at and collectives.rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, progress)

    Stepper.step = stopping
    try:
        trainer.run(
            cell=cell,
            data=data,
            out=folder / "train",
            checkpoints=folder / "checkpoints",
            weights=None,
            device="cpu",
            workers=0,
            checkpoint_interval_s=1e9,
        )
    finally:
        Stepper.step = step


def test_a_training_by_two_processes_is_one_training(pair, miniature, tmp_path):
    cell = make_cell(method_options={"width": 16, "dropout": 0.0})
    expected = train(cell, miniature, tmp_path / "alone")
    assert pair.run(train_here, cell, miniature, tmp_path / "pair") == [None, None]
    found = load_file(tmp_path / "pair" / "train" / "model.safetensors")
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)
    assert sorted(path.name for path in (tmp_path / "pair").rglob("*")) == sorted(
        path.name for path in (tmp_path / "alone").rglob("*")
    )
    logs = read_log(tmp_path / "pair"), read_log(tmp_path / "alone")
    assert [line["iteration"] for line in logs[0]] == list(range(1, 9))
    assert [line["loss"] for line in logs[0]] == pytest.approx([line["loss"] for line in logs[1]], rel=1e-4)

    stopped = pair.run(train_here, cell, miniature, tmp_path / "stopped", 3)
    assert [end.code for end in stopped] == [128 + signal.SIGTERM] * 2
    assert [path.name for path in (tmp_path / "stopped").glob("*/*/*.safetensors")] == [
        "00000004.safetensors"
    ]
    assert pair.run(train_here, cell, miniature, tmp_path / "stopped") == [None, None]
    assert_same(load_file(tmp_path / "stopped" / "train" / "model.safetensors"), found)


def test_a_training_by_three_processes_goes_on_after_a_stop_to_the_same_bits(trio, miniature, tmp_path):
    """Sums of three depend on their order; those of two do not."""
    cell = make_cell(batch_size=6)
    assert trio.run(train_here, cell, miniature, tmp_path / "whole") == [None] * 3
    stopped = trio.run(train_here, cell, miniature, tmp_path / "stopped", 3)
    assert [end.code for end in stopped] == [128 + signal.SIGTERM] * 3
    assert trio.run(train_here, cell, miniature, tmp_path / "stopped") == [None] * 3
    found, expected = (
        load_file(tmp_path / name / "train" / "model.safetensors") for name in ("stopped", "whole")
    )
    assert_same(found, expected)


def test_a_batch_that_does_not_split_and_a_loss_that_is_not_finite_stop_all(pair, miniature, tmp_path):
    ends = pair.run(train_here, make_cell(batch_size=3), miniature, tmp_path / "a")
    assert [type(end) for end in ends] == [ValueError, ValueError]
    assert "batch_size 3 with accumulate 1 does not split over 2 processes; start 1, 3 of them" in str(
        ends[0]
    )
    ends = pair.run(train_here, make_cell(lr=1e30, iterations=50), miniature, tmp_path / "b")
    assert ["the loss is not finite" in str(end) for end in ends] == [True, True]
    assert str(ends[0]) == str(ends[1])
    assert str(ends[0]).count("train_") == 4  # the images of both parts of the batch
    assert (tmp_path / "b" / "checkpoints" / "failed.json").exists()


def launch(cell, data: Path, folder: Path) -> subprocess.Popen:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    seglib = ["-m", "seglib", *command(cell, data, folder)]
    return subprocess.Popen([*torchrun, *seglib], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow  # torchrun and two processes that load torch
def test_torchrun_ends_with_one_line_when_a_process_dies(miniature, tmp_path):
    cell = make_cell(iterations=5000)
    process = launch(cell, miniature, tmp_path)
    while newest(tmp_path) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    ranks = {child.environ().get("RANK"): child for child in children}
    ranks["1"].kill()
    with suppress(psutil.NoSuchProcess):  # torchrun's SIGTERM may come at any moment now
        while ranks["0"].status() != psutil.STATUS_ZOMBIE:
            ranks["0"].terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.count("seglib train: error: process 0 of 2 lost another one") == 1
    assert errors.count("$ python -m seglib train") == 1
    assert newest(tmp_path) >= 2
    assert not (tmp_path / "train").exists()
