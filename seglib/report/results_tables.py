"""Tables of the run: trainings and tests, results, classes, all cells."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from seglib.core.tables import Column, Entry, Table, millions, percent
from seglib.experiment.records import Manifest
from seglib.report import naming
from seglib.results import tables
from seglib.results.aggregate import METRICS, Group, Leaderboard
from seglib.results.inventory import devices, method_label

TITLES = dict(zip(METRICS, ("mIoU, %", "Boundary IoU, %", "Pixel accuracy, %"), strict=True))
SCHEDULE = ["iterations", "epochs", "batch_size", "crop_hw"]
"""Of one recipe, frozen cells may have another."""


def scope(tests: pd.DataFrame) -> Table:
    """One row per data set, recipe and test: what was trained how, and tested on what."""
    kinds = tests.groupby(["dataset", "recipe", *SCHEDULE, "test"], sort=False, dropna=False)
    columns = (
        Column("dataset", "Data set", lambda rows: rows[0].dataset),
        Column("train_images", "Training images", lambda rows: rows[0].train_images, "{:,}".format),
        Column("recipe", "Recipe", lambda rows: rows[0].recipe),
        Column("schedule", "Schedule", lambda rows: _schedule(rows[0])),
        Column("test", "Test", lambda rows: f"{rows[0].split}: {rows[0].protocol_words}"),
        Column("test_images", "Test images", lambda rows: rows[0].test_images, "{:,}".format),
        Column("methods", "Methods", lambda rows: _names(map(method_label, rows))),
        Column("backbones", "Backbones", lambda rows: _names(row.backbone for row in rows)),
        Column("weights", "Initial weights", lambda rows: _names(row.weights for row in rows)),
        Column("seeds", "Seeds", lambda rows: naming.ranges(row.seed for row in rows), fixed=True),
        Column("done", "Done", _done, str),
    )
    return Table("scope", "Trainings and tests", columns, [list(tables.rows(rows)) for _, rows in kinds])


def results(board: Leaderboard) -> Table:
    """One row per combination; the best of a metric is bold only where the intervals support it."""
    columns = (
        Column("method", "Method", lambda group: group.label),
        Column("backbone", "Backbone", lambda group: group.cell.backbone_name, on_page="varies"),
        Column("recipe", "Recipe", lambda group: group.cell.recipe_name, on_page="varies"),
        *(_estimate(board, metric) for metric in METRICS),
        Column("params", "Params, 10⁶", lambda group: group.cost and group.cost.params, millions),
        Column("gmacs", "GMACs", lambda group: group.cost and group.cost.gmacs, "{:.2f}".format),
        Column("train_time_s", "Training", _training_time, naming.duration),
        Column("runs", "Runs", _runs, str),
    )
    return Table(f"results.{board.name}", board.title, columns, board.groups)


def per_class(board: Leaderboard, metric: str, title: str, manifest: Manifest | None) -> Table:
    """One row per class, one column per combination."""
    shares = class_shares(manifest, board.evaluation.split)
    columns = [Column("class", "Class", class_names(board).__getitem__)]
    if shares is not None:
        columns.append(Column("pixel_share", "Pixels, %", shares.__getitem__, percent))
    for group in board.measured:
        label, means = board.label(group), class_means(group, metric)
        columns.append(Column(label, label, means.__getitem__, percent, shade="heat"))
    name = f"per-class-{metric.replace('_', '-')}.{board.name}"
    return Table(name, f"{title} per class, %: {board.title}", columns, range(len(class_names(board))))


def cells(tests: pd.DataFrame) -> Table:
    """One row per cell and test, also for those that have no result."""
    columns = (
        Column("method", "Method", method_label, link=lambda row: naming.page(row.cell)),
        Column("dataset", "Data set", lambda row: row.dataset, on_page="varies"),
        Column("backbone", "Backbone", lambda row: row.backbone, on_page="varies"),
        Column("recipe", "Recipe", lambda row: row.recipe, on_page="varies"),
        Column("seed", "Seed", lambda row: row.seed, str, on_page="varies"),
        Column("test", "Test", lambda row: row.test, fixed=True, on_page="varies"),
        Column("miou", TITLES["miou"], lambda row: row.miou, percent),
        Column("boundary_iou", TITLES["boundary_iou"], lambda row: row.boundary_iou, percent),
        Column("pixel_accuracy", TITLES["pixel_accuracy"], lambda row: row.pixel_accuracy, percent),
        Column("train_time_s", "Training", lambda row: row.train_time_s, naming.duration),
        Column("commit", "Commit", lambda row: row.commit and row.commit[:10], fixed=True, on_page="varies"),
        Column("status", "Status", lambda row: naming.status(row.status), fixed=True),
    )
    rows = list(tables.rows(tests))
    return Table("cells", "Every training and test", columns, rows, status=lambda row: row.status)


def class_shares(manifest: Manifest | None, split: str) -> list[float] | None:
    """Share of a split's labelled pixels that each class has; ``None`` when the data are not at hand."""
    if manifest is None:
        return None
    pixels = manifest.label_histogram[split][:-1]  # the last count is of ignored pixels
    return [count / max(1, sum(pixels)) for count in pixels]


def class_names(board: Leaderboard) -> tuple[str, ...]:
    _, test = board.measured[0].measured[0]
    return test.metrics.class_names


def class_means(group: Group, metric: str) -> list[float | None]:
    """A per-class metric averaged over the trainings in which it is defined."""
    columns = zip(*(getattr(test.metrics.per_class, metric) for _, test in group.measured), strict=True)
    known = [[value for value in values if value is not None] for values in columns]
    return [sum(values) / len(values) if values else None for values in known]


def _estimate(board: Leaderboard, metric: str) -> Column:
    best = board.best(metric)
    get, is_best = lambda group: group.estimate(metric), lambda group: group is best
    return Column(metric, TITLES[metric], get, percent, interval=True, bold=is_best)


def _training_time(group: Group) -> Entry | float | None:
    """The mean, or from the shortest to the longest where the trainings ran on unlike hardware."""
    trained = [result for result, _ in group.measured]
    times_s = [result.provenance.time_s for result in trained]
    if not times_s:
        return None
    mean_s = sum(times_s) / len(times_s)
    if len(devices(trained)) < 2:
        return mean_s
    return Entry(text=f"{naming.duration(min(times_s))}–{naming.duration(max(times_s))}", value=mean_s)


def _runs(group: Group) -> Entry:
    """How many seeds were measured, with a link to the page of the first one, which links to the others."""
    done = _count(len(group.measured), len(group.tests))
    first = (group.measured or group.tests)[0][0]
    return replace(done, link=naming.page(first.cell.id))


def _done(rows: Sequence[Any]) -> Entry:
    done = sum(row.status == "done" for row in rows)
    return Entry(text=f"{done} of {len(rows)}", value=done)


def _count(done: int, planned: int) -> Entry:
    return Entry(text=str(done) if done == planned else f"{done} of {planned}", value=done)


def _schedule(row: Any) -> str:
    length = f"{row.iterations:,} iterations" if row.iterations else f"{row.epochs:,} epochs"
    return f"{length}, batch {row.batch_size}, crop {row.crop_hw}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
