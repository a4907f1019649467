"""What exists of a plan: each cell's training, tests and cost, or why they are absent.

Reads files only. A cell that failed or never ran is a record like any other, so that no table or
page can lose it. A result counts for a plan only if it recorded the very values that the plan has.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from seglib.core import checksums
from seglib.core.typed import canonical_json
from seglib.experiment import paths, records
from seglib.experiment.cell import Cell
from seglib.experiment.changes import changed_values
from seglib.experiment.config import Evaluation, Plan
from seglib.experiment.recipe import NO_WEIGHTS, Protocol
from seglib.experiment.records import (
    Attempt,
    Cost,
    Failure,
    Manifest,
    Metrics,
    Prediction,
    Scoring,
    Speed,
    Training,
)
from seglib.metrics.counts import FILE_NAME, Counts

C = TypeVar("C", Cost, Speed)
Status = Literal["done", "failed", "unfinished", "outdated", "missing"]
TROUBLES: tuple[Status, ...] = ("failed", "unfinished", "outdated", "missing")
"""In the order in which a report names them."""
LOG_TAIL_LINES = 20
STEPS = {Cost: "complexity", Speed: "speed"}
MACHINERY_CHECKS = {"scenes"}
"""Data sets that exist to exercise the code, not to measure methods."""


@dataclass(frozen=True, kw_only=True)
class State:
    """How far a training or a test is."""

    status: Status = "done"
    reason: str | None = None
    """One line: why it is not ``done``, and which step is the reason."""
    log: Path | None = None
    """Log of the step that did not end well, where there is one."""


@dataclass(frozen=True, kw_only=True)
class Test(State):
    """One split under one protocol; not ``done`` where its training is not."""

    evaluation: Evaluation
    folder: Path
    metrics: Metrics | None
    """``None`` unless it is ``done``."""

    @property
    def counts_file(self) -> Path:
        return self.folder / FILE_NAME


@dataclass(frozen=True, kw_only=True)
class CellResult(State):
    """All that is known of one cell; its state is that of its first part that is not ``done``."""

    cell: Cell
    """As it is planned; a frozen one that has run: as it ran."""
    changed: tuple[str, ...] = ()
    """What a frozen cell that has run would have otherwise today, e.g. ``recipe.lr: 0.1 -> 0.2``."""
    log_tail: tuple[str, ...] = ()
    provenance: Training | None
    """``None`` too where what was trained is not this cell."""
    cost: Cost | None
    speed: Speed | None
    tests: tuple[Test, ...]
    train: Path
    """Folder of the model, its log and its provenance."""

    @property
    def part(self) -> str:
        """What to say behind a name where it ran with other values than that name stands for today."""
        return f" (frozen; today {'; '.join(self.changed)})" if self.changed else ""

    @property
    def attempts(self) -> Sequence[Attempt | Training]:
        """What each process that worked at the training said of its machine, versions and source."""
        if self.provenance is None:
            return ()
        return self.provenance.attempts or (self.provenance,)  # older trainings: the last one's


def collect(plan: Plan, results: Path) -> tuple[CellResult, ...]:
    """One record per cell, in the plan's order."""
    return tuple(_record(plan, results, cell) for cell in plan.cells)


def find(results: Path) -> Iterator[CellResult]:
    """The trainings that lie in a results folder, of whatever configuration, with their tests."""
    for train in paths.find_trainings(results):
        cell, training = (
            records.read(Cell, train / "cell.json"),
            records.read(Training, train / "provenance.json"),
        )
        if cell is not None and training is not None:
            tests = (_find_test(file.parent) for file in sorted(train.parent.glob("*/metrics.json")))
            cost = records.read(Cost, paths.complexity_file(results, cell))
            speed = records.read(Speed, paths.speed_file(results, cell))
            yield CellResult(
                cell=cell,
                provenance=training,
                cost=cost if cost and _is_of(cost, cell) else None,
                speed=speed if speed and _is_of(speed, cell) else None,
                tests=tuple(test for test in tests if test is not None),
                train=train,
            )


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


def num_images(cell: Cell, manifest: Manifest, split: str) -> int:
    """Images of a split that the cell is trained or tested on."""
    there = len(manifest.splits[split])
    return there if cell.limit is None else min(there, cell.limit)


def devices(trained: Sequence[CellResult]) -> list[str]:
    """The kinds of GPU, or CPU where there was none, that trainings ran on."""
    attempts = (attempt for record in trained for attempt in record.attempts)
    return list(dict.fromkeys(attempt.gpu or attempt.cpu for attempt in attempts))


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


def read_manifest(data: str | os.PathLike, dataset: str) -> Manifest | None:
    """A data set's manifest in the folder ``data`` of prepared ones, ``None`` when it is not prepared."""
    return records.read(Manifest, Path(data) / dataset / "manifest.json")


def read_manifests(data: str | os.PathLike, results: Sequence[CellResult]) -> dict[str, Manifest | None]:
    """:func:`read_manifest` of every data set of the results, by its name."""
    return {name: read_manifest(data, name) for name in dict.fromkeys(one.cell.dataset for one in results)}


def predictions_digest(test: Path) -> str | None:
    """One SHA-256 over the predictions that a test wrote, as its seal has them: they need not be here.

    ``None`` without a seal; ``ValueError`` when it is damaged.
    """
    seal, folder = test / "predict.sha256", test / "predictions"
    if not seal.is_file():
        return None
    files = checksums.sealed_files(seal).items()
    written = {file.relative_to(folder).as_posix(): d for file, d in files if file.is_relative_to(folder)}
    return checksums.checksums_digest(written)


def _size(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[0]}×{size_hw[1]}"


def _record(plan: Plan, results: Path, planned: Cell) -> CellResult:
    try:
        cell, changed, provenance, trained = _training(plan, results, planned)
    except ValueError as error:  # a damaged file costs this cell, not the report
        cell, changed, provenance, trained = planned, (), None, State(status="failed", reason=str(error))
    tests = tuple(_test(plan, results, cell, evaluation, trained) for evaluation in plan.evaluations(planned))
    cost, costed = _cost(Cost, plan, results, cell, paths.complexity_file(results, cell))
    speed, timed = _cost(Speed, plan, results, cell, paths.speed_file(results, cell))
    parts = (trained, *tests, costed, timed)
    first = next((part for part in parts if part.status != "done"), trained)
    return CellResult(
        cell=cell,
        changed=changed,
        status=first.status,
        reason=first.reason,
        log=first.log,
        log_tail=_tail(first.log) if first.log else (),
        provenance=provenance,
        cost=cost,
        speed=speed,
        tests=tests,
        train=paths.train_folder(results, planned),
    )


def _training(
    plan: Plan, results: Path, planned: Cell
) -> tuple[Cell, tuple[str, ...], Training | None, State]:
    """The first four of what a :class:`CellResult` says: cell, what changed of it, provenance, state."""
    folder = paths.train_folder(results, planned)
    provenance = records.read(Training, folder / "provenance.json")
    if provenance is None:
        return planned, (), None, _untrained(plan, results, planned)
    ran = records.read(Cell, folder / "cell.json")
    if ran is None:
        raise ValueError(f"{folder}/cell.json: gone, so what ran is not known; delete {folder} and run again")
    changed = _changed(ran, planned)
    if not changed:
        return planned, (), provenance, State()
    if ran.id == planned.id and planned.id in plan.frozen:
        return ran, changed, provenance, State()
    return planned, (), None, _outdated("train", changed)


def _test(plan: Plan, results: Path, cell: Cell, evaluation: Evaluation, trained: State) -> Test:
    folder, metrics, state = paths.evaluation_folder(results, cell, evaluation.name), None, trained
    if trained.status == "done":
        try:
            metrics, state = _scored(plan, cell, evaluation, folder)
        except ValueError as error:
            state = State(status="failed", reason=str(error))
    return Test(evaluation=evaluation, folder=folder, metrics=metrics, **vars(state))


def _find_test(folder: Path) -> Test | None:
    """The test in a folder; ``None`` where its numbers are not of the model and predictions beside them."""
    prediction, metrics = _read_test(folder)
    if prediction is None or metrics is None:
        return None
    name = folder.name.removeprefix(f"{prediction.split}-")
    evaluation = Evaluation(split=prediction.split, protocol_name=name, protocol=prediction.protocol)
    return Test(evaluation=evaluation, folder=folder, metrics=metrics)


def _read_test(folder: Path) -> tuple[Prediction | None, Metrics | None]:
    """What a test recorded; no metrics where these are of another model or of other predictions."""
    prediction = records.read(Prediction, folder / "prediction.json")
    metrics = records.read(Metrics, folder / "metrics.json")
    # What a step that failed or was stopped since leaves is from the run before: of another model. Not by
    # times: copies of results lose those of files, and an equal model may have been trained again later.
    train = folder.parent / "train"
    model = checksums.digest_sealed(train / "model.safetensors", train / "train.sha256")
    is_current = prediction is not None and model in (None, prediction.model_sha256)
    return prediction, metrics if is_current and not _counted_others(folder) else None


def _scored(plan: Plan, cell: Cell, evaluation: Evaluation, folder: Path) -> tuple[Metrics | None, State]:
    """The metrics of a trained cell's test, and how far it is."""
    prediction, metrics = _read_test(folder)
    if prediction is None or metrics is None:
        step = "score" if (folder / "predictions").is_dir() else "predict"
        log = paths.log_file(plan.config.logs, cell, f"{evaluation.name}/{step}")
        what = f"{step} {evaluation.name}"
        missing = State(status="missing", reason=f"{what}: has not run")
        return None, _judge(what, log) if log.is_file() else missing
    ran = replace(evaluation, split=prediction.split, protocol=prediction.protocol)
    if changed := _changed(ran, evaluation):
        return None, _outdated(f"predict {evaluation.name}", changed)
    scored, wanted = metrics.settings.boundary_ratio, plan.config.boundary_ratio
    if scored != wanted:
        return None, _outdated(f"score {evaluation.name}", [f"boundary_ratio: {scored} -> {wanted}"])
    if (counts := folder / FILE_NAME).is_file():
        Counts.load(counts)  # a damaged one is named here, once for all who read it
    return metrics, State()


def _counted_others(folder: Path) -> bool:
    """Whether a test predicted again after it was scored."""
    scoring, written = records.read(Scoring, folder / "scoring.json"), predictions_digest(folder)
    return scoring is not None and written not in (None, scoring.predictions_sha256)


def _cost(kind: type[C], plan: Plan, results: Path, cell: Cell, path: Path) -> tuple[C | None, State]:
    """A cost of the cell's model, ``None`` where it was counted of another; and whether it was counted.

    Without file and log it counts as left out on purpose, as where results are published.
    """
    try:
        cost = records.read(kind, path)
    except ValueError as error:
        return None, State(status="failed", reason=str(error))
    if cost is None:
        log, step = paths.model_log_file(plan.config.logs, results, path), STEPS[kind]
        return None, _judge(f"{step} {cell.model_name}", log) if log.is_file() else State()
    return cost if _is_of(cost, cell) else None, State()


def _is_of(cost: Cost | Speed, cell: Cell) -> bool:
    """Whether the cost is that of the cell's model."""
    measured = replace(cost.backbone, **NO_WEIGHTS), cost.method_options
    wanted = replace(cell.backbone, **NO_WEIGHTS), cell.method_options
    return canonical_json(measured) == canonical_json(wanted)


def _changed(ran: Any, planned: Any) -> tuple[str, ...]:
    """Where the settings that a step recorded differ from those planned."""
    return tuple(changed_values(canonical_json(ran), canonical_json(planned)))


def _outdated(step: str, changed: Sequence[str]) -> State:
    return State(status="outdated", reason=f"{step}: result has other values: {'; '.join(changed)}")


def _untrained(plan: Plan, results: Path, cell: Cell) -> State:
    """Why there is no training."""
    failure = records.read(Failure, paths.cell_folder(results, cell) / "checkpoints" / "failed.json")
    log = paths.log_file(plan.config.logs, cell, "train")
    if failure is not None:
        reason = " ".join(f"train: {failure.reason}".split())
        return State(status="failed", reason=reason, log=log if log.is_file() else None)
    if log.is_file():
        return _judge("train", log)
    for step in ("prepare", "download"):
        log = Path(plan.config.logs) / "data" / cell.dataset / f"{step}.log"
        if read_manifest(plan.config.data, cell.dataset) is None and log.is_file():
            return _judge(f"{step} {cell.dataset}", log)
    return State(status="missing", reason="train: has not run")


def _judge(step: str, log: Path) -> State:
    """What the log of a step without a result says about it."""
    errors = [line for line in _tail(log) if ": error: " in line or re.match(r"[\w.]*Error\b", line)]
    if errors:
        reason = " ".join(f"{step}: {errors[-1].split(': error: ')[-1]}".split())
        return State(status="failed", reason=reason, log=log)
    reason = f"{step}: started and left no result (stopped, or still running)"
    return State(status="unfinished", reason=reason, log=log)


def _tail(log: Path) -> tuple[str, ...]:
    """The last lines of a log, without terminal colours and overwritten progress bars."""
    with open(log, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 20_000))
        text = file.read().decode("utf-8", "replace")
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    lines = [line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n")]
    return tuple(line for line in lines if line)[-LOG_TAIL_LINES:]
