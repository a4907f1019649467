"""For claims that nothing of a plan answers: which committed configuration would, in how many GPU hours."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from seglib.claims import committed, evidence, verdicts
from seglib.claims.claim import Claim
from seglib.claims.comparable import family
from seglib.claims.evidence import Evidence
from seglib.claims.measured import Measurement
from seglib.claims.verdicts import Judgement, with_deviations
from seglib.core import registry
from seglib.cost import paper_scale
from seglib.cost.paper_scale import Cost
from seglib.experiment import config as configuration
from seglib.experiment.config import Plan
from seglib.experiment.records import Manifest
from seglib.results.inventory import MACHINERY_CHECKS, CellResult, collect

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


def judge(plan: Plan, records: Sequence[CellResult], manifests: dict[str, Manifest | None]) -> Evidence:
    """:func:`seglib.claims.evidence.judge`, what would answer the claims that nothing answers, and
    what the answers do unlike the committed configurations.
    """
    found = evidence.judge(plan, records, manifests)
    planned, costs = list(planned_elsewhere(plan)), paper_scale.read()
    ours = [*found.measurements, *planned]
    return replace(
        found,
        claims=tuple(with_deviations(add(one, planned, costs), planned) for one in found.claims),
        relative=tuple(with_deviations(add_relative(one, ours, costs), planned) for one in found.relative),
    )


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
        records = collect(other, Path(nowhere))
        records = [record for record in records if record.cell.dataset not in MACHINERY_CHECKS]
        manifests = dict.fromkeys(record.cell.dataset for record in records)
        for one in evidence.measurements(other, records, manifests)[0]:
            if one.command is not None:
                name = str(file.relative_to(committed.CONFIGS.parent))
                yield replace(one, command=one.command.replace("CONFIG", name, 1))


def add(judgement: Judgement, planned: Sequence[Measurement], costs: Sequence[Cost]) -> Judgement:
    """A claim that nothing answers, with the command and the GPU hours that would; any other as it is.

    ``costs``: of models at the size of the papers, see :mod:`seglib.cost.paper_scale`.
    """
    if judgement.verdict != "not run" or judgement.command is not None:
        return judgement
    (again,) = verdicts.judge([judgement.claim], planned)
    found = replace(judgement, command=again.command, gpu_hours=_hours(again, costs))
    return found if found.command is None else replace(found, reason="planned in another configuration")


def add_relative(judgement: Judgement, ours: Sequence[Measurement], costs: Sequence[Cost]) -> Judgement:
    """:func:`add` for a relative claim. What has run already is neither run nor counted again.

    ``ours``: the measurements of the plan, then those that other configurations would make.
    """
    if judgement.verdict != "not run" or judgement.command is not None:
        return judgement
    claim = judgement.claim
    (again,) = verdicts.judge_relative([claim], ours, paired=lambda of, over: None)
    sides = [
        verdicts.judge([side], [] if nearest is None else [nearest])[0]
        for side, nearest in ((claim.of, again.measurement), (claim.over, again.baseline))
    ]
    hours = [_hours(side, costs) for side in sides if side.verdict not in verdicts.ANSWERS]
    return replace(judgement, command=again.command, gpu_hours=None if None in hours else sum(hours))


def estimate(claim: Claim, costs: Sequence[Cost]) -> float | None:
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
            return verdicts.MIN_SEEDS * evidence.gpu_hours(images, cost.gmacs_conv_matmul)
    return None


def _hours(judgement: Judgement, costs: Sequence[Cost]) -> float | None:
    """The measurement's own, or an estimate; ``None`` with options that the table of costs does not count."""
    ours = judgement.measurement
    if judgement.gpu_hours is not None:
        return judgement.gpu_hours
    if ours is not None and {option.partition("=")[0] for option in ours.options} - SAME_COST:
        return None
    return estimate(judgement.claim, costs)
