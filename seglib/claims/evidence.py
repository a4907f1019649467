"""What a plan's results say about every claim: records in the words of the claims, and the verdicts."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seglib.claims import measured, papers, reading, relative, verdicts
from seglib.claims.claim import METRICS, Claim
from seglib.claims.comparable import spell_test
from seglib.claims.measured import Measurement
from seglib.claims.papers import Paper
from seglib.claims.relative import RelativeClaim
from seglib.claims.verdicts import Judgement, Tolerance
from seglib.core import registry
from seglib.experiment import paths
from seglib.experiment.config import Plan
from seglib.experiment.records import Manifest, Metrics
from seglib.metrics.statistics import Comparison
from seglib.results import aggregate, pairs
from seglib.results.aggregate import Group
from seglib.results.inventory import MACHINERY_CHECKS, CellResult, is_quick

COSTS = {
    "params": "params",
    "params_head": "params_head",
    "params_backbone": "params_backbone",
    "gmacs": "gmacs_conv_matmul",  # what papers count, see docs/cost.md
}
"""Metric of a claim -> field of a :class:`seglib.experiment.records.Cost`."""
SUSTAINED_FLOPS = 20e12
"""Assumed of one GPU in training, for estimates: own choice."""


@dataclass(frozen=True)
class Evidence:
    papers: dict[str, Paper]
    claims: tuple[Judgement, ...]
    relative: tuple[Judgement, ...]
    measurements: tuple[Measurement, ...]
    groups: dict[str, Group]
    """Name of a measurement -> where it is from."""

    @property
    def baselines(self) -> tuple[tuple[str, str], ...]:
        """(method, baseline) as the papers compare them."""
        return tuple(pair for paper in self.papers.values() for pair in paper.relative)

    @property
    def all(self) -> tuple[Judgement, ...]:
        return self.claims + self.relative


def judge(plan: Plan, records: Sequence[CellResult], manifests: dict[str, Manifest | None]) -> Evidence:
    """One judgement for every claim and every relative claim. Raises ``ValueError`` for claims that cannot be
    right, see :mod:`seglib.claims.reading`.
    """
    sources = (reading.DATA, *map(Path, plan.config.claims))
    claims = reading.load_claims(sources)
    cards = papers.load_papers(sources)
    baselines = [pair for card in cards.values() for pair in card.relative]
    tolerance = Tolerance(points=plan.config.tolerance_points, share=plan.config.tolerance_share)
    ours, groups = measurements(plan, records, manifests)

    def paired(of: Measurement, over: Measurement) -> Comparison | None:
        return pairs.over_images(groups[of.name], groups[over.name]).get(of.metric)

    absolute = verdicts.judge(claims, ours, tolerance=tolerance)
    derived = verdicts.judge_relative(
        relative.derive(claims, baselines), ours, paired=paired, tolerance=tolerance
    )
    return Evidence(cards, tuple(absolute), tuple(derived), tuple(ours), groups)


def measurements(
    plan: Plan, records: Sequence[CellResult], manifests: dict[str, Manifest | None]
) -> tuple[list[Measurement], dict[str, Group]]:
    """Every metric and every cost of every combination, also of those that have not run; and their groups."""
    found, groups = [], {}
    for block in aggregate.blocks(records):
        for group in block.groups:
            name = f"{group.combination} {block.evaluation.name}"
            groups[name] = group
            found += _qualities(plan, group, name, manifests[block.dataset])
            if group.combination not in groups:
                groups[group.combination] = group
                found += _costs(group, group.combination)
    return found, groups


def text_of(claim: Claim | RelativeClaim) -> str:
    """In words, e.g. ``isnet over fcn, ade20k val, ss, resnet50c``."""
    one = claim.of if isinstance(claim, RelativeClaim) else claim
    method = f"{one.method} · {one.variant}" if one.variant else one.method
    if isinstance(claim, RelativeClaim):
        method += f" over {claim.over.method}"
    return ", ".join(filter(None, (method, one.dataset, protocol_of(one), one.backbone)))


def protocol_of(claim: Claim) -> str:
    """e.g. ``val, ms+flip`` or, of a cost, ``512×512``; empty where the source states nothing."""
    stated = claim.conditions
    if METRICS[claim.metric].deterministic:
        return "×".join(map(str, stated.input_hw)) if stated.input_hw else ""
    return ", ".join(filter(None, (stated.eval_split, spell_test(stated))))


def gpu_hours(images: float, gmacs: float) -> float:
    """Of a training that sees ``images`` images of ``gmacs`` each, three times: forward and backward."""
    return images * gmacs * 1e9 * 2 * 3 / SUSTAINED_FLOPS / 3600


def _qualities(plan: Plan, group: Group, name: str, manifest: Manifest | None) -> Iterator[Measurement]:
    cell, evaluation = group.cell, group.evaluation
    dataset = registry.resolve(registry.DATASETS[cell.dataset])
    sizes = {split: dataset.SPLITS[split].size for split in ("train", evaluation.split)}
    there = sizes if manifest is None else {split: len(manifest.splits[split]) for split in sizes}
    waiting = [record for record in group.records if record not in [done for done, _ in group.measured]]
    hours = [_hours_of(record, there["train"]) for record in waiting if record.cost is not None]
    common = {
        "name": name,
        "dataset": dataset.READING_OF or cell.dataset,
        "method": cell.method,
        "variant": cell.variant,
        "backbone": cell.backbone.model,
        "conditions": measured.conditions_of(
            cell,
            split=evaluation.split,
            protocol=evaluation.protocol,
            num_classes=len(dataset.CLASSES),
            train_images=there["train"],
        ),
        "recipe": cell.recipe_name,
        "settings": measured.settings_of(cell, evaluation.protocol),
        "failures": {
            record.cell.seed: f"{test.reason} (log: {test.log})" if test.log else test.reason
            for record, test in group.tests
            if test.status == "failed"
        },
        "options": tuple(f"{key}={json.dumps(value)}" for key, value in cell.method_options.items()),
        "subset": there != sizes or cell.limit is not None,
        "quick_recipe": is_quick(cell),
        "embedded_data": cell.dataset in MACHINERY_CHECKS,
        "command": _command(plan, waiting, evaluation.name),
        "gpu_hours": sum(hours) if waiting and len(hours) == len(waiting) else None,
    }
    for metric in METRICS:
        if not METRICS[metric].deterministic:
            values = {r.cell.seed: _value(test.metrics, metric) for r, test in group.measured}
            values = {seed: value for seed, value in values.items() if value is not None}
            yield Measurement(metric=metric, values=values, **common)


def _costs(group: Group, name: str) -> Iterator[Measurement]:
    cell, cost = group.cell, group.records[0].cost
    for metric, key in COSTS.items():
        dataset = registry.resolve(registry.DATASETS[cell.dataset])
        yield Measurement(
            name=name,
            dataset=dataset.READING_OF or cell.dataset,
            method=cell.method,
            variant=cell.variant,
            backbone=cell.backbone.model,
            conditions=measured.cost_conditions_of(
                cell.backbone, num_classes=len(dataset.CLASSES), input_hw=cell.recipe.crop_hw
            ),
            metric=metric,
            values={} if cost is None else {cell.seed: getattr(cost, key)},
            options=tuple(f"{key}={json.dumps(value)}" for key, value in cell.method_options.items()),
            embedded_data=cell.dataset in MACHINERY_CHECKS,
        )


def _value(metrics: Metrics, metric: str) -> float | None:
    name, _, radius = metric.partition(".")
    value = getattr(metrics, name)
    return value.get(radius) if radius else value


def _command(plan: Plan, waiting: Sequence[CellResult], test: str) -> str | None:
    targets = [
        str(paths.evaluation_folder(Path(plan.config.results), record.cell, test) / "metrics.json")
        for record in waiting
    ]
    return f"snakemake --cores all --configfile CONFIG {' '.join(targets)}" if targets else None


def _hours_of(record: CellResult, train_images: int) -> float:
    return gpu_hours(record.cell.recipe.images(train_images), record.cost.gmacs_conv_matmul)
