"""All that is known of a configuration's run, read once: what ``compare`` writes and the page shows."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from seglib.claims import evidence, outlook
from seglib.claims.evidence import Evidence
from seglib.cost import paper_scale
from seglib.cost.paper_scale import PaperScaleCost
from seglib.experiment import config as configuration
from seglib.experiment.config import Plan
from seglib.experiment.records import Manifest
from seglib.results import aggregate, pairs, tables
from seglib.results.aggregate import Leaderboard
from seglib.results.inventory import CellResult, collect, read_manifests
from seglib.results.pairs import Pair


@dataclass(frozen=True)
class Results:
    plan: Plan
    cells: tuple[CellResult, ...]
    """One for each cell of the plan, also where nothing has run."""
    manifests: dict[str, Manifest | None]
    """Of the data sets, by name; ``None`` where one is not prepared."""

    @cached_property
    def tests(self) -> pd.DataFrame:
        """One row per cell and test, see :mod:`seglib.results.tables`."""
        return tables.frame(self.cells, self.manifests)

    @cached_property
    def leaderboards(self) -> tuple[Leaderboard, ...]:
        return tuple(aggregate.leaderboards(self.cells, self.tests))

    @cached_property
    def evidence(self) -> Evidence:
        """A judgement of every claim, and what would answer those that are open."""
        return outlook.extend(evidence.gather(self.plan, self.leaderboards, self.manifests), self.plan)

    @cached_property
    def variants(self) -> dict[str, tuple[Pair, ...]]:
        """Name of a leaderboard -> variants beside their parents."""
        return {board.name: pairs.variants(board) for board in self.leaderboards}

    @cached_property
    def gains(self) -> dict[str, tuple[Pair, ...]]:
        """Name of a leaderboard -> methods beside their papers' baselines."""
        baselines = evidence.baselines(self.evidence.papers)
        return {board.name: pairs.gains(board, baselines) for board in self.leaderboards}

    @cached_property
    def costs(self) -> tuple[PaperScaleCost, ...]:
        """Of every method at the size of its papers' experiments."""
        return paper_scale.read()


def read(config: dict[str, Any], folder: Path, data: Path | None = None) -> Results:
    """The results of a configuration in a results folder.

    ``data`` holds the manifests of the data sets, if not the configuration's own folder.
    """
    plan = configuration.load(config)
    cells = collect(plan, folder)
    return Results(plan, cells, read_manifests(data or plan.config.data, cells))
