"""Variants beside their unchanged parents, and methods beside the baselines of their papers.

Each difference has two intervals, which answer two questions.

Over seeds: would the difference be there in other trainings? Over images: would it be there on other
images, given these trainings?
"""

from collections.abc import Sequence

from seglib.claims import verdicts
from seglib.core import tables
from seglib.core.tables import UNKNOWN, Column, Entry, Table
from seglib.metrics.statistics import Comparison, Interval
from seglib.report import cells
from seglib.results.aggregate import Leaderboard
from seglib.results.pairs import METRICS, Pair


def table(block: Leaderboard, found: Sequence[Pair]) -> Table:
    """Variants and their parents."""
    named = [("variant", "Variant"), ("miou_parent", "Parent mIoU, %"), ("miou", "Variant mIoU, %")]
    return Table(
        name=f"ablations.{block.name}",
        caption=f"Ablations: {block.title}",
        columns=_columns(*named),
        rows=tuple(_row(pair, pair.variant.cell.variant) for pair in found),
    )


def gains_table(block: Leaderboard, found: Sequence[Pair]) -> Table:
    """Methods and their baselines, with what the seeds say of each difference in mIoU."""
    named = [("baseline", "Baseline"), ("miou_baseline", "Baseline mIoU, %"), ("miou", "Method mIoU, %")]
    return Table(
        name=f"gains.{block.name}",
        caption=f"Over the baselines: {block.title}",
        columns=(*_columns(*named), Column(name="reading", title="Over seeds")),
        rows=tuple((*_row(pair, pair.parent.cell.method), tables.text(reading(pair))) for pair in found),
    )


def reading(pair: Pair) -> str:
    """Whether the seeds show a gain in mIoU, in a word."""
    difference = pair.over_seeds["miou"]
    if difference is None or difference.n < verdicts.MIN_SEEDS:
        return "too few seeds"
    if difference.low > 0:
        return "a gain"
    return "a loss" if difference.high < 0 else "no difference shown"


def _columns(name: tuple[str, str], parent: tuple[str, str], own: tuple[str, str]) -> tuple[Column, ...]:
    measured = [Column(name=n, title=title, number=True, interval=True) for n, title in (parent, own)]
    for metric, title in METRICS.items():
        measured += [
            Column(name=f"{metric}_difference", title=f"Δ {title}, points", number=True, interval=True),
            Column(name=f"{metric}_difference_low", title="over images, from", number=True),
            Column(name=f"{metric}_difference_high", title="to", number=True),
            Column(name=f"{metric}_improvement", title="P(better)", number=True),
        ]
    return (
        Column(name="method", title="Method"),
        Column(name=name[0], title=name[1]),
        Column(name="backbone", title="Backbone"),
        Column(name="recipe", title="Recipe"),
        *measured,
    )


def _row(pair: Pair, name: str) -> tuple[Entry, ...]:
    cell = pair.variant.cell
    recipe = cell.recipe_name + pair.variant.part
    row = [tables.text(text) for text in (cell.method, name, cell.backbone_name, recipe)]
    row += [cells.measured(group.estimate("miou")) for group in (pair.parent, pair.variant)]
    for metric in METRICS:
        row += [_difference(pair.over_seeds[metric]), *_images(pair.over_images.get(metric))]
    return tuple(row)


def _difference(estimate: Interval | None) -> Entry:
    if estimate is None:
        return Entry(text=UNKNOWN)
    note = "1 run" if estimate.half_width is None else f"±{100 * estimate.half_width:.2f}"
    text = tables.points(estimate.mean)
    return Entry(text=text, value=estimate.mean, note=note, half_width=estimate.half_width)


def _images(comparison: Comparison | None) -> tuple[Entry, Entry, Entry]:
    """Both ends of the interval over images, and the probability that the variant is better."""
    if comparison is None:
        return (Entry(text=UNKNOWN),) * 3
    return (
        tables.number(comparison.low, tables.points),
        tables.number(comparison.high, tables.points),
        tables.number(comparison.probability_of_improvement, tables.probability),
    )
