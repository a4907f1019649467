"""Score a folder of predicted label PNGs against a folder of labels; needs no configuration and no torch.

    seglib score --predictions runs/mine --labels data/camvid/labels/test --num-classes 11

Files are matched by their path below the two folders. Writes ``metrics.json`` and, beside it,
``counts.npz``, from which any other metric or subset follows without the images. One folder holds one result.
"""

import functools
import math
import os
import signal
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from seglib.core import progress, provenance
from seglib.core.checksums import files_digest, seal, sealed_files
from seglib.core.files import atomic_path
from seglib.data.label_formats import read_label_png
from seglib.evaluation import score_tables
from seglib.evaluation.paired_test import compare, load_other, require_same_task
from seglib.experiment import records
from seglib.experiment.records import Metrics, MetricSettings, PerClass, Scoring
from seglib.metrics import scores
from seglib.metrics.confusion import label_pair
from seglib.metrics.counts import FILE_NAME, Counts, ImageCounts, Settings, count_image

POLICIES = {
    "ignored_pixels": "removed: the prediction is set to ignore where the label is; never a class",
    "absent_classes": "in neither labels nor predictions: undefined, not in the mean; only predicted: "
    "IoU 0, counted; accuracy and boundary F: mean over the classes of the labels",
    "boundary_width_px": "max(1, round(boundary_ratio * sqrt(height^2 + width^2))) per image; "
    "outside the image and ignored pixels count as another class",
    "boundary_f": "contour pixels matched within a disk, pooled over images; "
    "neither the image's border nor a border to ignored pixels is a contour",
}
RECORD, SEAL = "scoring.json", "score.sha256"
"""Files beside every metrics file, whatever its name, like the counts."""
TABLES = {".csv": score_tables.csv_table, ".tex": score_tables.latex_table}


def run(
    *,
    predictions: Path,
    labels: Path,
    num_classes: int,
    ignore_index: int,
    boundary_ratio: float,
    class_names: Path | None,
    out: Path,
    workers: int,
    against: Path | None,
    csv: bool,
    latex: bool,
    subset: bool = False,
) -> None:
    """Write ``out`` (JSON) and ``counts.npz`` beside it; print the table.

    ``scoring.json`` records the files that were scored and the code, ``score.sha256`` is over all of them.

    ``predictions``, ``labels``: folders of single-channel PNGs with the same relative paths.
    ``class_names``: one name a line, in label order; a category may follow after a tab, then the IoU
    of categories is given too. ``subset``: labels without a prediction are left out, and the result says
    how many there are. ``against``: another result's ``metrics.json``, ``counts.npz`` or folder.
    ``csv``, ``latex``: also write the table as ``.csv``, ``.tex`` beside ``out``.

    Raises ``ValueError`` naming the file for whatever cannot be scored or compared, and for the folder of a
    result of another name; nothing is written then.
    """
    if workers < 1:
        raise ValueError(f"--workers {workers}: at least one is needed")
    if out.is_dir():
        raise ValueError(f"{out}: is a folder; name the file, e.g. {out / 'metrics.json'}")
    folder = next(folder for folder in (out.parent, *out.parent.parents) if folder.exists())
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{out}: {folder} is not writable; choose another --out")
    wanted = {".csv": csv, ".tex": latex}
    tables = {out.with_suffix(suffix): table for suffix, table in TABLES.items() if wanted[suffix]}
    if out in tables:
        raise ValueError(f"{out}: a table of that name goes beside it; name it e.g. {out.stem}.json")
    sealed_before = _sealed_before(out)
    settings = Settings(num_classes=num_classes, ignore_index=ignore_index, boundary_ratio=boundary_ratio)
    class_table = _class_table(class_names, num_classes)
    other = None if against is None else load_other(against)
    names, num_labels = matched_names(predictions, labels, subset=subset)
    if other is not None:
        require_same_task(settings, names, other)
    origin = provenance.describe()  # now: the commit may change while this runs
    counts = count_files(names, predictions, labels, settings, workers=workers)
    metrics = summarize(counts, class_table, num_labels=num_labels)
    if other is not None:
        metrics = replace(metrics, against=compare(counts, other, file=str(against)))
    record = Scoring(
        **origin,
        predictions_sha256=files_digest(predictions, [f"{name}.png" for name in names]),
        labels_sha256=files_digest(labels, [f"{name}.png" for name in names]),
        finished=provenance.now(),
    )
    written = [out.with_name(FILE_NAME), out, out.with_name(RECORD)]
    counts.save(written[0])
    records.write(out, metrics)
    for path, table in tables.items():
        _write_text(path, table(metrics))
    records.write(written[2], record)
    for path in sealed_before & {out.with_suffix(suffix) for suffix in TABLES} - set(tables):
        path.unlink(missing_ok=True)  # of the result before
    seal(out.with_name(SEAL), [*written, *tables])
    print(score_tables.text_table(metrics))
    print(f"written: {out}, {written[0]}")


def matched_names(predictions: Path, labels: Path, *, subset: bool = False) -> tuple[list[str], int]:
    """Paths below both folders, without ``.png``, sorted; and the number of labels.

    ``ValueError`` when one folder has a file more; with ``subset``, only when it is a prediction.
    """
    predicted, labelled = _png_names(predictions), _png_names(labels)
    unscored, unlabelled = sorted(labelled - predicted), sorted(predicted - labelled)
    if not predicted & labelled:
        raise ValueError(
            f"no prediction has the name of a label: {predictions} holds {unlabelled[0]}.png, ..., "
            f"{labels} holds {unscored[0]}.png, ...; a prediction needs its label's relative path"
        )
    if unscored and not subset:
        raise ValueError(
            f"{predictions / unscored[0]}.png: missing ({len(unscored)} labels without prediction)"
        )
    if unlabelled:
        raise ValueError(
            f"{predictions / unlabelled[0]}.png: has no label ({len(unlabelled)} such predictions)"
        )
    return sorted(predicted), len(labelled)


def count_files(
    names: list[str], predictions: Path, labels: Path, settings: Settings, *, workers: int
) -> Counts:
    """The counts of all images ``names`` in that order, ``workers`` of them at a time."""
    count = functools.partial(_count_files, predictions, labels, settings)
    if workers == 1:
        counted = map(count, names)
        return _collect(names, counted, settings)
    workers = min(workers, len(names))
    with ProcessPoolExecutor(workers, initializer=_leave_interrupts_to_parent) as pool:
        try:
            counted = pool.map(count, names, chunksize=max(1, min(16, len(names) // (4 * workers))))
            return _collect(names, counted, settings)
        except BrokenProcessPool:
            raise OSError(
                "a worker process was killed, probably for want of memory: use fewer --workers"
            ) from None


def summarize(counts: Counts, class_table: list[tuple[str, str | None]], *, num_labels: int) -> Metrics:
    """What follows from counts. ``class_table``: name and category of each class. ``num_labels``: of the
    whole split; more than there are images mark a number that is comparable with none of all images.
    """
    radii = counts.settings.contour_radii_px
    total = counts.total()
    per_class, means = scores.per_class(total, radii), scores.means(total, radii)
    categories = {}
    if class_table[0][1] is not None:
        names = list(dict.fromkeys(category for _, category in class_table))
        groups = [[i for i, (_, other) in enumerate(class_table) if other == name] for name in names]
        iou = scores.grouped_iou(counts.confusion(), groups)
        categories["category_miou"] = scores.mean_defined(iou)
        categories["category_iou"] = dict(zip(names, iou, strict=True))
    return Metrics(
        settings=MetricSettings(**asdict(counts.settings), **POLICIES),
        num_images=len(counts.images),
        num_labels=num_labels,
        class_names=tuple(name for name, _ in class_table),
        per_class=PerClass(**_plain(per_class)),
        **_plain(means | categories),
    )


def _sealed_before(out: Path) -> set[Path]:
    """Files of the result that ``out`` replaces. ``ValueError`` where it would leave another metrics file
    without its counts.
    """
    if out.name in (FILE_NAME, RECORD, SEAL):
        raise ValueError(f"{out}: another file of the result has this name; choose another --out")
    try:
        sealed = set(sealed_files(out.with_name(SEAL)))
    except (FileNotFoundError, ValueError):  # no result, or an unreadable seal
        return set()
    own = {out, *map(out.with_name, (FILE_NAME, RECORD)), *map(out.with_suffix, TABLES)}
    if others := sealed - own:
        raise ValueError(
            f"{out}: {out.with_name(FILE_NAME)} belongs to {min(others).name}; give each --out a folder of "
            "its own"
        )
    return sealed


def _count_files(predictions: Path, labels: Path, settings: Settings, name: str) -> ImageCounts:
    prediction, label = (folder / f"{name}.png" for folder in (predictions, labels))
    maps = {"label": read_label_png(label), "prediction": read_label_png(prediction)}
    try:
        pair = label_pair(**maps, num_classes=settings.num_classes, ignore_index=settings.ignore_index)
    except ValueError as error:
        raise ValueError(f"{prediction} with {label}: {error}") from None
    return count_image(pair, settings)


def _collect(names: list[str], counted: Iterable[ImageCounts], settings: Settings) -> Counts:
    tracked = progress.track(counted, total=len(names), what="score")
    return Counts.collect(settings, dict(zip(names, tracked, strict=True)))


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _png_names(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder (a split whose labels are withheld cannot be scored)")
    names = {
        path.relative_to(folder).with_suffix("").as_posix()
        for path in folder.rglob("*.png")
        if path.is_file()
    }
    if not names:
        raise ValueError(f"{folder}: holds no .png file")
    return names


def _class_table(file: Path | None, num_classes: int) -> list[tuple[str, str | None]]:
    if file is None:
        return [(str(i), None) for i in range(num_classes)]
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text; write one class name a line") from None
    if len(lines) != num_classes:
        raise ValueError(f"{file}: {len(lines)} class names for {num_classes} classes")
    table = [
        (name.strip(), category.strip() or None) for name, _, category in (x.partition("\t") for x in lines)
    ]
    if len({category is None for _, category in table}) > 1:
        raise ValueError(f"{file}: give a category (after a tab) for every class or for none")
    return table


def _plain(value: Any) -> Any:
    """For a record: tuples for arrays, text for keys, ``None`` for undefined."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, list):
        return tuple(map(_plain, value))
    return None if isinstance(value, float) and math.isnan(value) else value


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
