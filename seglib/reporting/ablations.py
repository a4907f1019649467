"""Variants beside their unchanged parents, and methods beside the baselines of their papers.

Each difference has two intervals, which answer two questions.

Over seeds: would the difference be there in other trainings? Over images: would it be there on other
images, given these trainings?
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from seglib.claims import verdicts
from seglib.claims.papers import Paper
from seglib.metrics import scores, statistics
from seglib.metrics.counts import Counts
from seglib.metrics.statistics import Comparison
from seglib.reporting import aggregate, tables
from seglib.reporting.aggregate import Block, Estimate, Group
from seglib.reporting.collect import Test
from seglib.reporting.tables import UNKNOWN, Column, Entry, Table

METRICS = {"miou": "mIoU", "boundary_iou": "Boundary IoU"}
ROWS_OF_IOU = 8
"""Of ``counts.ROWS``: all but the matched contour pixels."""


@dataclass(frozen=True)
class Pair:
    """A variant and its parent, or a method and its baseline, over the seeds that both have."""

    parent: Group
    variant: Group
    over_seeds: dict[str, Estimate | None]
    """Metric -> difference, variant minus parent."""
    over_images: dict[str, Comparison]
    """The same by paired bootstrap; empty where the counts of both are not at hand."""


def pairs(block: Block) -> tuple[Pair, ...]:
    """Every measured variant whose parent is measured too."""
    parents = {_parent(group): group for group in block.groups if not group.cell.variant}
    variants = [group for group in block.measured if group.cell.variant]
    return _paired((group, parents.get(_parent(group))) for group in variants)


def gains(block: Block, papers: Iterable[Paper]) -> tuple[Pair, ...]:
    """Every measured method and its paper's baseline of equal backbone and recipe."""
    whole = {_conditions(group): group for group in block.measured if not group.cell.variant}
    return _paired(
        (group, whole.get((baseline, *conditions)))
        for paper in papers
        for method, baseline in paper.relative
        for (name, *conditions), group in whole.items()
        if name == method
    )


def _parent(group: Group) -> tuple:
    return group.cell.parent_id.rpartition("/")[0], group.changed


def _conditions(group: Group) -> tuple:
    return group.cell.method, group.cell.backbone_name, group.cell.recipe_name, group.changed


def _paired(candidates: Iterable[tuple[Group, Group | None]]) -> tuple[Pair, ...]:
    return tuple(
        Pair(parent, group, _over_seeds(shared), over_images(group, parent))
        for group, parent in candidates
        if parent is not None and (shared := _shared_tests(group, parent))
    )


def _over_seeds(shared: Sequence[tuple[Test, Test]]) -> dict[str, Estimate | None]:
    return {
        metric: aggregate.estimate(
            ours.metrics[metric] - theirs.metrics[metric]
            for ours, theirs in shared
            if None not in (ours.metrics[metric], theirs.metrics[metric])
        )
        for metric in METRICS
    }


def over_images(group: Group, other: Group) -> dict[str, Comparison]:
    """Metric -> paired bootstrap of ``group`` minus ``other`` over the seeds that both have.

    Empty without the counts of both, or where these are of other images.
    """
    shared = _shared_tests(group, other)
    if not shared or not all(test.counts_file.is_file() for pair in shared for test in pair):
        return {}
    ours, theirs = ([Counts.load(test.counts_file) for test in side] for side in zip(*shared, strict=True))
    images = ours[0].images
    if any(counts.images != images for counts in (*ours, *theirs)):
        return {}
    stacked = (np.stack([c.per_image()[:, :ROWS_OF_IOU] for c in side], axis=1) for side in (ours, theirs))
    return statistics.paired_bootstrap(*stacked, _mean_over_seeds)


def table(block: Block, found: Sequence[Pair]) -> Table:
    """Variants and their parents."""
    named = [("variant", "Variant"), ("miou_parent", "Parent mIoU, %"), ("miou", "Variant mIoU, %")]
    return Table(
        name=f"ablations.{block.name}",
        caption=f"Ablations: {block.title}",
        columns=_columns(*named),
        rows=tuple(_row(pair, pair.variant.cell.variant) for pair in found),
    )


def gains_table(block: Block, found: Sequence[Pair]) -> Table:
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
    row += [tables.measured(group.estimate("miou")) for group in (pair.parent, pair.variant)]
    for metric in METRICS:
        row += [_difference(pair.over_seeds[metric]), *_images(pair.over_images.get(metric))]
    return tuple(row)


def _shared_tests(variant: Group, parent: Group) -> list[tuple[Test, Test]]:
    ours, theirs = ({r.cell.seed: test for r, test in group.measured} for group in (variant, parent))
    return [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]


def _mean_over_seeds(sums: np.ndarray) -> dict[str, np.ndarray]:
    """``sums`` (X, seeds, S, K) to (X,) per metric."""
    means = scores.means(sums, ())
    return {metric: means[metric].mean(axis=-1) for metric in METRICS}


def _difference(estimate: Estimate | None) -> Entry:
    if estimate is None:
        return Entry(text=UNKNOWN)
    note = "1 run" if estimate.half_width is None else f"±{100 * estimate.half_width:.2f}"
    text = points(estimate.mean)
    return Entry(text=text, value=estimate.mean, note=note, half_width=estimate.half_width)


def _images(comparison: Comparison | None) -> tuple[Entry, Entry, Entry]:
    """Both ends of the interval over images, and the probability that the variant is better."""
    if comparison is None:
        return (Entry(text=UNKNOWN),) * 3
    return (
        tables.number(comparison.low, points),
        tables.number(comparison.high, points),
        tables.number(comparison.probability_of_improvement, probability),
    )


def probability(share: float) -> str:
    """Draws of a bootstrap never make anything certain."""
    return "<0.01" if share < 0.005 else ">0.99" if share > 0.995 else f"{share:.2f}"


def points(fraction: float) -> str:
    """A difference of fractions in points, with its sign."""
    text = f"{100 * fraction:+.2f}".replace("-", "−")
    return "0.00" if text in ("+0.00", "−0.00") else text
