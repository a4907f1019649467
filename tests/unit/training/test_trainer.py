"""Training is a function of the cell: whatever stops it, and however often, the same bits come out."""

import hashlib
import json
import os
import signal
import time
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file

from seglib import cli
from seglib.core import registry
from seglib.data.manifest import read_manifest_file, read_prepared
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Loss, Recipe
from seglib.models.segmentor import TrainingPosition
from seglib.numerics.seeds import training_seed
from seglib.training import checkpoints, trainer
from seglib.training.train_step import NotFiniteError, Stepper
from seglib.training.training_set import TrainSet
from tests.unit import forked
from tests.unit.models.method_tester import small_options

SPEED = ("images_per_s", "data_wait_share")


@pytest.fixture(autouse=True)
def _restore_arithmetic():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def make_cell(method: str = "fcn", method_options: dict | None = None, **recipe) -> Cell:
    values = {"iterations": 8, "batch_size": 4, "crop_hw": (32, 40), "lr": 0.05, "threads": 1}
    return Cell(
        dataset="miniature",
        method=method,
        method_options={"width": 16} if method_options is None else method_options,
        backbone_name="tiny",
        backbone=Backbone(model="test_efficientnet"),
        recipe_name="short",
        recipe=Recipe(**{**values, **recipe}),
        seed=0,
    )


def train(cell, data, folder, *, workers=0, interval_s=1e9):
    trainer.run(
        cell=cell,
        data=data,
        out=folder / "train",
        checkpoints=folder / "checkpoints",
        weights=None,
        device="cpu",
        workers=workers,
        checkpoint_interval_s=interval_s,
    )
    return load_file(folder / "train" / "model.safetensors")


def command(cell, data, folder, interval_s=0):
    arguments = ["--cell", cell.to_json(), "--data", data, "--out", folder / "train", "--device", "cpu"]
    arguments += ["--checkpoints", folder / "checkpoints", "--checkpoint-interval-s", str(interval_s)]
    return ["train", *map(str, arguments)]


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def read_log(folder):
    lines = (folder / "train" / "train_log.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in SPEED} for line in lines]


def stop_after(monkeypatch, iteration, number):
    """Send ourselves a signal within the step that follows ``iteration`` steps."""
    step = Stepper.step

    def wrapped(self, batch, progress):
        if progress.iteration == iteration:
            os.kill(os.getpid(), number)
        return step(self, batch, progress)

    monkeypatch.setattr(Stepper, "step", wrapped)


def test_a_finished_training_leaves_model_cell_log_and_provenance_and_nothing_else(miniature, tmp_path):
    cell = make_cell(iterations=12)
    model = train(cell, miniature, tmp_path, workers=2, interval_s=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train"]
    assert {name.split(".")[0] for name in model} == {"encoder", "method"}
    assert Cell.from_json((tmp_path / "train" / "cell.json").read_text()) == cell
    log = read_log(tmp_path)
    assert [line["iteration"] for line in log] == list(range(1, 13))
    assert [line["epoch"] for line in log] == [i // 2 for i in range(12)]
    assert all(line["loss"] == pytest.approx(line["main"] + line["auxiliary"], rel=1e-5) for line in log)
    assert log[-1]["loss"] < log[0]["loss"]
    record = json.loads((tmp_path / "train" / "provenance.json").read_text())
    assert record["cell_id"] == cell.id
    assert record["data_digest"] == read_manifest_file(miniature).data_digest
    code = {"seglib.training.trainer", "seglib.models.fcn:FCN", "seglib.training.augment"}
    assert code <= set(record["code"])
    assert (record["threads"], record["resumed"], record["gpu"]) == (1, 0, None)
    assert record["parameters"] == sum(t.numel() for name, t in model.items() if is_parameter(name))
    assert record["time_s"] > 0
    assert record["peak_mem_gib"] > 0.1


def is_parameter(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


VARIETY = {
    "sgd": {},
    "adamw, half precision, small parts": {
        "optimizer": "adamw",
        "lr": 0.001,
        "precision": "bf16",
        "accumulate": 2,
        "clip_grad_norm": 1.0,
        "channels_last": False,
    },
}


@pytest.mark.parametrize("recipe", VARIETY.values(), ids=VARIETY)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_stopped_by_a_signal_and_resumed_equals_uninterrupted(
    miniature, tmp_path, monkeypatch, capsys, number, recipe
):
    cell = make_cell(**recipe)
    expected = train(cell, miniature, tmp_path / "whole")
    monkeypatch.setattr(trainer, "LOG_LINES", 3)  # lines then cover 3 steps: a stop falls between two
    expected_log = train(cell, miniature, tmp_path / "log") and read_log(tmp_path / "log")
    with monkeypatch.context() as patch:
        stop_after(patch, 4, number)
        with pytest.raises(SystemExit) as stop:
            train(cell, miniature, tmp_path / "halves", workers=1)
    assert stop.value.code == 128 + number
    assert not (tmp_path / "halves" / "train").exists()
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"seglib train: stopped by {number.name} after iteration 5 of 8; ")
    assert_same(train(cell, miniature, tmp_path / "halves"), expected)
    assert read_log(tmp_path / "halves") == expected_log
    record = json.loads((tmp_path / "halves/train/provenance.json").read_text())
    assert record["resumed"] == 1
    assert [attempt["after_iteration"] for attempt in record["attempts"]] == [0, 5]
    for attempt in record["attempts"]:
        assert {name: attempt[name] for name in ("device", "processes", "cpu", "host")} == {
            name: record[name] for name in ("device", "processes", "cpu", "host")
        }
    whole = json.loads((tmp_path / "whole/train/provenance.json").read_text())
    initial = Stepper(cell=cell, num_classes=4, weights=None, device=torch.device("cpu")).model.encoder
    tensors = {name: tensor.contiguous() for name, tensor in initial.state_dict().items()}
    digest = hashlib.sha256(safetensors.torch.save(tensors)).hexdigest()
    assert [record["encoder_sha256"], whole["encoder_sha256"]] == [digest, digest]


def test_a_training_is_not_resumed_with_another_batch_for_batch_norm(miniature, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 4, signal.SIGTERM)
        with pytest.raises(SystemExit):
            train(make_cell(), miniature, tmp_path)
    monkeypatch.setattr(trainer, "images_seen", lambda recipe, processes: 2)
    with pytest.raises(
        ValueError, match=r"batch norm saw 4 images at a time .* and would see 2 now: start as many"
    ):
        train(make_cell(), miniature, tmp_path)


def train_in_a_process(cell, data, folder):
    torch.set_num_threads(2)  # stands for --cores: the recipe's threads must win
    train(cell, data, folder, workers=2, interval_s=0)


@pytest.mark.slow  # four processes, one after the other
def test_processes_stopped_by_every_signal_resume_to_the_same_bits(miniature, tmp_path):
    cell = make_cell(iterations=60)
    expected = train(cell, miniature, tmp_path / "whole")
    folder = tmp_path / "stopped"
    stops = (signal.SIGKILL, 4), (signal.SIGTERM, 12), (signal.SIGINT, 20), (signal.SIGUSR1, 28)
    for number, least in stops:
        log = tmp_path / f"{number.name}.log"
        process = forked.start(train_in_a_process, cell, miniature, folder, stderr=log)
        while newest(folder) < least:
            assert process.is_alive(), log.read_text()
            time.sleep(0.005)
        os.kill(process.pid, number)
        process.join(60)
        assert process.exitcode == (-number if number == signal.SIGKILL else 128 + number)
        assert not (folder / "train").exists()
        errors = log.read_text()
        assert ("seglib train: going on after iteration" in errors) == (number != signal.SIGKILL)
        assert (f"seglib train: stopped by {number.name} after" in errors) == (number != signal.SIGKILL)
    assert newest(folder) < 60
    assert_same(train(cell, miniature, folder), expected)
    assert read_log(folder) == read_log(tmp_path / "whole")


def test_a_terminated_command_says_how_to_go_on(miniature, tmp_path):
    cell = make_cell(iterations=200)
    log = tmp_path / "log"
    process = forked.start(cli.main, command(cell, miniature, tmp_path), stderr=log)
    while newest(tmp_path) < 2:
        assert process.is_alive(), log.read_text()
        time.sleep(0.01)
    process.terminate()
    process.join(60)
    errors = log.read_text()
    assert process.exitcode == 128 + signal.SIGTERM
    assert errors.splitlines()[0].startswith("$ python -m seglib train --cell ")
    assert "the same command goes on from there" in errors
    assert not (tmp_path / "train").exists()


@pytest.mark.slow  # it starts a training and waits for its checkpoints
def test_a_second_training_of_the_same_cell_is_refused_while_the_first_lives(miniature, tmp_path):
    cell = make_cell(iterations=60)
    first = forked.start(train_in_a_process, cell, miniature, tmp_path, stderr=tmp_path / "log")
    while newest(tmp_path) < 2:
        assert first.is_alive()
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGSTOP)  # so that it lives on for as long as it takes
    with pytest.raises(ValueError, match=f"training {cell.id} is under way already: process {first.pid} on "):
        train(cell, miniature, tmp_path)
    first.kill()
    first.join()
    train(cell, miniature, tmp_path)
    assert json.loads((tmp_path / "train" / "provenance.json").read_text())["resumed"] == 1


class Killed(BaseException):
    pass


@pytest.mark.parametrize("method", registry.METHODS)
def test_every_method_goes_on_after_a_kill_to_the_same_bits(miniature, tmp_path, monkeypatch, method):
    """Nothing of this process but its files survives; a memory and its momentum do."""
    cell = make_cell(method, small_options(method), iterations=4)
    expected = train(cell, miniature, tmp_path / "whole")
    step = Stepper.step

    def killed(self, batch, progress):
        values = step(self, batch, progress)
        if progress.iteration == 2:
            raise Killed
        return values

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", killed)
        with pytest.raises(Killed):
            train(cell, miniature, tmp_path / "killed", interval_s=0)
    assert newest(tmp_path / "killed") == 2
    assert_same(train(cell, miniature, tmp_path / "killed"), expected)


def newest(folder) -> int:
    found = sorted((folder / "checkpoints").glob("*/*.safetensors"))
    return int(found[-1].stem) if found else 0


def test_workers_change_nothing(miniature, tmp_path):
    cell = make_cell()
    assert_same(
        train(cell, miniature, tmp_path / "a", workers=0), train(cell, miniature, tmp_path / "b", workers=3)
    )


def test_another_seed_changes_the_weights_and_another_method_keeps_backbone_and_images():
    cpu = torch.device("cpu")

    def start(cell):
        return Stepper(cell=cell, num_classes=4, weights=None, device=cpu).model.encoder.state_dict()

    cell, other = make_cell(), make_cell("pspnet")
    assert_same(start(cell), start(other))
    assert training_seed(cell) == training_seed(other) == training_seed(replace(cell, variant="thin"))
    assert training_seed(cell) != training_seed(replace(cell, seed=1))
    changed = start(replace(cell, seed=1))
    assert not torch.equal(changed["network.conv_stem.weight"], start(cell)["network.conv_stem.weight"])


def test_accumulated_parts_give_the_gradient_of_the_whole_batch(miniature):
    """Of two equal halves, so that batch norm sees the same statistics in both."""
    after = []
    for accumulate in (1, 2):
        cell = make_cell(
            method_options={"width": 16, "dropout": 0.0}, accumulate=accumulate, precision="fp32"
        )
        stepper = Stepper(cell=cell, num_classes=4, weights=None, device=torch.device("cpu"))
        stepper.model.double()
        data = TrainSet(data=read_prepared(miniature), recipe=cell.recipe, seed=0, fill=(0, 0, 0))
        batch = data.batch(0)
        half = batch.images[:2], batch.labels[:2]
        batch = replace(batch, images=torch.cat([half[0], half[0]]), labels=torch.cat([half[1], half[1]]))
        position = TrainingPosition(iteration=0, iterations=8, epoch=0)
        loss = stepper.step(batch, position)["loss"]
        after.append((loss, [p.detach().clone() for p in stepper.model.parameters()]))
    assert after[0][0] == pytest.approx(after[1][0], rel=1e-6)
    for a, b in zip(after[0][1], after[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_a_loss_that_is_not_finite_stops_at_once_and_is_remembered(miniature, tmp_path, monkeypatch):
    cell = make_cell(lr=1e30, iterations=50)
    with pytest.raises(ValueError, match="the loss is not finite in iteration") as first:
        train(cell, miniature, tmp_path)
    message = str(first.value)
    assert "learning rate" in message
    assert message.count("train_") == 4  # the images of the batch
    assert not (tmp_path / "train").exists()
    with monkeypatch.context() as patch:
        patch.delattr(trainer, "Stepper")  # the second attempt does not even build the model
        with pytest.raises(ValueError, match=r"so ended the attempt of .*failed.json to retry") as second:
            train(cell, miniature, tmp_path)
    assert message in str(second.value)
    mended = replace(cell, recipe=replace(cell.recipe, lr=0.01, iterations=2))
    train(mended, miniature, tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(miniature):
    stepper = Stepper(cell=make_cell(), num_classes=4, weights=None, device=torch.device("cpu"))
    batch = TrainSet(data=read_prepared(miniature), recipe=make_cell().recipe, seed=0, fill=(0,) * 3).batch(0)
    parameter = next(stepper.model.method.parameters())
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    before = [parameter.detach().clone() for parameter in stepper.model.parameters()]
    with pytest.raises(NotFiniteError, match=r"a gradient is not finite in iteration 7 .*images train_"):
        stepper.step(batch, TrainingPosition(iteration=7, iterations=8, epoch=3))
    assert all(torch.equal(a, b) for a, b in zip(before, stepper.model.parameters(), strict=True))


@pytest.mark.parametrize("named", [None, "imagenet"])
def test_a_file_of_weights_that_the_cell_does_not_name_is_refused(tmp_path, named):
    cell = make_cell()
    cell = replace(cell, backbone=replace(cell.backbone, weights=named))
    with pytest.raises(ValueError, match=f"a.safetensors: the cell starts from {named or 'random'} weights"):
        Stepper(cell=cell, num_classes=4, weights=tmp_path / "a.safetensors", device=torch.device("cpu"))


def test_the_last_checkpoint_before_a_bad_loss_stays(miniature, tmp_path, monkeypatch):
    step = Stepper.step

    def poisoned(self, batch, progress):
        if progress.iteration == 5:
            with torch.no_grad():
                next(self.model.method.parameters()).fill_(float("nan"))
        return step(self, batch, progress)

    monkeypatch.setattr(Stepper, "step", poisoned)
    with pytest.raises(ValueError, match="not finite in iteration 5"):
        train(make_cell(), miniature, tmp_path, interval_s=0)
    assert newest(tmp_path) == 5
    (path,) = (tmp_path / "checkpoints").glob("*/00000005.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in load_file(path).values())


def test_after_a_damaged_image_is_restored_the_training_goes_on(own_miniature, tmp_path):
    cell = make_cell()
    expected = train(cell, own_miniature, tmp_path / "whole")
    data = TrainSet(
        data=read_prepared(own_miniature), recipe=cell.recipe, seed=training_seed(cell), fill=(0,) * 3
    )
    # One that the first step does not need.
    victim = next(sample for sample in data.samples if sample.id not in data.batch(0).ids).image
    intact = victim.read_bytes()
    victim.write_bytes(intact[:-10])
    with pytest.raises(ValueError, match=victim.name):
        train(cell, own_miniature, tmp_path / "harmed", interval_s=0)
    assert newest(tmp_path / "harmed") > 0
    victim.write_bytes(intact)
    assert_same(train(cell, own_miniature, tmp_path / "harmed"), expected)


def test_a_changed_cell_starts_again_beside_the_old_checkpoints(miniature, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 4, signal.SIGTERM)
        with pytest.raises(SystemExit):
            train(make_cell(), miniature, tmp_path)
    changed = make_cell(lr=0.01)
    assert_same(train(changed, miniature, tmp_path), train(changed, miniature, tmp_path / "fresh"))
    assert not (tmp_path / "checkpoints").exists()


def test_a_copied_checkpoint_of_another_cell_is_refused(miniature, tmp_path, monkeypatch):
    for lr, folder in ((0.05, "a"), (0.01, "b")):
        with monkeypatch.context() as patch:
            stop_after(patch, 4, signal.SIGTERM)
            with pytest.raises(SystemExit):
                train(make_cell(lr=lr), miniature, tmp_path / folder)
    (source,) = (tmp_path / "a" / "checkpoints").glob("*/*.safetensors")
    (target,) = (tmp_path / "b" / "checkpoints").glob("*/*.safetensors")
    target.write_bytes(source.read_bytes())
    with pytest.raises(ValueError, match="belongs to another training"):
        train(make_cell(lr=0.01), miniature, tmp_path / "b")


def test_only_checkpoints_are_removed_at_the_end(miniature, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "thesis.tex").write_text("years of work")
    train(make_cell(iterations=1), miniature, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["thesis.tex"]


def test_a_full_disk_stops_with_one_line_and_the_next_run_goes_on(miniature, tmp_path, monkeypatch):
    cell = make_cell()
    save = checkpoints.save_tensors

    def full(path, *rest):
        if path.name == "00000004.safetensors":
            raise OSError(28, "No space left on device", str(path))
        save(path, *rest)

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    with pytest.raises(OSError, match="No space left on device"):
        train(cell, miniature, tmp_path / "full", interval_s=0)
    assert newest(tmp_path / "full") == 3
    monkeypatch.undo()
    assert_same(train(cell, miniature, tmp_path / "full"), train(cell, miniature, tmp_path / "whole"))


def test_lack_of_memory_names_sizes_and_what_to_lower(miniature, tmp_path, monkeypatch):
    def exhaust(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 EiB")

    monkeypatch.setattr("seglib.training.train_step.build_criterion", lambda spec: exhaust)
    with pytest.raises(ValueError, match=r"2 crops of 32x40 .*fp32; .* GiB .*raise recipe.accumulate"):
        train(make_cell(accumulate=2), miniature, tmp_path)
    assert not (tmp_path / "checkpoints" / "failed.json").exists()


def test_a_loading_thread_that_fails_ends_the_training_with_its_reason(miniature, tmp_path, monkeypatch):
    batch = TrainSet.batch

    def failing(self, iteration):
        if iteration == 3:
            raise MemoryError("Unable to allocate 9 EiB")
        return batch(self, iteration)

    monkeypatch.setattr(TrainSet, "batch", failing)
    with pytest.raises(ValueError, match=r"out of memory on cpu: loading a batch; .* lower --workers"):
        train(make_cell(), miniature, tmp_path, workers=2, interval_s=0)
    assert newest(tmp_path) == 3


def test_class_uniform_crops_train(miniature, tmp_path):
    values = {"class_uniform": 0.5, "class_uniform_tile": 16, "color_jitter": 0.25, "blur": 0.5}
    train(make_cell(iterations=4, **values), miniature, tmp_path, workers=1)
    assert all(0 < line["loss"] < 10 for line in read_log(tmp_path))


def test_half_precision_scales_its_loss(miniature, tmp_path):
    train(make_cell(precision="fp16", iterations=3), miniature, tmp_path)
    assert all(0 < line["loss"] < 10 for line in read_log(tmp_path))


def test_ohem_trains(miniature, tmp_path):
    loss = Loss(name="ohem", ohem_min_kept=500, class_weights=(1.0, 2.0, 2.0, 4.0))
    train(make_cell(loss=loss, iterations=3), miniature, tmp_path)
    assert all(0 < line["loss"] < 10 for line in read_log(tmp_path))
