"""Variants beside their unchanged parents, and methods beside the baselines of their papers.

Each difference has two intervals, which answer two questions.

Over seeds: would the difference be there in other trainings? Over images: would it be there on other
images, given these trainings?
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from seglib.metrics import scores, statistics
from seglib.metrics.counts import Counts
from seglib.metrics.statistics import Comparison, Interval
from seglib.results.aggregate import Group, Leaderboard
from seglib.results.inventory import Test

METRICS = {"miou": "mIoU", "boundary_iou": "Boundary IoU"}
ROWS_OF_IOU = 8
"""Of ``counts.ROWS``: all but the matched contour pixels."""


@dataclass(frozen=True)
class Pair:
    """A variant and its parent, or a method and its baseline, over the seeds that both have."""

    parent: Group
    variant: Group
    over_seeds: dict[str, Interval | None]
    """Metric -> difference, variant minus parent."""
    over_images: dict[str, Comparison]
    """The same by paired bootstrap; empty where the counts of both are not at hand."""


def pairs(block: Leaderboard) -> tuple[Pair, ...]:
    """Every measured variant whose parent is measured too."""
    parents = {_parent(group): group for group in block.groups if not group.cell.variant}
    variants = [group for group in block.measured if group.cell.variant]
    return _paired((group, parents.get(_parent(group))) for group in variants)


def gains(block: Leaderboard, baselines: Iterable[tuple[str, str]]) -> tuple[Pair, ...]:
    """Every measured method and its paper's baseline of equal backbone and recipe.

    ``baselines``: (method, baseline), as the paper cards list them.
    """
    whole = {_conditions(group): group for group in block.measured if not group.cell.variant}
    return _paired(
        (group, whole.get((baseline, *conditions)))
        for method, baseline in baselines
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


def _over_seeds(shared: Sequence[tuple[Test, Test]]) -> dict[str, Interval | None]:
    return {
        metric: statistics.summarise(
            of - over
            for ours, theirs in shared
            if None not in (of := getattr(ours.metrics, metric), over := getattr(theirs.metrics, metric))
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


def _shared_tests(variant: Group, parent: Group) -> list[tuple[Test, Test]]:
    ours, theirs = ({r.cell.seed: test for r, test in group.measured} for group in (variant, parent))
    return [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]


def _mean_over_seeds(sums: np.ndarray) -> dict[str, np.ndarray]:
    """``sums`` (X, seeds, S, K) to (X,) per metric."""
    means = scores.means(sums, ())
    return {metric: means[metric].mean(axis=-1) for metric in METRICS}
