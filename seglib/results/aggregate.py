"""Cells that differ only in their seed, taken together, per test.

A spread is stated only where there are seeds to show it: one training has a value and no interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seglib.experiment.cell import Cell
from seglib.experiment.config import Evaluation
from seglib.metrics import statistics
from seglib.metrics.statistics import Interval
from seglib.results.inventory import CellResult, Test, method_label

METRICS = ("miou", "boundary_iou", "pixel_accuracy")


@dataclass(frozen=True)
class Group:
    """All seeds of one combination under one test; ``records`` also holds those that are not done."""

    evaluation: Evaluation
    records: tuple[CellResult, ...]

    @property
    def cell(self) -> Cell:
        """Any of the cells: they differ in the seed only."""
        return self.records[0].cell

    @property
    def changed(self) -> tuple[str, ...]:
        """Of frozen cells, what they would have otherwise today: the same for all."""
        return self.records[0].changed

    @property
    def part(self) -> str:
        """What to say behind a name where it ran with other values than that name stands for today."""
        return f" (frozen; today {'; '.join(self.changed)})" if self.changed else ""

    @property
    def combination(self) -> str:
        """The id of its cells without the seed: one name per group of a block."""
        return self.cell.id.rpartition("/")[0] + self.part

    @property
    def label(self) -> str:
        return method_label(self.cell) + self.part

    @property
    def tests(self) -> tuple[tuple[CellResult, Test], ...]:
        """That test of every training, also where there is no result."""
        return tuple(
            (record, test)
            for record in self.records
            for test in record.tests
            if test.evaluation == self.evaluation
        )

    @property
    def measured(self) -> tuple[tuple[CellResult, Test], ...]:
        """The trainings that were tested, with that test."""
        return tuple((record, test) for record, test in self.tests if test.metrics is not None)

    def estimate(self, metric: str) -> Interval | None:
        """``None`` when no training has a value."""
        return statistics.summarise(getattr(test.metrics, metric) for _, test in self.measured)


@dataclass(frozen=True)
class Leaderboard:
    """Groups whose numbers may be compared: one data set, split and protocol."""

    dataset: str
    evaluation: Evaluation
    groups: tuple[Group, ...]

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
        """Tells a group from the others of the block: its method, and what is not the same for all; and that
        it saw a part of the images only.
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
        estimates = {id(group): group.estimate(metric) for group in self.measured}
        if len(estimates) < 2 or any(e is None or e.half_width is None for e in estimates.values()):
            return None
        first = max(self.measured, key=lambda group: estimates[id(group)].mean)
        highest_rival = max(estimates[id(group)].high for group in self.measured if group is not first)
        return first if estimates[id(first)].low > highest_rival else None


def blocks(records: Sequence[CellResult]) -> tuple[Leaderboard, ...]:
    """Every test of every combination, in the order of the plan. Frozen cells that ran with other values than
    the plan has are a combination of their own: no mean and no difference may mix them.
    """
    grouped: dict[tuple, dict[tuple, list[CellResult]]] = {}
    for record in records:
        for test in record.tests:
            combination = record.cell.id.rpartition("/")[0], record.changed
            block = grouped.setdefault((record.cell.dataset, test.evaluation), {})
            block.setdefault(combination, []).append(record)
    return tuple(
        Leaderboard(
            dataset,
            evaluation,
            tuple(Group(evaluation, tuple(members)) for members in combinations.values()),
        )
        for (dataset, evaluation), combinations in grouped.items()
    )
