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


def variants(board: Leaderboard) -> tuple[Pair, ...]:
    """Every measured variant whose parent is measured too."""
    parents = {_parent(group): group for group in board.groups if not group.cell.variant}
    measured = [group for group in board.measured if group.cell.variant]
    return _paired((group, parents.get(_parent(group))) for group in measured)


def gains(board: Leaderboard, baselines: Iterable[tuple[str, str]]) -> tuple[Pair, ...]:
    """Every measured method and its paper's baseline of equal backbone and recipe.

    ``baselines``: (method, baseline), as the paper cards list them.
    """
    whole = {_conditions(group): group for group in board.measured if not group.cell.variant}
    return _paired(
        (group, whole.get((baseline, *conditions)))
        for method, baseline in baselines
        for (name, *conditions), group in whole.items()
        if name == method
    )


def over_images(group: Group, other: Group) -> dict[str, Comparison]:
    """Metric -> paired bootstrap of ``group`` minus ``other`` over the seeds that both have.

    Empty without the counts of both, or where these are of other images.
    """
    shared = _shared_tests(group, other)
    if not shared or not all(test.counts_file.is_file() for pair in shared for test in pair):
        return {}
    first, second = ([Counts.load(test.counts_file) for test in side] for side in zip(*shared, strict=True))
    if any(counts.images != first[0].images for counts in (*first, *second)):
        return {}
    stacked = (np.stack([c.per_image()[:, :ROWS_OF_IOU] for c in side], axis=1) for side in (first, second))
    return statistics.paired_bootstrap(*stacked, _mean_over_seeds)


def _parent(group: Group) -> tuple[str, tuple[str, ...]]:
    return group.cell.parent_id.rpartition("/")[0], group.results[0].changed


def _conditions(group: Group) -> tuple[str, str, str, tuple[str, ...]]:
    return group.cell.method, group.cell.backbone_name, group.cell.recipe_name, group.results[0].changed


def _paired(candidates: Iterable[tuple[Group, Group | None]]) -> tuple[Pair, ...]:
    return tuple(
        Pair(parent, group, _over_seeds(group, parent), over_images(group, parent))
        for group, parent in candidates
        if parent is not None and _shared_tests(group, parent)
    )


def _over_seeds(variant: Group, parent: Group) -> dict[str, Interval | None]:
    of, over = (group.rows.set_index("seed")[list(METRICS)] for group in (variant, parent))
    return {metric: statistics.summarise(values.dropna()) for metric, values in (of - over).items()}


def _shared_tests(variant: Group, parent: Group) -> Sequence[tuple[Test, Test]]:
    of, over = ({result.cell.seed: test for result, test in group.measured} for group in (variant, parent))
    return [(of[seed], over[seed]) for seed in of if seed in over]


def _mean_over_seeds(sums: np.ndarray) -> dict[str, np.ndarray]:
    """``sums`` (X, seeds, S, K) to (X,) per metric."""
    means = scores.means(sums, ())
    return {metric: means[metric].mean(axis=-1) for metric in METRICS}
