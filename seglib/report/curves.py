"""Training curves as percentages of a box, which the page draws at any width in any theme."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.ticker import MaxNLocator

LOG_FIELDS = {"iteration", "epoch", "loss", "lr", "images_per_s", "data_wait_share"}
"""Of a line of ``train_log.jsonl``; all others are terms of the loss."""


@dataclass(frozen=True)
class Series:
    name: str
    points: str
    """For an SVG of 100 x 100, y downwards."""


@dataclass(frozen=True)
class Chart:
    caption: str
    classes: str
    series: tuple[Series, ...]
    x_ticks: tuple[tuple[float, str], ...]
    """(percent from the left, label)"""
    y_ticks: tuple[tuple[float, str], ...]


def charts(train: Path) -> tuple[Chart, ...]:
    """Loss terms and learning rate over the iterations; empty when there is no log."""
    try:
        lines = (train / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    log = [json.loads(line) for line in lines]
    if len(log) < 2:
        return ()
    # Not all from the first line on: MCIBI's consistency loss sets in after an epoch.
    terms = [
        name for name in dict.fromkeys(name for entry in log for name in entry) if name not in LOG_FIELDS
    ]
    terms = terms if len(terms) > 1 else []
    losses = {name: _points(log, name) for name in ("loss", *terms)}
    rate = sorted(entry["images_per_s"] for entry in log)[len(log) // 2]
    wait = sorted(entry["data_wait_share"] for entry in log)[len(log) // 2]
    told = "Training loss and its weighted terms" if terms else "Training loss"
    told += (
        f" over the iterations. Median {rate:.1f} images/s; {100 * wait:.0f} % of the time waiting for data."
    )
    return (
        _chart(told, "", losses),
        _chart("Learning rate", "low", {"lr": _points(log, "lr")}),
    )


def _points(log: Sequence[dict[str, float]], name: str) -> list[tuple[float, float]]:
    """(iteration, value) of the lines that have it."""
    return [(entry["iteration"], entry[name]) for entry in log if name in entry]


def _chart(caption: str, classes: str, lines: dict[str, list[tuple[float, float]]]) -> Chart:
    points = [point for line in lines.values() for point in line]
    last, highest = (max(values) for values in zip(*points, strict=True))
    x_ticks = [tick for tick in MaxNLocator(5, integer=True).tick_values(0, last) if tick <= last]
    y_ticks = MaxNLocator(4).tick_values(min(0, *(value for _, value in points)), highest)
    low, high = y_ticks[0], y_ticks[-1]

    def right(value: float) -> float:
        return round(100 * value / last, 2)

    def up(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return Chart(
        caption=caption,
        classes=classes,
        series=tuple(
            Series(name, " ".join(f"{right(a)},{100 - up(b):g}" for a, b in line))
            for name, line in lines.items()
        ),
        x_ticks=tuple((right(tick), f"{tick:,.0f}") for tick in x_ticks),
        y_ticks=tuple((up(tick), f"{tick:.4g}") for tick in y_ticks),
    )
