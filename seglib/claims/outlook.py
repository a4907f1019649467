"""For claims that nothing of a plan answers: which committed configuration would, in how many GPU hours."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from seglib.claims import committed, verdicts
from seglib.claims.claim import Claim
from seglib.claims.comparable import family
from seglib.claims.evidence import Evidence, find_measurements, gpu_hours
from seglib.claims.measured import Measurement
from seglib.claims.verdicts import Judgement, with_deviations
from seglib.core import registry
from seglib.cost import paper_scale
from seglib.cost.paper_scale import PaperScaleCost
from seglib.experiment import config as configuration
from seglib.experiment.config import Plan
from seglib.results import aggregate, tables
from seglib.results.inventory import MACHINERY_CHECKS, collect

SAME_COST = {
    "auxiliary_weight",
    "consistency_weight",
    "dilations",
    "final_momentum_share",
    "initial_momentum",
    "leaky_relu",
    "momentum_power",
}
"""Method options that change no multiply-adds of a forward pass."""


def extend(evidence: Evidence, plan: Plan) -> Evidence:
    """The evidence, with what would answer the open claims, and with what the measurements have unlike the
    committed configurations.
    """
    planned, costs = list(planned_elsewhere(plan)), paper_scale.read()
    measurements = [*evidence.measurements, *planned]
    judgements = (add(judgement, measurements, costs) for judgement in evidence.judgements)
    return replace(evidence, judgements=tuple(with_deviations(each, planned) for each in judgements))


def planned_elsewhere(plan: Plan) -> Iterator[Measurement]:
    """What the committed configurations would measure, on data that are no machinery check."""
    for file in committed.plans():
        try:
            other = configuration.load(configuration.read(file))
        except ValueError:  # it asks for something that is not here, e.g. a weights file: it cannot run here
            continue
        if other.cells == plan.cells:
            continue
        # What has run or failed here is not theirs.
        nowhere = "no results, on purpose"
        other = replace(other, config=replace(other.config, logs=nowhere, data=nowhere))
        results = collect(other, Path(nowhere))
        results = [result for result in results if result.cell.dataset not in MACHINERY_CHECKS]
        manifests = dict.fromkeys(result.cell.dataset for result in results)
        boards = tuple(aggregate.leaderboards(results, tables.frame(results)))
        for measurement in find_measurements(other, boards, manifests)[0]:
            if measurement.command is not None:
                name = str(file.relative_to(committed.CONFIGS.parent))
                yield replace(measurement, command=measurement.command.replace("CONFIG", name, 1))


def add(
    judgement: Judgement, measurements: Sequence[Measurement], costs: Sequence[PaperScaleCost]
) -> Judgement:
    """A claim that nothing answers, with the command and the GPU hours that would; any other as it is.

    ``measurements``: those of the plan, then those that other configurations would make. What has run already
    is neither run nor counted again. ``costs``: of models at the size of the papers.
    """
    if judgement.verdict != "not run" or judgement.command is not None:
        return judgement
    claim = judgement.claim
    (again,) = verdicts.judge([claim], measurements)
    sides = [
        verdicts.judge([side], [] if measurement is None else [measurement])[0]
        for side, measurement in zip(claim.sides, again.measurements, strict=True)
    ]
    hours = [_hours(side, costs) for side in sides if side.verdict not in verdicts.ANSWERS]
    known = [each for each in hours if each is not None]
    extended = replace(
        judgement, command=again.command, gpu_hours=sum(known) if len(known) == len(hours) else None
    )
    if isinstance(claim, Claim) and extended.command is not None:
        return replace(extended, reason="planned in another configuration")
    return extended


def estimate(claim: Claim, costs: Sequence[PaperScaleCost]) -> float | None:
    """GPU hours of the trainings that a verdict needs; ``None`` where source or table lack something."""
    stated, images = claim.conditions, None
    if stated.epochs and claim.dataset in registry.DATASETS:
        splits = registry.resolve(registry.DATASETS[claim.dataset]).SPLITS
        trained = ("train", "val") if stated.train_split == "trainval" else ("train",)
        images = stated.epochs * sum(splits[name].size for name in trained)
    elif stated.iterations and stated.batch_size:
        images = stated.iterations * stated.batch_size
    if images is None or claim.backbone is None:
        return None
    for cost in costs:
        same = (cost.method, cost.input_hw) == (claim.method, stated.crop_hw)
        same &= family(cost.backbone) == family(claim.backbone)
        strides = {stated.output_stride, cost.output_stride} - {None}  # without one it is the backbone's own
        if same and len(strides) <= 1 and cost.gmacs_conv_matmul is not None:
            return verdicts.MIN_SEEDS * gpu_hours(images, cost.gmacs_conv_matmul)
    return None


def _hours(judgement: Judgement, costs: Sequence[PaperScaleCost]) -> float | None:
    """The measurement's own, or an estimate; ``None`` with options that the table of costs does not count."""
    measurement = judgement.measurement
    if judgement.gpu_hours is not None:
        return judgement.gpu_hours
    if measurement is not None and {option.partition("=")[0] for option in measurement.options} - SAME_COST:
        return None
    claim = judgement.claim
    assert isinstance(claim, Claim), claim.id
    return estimate(claim, costs)
