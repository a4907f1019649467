"""The page of one cell: metrics, pictures, classes, confusion, training curve, protocol, provenance."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seglib.core.command_line import spell
from seglib.core.tables import UNKNOWN, percent, size
from seglib.core.typed import canonical_json, plain
from seglib.experiment.cell import Cell
from seglib.experiment.config import Plan
from seglib.experiment.records import Attempt, Manifest
from seglib.metrics.counts import Counts
from seglib.report import class_tables, cost_tables, curves, naming, notices, overlays
from seglib.report.results_tables import class_shares
from seglib.results.inventory import CellResult, Test, describe_protocol, method_label

METRICS = {
    "miou": "mIoU",
    "category_miou": "IoU of categories, mean",
    "boundary_iou": "Boundary IoU, mean",
    "pixel_accuracy": "Pixel accuracy",
    "mean_accuracy": "Mean class accuracy",
    "fwiou": "Frequency-weighted IoU",
}
RELATIVES = {
    "seed": "Other seeds",
    "variant": "Variants",
    "method": "Methods",
    "backbone_name": "Backbones",
    "recipe_name": "Recipes",
    "dataset": "Data sets",
}
"""What two cells may differ in -> what the others are called."""
Pairs = list[tuple[str, str]]


def context(
    result: CellResult,
    others: Sequence[CellResult],
    plan: Plan,
    manifest: Manifest | None,
    pictures: Path | None,
) -> dict[str, Any]:
    """What the template ``cell.html`` shows; writes the cell's pictures into the folder ``pictures``."""
    data = Path(plan.config.data, result.cell.dataset)
    tests = [test for test in result.tests if test.metrics is not None]
    return {
        "result": result,
        "method": method_label(result.cell),
        "relatives": relatives(result.cell, [other.cell for other in others]),
        "tests": [_test(result, test, manifest, data, pictures) for test in tests],
        "legend": overlays.legend(manifest) if manifest else [],
        "charts": curves.charts(result.train) if result.provenance else (),
        "cost": cost_tables.modules(result.cost) if result.cost else None,
        "protocol": protocol(result),
        "provenance": provenance(result),
        "commands": list(commands(result, plan)),
    }


def relatives(cell: Cell, others: Sequence[Cell]) -> dict[str, Pairs]:
    """Cells that differ from this one in one thing only: (name, page) by what that is."""
    found: dict[str, Pairs] = {kind: [] for kind in RELATIVES.values()}
    for other in others:
        different = [name for name in RELATIVES if getattr(cell, name) != getattr(other, name)]
        if len(different) == 1:
            name = getattr(other, different[0]) or "the parent"  # without a variant
            found[RELATIVES[different[0]]].append((str(name), f"{naming.file_stem(other.id)}.html"))
    return {kind: cells for kind, cells in found.items() if cells}


def _test(
    result: CellResult, test: Test, manifest: Manifest | None, data: Path, pictures: Path | None
) -> dict[str, Any]:
    name, split, metrics = test.evaluation.name, test.evaluation.split, test.metrics
    colours = [colour for _, colour in overlays.legend(manifest)] if manifest else None
    counts = Counts.load(test.counts_file) if test.counts_file.is_file() else None
    confusion = None if counts is None else counts.confusion()
    context = {
        "evaluation": test.evaluation,
        "num_images": metrics.num_images,
        "boundary_words": naming.boundary(metrics.settings.boundary_ratio),
        "metrics": [
            (title, _percent(getattr(metrics, metric)))
            for metric, title in METRICS.items()
            if metric != "category_miou" or metrics.category_iou is not None
        ],
        "boundary_f": ", ".join(f"{_percent(f)} at {radius} px" for radius, f in metrics.boundary_f.items()),
        "classes": class_tables.classes(
            test, f"classes-{name}", colours, class_shares(manifest, split), confusion
        ),
        "confusions": None,
        "matrix": None,
        "examples": [],
        "no_examples": "Without counts.npz there is no rule to choose pictures by.",
    }
    if counts is not None:
        context["confusions"] = class_tables.confusions(confusion, metrics.class_names, f"confusions-{name}")
        context["matrix"] = class_tables.matrix(confusion, metrics.class_names, f"matrix-{name}")
        stem = naming.file_stem(f"{result.cell.id}/{name}")
        context["examples"], context["no_examples"] = overlays.examples(
            counts, manifest, data, test, pictures, stem
        )
    return context


def protocol(result: CellResult) -> list[list[tuple[str, Pairs]]]:
    """Everything that the cell's numbers depend on, as it was resolved: two columns of titled lists."""
    cell = result.cell
    head = [
        ("data set", cell.dataset),
        ("method", cell.method),
        ("variant", cell.variant or "none"),
        ("initial weights", cell.backbone.weights or "random"),
        *((f"option {name}", _say(value)) for name, value in cell.method_options.items()),
        ("seed", str(cell.seed)),
        ("images of each split", "all" if cell.limit is None else f"at most {cell.limit}"),
        ("selection", "last iteration"),
        *((f"test {t.evaluation.name}", describe_protocol(t.evaluation.protocol)) for t in result.tests),
    ]
    return [
        [("Cell", head), (f"Backbone {cell.backbone_name}", _fields(cell.backbone))],
        [(f"Recipe {cell.recipe_name}", _fields(cell.recipe))],
    ]


def provenance(result: CellResult) -> Pairs:
    """What the training wrote about itself: the main things in words, then all else."""
    if result.provenance is None:
        return []
    values = plain(result.provenance)
    take = values.pop
    commit, dirty, diff = take("commit") or "unknown", take("dirty"), take("dirty_diff_sha256")
    machine = [take(name) for name in ("host", "cpu", "gpu", "driver")]
    versions = take("versions").items()
    for name in ("code", "attempts", "schema"):  # digests, compared here; told one by one; of the file
        values.pop(name, None)
    attempts = result.provenance.attempts
    changed = notices.changed_code(result)
    rows = [
        ("commit", f"{commit}, with uncommitted changes (sha256 {diff})" if dirty else commit),
        ("code since then", _say_changed(changed)),
        *([("configuration since then", f"changed: {'; '.join(result.changed)}")] if result.changed else []),
        ("started, finished", f"{take('started')}, {take('finished')}"),
        ("training time", naming.duration(take("time_s"))),
        ("stopped and resumed", f"{take('resumed')} times"),
        *((f"attempt {n}", _attempt(attempt)) for n, attempt in enumerate(attempts, 1) if len(attempts) > 1),
        ("machine", ", ".join(filter(None, machine))),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions if version)),
    ]
    return rows + [(name.replace("_", " "), _say(value)) for name, value in values.items()]


def _say_changed(modules: list[str] | None) -> str:
    if modules is None:
        return "recorded under another scheme"
    return f"changed: {', '.join(modules)}" if modules else "unchanged"


def _attempt(attempt: Attempt) -> str:
    where = ", ".join(filter(None, (attempt.host, attempt.cpu, attempt.gpu)))
    return (
        f"after iteration {attempt.after_iteration}: {attempt.processes} x {attempt.device}; {where}; "
        f"commit {attempt.commit or 'unknown'}; torch {attempt.versions['torch']}"
    )


def commands(result: CellResult, plan: Plan) -> Iterator[str]:
    """The lines that repeat a cell by hand, step by step."""
    cell, train = result.cell, result.train
    data = Path(plan.config.data, cell.dataset)
    named = cell.backbone.weights not in (None, "imagenet")  # a frozen cell may have begun from others
    yield spell(
        "train",
        cell=train / "cell.json" if result.provenance else cell.to_json(),
        data=data,
        out=train,
        checkpoints=train.parent / "checkpoints",
        weights=plan.weights_file(cell) if named else None,
    )
    for test in result.tests:
        split, predictions = test.evaluation.split, test.folder / "predictions"
        protocol = canonical_json(test.evaluation.protocol)
        yield spell("predict", model=train, data=data, split=split, protocol=protocol, out=predictions)
        yield spell(
            "score",
            predictions=predictions,
            labels=data / "labels" / split,
            num_classes=len(test.metrics.class_names) if test.metrics else "K",
            class_names=data / "classes.txt",
            boundary_ratio=plan.config.boundary_ratio,
            out=test.folder / "metrics.json",
            subset=cell.limit is not None,
        )


def _percent(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else f"{percent(fraction)} %"


def _fields(settings: Any) -> Pairs:
    """The settings of a dataclass, without those that are not given."""
    rows = []
    for name, value in vars(settings).items():
        if name.endswith("_hw") and value is not None:
            rows.append((name.removesuffix("_hw"), size(value)))
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
