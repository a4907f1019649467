"""Training hours and disk of planned cells, from what past trainings recorded; never from a guess.

Hours are given for every hardware that the results know, since a plan may be made on a login node:
first from trainings of the same model, crop, batch and arithmetic, else from the rate of multiply-adds of
other trainings on that hardware. Without either the hours are unknown, and the plan says so.
"""

import functools
import shutil
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seglib.core import registry
from seglib.core.typed import canonical_json
from seglib.experiment import paths
from seglib.experiment.cell import Cell
from seglib.experiment.config import Plan
from seglib.experiment.records import Cost, Training, read

SPEED_KEYS = ("batch_size", "accumulate", "crop_hw", "precision", "channels_last", "compile", "threads")
"""Of a recipe: what the time of one step depends on."""
BYTES_PER_PARAMETER = 4
OPTIMISER_COPIES = {"sgd": 1, "adamw": 2}
CHECKPOINTS = 3
"""At most while a cell trains: ``KEEP`` of :mod:`seglib.training.checkpoints`, and the one being written."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """A finished training."""

    hardware: str
    speed_key: str
    model_key: str
    images_per_s: float
    """Of each device: hours are device hours, over however many a training is spread."""
    gmacs: float | None
    """Of one image, convolutions and matrix products; ``None`` where its cost was not counted."""
    model_bytes: int | None
    """``None`` where the model was not kept."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Device hours of all planned trainings on one hardware."""

    hardware: str
    is_gpu: bool
    timed: int
    """Cells whose like was timed there."""
    from_gmacs: int
    """Cells estimated from the rate of multiply-adds."""
    unknown: int
    hours: float
    """Of the timed and the estimated cells."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    trainings: int
    hours: tuple[Hours, ...]
    disk_bytes: int
    """Results that would be new; what is replaced costs nothing."""
    disk_unknown: tuple[str, ...]
    """What is not part of ``disk_bytes``, because nothing like it was ever written here."""
    checkpoint_bytes: int | None
    """The most that one training needs beside its result while it runs."""
    free_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For a terminal."""
        lines = []
        if self.trainings and not self.hours:
            lines.append("Training time: not known, since no training was timed here yet.")
        for hours in self.hours:
            sources = [
                f"{hours.timed} from trainings of the same model and crop" * bool(hours.timed),
                f"{hours.from_gmacs} from gmacs at the rate of other trainings" * bool(hours.from_gmacs),
                f"{hours.unknown} not known" * bool(hours.unknown),
            ]
            unit = "GPU hours" if hours.is_gpu else "hours"
            known = hours.timed + hours.from_gmacs
            text = f"{hours.hours:.3g} {unit}" + (f" and more ({known} cells)" if hours.unknown else "")
            lines.append(
                f"Training time on {hours.hardware}: {text if known else 'not known'}"
                f" [{'; '.join(filter(None, sources))}]"
            )
        if any(hours.unknown for hours in self.hours):
            lines.append(
                "    snakemake --cores all --until complexity counts the multiply-adds that tell more"
            )
        lines.append(
            f"Disk: {_size(self.disk_bytes)} more; {_size(self.free_bytes)} are free"
            + (f". Not known: {', '.join(self.disk_unknown)}" if self.disk_unknown else "")
        )
        if self.checkpoint_bytes is not None:
            lines.append(f"    and up to {_size(self.checkpoint_bytes)} for each training while it runs")
        if self.disk_bytes > self.free_bytes:
            lines.append("    THAT DOES NOT FIT: free some, or set `results` to a folder on another disk")
        return lines


def estimate(
    plan: Plan,
    *,
    trained: Sequence[str],
    tested: Sequence[tuple[str, str]],
    downloaded: Sequence[str],
) -> Forecast:
    """``trained``: ids of cells; ``tested``: cell and test; ``downloaded``: data sets."""
    results = Path(plan.config.results)
    cells = {cell.id: cell for cell in plan.cells}
    past = tuple(_past_trainings(results))
    jobs = [cells[id] for id in trained if id in cells]
    unknown: list[str] = []
    disk = _models_bytes(jobs, past, results, unknown)
    disk += _tests_bytes([(cells[id], test) for id, test in tested if id in cells], results, unknown)
    for dataset in downloaded:
        if registry.resolve(registry.DATASETS[dataset]).SOURCES:
            unknown.append(f"the data set {dataset}")
    copies = [
        (1 + OPTIMISER_COPIES[cell.recipe.optimizer]) * size
        for cell in jobs
        if (size := _model_bytes(cell, past, results)) is not None
    ]
    return Forecast(
        trainings=len(jobs),
        hours=tuple(_hours(plan, jobs, past)),
        disk_bytes=disk,
        disk_unknown=tuple(unknown),
        checkpoint_bytes=CHECKPOINTS * max(copies) if copies else None,
        free_bytes=shutil.disk_usage(_existing(results)).free,
    )


def _hours(plan: Plan, jobs: Sequence[Cell], past: Sequence[Past]) -> Iterator[Hours]:
    if not jobs:
        return
    by_hardware: dict[str, list[Past]] = defaultdict(list)
    for training in past:
        by_hardware[training.hardware].append(training)
    images = {cell.id: _images(cell) for cell in jobs}
    gmacs = {cell.id: _gmacs(Path(plan.config.results), cell) for cell in jobs}
    for hardware, trainings in sorted(by_hardware.items()):
        speeds: dict[str, list[float]] = defaultdict(list)
        for training in trainings:
            speeds[training.speed_key].append(training.images_per_s)
        rates = [t.images_per_s * t.gmacs for t in trainings if t.gmacs is not None]
        timed = estimated = 0
        seconds = 0.0
        for cell in jobs:
            if (found := speeds.get(_speed_key(cell))) is not None:
                timed += 1
                seconds += images[cell.id] / statistics.median(found)
            elif rates and gmacs[cell.id] is not None:
                estimated += 1
                seconds += images[cell.id] * gmacs[cell.id] / statistics.median(rates)
        yield Hours(
            hardware=hardware.removeprefix("GPU "),
            is_gpu=hardware.startswith("GPU "),
            timed=timed,
            from_gmacs=estimated,
            unknown=len(jobs) - timed - estimated,
            hours=seconds / 3600,
        )


def _past_trainings(results: Path) -> Iterator[Past]:
    """Of any configuration that shares the folder; a record that cannot be read tells nothing."""
    for train in paths.find_trainings(results):
        try:
            training, cell = read(Training, train / "provenance.json"), read(Cell, train / "cell.json")
        except (OSError, ValueError):
            continue
        if training is None or cell is None:
            continue
        if len({(one.device, one.gpu, one.cpu, one.processes) for one in training.attempts}) > 1:
            continue  # its time says nothing of either
        model = train / "model.safetensors"
        hardware = f"GPU {training.gpu}" if training.device == "cuda" else training.cpu
        yield Past(
            hardware=hardware,
            speed_key=_speed_key(cell),
            model_key=_model_key(cell),
            images_per_s=training.images_per_s / training.processes,
            gmacs=_gmacs(results, cell),
            model_bytes=model.stat().st_size if model.exists() else None,
        )


def _models_bytes(jobs: Iterable[Cell], past: Sequence[Past], results: Path, unknown: list[str]) -> int:
    total = missing = 0
    for cell in jobs:
        if (paths.train_folder(results, cell) / "model.safetensors").exists():
            continue
        size = _model_bytes(cell, past, results)
        total, missing = total + (size or 0), missing + (size is None)
    if missing:
        unknown.append(f"{missing} models")
    return total


def _tests_bytes(tests: Iterable[tuple[Cell, str]], results: Path, unknown: list[str]) -> int:
    """Predictions and counts, as large as those that the data set's split had so far."""
    known: dict[tuple[str, str], int | None] = {}
    total, missing = 0, 0
    for cell, test in tests:
        if (paths.evaluation_folder(results, cell, test) / "metrics.json").exists():
            continue
        split = test.partition("-")[0]
        if (cell.dataset, split) not in known:
            folders = results.glob(f"cells/{cell.dataset}/*/*/*/seed*/{split}-*/counts.npz")
            sizes = [_folder_bytes(file.parent) for _, file in zip(range(5), folders, strict=False)]
            known[cell.dataset, split] = round(statistics.mean(sizes)) if sizes else None
        size = known[cell.dataset, split]
        total, missing = total + (size or 0), missing + (size is None)
    if missing:
        unknown.append(f"predictions of {missing} tests")
    return total


def _model_bytes(cell: Cell, past: Sequence[Past], results: Path) -> int | None:
    for training in past:
        if training.model_bytes is not None and training.model_key == _model_key(cell):
            return training.model_bytes
    cost = _cost(paths.complexity_file(results, cell))
    return cost and BYTES_PER_PARAMETER * cost.params


def _speed_key(cell: Cell) -> str:
    recipe = {name: getattr(cell.recipe, name) for name in SPEED_KEYS}
    return canonical_json([_model_key(cell), recipe])


def _model_key(cell: Cell) -> str:
    backbone = [cell.backbone.model, cell.backbone.output_stride, cell.backbone.options]
    return canonical_json([cell.dataset, cell.method, cell.method_options, backbone])


def _images(cell: Cell) -> int:
    size = registry.resolve(registry.DATASETS[cell.dataset]).SPLITS["train"].size
    return cell.recipe.images(size if cell.limit is None else min(size, cell.limit))


def _gmacs(results: Path, cell: Cell) -> float | None:
    cost = _cost(paths.complexity_file(results, cell))
    return cost and cost.gmacs_conv_matmul


@functools.cache
def _cost(path: Path) -> Cost | None:
    try:
        return read(Cost, path)
    except (OSError, ValueError):  # damaged: it tells nothing
        return None


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _existing(folder: Path) -> Path:
    """The folder or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _size(count: float) -> str:
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while count >= 1000 and len(units) > 1:
        count /= 1024
        units.pop(0)
    return f"{count:.3g} {units[0]}"
