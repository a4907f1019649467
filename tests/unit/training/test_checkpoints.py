import errno

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from seglib.results import forecast
from seglib.training import checkpoints

IDENTITY = {"cell": "abc", "code": {"seglib.x": "1"}, "data": "d"}


class Parts:
    """A small network, convolution in channels last, with an optimiser that has stepped ``steps`` times."""

    def __init__(self, name: str, steps: int):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
        self.model = network.to(memory_format=torch.channels_last)
        kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[name]
        options = {"momentum": 0.9} if name == "sgd" else {}
        self.optimizer = kind(network.parameters(), lr=0.1, **options)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.model(torch.ones(2, 3, 8, 8)).square().mean().backward()
        self.optimizer.step()

    def save(self, folder, iteration: int, identity=IDENTITY):
        parts = {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler}
        state = {"iteration": iteration, "time_s": 0.1 + 0.2}
        return checkpoints.save(folder, iteration=iteration, identity=identity, state=state, **parts)

    def load(self, folder, identity=IDENTITY):
        parts = {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler}
        return checkpoints.load(folder, identity=identity, **parts)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_loaded_training_steps_on_to_the_same_bits(tmp_path, name):
    reference = Parts(name, 3)
    reference.scaler.load_state_dict({**reference.scaler.state_dict(), "scale": 64.0})
    reference.save(tmp_path, 3)
    loaded = Parts(name, 0)
    assert loaded.load(tmp_path) == {"iteration": 3, "time_s": 0.1 + 0.2}
    assert loaded.scaler.state_dict() == reference.scaler.state_dict()
    for _ in range(2):
        reference.step()
        loaded.step()
    for (key, a), b in zip(
        reference.model.state_dict().items(), loaded.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), key
        assert a.stride() == b.stride()


def test_an_empty_folder_holds_no_checkpoint(tmp_path):
    assert Parts("sgd", 0).load(tmp_path) is None
    assert Parts("sgd", 0).load(tmp_path / "absent") is None


def test_the_last_two_are_kept(tmp_path):
    parts = Parts("sgd", 1)
    for iteration in (5, 10, 100, 1000):
        parts.save(tmp_path, iteration)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000100.safetensors",
        "00001000.safetensors",
    ]


def test_no_more_lie_there_at_a_time_than_the_plan_says(tmp_path, monkeypatch):
    save_file, found = checkpoints.save_file, []

    def count(*arguments):
        save_file(*arguments)
        found.append(len(list(tmp_path.iterdir())))

    monkeypatch.setattr(checkpoints, "save_file", count)
    parts = Parts("sgd", 1)
    for iteration in range(5):
        parts.save(tmp_path, iteration)
    assert max(found) == forecast.CHECKPOINTS


@pytest.mark.parametrize("length", [0, 4, 100, -10])
def test_a_truncated_file_costs_only_the_work_since_the_one_before(tmp_path, capsys, length):
    parts = Parts("sgd", 1)
    parts.save(tmp_path, 5)
    newest = parts.save(tmp_path, 10)
    newest.write_bytes(newest.read_bytes()[:length])
    assert Parts("sgd", 0).load(tmp_path)["iteration"] == 5
    assert f"warning: checkpoint {newest} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("damaged", [[20], [10, 20]])
def test_what_was_passed_over_as_damaged_displaces_no_new_checkpoint(tmp_path, damaged):
    for iteration in (10, 20):
        path = Parts("sgd", 1).save(tmp_path, iteration)
        if iteration in damaged:
            path.write_bytes(path.read_bytes()[:20])
    parts = Parts("sgd", 0)
    parts.load(tmp_path)
    parts.save(tmp_path, 11)
    parts.save(tmp_path, 12)
    assert parts.load(tmp_path)["iteration"] == 12
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "00000012.safetensors").write_bytes(b"")
    assert parts.load(tmp_path)["iteration"] == 11


def test_checkpoints_of_another_training_or_of_newer_code_are_refused(tmp_path, monkeypatch):
    parts = Parts("sgd", 1)
    path = parts.save(tmp_path, 5)
    with pytest.raises(
        ValueError, match=f"{path} belongs to another training .* move it away to start again"
    ):
        parts.load(tmp_path, {**IDENTITY, "data": "e"})
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
    parts.save(tmp_path, 5)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=f"{path} has format 2, this seglib reads up to 1: update seglib"):
        parts.load(tmp_path)


def test_a_model_file_is_no_checkpoint(tmp_path):
    checkpoints.save_tensors(tmp_path / "00000001.safetensors", {"a": torch.ones(1)})
    with pytest.raises(ValueError, match="belongs to another training"):
        Parts("sgd", 0).load(tmp_path)


def test_a_checkpoint_of_another_model_is_refused_before_anything_is_loaded(tmp_path):
    path = Parts("sgd", 1).save(tmp_path, 5)
    other = Parts("sgd", 0)
    other.model.append(nn.Conv2d(2, 2, 1))
    with pytest.raises(ValueError, match=f"{path} does not fit the model"):
        other.load(tmp_path)
    assert not other.optimizer.state


def test_a_full_disk_is_an_error_of_the_system_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    def fill(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise SafetensorError(f"Error while serializing: I/O error: {errno.ENOSPC} No space left on device")

    parts = Parts("sgd", 1)
    path = parts.save(tmp_path, 5)
    monkeypatch.setattr(checkpoints, "save_file", fill)
    with pytest.raises(OSError, match=r"00000010.safetensors cannot be written.*No space left on device"):
        parts.save(tmp_path, 10)
    assert list(tmp_path.iterdir()) == [path]
