"""Intervals, and the question that each of them answers. They are not interchangeable.

- Does the number hold when the training is repeated? -> :func:`t_interval` over seeds.
- Is model A better than model B on images like these, given these two trainings? ->
  :func:`paired_bootstrap` over images. It does not measure how much another training would differ,
  so it supports no statement on methods or on published numbers.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class Interval:
    """Mean of ``n`` values and half the width of its t-interval (``None`` for one value)."""

    mean: float
    half_width: float | None
    n: int

    @property
    def low(self) -> float:
        return self.mean - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        return self.mean + (self.half_width or 0.0)


@dataclass(frozen=True)
class Comparison:
    """A minus B of one metric; ``low`` and ``high`` bound the difference."""

    difference: float
    low: float
    high: float
    probability_of_improvement: float


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """The interval in which the mean over all possible seeds lies, judged from these few.

    Student's t-interval: mean +- t * s / sqrt(n), which covers as stated for as few as two normally
    distributed values. (A bootstrap of three seeds covers far less than it states.) It includes what
    varies with the seed and nothing else: not the choice of images, not the recipe.

    Raises ``ValueError`` for fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"an interval over seeds needs two values or more, got {n}")
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * deviation / math.sqrt(n)
    return Interval(mean, half, n)


def summarise(values: Iterable[float | None]) -> Interval | None:
    """The mean of the defined values, with a t-interval where there are at least two; ``None`` of none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return t_interval(known) if len(known) > 1 else Interval(known[0], None, 1)


def paired_bootstrap(
    counts_a: np.ndarray,
    counts_b: np.ndarray,
    metrics: Callable[[np.ndarray], dict[str, np.ndarray]],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Whether A would beat B on other images like these, too, given these two trainings.

    Draws as many images as there are, with replacement, the same for A and B, and takes the metrics of
    the summed counts each time: percentiles of the difference, and the share of the draws in which
    A is better (ties count half), called the probability of improvement. With fewer than some 30
    images the interval is too short.

    ``counts_a``, ``counts_b``: (N, ...) integers of the same N images. ``metrics``: sums (X, ...) ->
    arrays (X,) by name. A draw in which a metric is undefined for A or B is left out of that metric.
    """
    assert counts_a.shape == counts_b.shape
    n = len(counts_a)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    # The first row is the set itself. Sums of counts in float64 are exact below 2**53.
    times = np.concatenate([np.ones((1, n)), times])
    a, b = (
        metrics((times @ counts.reshape(n, -1)).reshape(-1, *counts.shape[1:]))
        for counts in (counts_a, counts_b)
    )
    tail = 50 * (1 - confidence)
    comparisons = {}
    for name in a:
        difference = a[name] - b[name]
        draws = difference[1:][~np.isnan(difference[1:])]
        if np.isnan(difference[0]) or not draws.size:
            continue
        low, high = np.percentile(draws, [tail, 100 - tail])
        better = np.mean(draws > 0) + np.mean(draws == 0) / 2
        comparisons[name] = Comparison(float(difference[0]), float(low), float(high), float(better))
    return comparisons
