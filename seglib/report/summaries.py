"""The tables of a report: what was run, the results, classes, ablations, cost, all cells."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from seglib.core import tables
from seglib.core.tables import UNKNOWN, Column, Entry, Table
from seglib.experiment.cell import Cell
from seglib.experiment.records import Manifest
from seglib.report import cells
from seglib.results import aggregate
from seglib.results.aggregate import Group, Leaderboard
from seglib.results.inventory import (
    CellResult,
    Status,
    Test,
    describe_protocol,
    devices,
    method_label,
    num_images,
)

STATUS_WORDS = {status: status for status in get_args(Status)} | {"missing": "not run"}
METRIC_COLUMNS = (
    Column(name="miou", title="mIoU, %", number=True, interval=True),
    Column(name="boundary_iou", title="Boundary IoU, %", number=True, interval=True),
    Column(name="pixel_accuracy", title="Pixel accuracy, %", number=True, interval=True),
)


def page_name(cell: Cell) -> str:
    """File name of a cell's page."""
    return f"{file_stem(cell.id)}.html"


def file_stem(id: str) -> str:
    """An id as a name that every file system takes: without slashes, and of 100 characters at most."""
    stem = id.replace("/", "--")
    return stem if len(stem) <= 100 else f"{stem[:87]}-{hashlib.sha256(id.encode()).hexdigest()[:12]}"


def scope(records: Sequence[CellResult], manifests: dict[str, Manifest | None]) -> Table:
    """One row per data set, recipe and test: what was trained how, and tested on what."""
    columns = (
        Column(name="dataset", title="Data set"),
        Column(name="train_images", title="Training images", number=True),
        Column(name="recipe", title="Recipe"),
        Column(name="schedule", title="Schedule"),
        Column(name="test", title="Test"),
        Column(name="test_images", title="Test images", number=True),
        Column(name="methods", title="Methods"),
        Column(name="backbones", title="Backbones"),
        Column(name="weights", title="Initial weights"),
        Column(name="seeds", title="Seeds", fixed=True),
        Column(name="done", title="Done", number=True),
    )
    members: dict[tuple, list[tuple[CellResult, Test]]] = {}
    for record in records:
        for test in record.tests:
            cell = record.cell  # of one recipe, frozen ones may have another schedule
            key = (cell.dataset, cell.recipe_name, schedule(cell), test.evaluation)
            members.setdefault(key, []).append((record, test))
    rows = []
    for (dataset, recipe, length, evaluation), found in members.items():
        cells = [record.cell for record, _ in found]
        done = sum(test.metrics is not None for _, test in found)
        rows.append(
            (
                tables.text(dataset),
                _images(cells[0], manifests[dataset], "train"),
                tables.text(recipe),
                tables.text(length),
                tables.text(f"{evaluation.split}: {describe_protocol(evaluation.protocol)}"),
                _images(cells[0], manifests[dataset], evaluation.split),
                tables.text(_names(method_label(cell) for cell in cells)),
                tables.text(_names(cell.backbone_name for cell in cells)),
                tables.text(_names(Path(cell.backbone.weights or "random").stem for cell in cells)),
                tables.text(ranges(cell.seed for cell in cells)),
                Entry(text=f"{done} of {len(found)}", value=done),
            )
        )
    return Table(name="scope", caption="Trainings and tests", columns=columns, rows=tuple(rows))


def schedule(cell: Cell) -> str:
    recipe = cell.recipe
    length = f"{recipe.epochs:,} epochs" if recipe.iterations is None else f"{recipe.iterations:,} iterations"
    return f"{length}, batch {recipe.batch_size}, crop {recipe.crop_hw[0]}×{recipe.crop_hw[1]}"


def results(block: Leaderboard) -> Table:
    """One row per combination; the best of a metric is bold only where the intervals support it."""
    columns = (
        Column(name="method", title="Method"),
        Column(name="backbone", title="Backbone"),
        Column(name="recipe", title="Recipe"),
        *METRIC_COLUMNS,
        Column(name="params", title="Params, 10⁶", number=True),
        Column(name="gmacs", title="GMACs", number=True),
        Column(name="train_time_s", title="Training", number=True),
        Column(name="runs", title="Runs", number=True),
    )
    best = {column.name: block.best(column.name) for column in METRIC_COLUMNS}
    rows = []
    for group in block.groups:
        cost = group.records[0].cost
        rows.append(
            (
                tables.text(group.label),
                tables.text(group.cell.backbone_name),
                tables.text(group.cell.recipe_name),
                *(
                    cells.measured(group.estimate(name), bold=best[name] is group)
                    for name in aggregate.METRICS
                ),
                tables.number(cost and cost.params, lambda params: f"{params / 1e6:.2f}"),
                tables.number(cost and cost.gmacs, "{:.2f}".format),
                _training_time(group),
                _runs(group),
            )
        )
    return Table(name=f"results.{block.name}", caption=block.title, columns=columns, rows=tuple(rows))


def _training_time(group: Group) -> Entry:
    """The mean, or from the shortest to the longest where the trainings ran on unlike hardware."""
    trained = [record for record, _ in group.measured]
    times_s = [record.provenance.time_s for record in trained]
    mean = tables.number(sum(times_s) / len(times_s) if times_s else None, duration)
    if len(devices(trained)) < 2:
        return mean
    return replace(mean, text=f"{duration(min(times_s))}–{duration(max(times_s))}")


def per_class(block: Leaderboard, metric: str, title: str, shares: Sequence[float] | None) -> Table:
    """One row per class, one column per combination; ``shares``: of the labelled pixels, per class."""
    groups = block.measured
    columns = [Column(name="class", title="Class")]
    if shares is not None:
        columns.append(Column(name="pixel_share", title="Pixels, %", number=True))
    means = []
    for group in groups:
        label = block.label(group)
        columns.append(Column(name=label, title=label, number=True))
        means.append(class_means(group, metric))
    rows = []
    for index, name in enumerate(class_names(block)):
        row = [tables.text(name)]
        if shares is not None:
            row.append(tables.percent(shares[index]))
        row += [tables.percent(mean[index], heat=mean[index]) for mean in means]
        rows.append(tuple(row))
    caption = f"{title} per class, %: {block.title}"
    return Table(
        name=f"per-class-{metric.replace('_', '-')}.{block.name}",
        caption=caption,
        columns=tuple(columns),
        rows=tuple(rows),
    )


def class_shares(manifest: Manifest | None, split: str) -> list[float] | None:
    """Share of a split's labelled pixels that each class has; ``None`` when the data are not at hand."""
    if manifest is None:
        return None
    pixels = manifest.label_histogram[split][:-1]  # the last count is of ignored pixels
    return [count / max(1, sum(pixels)) for count in pixels]


def class_names(block: Leaderboard) -> tuple[str, ...]:
    _, test = block.measured[0].measured[0]
    return test.metrics.class_names


def class_means(group: Group, metric: str) -> list[float | None]:
    """A per-class metric averaged over the trainings in which it is defined."""
    columns = zip(*(getattr(test.metrics.per_class, metric) for _, test in group.measured), strict=True)
    known = [[value for value in values if value is not None] for values in columns]
    return [sum(values) / len(values) if values else None for values in known]


def boundary_words(ratio: float) -> str:
    return f"within {100 * ratio:g} % of the image's diagonal (at least 1 px) of a region's edge"


def runs(records: Sequence[CellResult]) -> Table:
    """One row per cell and test, also for those that have no result."""
    columns = (
        Column(name="method", title="Method"),
        Column(name="dataset", title="Data set"),
        Column(name="backbone", title="Backbone"),
        Column(name="recipe", title="Recipe"),
        Column(name="seed", title="Seed", number=True),
        Column(name="test", title="Test", fixed=True),
        *(Column(name=c.name, title=c.title, number=True) for c in METRIC_COLUMNS),
        Column(name="train_time_s", title="Training", number=True),
        Column(name="commit", title="Commit", fixed=True),
        Column(name="status", title="Status", fixed=True),
    )
    rows = []
    for record in records:
        cell, training = record.cell, record.provenance
        for test in record.tests:
            rows.append(
                (
                    tables.text(
                        method_label(cell), links=((method_label(cell), f"cells/{page_name(cell)}"),)
                    ),
                    tables.text(cell.dataset),
                    tables.text(cell.backbone_name),
                    tables.text(cell.recipe_name),
                    Entry(text=str(cell.seed), value=cell.seed),
                    tables.text(test.evaluation.name),
                    *(tables.percent(getattr(test.metrics, name, None)) for name in aggregate.METRICS),
                    tables.number(training and training.time_s, duration),
                    tables.text(((training and training.commit) or UNKNOWN)[:10]),
                    tables.text(STATUS_WORDS[test.status]),
                )
            )
    return Table(name="cells", caption="Every training and test", columns=columns, rows=tuple(rows))


def duration(time_s: float) -> str:
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def ranges(numbers: Iterable[int]) -> str:
    """``0–2, 5`` for 0, 1, 2 and 5."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found)


def _runs(group: Group) -> Entry:
    """How many seeds were measured, with a link to the page of the first one, which links to the others."""
    done, planned = len(group.measured), len(group.records)
    said = str(done) if done == planned else f"{done} of {planned}"
    first = group.measured[0][0] if group.measured else group.records[0]
    return Entry(text=said, value=done, links=((said, f"cells/{page_name(first.cell)}"),))


def _images(cell: Cell, manifest: Manifest | None, split: str) -> Entry:
    count = None if manifest is None else num_images(cell, manifest, split)
    return tables.number(count, lambda images: f"{images:,}")


def _names(names: Any) -> str:
    return ", ".join(dict.fromkeys(names))
