"""Measured against reported: the rules, and nothing else. ``docs/claims.md`` states them in words."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from seglib.claims.claim import METRICS, Claim
from seglib.claims.comparable import between, caveats, compared, deviations, family, obstacles, open_questions
from seglib.claims.measured import Measurement
from seglib.claims.relative import RelativeClaim
from seglib.core import registry
from seglib.metrics import statistics
from seglib.metrics.statistics import Comparison, Interval

Verdict = Literal[
    "reproduced", "higher", "lower", "inconclusive", "single run", "not comparable", "failed", "not run"
]
ANSWERS: tuple[Verdict, ...] = ("reproduced", "higher", "lower", "inconclusive", "single run")
"""Those that set a measured number beside the reported one under equal conditions."""
WITHOUT_ANSWER: tuple[Verdict, ...] = ("failed", "not run", "not comparable")
"""The others; of two sides the first that one of them has."""
MIN_SEEDS = 3
IntervalOf = Callable[[Sequence[float]], Interval]
PairedTest = Callable[[Measurement, Measurement], Comparison | None]


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How near a measurement must be to a reported value to reproduce it."""

    points: float = 0.5
    """Of percentages and of differences between them."""
    share: float = 0.01
    """Of counts: parameters and giga-MACs."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict with what it rests on. Numbers are in the unit of the claim."""

    claim: Claim | RelativeClaim
    verdict: Verdict
    reason: str
    """One line: why this verdict and not another."""
    measurement: Measurement | None = None
    """What was compared, or came nearest to being comparable."""
    baseline: Measurement | None = None
    """The second measurement of a relative claim."""
    measured: float | None = None
    """Mean over the seeds; of a relative claim, of the differences between equal seeds."""
    difference: float | None = None
    """Measured minus reported; ``None`` where the two may not be compared."""
    interval: tuple[float, float] | None = None
    seeds: int = 0
    images: Comparison | None = None
    """For relative claims: the paired bootstrap over images. It holds for these trainings only."""
    caveats: tuple[str, ...] = ()
    command: str | None = None
    """What would run it, for ``not run``; ``None``: no configuration at hand does."""
    gpu_hours: float | None = None

    @property
    def measurements(self) -> tuple[Measurement | None, ...]:
        """One for each side of the claim."""
        return (self.measurement, self.baseline)[: len(self.claim.sides)]


def judge(
    claims: Iterable[Claim | RelativeClaim],
    measurements: Sequence[Measurement],
    *,
    tolerance: Tolerance = Tolerance(),
    t_interval: IntervalOf = statistics.t_interval,
    paired: PairedTest = lambda of, over: None,
) -> list[Judgement]:
    """One judgement per claim, in their order; of a relative claim, by the differences between equal seeds.

    ``paired`` compares two measurements over images; it is called only for pairs that may be compared,
    and shown beside the verdict, which it cannot give: it knows nothing of other trainings.

    Raises ``ValueError`` for a measured value that is not finite, and for a deterministic metric with
    several values.
    """
    return [_judge(claim, measurements, tolerance, t_interval, paired) for claim in claims]


def with_deviations(judgement: Judgement, committed: Sequence[Measurement]) -> Judgement:
    """A verdict with a caveat for what a committed configuration has otherwise, where the claim says nothing.

    A source states some conditions of its claims only; the rest of its recipe stands in the configuration
    that was written after it. ``committed``: what such configurations would measure. Of those that may answer
    the claim, the nearest counts; where there is none, nothing is known.
    """
    if judgement.verdict not in ANSWERS:
        return judgement
    unlike: list[str] = []
    for side, measurement in zip(judgement.claim.sides, judgement.measurements, strict=True):
        near = [each.measurement for each in _candidates(side, committed) if not each.obstacles]
        lists = (deviations(side, other, measurement) for other in near if other is not None)
        unlike += min(lists, key=len, default=[])
    if not unlike:
        return judgement
    caveat = f"unlike the committed configuration: {'; '.join(dict.fromkeys(unlike))}"
    return dataclasses.replace(judgement, caveats=(*judgement.caveats, caveat))


def place(low: Decimal, high: Decimal, *, reported: Decimal, tolerance: Decimal) -> Verdict:
    """Where the interval [low, high] lies. Edges belong to the tolerance: touching it is not outside it."""
    if reported - tolerance <= low and high <= reported + tolerance:
        return "reproduced"
    if low > reported + tolerance:
        return "higher"
    if high < reported - tolerance:
        return "lower"
    return "inconclusive"


@dataclass(frozen=True)
class _Candidate:
    """A measurement of a claimed model (``None``: there is none) and what keeps it from judging the claim."""

    measurement: Measurement | None
    obstacles: list[str]

    @property
    def values(self) -> Mapping[int, float]:
        return {} if self.measurement is None else self.measurement.values


@dataclass(frozen=True)
class _Match:
    """A candidate for each side of a claim."""

    candidates: tuple[_Candidate, ...]
    differences: list[str]
    """What keeps one measurement from being taken from the other."""

    @property
    def seeds(self) -> list[int]:
        """Those that all sides have."""
        return sorted(set.intersection(*(set(candidate.values) for candidate in self.candidates)))

    @property
    def distance(self) -> tuple[int, int, int]:
        """Smallest for the match that answers: the fewest reasons against it, the most seeds in common, then
        the most that ran at all.
        """
        against = sum(len(candidate.obstacles) for candidate in self.candidates) + len(self.differences)
        return against, -len(self.seeds), -sum(len(candidate.values) for candidate in self.candidates)


def _judge(
    claim: Claim | RelativeClaim,
    measurements: Sequence[Measurement],
    tolerance: Tolerance,
    t_interval: IntervalOf,
    paired: PairedTest,
) -> Judgement:
    match = _nearest(claim, measurements)
    if (settled := _settle(claim, match)) is not None:
        return settled
    for side, candidate in zip(claim.sides, match.candidates, strict=True):
        _check_values(side, candidate)
    values = _values(match)
    mean = _mean(claim, values)
    of, over = [*(candidate.measurement for candidate in match.candidates), None][:2]
    beside = (
        caveats(side, each.measurement) for side, each in zip(claim.sides, match.candidates, strict=True)
    )
    single = Judgement(
        claim=claim,
        verdict="single run",
        reason=f"{len(values)} of the {MIN_SEEDS} seeds that a verdict needs",
        measurement=of,
        baseline=over,
        measured=float(mean),
        difference=float(mean - claim.value),
        seeds=len(values),
        images=None if over is None else paired(of, over),
        caveats=_distinct(beside),
    )
    if METRICS[claim.sides[0].metric].deterministic:
        return _placed(single, mean, mean, claim.value * _decimal(tolerance.share))
    if len(values) < MIN_SEEDS:
        return single
    interval = t_interval(values)
    low, high = claim.in_unit(interval.low), claim.in_unit(interval.high)
    return _placed(single, low, high, _decimal(tolerance.points))


def _nearest(claim: Claim | RelativeClaim, measurements: Sequence[Measurement]) -> _Match:
    """The match of the smallest distance; of equal ones, the first in the order of ``measurements``."""
    matches = []
    for candidates in itertools.product(*(_candidates(side, measurements) for side in claim.sides)):
        pair = [each.measurement for each in candidates if each.measurement is not None]
        differences = between(*pair, compared(claim.sides[0])) if len(pair) == 2 else []
        matches.append(_Match(candidates, differences))
    return min(matches, key=lambda match: match.distance)


def _candidates(claim: Claim, measurements: Sequence[Measurement]) -> list[_Candidate]:
    return [
        _Candidate(each, obstacles(claim, each))
        for each in measurements
        if (each.dataset, each.method, each.variant, each.metric)
        == (claim.dataset, claim.method, claim.variant, claim.metric)
        and (claim.backbone is None or family(claim.backbone) == family(each.backbone))
    ] or [_Candidate(None, [])]


def _settle(claim: Claim | RelativeClaim, match: _Match) -> Judgement | None:
    """The verdict where there is nothing to compare, or no right to; ``None``: compare.

    Of two sides each says what it lacks, and how to run it where nothing else is amiss.
    """
    settled = [_settle_side(*side) for side in zip(claim.sides, match.candidates, strict=True)]
    if isinstance(claim, Claim):
        return settled[0]
    sides = [side for side in settled if side is not None]
    # A side that differs from its claim says itself why the two differ.
    differences = [] if any(each.obstacles for each in match.candidates) else match.differences
    if not (sides or differences or match.seeds):
        differences = ["no seed in common"]
    reasons = [f"{side.claim.sides[0].method}: {side.reason}" for side in sides]
    if differences:
        reasons.append(f"between our two runs: {'; '.join(differences)}")
    if not reasons:
        return None
    # A failure has to be seen; and before both sides have run, there is nothing to compare.
    verdicts = {side.verdict for side in sides} | {"not comparable"}
    commands = [side.command for side in sides if side.command is not None]
    hours = [side.gpu_hours for side in sides if side.gpu_hours is not None]
    can_run = 0 < len(sides) == len(commands) and not differences
    of, over = (candidate.measurement for candidate in match.candidates)
    return Judgement(
        claim=claim,
        verdict=next(verdict for verdict in WITHOUT_ANSWER if verdict in verdicts),
        reason="; ".join(reasons),
        measurement=of,
        baseline=over,
        seeds=len(match.seeds),
        caveats=_distinct(side.caveats for side in sides),
        command="; ".join(commands) if can_run else None,
        gpu_hours=sum(hours) if can_run and len(hours) == len(sides) else None,
    )


def _settle_side(claim: Claim, candidate: _Candidate) -> Judgement | None:
    """:func:`_settle` of one reported number."""
    measurement, hindered = candidate.measurement, candidate.obstacles
    unanswered = Judgement(claim=claim, verdict="not run", reason="", measurement=measurement)
    if measurement is None:
        reasons = ["no run of this model in this configuration", *open_questions(claim)]
        if claim.dataset not in registry.DATASETS:
            reasons = [f"seglib does not have the data set {claim.dataset}"]
        if claim.method not in registry.METHODS:
            reasons = [f"seglib does not have the method {claim.method}"]
        return dataclasses.replace(unanswered, reason="; ".join(reasons))
    if not measurement.values and hindered:
        reason = f"the planned runs would not be comparable: {'; '.join(hindered)}"
        return dataclasses.replace(unanswered, reason=reason)
    if not measurement.values and measurement.failures:
        seed, why = min(measurement.failures.items())
        return dataclasses.replace(unanswered, verdict="failed", reason=f"seed {seed}: {why}")
    if not measurement.values:
        return dataclasses.replace(
            unanswered,
            reason="planned, not run yet",
            command=measurement.command,
            gpu_hours=measurement.gpu_hours,
        )
    if not hindered:
        return None
    _check_values(claim, candidate)
    return Judgement(
        claim=claim,
        verdict="not comparable",
        reason="; ".join(hindered),
        measurement=measurement,
        measured=None if claim.scale is None else float(_mean(claim, measurement.values.values())),
        seeds=len(measurement.values),
        caveats=tuple(caveats(claim, measurement)),
    )


def _placed(single: Judgement, low: Decimal, high: Decimal, margin: Decimal) -> Judgement:
    reported = single.claim.value
    verdict = place(low, high, reported=reported, tolerance=margin)
    where = {
        "reproduced": "lies within",
        "higher": "lies above",
        "lower": "lies below",
        "inconclusive": "straddles an edge of",
    }[verdict]
    measured = _short(low) if low == high else f"{_short(low)} to {_short(high)}"
    reason = f"{measured} {where} {reported} ± {_short(margin)}"
    return dataclasses.replace(single, verdict=verdict, reason=reason, interval=(float(low), float(high)))


def _values(match: _Match) -> list[float]:
    """The value of each seed, or the difference between the two sides."""
    first, *second = (candidate.values for candidate in match.candidates)
    return [first[seed] - sum(values[seed] for values in second) for seed in match.seeds]


def _mean(claim: Claim | RelativeClaim, values: Collection[float]) -> Decimal:
    return sum(map(claim.in_unit, values), Decimal(0)) / len(values)


def _check_values(claim: Claim, candidate: _Candidate) -> None:
    for seed, value in candidate.values.items():
        if not math.isfinite(value):
            raise ValueError(f"{candidate.measurement.name}: {claim.metric} of seed {seed} is {value}")
    if METRICS[claim.metric].deterministic and len(set(candidate.values.values())) > 1:
        values = sorted(candidate.values.values())
        raise ValueError(f"{candidate.measurement.name}: {claim.metric} has several values: {values}")


def _distinct(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(lists)))


def _short(number: Decimal) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".")


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))
