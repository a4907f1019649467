"""Where each result lies below the ``results`` and ``data`` folders: one place that knows."""

from pathlib import Path

from seglib.experiment.cell import Cell


def data_root_record(raw: Path) -> Path:
    """The path of the user's own files, where these are read in place.

    Not in ``source.json``, which Snakemake deletes before it runs ``download`` again.
    """
    return Path(raw) / ".data_root"


def cell_folder(results: Path, cell: Cell) -> Path:
    """Everything that belongs to one training."""
    return Path(results) / "cells" / cell.id


def train_folder(results: Path, cell: Cell) -> Path:
    """``model.safetensors``, ``cell.json``, ``train_log.jsonl`` and ``provenance.json``."""
    return cell_folder(results, cell) / "train"


def find_trainings(results: Path) -> list[Path]:
    """Every :func:`train_folder` there is, of whatever configuration."""
    return sorted(Path(results).glob("cells/*/*/*/*/seed*/train"))


def evaluation_folder(results: Path, cell: Cell, evaluation: str) -> Path:
    """``predictions/``, ``counts.npz`` and ``metrics.json`` of one split under one protocol."""
    return cell_folder(results, cell) / evaluation


def complexity_file(results: Path, cell: Cell) -> Path:
    """Cost of the cell's model at its training crop: shared by recipes of equal crop and by seeds."""
    height, width = cell.recipe.crop_hw
    return Path(results) / "models" / cell.dataset / cell.model_name / f"{height}x{width}.json"


def speed_file(results: Path, cell: Cell) -> Path:
    """Latency of the same model at the same size on the machine that ran it."""
    return complexity_file(results, cell).with_suffix(".speed.json")


def log_file(logs: Path, cell: Cell, step: str) -> Path:
    """Output of one step of one cell."""
    return Path(logs) / "cells" / cell.id / f"{step}.log"


def model_log_file(logs: Path, results: Path, cost: Path) -> Path:
    """Output of the step that writes ``cost``, a :func:`complexity_file` or :func:`speed_file`."""
    return Path(logs) / cost.relative_to(results).with_suffix(".log")
