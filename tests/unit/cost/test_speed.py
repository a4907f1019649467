"""Timing against a clock that the test moves, and the record of a real run."""

import json

import numpy as np
import pytest
import torch

from seglib.cost import speed
from seglib.experiment.recipe import Backbone
from seglib.experiment.records import Latency

SETTINGS = {
    "method": "fcn",
    "method_options": {"width": 8},
    "backbone": Backbone(model="resnet18"),
    "input_hw": (32, 48),
    "num_classes": 5,
    "batch_size": 2,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "warmup": 1,
    "repeats": 3,
}


@pytest.fixture(autouse=True)
def _restore_arithmetic():
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = benchmark


class Clock:
    """Each call of ``forward`` takes the next of ``durations_s``; ``events`` says what happened in order."""

    def __init__(self, durations_s):
        self.now_s = 100.0
        self.durations_s = iter(durations_s)
        self.events = []

    def forward(self):
        self.now_s += next(self.durations_s)
        self.events.append("call")

    def read(self):
        self.events.append("read")
        return self.now_s

    def wait(self, device):
        assert device == torch.device("cuda")
        self.events.append("wait")


def test_cpu_timing_leaves_out_the_warm_up(monkeypatch):
    clock = Clock([9.0, 9.0, 1.0, 3.0, 2.0])
    monkeypatch.setattr(speed.time, "perf_counter", clock.read)
    timing = speed.measure(clock.forward, device=torch.device("cpu"), warmup=2, repeats=3)
    assert timing.latencies_s == [1.0, 3.0, 2.0]
    assert timing.queued_s == 6.0


def test_gpu_timing_waits_around_every_reading_and_queues_for_throughput(monkeypatch):
    clock = Clock([9.0, 1.0, 3.0, 0.5, 0.5])
    monkeypatch.setattr(speed.time, "perf_counter", clock.read)
    monkeypatch.setattr(torch.cuda, "synchronize", clock.wait)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: clock.events.append("reset"))
    timing = speed.measure(clock.forward, device=torch.device("cuda"), warmup=1, repeats=2)
    assert timing == speed.Durations(latencies_s=[1.0, 3.0], queued_s=1.0)
    one = ["wait", "read", "call", "wait", "read"]
    assert clock.events == [*one, "reset", *one, *one, "wait", "read", "call", "call", "wait", "read"]


def test_summary_by_hand():
    assert speed.summarise([5.0, 1.0, 2.0, 4.0, 3.0]) == Latency(
        median=3.0, q25=2.0, q75=4.0, iqr=2.0, min=1.0, max=5.0
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_record(tmp_path, capsys, precision):
    out = tmp_path / "speed" / "32x48.json"
    speed.run(**SETTINGS | {"precision": precision}, out=out)
    record = json.loads(out.read_text())
    latencies_ms = record["latencies_ms"]
    assert len(latencies_ms) == 3
    assert record["latency_ms"]["median"] == pytest.approx(np.median(latencies_ms), rel=1e-3)
    assert record["images_per_s"] == pytest.approx(2 * 3 / (sum(latencies_ms) / 1e3), rel=1e-3)
    assert 0.05 < record["peak_mem_gib"] < 16
    assert (record["device"], record["precision"], record["threads"]) == ("cpu", precision, 1)
    assert record["cpu"]
    printed = capsys.readouterr().out
    assert record["cpu"] in printed
    assert f"{record['latency_ms']['median']:.2f} ms" in printed


def test_threads_are_those_asked_for(monkeypatch):
    seen = []
    monkeypatch.setattr(speed, "measure", lambda *_, **__: seen.append(torch.get_num_threads()) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        speed.run(**SETTINGS | {"threads": 3}, out=None)
    assert seen == [3]


@pytest.mark.parametrize("count", [{"warmup": 0}, {"repeats": 1}, {"batch_size": 0}, {"threads": 0}])
def test_too_few_batches_images_or_threads_are_refused(count):
    with pytest.raises(ValueError, match=r"at least 1 and 2 batches are needed|at least 1 of each is needed"):
        speed.run(**SETTINGS | count, out=None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="device cuda"):
        speed.run(**SETTINGS | {"device": "cuda"}, out=None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_record_of_a_gpu(tmp_path):
    out = tmp_path / "gpu.json"
    speed.run(**SETTINGS | {"device": "cuda", "input_hw": (256, 256)}, out=out)
    record = json.loads(out.read_text())
    assert record["gpu"] == torch.cuda.get_device_name()
    weights_gib = 4 * 11e6 / 2**30
    assert weights_gib < record["peak_mem_gib"] < 1
