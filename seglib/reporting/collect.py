"""What exists of a plan: each cell's training, tests and cost, or why they are absent.

Reads files only. A cell that failed or never ran is a record like any other, so that no table or
page can lose it.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seglib import paths
from seglib.cell import Cell, Protocol
from seglib.config import Evaluation, Plan

Status = Literal["done", "failed", "unfinished", "missing"]
LOG_TAIL_LINES = 20
MACHINERY_CHECKS = {"scenes"}
"""Data sets that exist to exercise the code, not to measure methods."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """One split under one protocol; ``metrics`` is the content of ``metrics.json``."""

    evaluation: Evaluation
    folder: Path
    metrics: dict[str, Any] | None

    @property
    def counts_file(self) -> Path:
        return self.folder / "counts.npz"


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that is known of one cell."""

    cell: Cell
    status: Status
    reason: str | None
    """One line: why it is not ``done``."""
    log: Path | None
    """Log of the step that did not end well, where there is one."""
    log_tail: tuple[str, ...]
    provenance: dict[str, Any] | None
    cost: dict[str, Any] | None
    speed: dict[str, Any] | None
    tests: tuple[Test, ...]
    train: Path
    """Folder of the model, its log and its provenance."""


def collect(plan: Plan, results: Path) -> tuple[Record, ...]:
    """One record per cell, in the plan's order."""
    return tuple(_record(plan, results, cell) for cell in plan.cells)


def not_comparable(cell: Cell) -> list[str]:
    """Why the numbers of a cell say nothing about a published one; empty: nothing speaks against them."""
    reasons = {
        "embedded toy data": cell.dataset in MACHINERY_CHECKS,
        "a quick recipe": is_quick(cell),
        f"at most {cell.limit} images of each split": cell.limit is not None,
    }
    return [reason for reason, holds in reasons.items() if holds]


def is_quick(cell: Cell) -> bool:
    """Whether the recipe says by its name that it is too short for a result."""
    return cell.recipe_name.split("_")[0] == "quick"


def num_images(cell: Cell, manifest: dict[str, Any], split: str) -> int:
    """Images of a split that the cell is trained or tested on."""
    there = len(manifest["splits"][split])
    return there if cell.limit is None else min(there, cell.limit)


def method_label(cell: Cell) -> str:
    return f"{cell.method} · {cell.variant}" if cell.variant else cell.method


def describe_protocol(protocol: Protocol) -> str:
    """In words, e.g. ``whole image, scale 1, no flip``."""
    if protocol.mode == "whole":
        words = ["whole image"]
    else:
        words = [f"sliding window {_size(protocol.crop_hw)}", f"stride {_size(protocol.stride_hw)}"]
    if protocol.resize_hw is not None:
        words.append(
            f"resized to {_size(protocol.resize_hw)}{'' if protocol.keep_aspect else ' without aspect'}"
        )
    scales = ", ".join(f"{scale:g}" for scale in protocol.scales)
    words.append(f"scale{'s' * (len(protocol.scales) > 1)} {scales}")
    words.append("flip" if protocol.flip else "no flip")
    if protocol.flip or len(protocol.scales) > 1:
        words.append(f"{protocol.average} averaged")
    return ", ".join(words)


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file, ``None`` when it does not exist; ``ValueError`` when it is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"{path}: not valid JSON; delete it and run the workflow again") from None


def read_manifest(data: str | os.PathLike, dataset: str) -> dict[str, Any] | None:
    """A data set's manifest in the folder ``data`` of prepared ones, ``None`` when it is not prepared."""
    return read_json(Path(data) / dataset / "manifest.json")


def read_manifests(data: str | os.PathLike, records: Sequence[Record]) -> dict[str, dict[str, Any] | None]:
    """:func:`read_manifest` of every data set of the records, by its name."""
    return {
        name: read_manifest(data, name) for name in dict.fromkeys(record.cell.dataset for record in records)
    }


def _size(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[0]}×{size_hw[1]}"


def _record(plan: Plan, results: Path, cell: Cell) -> Record:
    damages: list[str] = []

    def read(path: Path) -> dict[str, Any] | None:
        try:
            return read_json(path)
        except ValueError as error:  # costs this cell, not the report
            damages.append(str(error))
            return None

    train = paths.train_folder(results, cell)
    provenance = read(train / "provenance.json")
    tests = []
    for evaluation in plan.evaluations(cell):
        folder = paths.evaluation_folder(results, cell, evaluation.name)
        prediction, metrics = read(folder / "prediction.json"), read(folder / "metrics.json")
        if _is_stale(prediction, provenance):
            metrics = None
        tests.append(Test(evaluation=evaluation, folder=folder, metrics=metrics))
    cost = read(paths.complexity_file(results, cell))
    speed = read(paths.speed_file(results, cell))
    status, reason, log = _state(plan, results, cell, provenance, tests)
    if damages:
        status, reason, log = "failed", damages[0], None
    return Record(
        cell=cell,
        status=status,
        reason=" ".join(reason.split()) if reason else None,
        log=log,
        log_tail=_tail(log) if log else (),
        provenance=provenance,
        cost=cost,
        speed=speed,
        tests=tuple(tests),
        train=train,
    )


def _is_stale(prediction: dict[str, Any] | None, provenance: dict[str, Any] | None) -> bool:
    """Whether a test is left over from an earlier training of the cell: one that failed or was stopped since
    leaves the metrics of the one before. By recorded times, since copies of results lose those of files.
    """
    return provenance is None or (prediction is not None and prediction["finished"] < provenance["finished"])


def _state(
    plan: Plan, results: Path, cell: Cell, provenance: dict[str, Any] | None, tests: list[Test]
) -> tuple[Status, str | None, Path | None]:
    """Status, reason and log of the first step of a cell that left no result."""
    if provenance is None:
        failure = read_json(paths.cell_folder(results, cell) / "checkpoints" / "failed.json")
        log = paths.log_file(plan.config.logs, cell, "train")
        if failure is not None:
            return "failed", f"train: {failure['reason']}", log if log.is_file() else None
        if log.is_file():
            return _judge("train", log)
        for step in ("prepare", "download"):
            log = Path(plan.config.logs) / "data" / cell.dataset / f"{step}.log"
            if read_manifest(plan.config.data, cell.dataset) is None and log.is_file():
                return _judge(f"{step} {cell.dataset}", log)
        return "missing", "train: has not run", None
    for test in tests:
        if test.metrics is None:
            step = "score" if (test.folder / "predictions").is_dir() else "predict"
            log = paths.log_file(plan.config.logs, cell, f"{test.evaluation.name}/{step}")
            what = f"{step} {test.evaluation.name}"
            return _judge(what, log) if log.is_file() else ("missing", f"{what}: has not run", None)
    return "done", None, None


def _judge(step: str, log: Path) -> tuple[Status, str, Path]:
    """What the log of a step without a result says about it."""
    errors = [line for line in _tail(log) if ": error: " in line or re.match(r"[\w.]*Error\b", line)]
    if errors:
        return "failed", f"{step}: {errors[-1].split(': error: ')[-1]}", log
    return "unfinished", f"{step}: started and left no result (stopped, or still running)", log


def _tail(log: Path) -> tuple[str, ...]:
    """The last lines of a log, without terminal colours and overwritten progress bars."""
    with open(log, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 20_000))
        text = file.read().decode("utf-8", "replace")
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    lines = [line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n")]
    return tuple(line for line in lines if line)[-LOG_TAIL_LINES:]
