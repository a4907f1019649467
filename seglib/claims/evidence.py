"""What the results of a plan say about every claim: results in the words of the claims, and the verdicts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seglib.claims import measured, papers, reading, relative, verdicts
from seglib.claims.claim import METRICS, Claim
from seglib.claims.measured import Measurement
from seglib.claims.papers import Paper
from seglib.claims.verdicts import Judgement, Tolerance
from seglib.core import registry
from seglib.experiment import paths
from seglib.experiment.config import Plan
from seglib.experiment.records import Manifest, Metrics
from seglib.metrics.statistics import Comparison
from seglib.results import pairs
from seglib.results.aggregate import Group, Leaderboard
from seglib.results.inventory import MACHINERY_CHECKS, CellResult, is_quick

COST_FIELDS = {
    "params": "params",
    "params_head": "params_head",
    "params_backbone": "params_backbone",
    "gmacs": "gmacs_conv_matmul",  # what papers count, see docs/cost.md
}
"""Metric of a claim -> field of a cost."""
SUSTAINED_FLOPS = 20e12
"""Assumed of one GPU in training, for estimates: own choice."""
Manifests = Mapping[str, Manifest | None]


@dataclass(frozen=True)
class Evidence:
    papers: dict[str, Paper]
    judgements: tuple[Judgement, ...]
    """Of the reported numbers, then of the differences between two of them."""
    measurements: tuple[Measurement, ...]
    groups: dict[str, Group]
    """Name of a measurement -> where it is from."""

    @property
    def answered(self) -> int:
        """How many claims have a measurement under equal conditions."""
        return sum(judgement.verdict in verdicts.ANSWERS for judgement in self.judgements)

    @property
    def claims(self) -> list[Judgement]:
        """Of the reported numbers alone."""
        return [judgement for judgement in self.judgements if isinstance(judgement.claim, Claim)]


def gather(plan: Plan, leaderboards: Sequence[Leaderboard], manifests: Manifests) -> Evidence:
    """One judgement for every claim and every relative claim. Raises ``ValueError`` for claims that cannot be
    right, see :mod:`seglib.claims.reading`.
    """
    sources = (reading.DATA, *map(Path, plan.config.claims))
    claims, cards = reading.load_claims(sources), papers.load_papers(sources)
    measurements, groups = find_measurements(plan, leaderboards, manifests)

    def paired(of: Measurement, over: Measurement) -> Comparison | None:
        return pairs.over_images(groups[of.name], groups[over.name]).get(of.metric)

    judgements = verdicts.judge(
        [*claims, *relative.derive(claims, baselines(cards))],
        measurements,
        tolerance=Tolerance(points=plan.config.tolerance_points, share=plan.config.tolerance_share),
        paired=paired,
    )
    return Evidence(cards, tuple(judgements), tuple(measurements), groups)


def baselines(cards: Mapping[str, Paper]) -> list[tuple[str, str]]:
    """(method, baseline) as the papers compare them."""
    return [pair for card in cards.values() for pair in card.relative]


def find_measurements(
    plan: Plan, leaderboards: Sequence[Leaderboard], manifests: Manifests
) -> tuple[list[Measurement], dict[str, Group]]:
    """Every metric and every cost of every combination, also of those that have not run; and their groups."""
    found: list[Measurement] = []
    groups: dict[str, Group] = {}
    for board in leaderboards:
        for group in board.groups:
            name = f"{group.combination} {board.evaluation.name}"
            groups[name] = group
            found += _qualities(plan, group, name, manifests[board.dataset])
            if group.combination not in groups:
                groups[group.combination] = group
                found += _costs(group, group.combination)
    return found, groups


def gpu_hours(images: float, gmacs: float) -> float:
    """Of a training that sees ``images`` images of ``gmacs`` each, three times: forward and backward."""
    return images * gmacs * 1e9 * 2 * 3 / SUSTAINED_FLOPS / 3600


def _qualities(plan: Plan, group: Group, name: str, manifest: Manifest | None) -> Iterator[Measurement]:
    cell, evaluation = group.cell, group.evaluation
    dataset = registry.resolve(registry.DATASETS[cell.dataset])
    sizes = {split: dataset.SPLITS[split].size for split in ("train", evaluation.split)}
    at_hand = sizes if manifest is None else {split: len(manifest.splits[split]) for split in sizes}
    done = {result.cell.seed: test.metrics for result, test in group.measured}
    waiting = [result for result in group.results if result.cell.seed not in done]
    hours = [_hours(result, at_hand["train"]) for result in waiting if result.cost is not None]
    shared = {
        "name": name,
        "conditions": measured.conditions_of(
            cell,
            split=evaluation.split,
            protocol=evaluation.protocol,
            num_classes=len(dataset.CLASSES),
            train_images=at_hand["train"],
        ),
        "recipe": cell.recipe_name,
        "settings": measured.settings_of(cell, evaluation.protocol),
        "failures": {
            result.cell.seed: f"{test.reason} (log: {test.log})" if test.log else test.reason
            for result, test in group.tests
            if test.status == "failed"
        },
        "subset": at_hand != sizes or cell.limit is not None,
        "quick_recipe": is_quick(cell),
        "command": _command(plan, waiting, evaluation.name),
        "gpu_hours": sum(hours) if waiting and len(hours) == len(waiting) else None,
        **_model(group),
    }
    for metric in METRICS:
        if METRICS[metric].deterministic:
            continue
        values = {seed: _value(metrics, metric) for seed, metrics in done.items()}
        known = {seed: value for seed, value in values.items() if value is not None}
        yield Measurement(metric=metric, values=known, **shared)


def _costs(group: Group, name: str) -> Iterator[Measurement]:
    cell, cost = group.cell, group.results[0].cost
    dataset = registry.resolve(registry.DATASETS[cell.dataset])
    conditions = measured.cost_conditions_of(
        cell.backbone, num_classes=len(dataset.CLASSES), input_hw=cell.recipe.crop_hw
    )
    for metric, field in COST_FIELDS.items():
        values = {} if cost is None else {cell.seed: getattr(cost, field)}
        yield Measurement(name=name, metric=metric, values=values, conditions=conditions, **_model(group))


def _model(group: Group) -> dict[str, object]:
    """The fields that say of which model a measurement is."""
    cell = group.cell
    return {
        "dataset": registry.resolve(registry.DATASETS[cell.dataset]).READING_OF or cell.dataset,
        "method": cell.method,
        "variant": cell.variant,
        "backbone": cell.backbone.model,
        "options": tuple(f"{name}={json.dumps(value)}" for name, value in cell.method_options.items()),
        "embedded_data": cell.dataset in MACHINERY_CHECKS,
    }


def _value(metrics: Metrics, metric: str) -> float | None:
    name, _, radius = metric.partition(".")
    return getattr(metrics, name).get(radius) if radius else getattr(metrics, name)


def _command(plan: Plan, waiting: Sequence[CellResult], test: str) -> str | None:
    folders = (paths.evaluation_folder(Path(plan.config.results), each.cell, test) for each in waiting)
    targets = [str(folder / "metrics.json") for folder in folders]
    return f"snakemake --cores all --configfile CONFIG {' '.join(targets)}" if targets else None


def _hours(result: CellResult, train_images: int) -> float:
    return gpu_hours(result.cell.recipe.images(train_images), result.cost.gmacs_conv_matmul)
