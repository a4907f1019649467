"""Intervals against closed forms and, by simulation, against what they promise."""

import numpy as np
import pytest
from scipy import stats

from seglib.metrics.statistics import paired_bootstrap, t_interval


def test_t_interval_of_two_and_three_values():
    """t at 97.5 %: 12.7062 for one degree of freedom, 4.3027 for two (any table)."""
    two = t_interval([1.0, 3.0])
    assert (two.mean, two.n) == (2.0, 2)
    assert two.high - 2 == 2 - two.low == pytest.approx(12.7062, abs=1e-4)
    three = t_interval([1.0, 2.0, 3.0])
    assert three.high - 2 == pytest.approx(4.30265 / np.sqrt(3), abs=1e-4)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_t_interval_equals_scipy(confidence):
    values = np.random.default_rng(0).normal(70, 2, 7)
    interval = t_interval(values, confidence=confidence)
    expected = stats.t.interval(confidence, 6, loc=values.mean(), scale=stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_t_interval_covers_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    intervals = (t_interval(rng.normal(5, 2, n)) for _ in range(4000))
    covered = np.mean([interval.low <= 5 <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def test_t_interval_of_one_value_is_refused():
    with pytest.raises(ValueError, match="needs two values or more, got 1"):
        t_interval([0.7])


def ratio(sums):
    """As IoU is: a ratio of sums over images."""
    return {"ratio": sums[:, 0] / sums[:, 1]}


def images(rng, n, advantage):
    """(N, 2) right and all pixels of two models; how hard an image is they share."""
    pixels = rng.integers(500, 1500, n)
    hard = rng.uniform(0.4, 0.9, n)
    a, b = (
        rng.binomial(pixels, np.clip(hard + gain + rng.normal(0, 0.05, n), 0, 1)) for gain in (advantage, 0)
    )
    return np.stack([a, pixels], axis=1), np.stack([b, pixels], axis=1)


def test_bootstrap_difference_and_spread_follow_the_closed_form():
    """The delta method's standard error of a paired difference of ratios."""
    a, b = images(np.random.default_rng(0), 400, 0.02)
    found = paired_bootstrap(a, b, ratio, resamples=4000)["ratio"]
    expected = a[:, 0].sum() / a[:, 1].sum() - b[:, 0].sum() / b[:, 1].sum()
    assert found.difference == pytest.approx(expected)
    residuals = (a[:, 0] - b[:, 0]) - expected * a[:, 1]
    error = np.sqrt((residuals**2).sum()) / a[:, 1].sum()
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.06)
    assert found.probability_of_improvement == pytest.approx(stats.norm.cdf(expected / error), abs=0.02)


def test_bootstrap_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        found = paired_bootstrap(*images(rng, 60, 0.02), ratio, resamples=300)["ratio"]
        covered.append(found.low <= 0.02 <= found.high)
    assert np.mean(covered) == pytest.approx(0.94, abs=0.04)


def test_bootstrap_is_paired():
    """A model that is better by the same everywhere is better in every draw, however different images are."""
    rng = np.random.default_rng(2)
    b = np.stack([rng.integers(0, 900, 50), np.full(50, 1000)], axis=1)
    a = b + np.array([1, 0])
    found = paired_bootstrap(a, b, ratio)["ratio"]
    assert (found.low, found.high) == pytest.approx((0.001, 0.001))
    assert found.probability_of_improvement == 1


def test_bootstrap_of_equal_results_decides_nothing():
    a, _ = images(np.random.default_rng(3), 50, 0)
    found = paired_bootstrap(a, a, ratio)["ratio"]
    assert (found.difference, found.low, found.high, found.probability_of_improvement) == (0, 0, 0, 0.5)


def test_bootstrap_swapped_and_repeated():
    a, b = images(np.random.default_rng(4), 50, 0.01)
    one, again, swapped = (paired_bootstrap(*pair, ratio)["ratio"] for pair in ((a, b), (a, b), (b, a)))
    assert one == again
    assert (swapped.low, swapped.high) == pytest.approx((-one.high, -one.low))
    assert swapped.probability_of_improvement == pytest.approx(1 - one.probability_of_improvement)


def test_bootstrap_leaves_out_undefined_metrics():
    a, b = images(np.random.default_rng(5), 20, 0)

    def metrics(sums):
        return {
            "never": np.full(len(sums), np.nan),
            "rarely": np.where(np.arange(len(sums)) % 2, np.nan, 1.0),
        }

    found = paired_bootstrap(a, b, metrics)
    assert set(found) == {"rarely"}
    assert found["rarely"].difference == 0
