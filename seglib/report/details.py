"""The page of one cell: metrics, pictures, classes, confusion, training curve, protocol, provenance."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seglib.core import tables
from seglib.core.typed import canonical_json, plain
from seglib.experiment.cell import Cell
from seglib.experiment.config import Plan
from seglib.experiment.records import Attempt, Manifest
from seglib.metrics.counts import Counts
from seglib.report import classwise, cost_tables, curves, notices, overlays, summaries
from seglib.report.summaries import duration, file_stem, page_name
from seglib.results.inventory import CellResult, Test, describe_protocol, method_label


def context(
    record: CellResult,
    records: Sequence[CellResult],
    plan: Plan,
    manifest: Manifest | None,
    pictures: Path | None,
) -> dict[str, Any]:
    """What the template ``cell.html`` shows; writes the cell's pictures into the folder ``pictures``."""
    cell = record.cell
    data = Path(plan.config.data)
    return {
        "record": record,
        "method": method_label(cell),
        "relatives": _relatives(cell, [other.cell for other in records]),
        "tests": [
            _test(record, test, manifest, data, pictures) for test in record.tests if test.metrics is not None
        ],
        "legend": overlays.legend(manifest) if manifest else [],
        "charts": curves.charts(record.train) if record.provenance else (),
        "cost": cost_tables.modules(record.cost) if record.cost else None,
        "protocol": protocol(record),
        "provenance": provenance(record),
        "commands": commands(record, plan),
        "folder": record.train.parent,
    }


def _test(
    record: CellResult, test: Test, manifest: Manifest | None, data: Path, pictures: Path | None
) -> dict[str, Any]:
    name, split, names = test.evaluation.name, test.evaluation.split, test.metrics.class_names
    css = [colour for _, colour in overlays.legend(manifest)] if manifest else None
    counts = Counts.load(test.counts_file) if test.counts_file.is_file() else None
    confusion = None if counts is None else counts.confusion()
    shares = summaries.class_shares(manifest, split)
    shown = {
        "name": name,
        "split": split,
        "protocol_name": test.evaluation.protocol_name,
        "protocol": describe_protocol(test.evaluation.protocol),
        "num_images": test.metrics.num_images,
        "boundary_words": summaries.boundary_words(test.metrics.settings.boundary_ratio),
        "metrics": metrics(test),
        "boundary_f": ", ".join(
            f"{_percent(value)} at {radius} px" for radius, value in test.metrics.boundary_f.items()
        ),
        "classes": classwise.classes(test, f"classes-{name}", css, shares, confusion),
        "confusions": None,
        "matrix": None,
        "examples": [],
        "no_examples": "Without counts.npz there is no rule to choose pictures by.",
    }
    if counts is not None:
        shown["confusions"] = classwise.confusions(confusion, names, f"confusions-{name}")
        shown["matrix"] = classwise.matrix(confusion, names, f"matrix-{name}")
        shown["examples"], shown["no_examples"] = overlays.examples(
            counts,
            manifest,
            data / record.cell.dataset,
            test,
            pictures,
            file_stem(f"{record.cell.id}/{name}"),
        )
    return shown


def metrics(test: Test) -> list[tuple[str, str]]:
    values = test.metrics
    by_category = (
        [] if values.category_iou is None else [("IoU of categories, mean", _percent(values.category_miou))]
    )
    return [
        ("mIoU", _percent(values.miou)),
        *by_category,
        ("Boundary IoU, mean", _percent(values.boundary_iou)),
        ("Pixel accuracy", _percent(values.pixel_accuracy)),
        ("Mean class accuracy", _percent(values.mean_accuracy)),
        ("Frequency-weighted IoU", _percent(values.fwiou)),
    ]


def protocol(record: CellResult) -> list[list[tuple[str, list[tuple[str, str]]]]]:
    """Everything that the cell's numbers depend on, as it was resolved: two columns of titled lists."""
    cell = record.cell
    head = [
        ("data set", cell.dataset),
        ("method", cell.method),
        ("variant", cell.variant or "none"),
        ("initial weights", cell.backbone.weights or "random"),
        *((f"option {name}", _say(value)) for name, value in cell.method_options.items()),
        ("seed", str(cell.seed)),
        ("images of each split", "all" if cell.limit is None else f"at most {cell.limit}"),
        ("selection", "last iteration"),
        *((f"test {t.evaluation.name}", describe_protocol(t.evaluation.protocol)) for t in record.tests),
    ]
    return [
        [("Cell", head), (f"Backbone {cell.backbone_name}", _fields(cell.backbone))],
        [(f"Recipe {cell.recipe_name}", _fields(cell.recipe))],
    ]


def provenance(record: CellResult) -> list[tuple[str, str]]:
    """What the training wrote about itself: the main things in words, then all else."""
    if record.provenance is None:
        return []
    values = plain(record.provenance)
    take = values.pop
    commit, dirty, diff = take("commit") or "unknown", take("dirty"), take("dirty_diff_sha256")
    machine = [take(name) for name in ("host", "cpu", "gpu", "driver")]
    versions = take("versions").items()
    for name in ("code", "attempts", "schema"):  # digests, compared here; told one by one; of the file
        values.pop(name, None)
    attempts = record.provenance.attempts
    changed = notices.changed_code(record)
    rows = [
        ("commit", f"{commit}, with uncommitted changes (sha256 {diff})" if dirty else commit),
        ("code since then", f"changed: {', '.join(changed)}" if changed else "unchanged"),
        *([("configuration since then", f"changed: {'; '.join(record.changed)}")] if record.changed else []),
        ("started, finished", f"{take('started')}, {take('finished')}"),
        ("training time", duration(take("time_s"))),
        ("stopped and resumed", f"{take('resumed')} times"),
        *((f"attempt {n}", _attempt(attempt)) for n, attempt in enumerate(attempts, 1) if len(attempts) > 1),
        ("machine", ", ".join(filter(None, machine))),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions if version)),
    ]
    return rows + [(name.replace("_", " "), _say(value)) for name, value in values.items()]


def _attempt(attempt: Attempt) -> str:
    where = ", ".join(filter(None, (attempt.host, attempt.cpu, attempt.gpu)))
    return (
        f"after iteration {attempt.after_iteration}: {attempt.processes} x {attempt.device}; {where}; "
        f"commit {attempt.commit or 'unknown'}; torch {attempt.versions['torch']}"
    )


def commands(record: CellResult, plan: Plan) -> list[str]:
    """The lines that repeat a cell by hand, step by step."""
    cell, train = record.cell, record.train
    dataset = Path(plan.config.data) / cell.dataset
    training = {
        "cell": train / "cell.json" if record.provenance else cell.to_json(),
        "data": dataset,
        "out": train,
        "checkpoints": train.parent / "checkpoints",
    }
    named = cell.backbone.weights not in (None, "imagenet")  # a frozen cell may have begun from others
    if named and (weights := plan.weights_file(cell)) is not None:
        training["weights"] = weights
    lines = [_line("train", **training)]
    for test in record.tests:
        evaluation = test.evaluation
        predictions = test.folder / "predictions"
        lines.append(
            _line(
                "predict",
                model=train,
                data=dataset,
                split=evaluation.split,
                protocol=canonical_json(evaluation.protocol),
                out=predictions,
            )
        )
        lines.append(
            _line(
                "score",
                predictions=predictions,
                labels=dataset / "labels" / evaluation.split,
                num_classes=len(test.metrics.class_names) if test.metrics else "K",
                class_names=dataset / "classes.txt",
                boundary_ratio=plan.config.boundary_ratio,
                out=test.folder / "metrics.json",
            )
            + ("" if cell.limit is None else " --subset")
        )
    return lines


def _line(step: str, **arguments: Any) -> str:
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in arguments.items()]
    return " ".join(["python -m seglib", step, *words])


def _percent(fraction: float | None) -> str:
    return tables.UNKNOWN if fraction is None else f"{100 * fraction:.2f} %"


def _fields(settings: Any) -> list[tuple[str, str]]:
    """The settings of a dataclass, without those that are not given."""
    rows = []
    for name, value in vars(settings).items():
        if name.endswith("_hw") and value is not None:
            rows.append((name.removesuffix("_hw"), "×".join(map(str, value))))
        elif value not in (None, {}):
            rows.append((name.replace("_", " "), _say(value)))
    return rows


def _say(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_say, value))
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_say(item)}" for name, item in value.items()) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _relatives(cell: Cell, others: Sequence[Cell]) -> dict[str, list[tuple[str, str]]]:
    """Cells that differ from this one in one thing only: (name, page) by what that is."""
    kinds = {"seed": "Other seeds", "variant": "Variants", "method": "Methods", "backbone_name": "Backbones"}
    kinds |= {"recipe_name": "Recipes", "dataset": "Data sets"}
    found: dict[str, list[tuple[str, str]]] = {kind: [] for kind in kinds.values()}
    for other in others:
        different = [name for name in kinds if getattr(cell, name) != getattr(other, name)]
        if len(different) == 1:
            name = getattr(other, different[0]) if different != ["variant"] else other.variant or "the parent"
            found[kinds[different[0]]].append((str(name), page_name(other)))
    return {kind: cells for kind, cells in found.items() if cells}
