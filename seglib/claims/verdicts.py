"""Measured against reported: the rules, and nothing else. ``docs/claims.md`` states them in words."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
ANSWERS = ("reproduced", "higher", "lower", "inconclusive", "single run")
"""Those that set a measured number beside the reported one under equal conditions."""
MIN_SEEDS = 3
IntervalOf = Callable[[Sequence[float]], Interval]


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


def judge(
    claims: Iterable[Claim],
    measurements: Sequence[Measurement],
    *,
    tolerance: Tolerance = Tolerance(),
    t_interval: IntervalOf = statistics.t_interval,
) -> list[Judgement]:
    """One judgement per claim, in their order.

    Raises ``ValueError`` for a measured value that is not finite, and for a deterministic metric with
    several values.
    """
    return [_judge(claim, measurements, tolerance, t_interval) for claim in claims]


def judge_relative(
    claims: Iterable[RelativeClaim],
    measurements: Sequence[Measurement],
    *,
    paired: Callable[[Measurement, Measurement], Comparison | None],
    tolerance: Tolerance = Tolerance(),
    t_interval: IntervalOf = statistics.t_interval,
) -> list[Judgement]:
    """One judgement per relative claim, by the differences between equal seeds.

    ``paired`` compares two measurements over images; it is called only for pairs that may be compared,
    and shown beside the verdict, which it cannot give: it knows nothing of other trainings.
    """
    return [_judge_relative(claim, measurements, paired, tolerance, t_interval) for claim in claims]


def with_deviations(judgement: Judgement, committed: Sequence[Measurement]) -> Judgement:
    """A verdict with a caveat for what a committed configuration has otherwise, where the claim says nothing.

    A source states some conditions of its claims only; the rest of its recipe stands in the configuration
    that was written after it. ``committed``: what such configurations would measure. Of those that may answer
    the claim, the nearest counts; where there is none, nothing is known.
    """
    claim = judgement.claim
    if judgement.verdict not in ANSWERS:
        return judgement
    sides = [(claim, judgement.measurement)]
    if isinstance(claim, RelativeClaim):
        sides = [(claim.of, judgement.measurement), (claim.over, judgement.baseline)]
    found = []
    for side, ours in sides:
        near = [each.ours for each in _candidates(side, committed) if each.ours and not each.hindered]
        found += min((deviations(side, theirs, ours) for theirs in near), key=len, default=[])
    if not found:
        return judgement
    caveat = f"unlike the committed configuration: {'; '.join(dict.fromkeys(found))}"
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


def _judge(
    claim: Claim, measurements: Sequence[Measurement], tolerance: Tolerance, t_interval: IntervalOf
) -> Judgement:
    near = min(_candidates(claim, measurements), key=lambda near: (len(near.hindered), -len(near.values)))
    if (settled := _settle(claim, near)) is not None:
        return settled
    ours = near.ours
    mean = _mean(claim, ours)
    found = Judgement(
        claim=claim,
        verdict="single run",
        reason=_too_few(len(ours.values)),
        measurement=ours,
        measured=float(mean),
        difference=float(mean - claim.value),
        seeds=len(ours.values),
        caveats=caveats(claim, ours),
    )
    if METRICS[claim.metric].deterministic:
        return _placed(found, mean, mean, claim.value * _decimal(tolerance.share))
    if found.seeds < MIN_SEEDS:
        return found
    interval = t_interval(list(ours.values.values()))
    return _placed(
        found, claim.in_unit(interval.low), claim.in_unit(interval.high), _decimal(tolerance.points)
    )


def _judge_relative(
    claim: RelativeClaim,
    measurements: Sequence[Measurement],
    paired: Callable[[Measurement, Measurement], Comparison | None],
    tolerance: Tolerance,
    t_interval: IntervalOf,
) -> Judgement:
    pair = _nearest_pair(claim, measurements)
    of, over = pair.of.ours, pair.over.ours
    if (settled := _settle_pair(claim, pair)) is not None:
        return settled
    shared = [of.values[seed] - over.values[seed] for seed in pair.seeds]
    mean = sum(map(claim.of.in_unit, shared), Decimal(0)) / len(shared)
    found = Judgement(
        claim=claim,
        verdict="single run",
        reason=_too_few(len(shared)),
        measurement=of,
        baseline=over,
        measured=float(mean),
        difference=float(mean - claim.value),
        seeds=len(shared),
        images=paired(of, over),
        caveats=tuple(dict.fromkeys(caveats(claim.of, of) + caveats(claim.over, over))),
    )
    if len(shared) < MIN_SEEDS:
        return found
    interval = t_interval(shared)
    low, high = claim.of.in_unit(interval.low), claim.of.in_unit(interval.high)
    return _placed(found, low, high, _decimal(tolerance.points))


@dataclass(frozen=True)
class _Candidate:
    """A measurement of a claimed model (``None``: there is none) and what keeps it from judging the claim."""

    ours: Measurement | None
    hindered: list[str]

    @property
    def values(self) -> Mapping[int, float]:
        return {} if self.ours is None else self.ours.values


@dataclass(frozen=True)
class _Pair:
    of: _Candidate
    over: _Candidate
    differ: list[str]
    """What keeps one from being taken from the other."""

    @property
    def seeds(self) -> list[int]:
        return sorted(self.of.values.keys() & self.over.values.keys())

    @property
    def distance(self) -> tuple[int, int, int]:
        """Smallest for the pair that answers: the fewest reasons against it, the most seeds in common, then
        the most that ran at all.
        """
        against = len(self.of.hindered) + len(self.over.hindered) + len(self.differ)
        return against, -len(self.seeds), -len(self.of.values) - len(self.over.values)


def _candidates(claim: Claim, measurements: Sequence[Measurement]) -> list[_Candidate]:
    return [
        _Candidate(ours, obstacles(claim, ours))
        for ours in measurements
        if (ours.dataset, ours.method, ours.variant, ours.metric)
        == (claim.dataset, claim.method, claim.variant, claim.metric)
        and (claim.backbone is None or family(claim.backbone) == family(ours.backbone))
    ] or [_Candidate(None, [])]


def _nearest_pair(claim: RelativeClaim, measurements: Sequence[Measurement]) -> _Pair:
    """The pair of the smallest distance; of equal ones, the first in the order of ``measurements``."""
    sides = (_candidates(side, measurements) for side in (claim.of, claim.over))
    pairs = (
        _Pair(of, over, between(of.ours, over.ours, compared(claim.of)) if of.ours and over.ours else [])
        for of, over in itertools.product(*sides)
    )
    return min(pairs, key=lambda pair: pair.distance)


def _settle(claim: Claim, near: _Candidate) -> Judgement | None:
    """The verdict where there is nothing to compare, or no right to; ``None``: compare."""
    ours, hindered = near.ours, near.hindered
    if ours is None:
        for name, known, what in (
            (claim.method, registry.METHODS, "method"),
            (claim.dataset, registry.DATASETS, "data set"),
        ):
            if name not in known:
                return Judgement(
                    claim=claim, verdict="not run", reason=f"seglib does not have the {what} {name}"
                )
        reason = "; ".join(["no run of this model in this configuration", *open_questions(claim)])
        return Judgement(claim=claim, verdict="not run", reason=reason)
    if not ours.values:
        if hindered:
            reason = f"the planned runs would not be comparable: {'; '.join(hindered)}"
            return Judgement(claim=claim, verdict="not run", reason=reason, measurement=ours)
        if ours.failures:
            seed, reason = min(ours.failures.items())
            return Judgement(claim=claim, verdict="failed", reason=f"seed {seed}: {reason}", measurement=ours)
        return Judgement(
            claim=claim,
            verdict="not run",
            reason="planned, not run yet",
            measurement=ours,
            command=ours.command,
            gpu_hours=ours.gpu_hours,
        )
    if hindered:
        return Judgement(
            claim=claim,
            verdict="not comparable",
            reason="; ".join(hindered),
            measurement=ours,
            measured=None if claim.unit_in_ours is None else float(_mean(claim, ours)),
            seeds=len(ours.values),
            caveats=caveats(claim, ours),
        )
    return None


def _settle_pair(claim: RelativeClaim, pair: _Pair) -> Judgement | None:
    """The same of two sides: each says what it lacks, and how to run it where nothing else is amiss."""
    settled = (_settle(claim.of, pair.of), _settle(claim.over, pair.over))
    sides = [side for side in settled if side is not None]
    # A side that differs from its claim says itself why the two differ.
    differ = [] if pair.of.hindered or pair.over.hindered else pair.differ
    if not (sides or differ or pair.seeds):
        differ = ["no seed in common"]
    reasons = [f"{side.claim.method}: {side.reason}" for side in sides]
    if differ:
        reasons.append(f"between our two runs: {'; '.join(differ)}")
    if not reasons:
        return None
    # A failure has to be seen; and before both sides have run, there is nothing to compare.
    found = {side.verdict for side in sides} | {"not comparable"}
    commands, hours = ([getattr(side, name) for side in sides] for name in ("command", "gpu_hours"))
    runs = bool(sides) and None not in commands and not differ
    return Judgement(
        claim=claim,
        verdict=next(verdict for verdict in ("failed", "not run", "not comparable") if verdict in found),
        reason="; ".join(reasons),
        measurement=pair.of.ours,
        baseline=pair.over.ours,
        seeds=len(pair.seeds),
        caveats=tuple(dict.fromkeys(caveat for side in sides for caveat in side.caveats)),
        command="; ".join(commands) if runs else None,
        gpu_hours=sum(hours) if runs and None not in hours else None,
    )


def _placed(found: Judgement, low: Decimal, high: Decimal, margin: Decimal) -> Judgement:
    reported = found.claim.value
    verdict = place(low, high, reported=reported, tolerance=margin)
    where = {
        "reproduced": "lies within",
        "higher": "lies above",
        "lower": "lies below",
        "inconclusive": "straddles an edge of",
    }[verdict]
    ours = _short(low) if low == high else f"{_short(low)} to {_short(high)}"
    reason = f"{ours} {where} {reported} ± {_short(margin)}"
    return dataclasses.replace(found, verdict=verdict, reason=reason, interval=(float(low), float(high)))


def _mean(claim: Claim, ours: Measurement) -> Decimal:
    for seed, value in ours.values.items():
        if not math.isfinite(value):
            raise ValueError(f"{ours.name}: {ours.metric} of seed {seed} is {value}")
    if METRICS[claim.metric].deterministic and len(set(ours.values.values())) > 1:
        raise ValueError(f"{ours.name}: {ours.metric} has several values: {sorted(ours.values.values())}")
    return sum(map(claim.in_unit, ours.values.values()), Decimal(0)) / len(ours.values)


def _short(number: Decimal) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".")


def _too_few(seeds: int) -> str:
    return f"{seeds} of the {MIN_SEEDS} seeds that a verdict needs"


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))
