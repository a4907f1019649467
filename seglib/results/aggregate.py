"""Cells that differ only in their seed, taken together, per test.

A spread is stated only where there are seeds to show it: one training has a value and no interval.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from seglib.experiment.cell import Cell
from seglib.experiment.config import Evaluation
from seglib.experiment.records import Cost
from seglib.metrics import statistics
from seglib.metrics.statistics import Interval
from seglib.results.inventory import CellResult, Test, method_label

METRICS = ("miou", "boundary_iou", "pixel_accuracy")


@dataclass(frozen=True, eq=False)
class Group:
    """All seeds of one combination under one test, also those that are not done."""

    combination: str
    """The id of its cells without the seed: one name per group of a leaderboard."""
    tests: tuple[tuple[CellResult, Test], ...]
    rows: pd.DataFrame
    """The tests in :func:`seglib.results.tables.frame`."""

    @property
    def results(self) -> tuple[CellResult, ...]:
        return tuple(result for result, _ in self.tests)

    @property
    def evaluation(self) -> Evaluation:
        return self.tests[0][1].evaluation

    @property
    def cell(self) -> Cell:
        """Any of the cells: they differ in the seed only."""
        return self.results[0].cell

    @property
    def cost(self) -> Cost | None:
        return self.results[0].cost

    @property
    def label(self) -> str:
        return method_label(self.cell) + self.results[0].part

    @property
    def recipe(self) -> str:
        return self.cell.recipe_name + self.results[0].part

    @property
    def measured(self) -> tuple[tuple[CellResult, Test], ...]:
        """The trainings that were tested, with that test."""
        return tuple((result, test) for result, test in self.tests if test.metrics is not None)

    def estimate(self, metric: str) -> Interval | None:
        """``None`` when no training has a value."""
        return statistics.summarise(self.rows[metric].dropna())


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Groups whose numbers may be compared: one data set, split and protocol."""

    dataset: str
    groups: tuple[Group, ...]

    @property
    def evaluation(self) -> Evaluation:
        return self.groups[0].evaluation

    @property
    def name(self) -> str:
        return f"{self.dataset}.{self.evaluation.name}"

    @property
    def measured(self) -> tuple[Group, ...]:
        return tuple(group for group in self.groups if group.measured)

    @property
    def title(self) -> str:
        """Data set, split and protocol, and whether only a part of the images was used."""
        return f"{self.dataset} {self.evaluation.split}, protocol {self.evaluation.protocol_name}{self.part}"

    @property
    def part(self) -> str:
        """What to say behind a name where the cells are limited to a part of the images: all are, or none."""
        limit = self.groups[0].cell.limit
        return "" if limit is None else f" (not comparable: at most {limit} images)"

    def label(self, group: Group) -> str:
        """Tells a group from the others of the leaderboard: its method, and what is not the same for all; and
        that it saw a part of the images only.
        """
        parts = [group.label]
        for name in ("backbone_name", "recipe_name"):
            if len({getattr(other.cell, name) for other in self.groups}) > 1:
                parts.append(getattr(group.cell, name))
        if group.cell.limit is not None:
            parts.append(f"limit {group.cell.limit}")
        return ", ".join(parts)

    def best(self, metric: str) -> Group | None:
        """The group whose interval lies above all others' intervals; ``None`` when there is no such group.

        A rival with a single training has no interval, so nothing can be shown to beat it.
        """
        estimates = [(estimate, group) for group in self.measured if (estimate := group.estimate(metric))]
        if len(estimates) < max(2, len(self.measured)) or any(e.half_width is None for e, _ in estimates):
            return None
        (first, group), *rivals = sorted(estimates, key=lambda pair: pair[0].mean, reverse=True)
        return group if first.low > max(rival.high for rival, _ in rivals) else None


def leaderboards(results: Sequence[CellResult], frame: pd.DataFrame) -> Iterator[Leaderboard]:
    """Every test of every combination, in the order of the plan; ``frame``: the results as a table.

    Frozen cells that ran with other values than the plan has are a combination of their own: no mean and no
    difference may mix them.
    """
    tests = [(result, test) for result in results for test in result.tests]
    for (dataset, _), board in frame.groupby(["dataset", "test"], sort=False):
        groups = (
            Group(combination, tuple(tests[number] for number in rows.index), rows)
            for combination, rows in board.groupby("combination", sort=False)
        )
        yield Leaderboard(dataset, tuple(groups))
