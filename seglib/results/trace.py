"""Walk a number back to where it comes from, and check every hash on the way.

    seglib trace results/cells/scenes/fcn/resnet10t/quick/seed0/val-ss/metrics.json
    seglib trace scenes/fcn/resnet10t/quick/seed0          (all tests of a cell)
    seglib trace results/summary.csv:2                     (the row in that line)

    summary.csv -> metrics.json -> counts.npz -> predictions -> model -> cell, data, source commit

The metrics are computed again from the counts. What cannot be checked here (predictions that were not kept,
data that lie on another machine) is said, and is no fault. Torch is not imported.
"""

import csv
import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from seglib.core import checksums, code_digest, provenance
from seglib.core.code_digest import Commit
from seglib.core.typed import plain
from seglib.data.label_formats import read_label_png
from seglib.data.prepare import data_digest
from seglib.evaluation import score
from seglib.experiment import records
from seglib.experiment.cell import Cell
from seglib.experiment.records import ImagePair, Manifest, Metrics, Prediction, Scoring, Training
from seglib.metrics.counts import Counts
from seglib.results.inventory import predictions_digest

R = TypeVar("R")
MARKS = {"ok": "ok     ", "wrong": "WRONG  ", "unchecked": "-      "}
MODEL = "model.safetensors"
METRICS = ("miou", "boundary_iou", "pixel_accuracy")
ROW = ("cell", "split", "protocol", "status", "reason", *METRICS)
"""Columns of ``summary.csv`` that lead from a row to its result."""
TOLERANCE = 1e-12
"""Between metrics of the same counts: numpy may add in another order elsewhere."""


@dataclass(frozen=True)
class Check:
    """One link of the chain."""

    state: Literal["ok", "wrong", "unchecked"]
    what: str

    def __str__(self) -> str:
        return f"  {MARKS[self.state]}{self.what}"


def run(*, result: str, results: Path, data: Path) -> None:
    """Print the chain behind a result. ``ValueError`` (exit code 2) when a link is wrong or none is found."""
    found = list(_find(result, results))
    wrong = 0
    for test, row in found:
        print(test)
        for check in trace_test(test, data=data, row=row):
            print(check)
            wrong += check.state == "wrong"
    if wrong:
        raise ValueError(
            f"{wrong} links do not hold (WRONG above): this number does not follow from what lies here"
        )


def trace_test(test: Path, *, data: Path, row: dict[str, str] | None = None) -> Iterator[Check]:
    """All links behind the ``metrics.json`` in the folder ``test`` of a cell."""
    metrics = _read(Metrics, test / "metrics.json")
    if row is not None:
        yield _check_row(row, metrics)
    yield _recomputed(test, metrics)
    yield from _sealed(test / "score.sha256")
    yield from _scored(test)
    prediction = _read(Prediction, test / "prediction.json")
    training = _read(Training, test.parent / "train" / "provenance.json")
    yield from _sealed(test / "predict.sha256")
    yield _equal("the predictions are of this model (SHA-256)", prediction.model_sha256, _model(test.parent))
    yield from _sealed(test.parent / "train" / "train.sha256")
    try:
        cell = _read(Cell, test.parent / "train" / "cell.json")
    except ValueError as error:  # of a version with other settings
        yield Check("unchecked", f"cell, data and source: {error}")
        return
    yield _equal("cell.json belongs to this folder", cell.id, "/".join(test.parent.parts[-5:]))
    yield from _data(data / cell.dataset, prediction, training, test)
    for step, record in (("train", training), ("predict", prediction)):
        yield _source(step, record, cell.method)


def _find(result: str, results: Path) -> Iterator[tuple[Path, dict[str, str] | None]]:
    """Folders of tests, each with its row of the table where one was named."""
    file, _, line = result.rpartition(":")
    if line.isdecimal() and file.endswith(".csv"):
        row = _read_row(Path(file), int(line))
        test = f"{row['split']}-{row['protocol']}"
        yield Path(file).parent / "cells" / row["cell"] / test, row
        return
    place = Path(result)
    if place.name == "metrics.json":
        place = place.parent
    if not place.exists():
        place = results / "cells" / result
    tests = (
        [place] if (place / "metrics.json").is_file() else [f.parent for f in place.glob("*/metrics.json")]
    )
    if not tests:
        raise ValueError(
            f"{result}: no result; give a metrics.json, a row such as {results}/summary.csv:2, or the id of "
            f"a cell below {results}/cells"
        )
    yield from ((test, None) for test in sorted(tests))


def _read_row(file: Path, line: int) -> dict[str, str]:
    table = csv.DictReader(file.read_text("utf-8").splitlines())
    if missing := [name for name in ROW if name not in (table.fieldnames or ())]:
        raise ValueError(f"{file}: no column {missing[0]!r}; give a row of a results folder's summary.csv")
    rows = list(table)
    if not 2 <= line <= len(rows) + 1:
        raise ValueError(f"{file}: line {line} is no row; they are in lines 2 to {len(rows) + 1}")
    if rows[line - 2]["status"] != "done":
        raise ValueError(f"{file}:{line}: has no result ({rows[line - 2]['reason']})")
    return rows[line - 2]


def _check_row(row: dict[str, str], metrics: Metrics) -> Check:
    names = [name for name in METRICS if row[name]]
    other = [name for name in names if row[name] != f"{getattr(metrics, name):.6f}"]
    what = f"the row has the {', '.join(names)} of metrics.json"
    return Check("wrong" if other else "ok", f"{what}: not {', '.join(other)}" if other else what)


def _recomputed(test: Path, metrics: Metrics) -> Check:
    """Everything in ``metrics.json`` that follows from the counts alone."""
    counts = Counts.load(test / "counts.npz")
    class_table = [(name, None) for name in metrics.class_names]
    again = plain(score.summarize(counts, class_table, num_labels=metrics.num_labels))
    # Policies are prose, and may have been worded anew since.
    again["settings"] = {key: again["settings"][key] for key in asdict(counts.settings)}
    recorded = plain(metrics)
    other = [name for name, value in again.items() if not _close(value, recorded.get(name))]
    what = f"metrics.json follows from counts.npz ({len(counts.images)} images)"
    return Check("wrong" if other else "ok", f"{what}: not {', '.join(other)}" if other else what)


def _close(again: Any, recorded: Any) -> bool:
    if isinstance(again, dict):
        return isinstance(recorded, dict) and all(_close(v, recorded.get(k)) for k, v in again.items())
    if isinstance(again, list):
        return (
            isinstance(recorded, list)
            and len(again) == len(recorded)
            and all(_close(a, b) for a, b in zip(again, recorded, strict=True))
        )
    if isinstance(again, float) and isinstance(recorded, (int, float)):
        return abs(again - recorded) <= TOLERANCE * max(1.0, abs(again))
    return again == recorded


def _sealed(seal: Path) -> Iterator[Check]:
    if not seal.is_file():
        yield Check("unchecked", f"{seal.name}: not there, so the step's files cannot be checked")
        return
    faults = list(checksums.faults(seal))
    gone = Counter()
    for fault in faults:
        name = _part(fault.path, seal)
        if fault.what == checksums.GONE and name in checksums.LARGE:  # may have been left behind
            gone[name] += 1
        else:
            yield Check("wrong", str(fault))
    for name, count in gone.items():
        yield Check("unchecked", f"{name}: {'gone' if name == MODEL else f'{count} files are gone'}")
    if not faults:
        names = {_part(path, seal) for path in checksums.sealed_files(seal)}
        yield Check("ok", f"{', '.join(sorted(names))}: as written ({seal.name})")


def _part(path: Path, seal: Path) -> str:
    """The file or folder beside the seal that ``path`` is or lies in."""
    return path.relative_to(seal.parent).parts[0]


def _model(cell: Path) -> str | None:
    """SHA-256 of the cell's model; of one that was not handed on, what the seal of its training says."""
    return checksums.digest_written(cell / "train" / MODEL, cell / "train" / "train.sha256")


def _scored(test: Path) -> Iterator[Check]:
    """The counts are of these predictions."""
    if not (test / "scoring.json").is_file() or not (test / "predict.sha256").is_file():
        yield Check("unchecked", "which predictions were counted: no score.json or no predict.sha256")
        return
    yield _equal(
        "the counts are of these predictions (SHA-256)",
        _read(Scoring, test / "scoring.json").predictions_sha256,
        predictions_digest(test),
    )


def _data(folder: Path, prediction: Prediction, training: Training, test: Path) -> Iterator[Check]:
    """Trained, predicted and scored on the data that lie here."""
    yield _equal("trained and tested on the same data", training.data_digest, prediction.data_digest)
    if not (folder / "manifest.json").is_file():
        yield Check("unchecked", f"{folder}: the data set is not here (data digest {training.data_digest})")
        return
    manifest = _read(Manifest, folder / "manifest.json")
    table = {name: getattr(manifest, name) for name in ("classes", "flip_pairs", "ignore_index")}
    yield _equal(
        "the data digest follows from manifest.json",
        manifest.data_digest,
        data_digest(manifest.splits, table),
    )
    yield _equal(f"these data are those in {folder}", training.data_digest, manifest.data_digest)
    for split in dict.fromkeys(("train", prediction.split)):
        pairs = manifest.splits[split]
        with ThreadPoolExecutor(checksums.THREADS) as pool:
            wrong = list(filter(None, pool.map(lambda pair: _pair_fault(folder, pair), pairs)))
        what = f"{split}: {len(pairs)} images and label maps are those of manifest.json"
        yield Check("wrong" if wrong else "ok", f"{what}: not {wrong[0]}" if wrong else what)
    if (test / "scoring.json").is_file():
        images = Counts.load(test / "counts.npz").images  # of a limited cell not the whole split
        names = [f"{name}.png" for name in images]
        labels = folder / "labels" / prediction.split
        recorded = _read(Scoring, test / "scoring.json").labels_sha256
        if all((labels / name).is_file() for name in names):
            same = checksums.files_digest(labels, names) == recorded
            # Equal pixels may be other bytes where another version of Pillow has prepared them.
            yield (
                Check("ok", "the counts are against these label maps (SHA-256)")
                if same
                else Check("unchecked", "the label maps were other files when they were scored against")
            )


def _pair_fault(folder: Path, pair: ImagePair) -> str | None:
    image, label = folder / pair.image, folder / (pair.label or "")
    if checksums.digest_of(image) != pair.image_sha256:
        return str(image)
    try:
        pixels = read_label_png(label)
    except (OSError, ValueError):
        return str(label)
    return None if hashlib.sha256(pixels.tobytes()).hexdigest() == pair.label_sha256 else str(label)


def _source(step: str, record: Training | Prediction, method: str) -> Check:
    """The commit holds the code that ran: its modules have the digests that were recorded."""
    commit = record.commit
    if commit is None:
        return Check("unchecked", f"{step} ran seglib {record.versions['seglib']}, installed without git")
    if record.dirty:
        return Check("unchecked", f"{step} ran commit {commit} with changes that were not committed")
    if shutil.which("git") is None:
        return Check("unchecked", f"{step} ran commit {commit}, and no git is here to ask")
    try:
        code = code_digest.code_at(Commit(provenance.SOURCE.parent, commit), step, method=method)
    except ValueError as error:
        return Check("unchecked", f"{step} ran commit {commit}: {error}")
    return _equal(f"{step} ran the code of commit {commit}", record.code, code)


def _equal(what: str, recorded: Any, found: Any) -> Check:
    return Check("ok" if recorded == found else "wrong", what)


def _read(kind: type[R], path: Path) -> R:
    record = records.read(kind, path)
    if record is None:
        raise ValueError(f"{path}: not there, so the number cannot be walked further back")
    return record
