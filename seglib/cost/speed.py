"""The latency, throughput and peak memory of a model for batches of images.

    seglib speed --method isnet --backbone resnet50 --input 512x1024 --num-classes 19 --device cuda --out FILE

Timed is the model alone: from uint8 images that lie on the device already to logits at their size. Loading
images, argmax and writing are not included. Weights are random, since values do not change the work. The
file names the hardware; times of different hardware do not compare.

``latencies_ms``: one batch at a time, waiting for the device after each; ``latency_ms`` is their median and
quartiles. ``images_per_s``: over the same number of batches, queued without waiting in between, which on a
GPU hides what Python costs.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seglib.core import checksums, provenance
from seglib.experiment import records
from seglib.experiment.recipe import Backbone
from seglib.experiment.records import Latency, Speed
from seglib.models.segmentor import build_segmentor
from seglib.numerics.devices import choose_device, explain_out_of_memory, peak_memory_gib, set_arithmetic
from seglib.numerics.precision import autocast


def run(
    *,
    method: str,
    method_options: dict[str, Any],
    backbone: Backbone,
    input_hw: tuple[int, int],
    num_classes: int,
    batch_size: int,
    device: str,
    precision: str,
    threads: int,
    warmup: int,
    repeats: int,
    out: Path | None,
) -> None:
    """Time ``repeats`` batches after ``warmup`` untimed ones; print the result, and write it to ``out``.

    ``threads``: of the CPU arithmetic. ``fp32`` is without TF32; ``bf16`` and ``fp16`` are torch's autocast.
    """
    if warmup < 1 or repeats < 2:
        raise ValueError(f"warmup {warmup}, repeats {repeats}: at least 1 and 2 batches are needed")
    if batch_size < 1 or threads < 1:
        raise ValueError(f"batch size {batch_size}, threads {threads}: at least 1 of each is needed")
    chosen = choose_device(device)
    set_arithmetic(threads=threads, deterministic=False)
    segmentor = build_segmentor(
        method=method,
        method_options=method_options,
        backbone=backbone,
        num_classes=num_classes,
        load_weights=False,
    )
    segmentor = segmentor.to(chosen, memory_format=torch.channels_last).eval()
    images = torch.randint(256, (batch_size, 3, *input_hw), dtype=torch.uint8)
    images = images.to(chosen, memory_format=torch.channels_last)

    def forward() -> None:
        segmentor(images)

    what = f"{batch_size} images of {input_hw[0]}x{input_hw[1]}"
    with (
        torch.inference_mode(),
        autocast(precision, chosen),
        explain_out_of_memory(chosen, what, "lower --batch-size or --input"),
    ):
        timing = measure(forward, device=chosen, warmup=warmup, repeats=repeats)
    speed = Speed(
        method=method,
        method_options=method_options,
        backbone=backbone,
        input_hw=input_hw,
        num_classes=num_classes,
        batch_size=batch_size,
        device=chosen.type,
        precision=precision,
        memory_format="channels_last",
        threads=threads,
        warmup=warmup,
        repeats=repeats,
        latency_ms=summarise([1e3 * s for s in timing.latencies_s]),
        latencies_ms=tuple(round(1e3 * s, 4) for s in timing.latencies_s),
        images_per_s=batch_size * repeats / timing.queued_s,
        peak_mem_gib=peak_memory_gib(chosen),
        peak_mem_of="torch's allocations on the GPU" if chosen.type == "cuda" else "the process",
        **provenance.describe(),
    )
    if out is not None:
        records.write(out, speed)
        checksums.seal(out.with_suffix(".sha256"), [out])
    print(text(speed))


@dataclasses.dataclass(frozen=True)
class Durations:
    latencies_s: list[float]
    """Times of single calls, each waited for."""
    queued_s: float
    """Time of as many calls, waited for once at the end."""


def measure(forward: Callable[[], None], *, device: torch.device, warmup: int, repeats: int) -> Durations:
    """Time ``repeats`` calls of ``forward`` after ``warmup`` ones."""
    _time(forward, device, warmup)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # of the trials by which cuDNN chose its algorithms
    latencies_s = [_time(forward, device, 1) for _ in range(repeats)]
    # A CPU has no queue: running everything again would tell nothing new.
    queued_s = _time(forward, device, repeats) if device.type == "cuda" else sum(latencies_s)
    return Durations(latencies_s=latencies_s, queued_s=queued_s)


def summarise(values: list[float]) -> Latency:
    low, median, high = np.percentile(values, [25, 50, 75]).tolist()
    return Latency(median=median, q25=low, q75=high, iqr=high - low, min=min(values), max=max(values))


def text(speed: Speed) -> str:
    """A speed as lines for a terminal."""
    latency = speed.latency_ms
    size = "x".join(map(str, speed.input_hw))
    hardware = speed.gpu if speed.device == "cuda" else f"{speed.cpu}, {speed.threads} threads"
    return "\n".join(
        [
            f"{speed.method}, {speed.backbone.model}: batch {speed.batch_size} of {size}",
            f"{hardware}, torch {speed.versions['torch']}, {speed.precision}",
            f"latency {latency.median:.2f} ms (median of {speed.repeats}; "
            f"quartiles {latency.q25:.2f} and {latency.q75:.2f})",
            f"throughput {speed.images_per_s:.2f} images/s",
            f"memory at most {speed.peak_mem_gib:.2f} GiB ({speed.peak_mem_of})",
        ]
    )


def _time(forward: Callable[[], None], device: torch.device, calls: int) -> float:
    _wait(device)
    start = time.perf_counter()
    for _ in range(calls):
        forward()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
