"""Metrics from counts, worked out by hand."""

import numpy as np
import pytest

from seglib.metrics import scores
from seglib.metrics.counts import ROWS

NAN = float("nan")


def sums(**rows):
    """The counts of two or more classes; rows that are not given are zero. Two radii: 3 and 5 px."""
    k = len(next(iter(rows.values())))
    matched = (f"matched_{side}_{radius}" for side in ("label", "prediction") for radius in (3, 5))
    names = [*ROWS, *matched]
    assert set(rows) <= set(names)
    return np.array([rows.get(name, [0] * k) for name in names])


def values(**rows):
    return scores.per_class(sums(**rows), (3, 5)), scores.means(sums(**rows), (3, 5))


def test_region_metrics():
    per_class, means = values(both=[30, 10], label=[40, 20], prediction=[40, 20])
    np.testing.assert_allclose(per_class["iou"], [30 / 50, 10 / 30])
    np.testing.assert_allclose(per_class["accuracy"], [30 / 40, 10 / 20])
    assert means["miou"] == pytest.approx((30 / 50 + 10 / 30) / 2)
    assert means["pixel_accuracy"] == pytest.approx(40 / 60)
    assert means["mean_accuracy"] == pytest.approx((30 / 40 + 10 / 20) / 2)
    assert means["fwiou"] == pytest.approx((40 * 30 / 50 + 20 * 10 / 30) / 60)


def test_boundary_iou():
    per_class, means = values(
        label=[9, 9], boundary_both=[2, 1], boundary_label=[4, 1], boundary_prediction=[3, 1]
    )
    np.testing.assert_allclose(per_class["boundary_iou"], [2 / 5, 1])
    assert means["boundary_iou"] == pytest.approx((2 / 5 + 1) / 2)


def test_boundary_f_is_pooled_precision_and_recall():
    per_class, means = values(
        label=[50, 50],
        contour_label=[10, 4],
        contour_prediction=[20, 4],
        matched_label_3=[5, 4],
        matched_label_5=[8, 4],
        matched_prediction_3=[4, 4],
        matched_prediction_5=[15, 4],
    )
    at_3 = 2 * (5 / 10) * (4 / 20) / (5 / 10 + 4 / 20)
    at_5 = 2 * (8 / 10) * (15 / 20) / (8 / 10 + 15 / 20)
    np.testing.assert_allclose(per_class["boundary_f"][3], [at_3, 1])
    np.testing.assert_allclose(per_class["boundary_f"][5], [at_5, 1])
    assert means["boundary_f"][3] == pytest.approx((at_3 + 1) / 2)


def test_absent_classes():
    """Class 0 is right; 1 only labelled, 2 only predicted, 3 nowhere."""
    per_class, means = values(
        both=[5, 0, 0, 0],
        label=[5, 2, 0, 0],
        prediction=[5, 0, 2, 0],
        boundary_both=[5, 0, 0, 0],
        boundary_label=[5, 2, 0, 0],
        boundary_prediction=[5, 0, 2, 0],
        contour_label=[3, 2, 0, 0],
        contour_prediction=[3, 0, 2, 0],
        matched_label_3=[3, 0, 0, 0],
        matched_prediction_3=[3, 0, 0, 0],
    )
    np.testing.assert_array_equal(per_class["iou"], [1, 0, 0, NAN])
    np.testing.assert_array_equal(per_class["boundary_iou"], [1, 0, 0, NAN])
    np.testing.assert_array_equal(per_class["accuracy"], [1, 0, NAN, NAN])
    np.testing.assert_array_equal(per_class["boundary_f"][3], [1, 0, NAN, NAN])
    assert means["miou"] == means["boundary_iou"] == pytest.approx(1 / 3)
    assert means["mean_accuracy"] == means["boundary_f"][3] == pytest.approx(1 / 2)


def test_a_contour_on_one_side_only_is_worth_nothing():
    per_class, _ = values(label=[5, 5, 5], contour_label=[3, 0, 0], contour_prediction=[0, 3, 0])
    np.testing.assert_array_equal(per_class["boundary_f"][5], [0, 0, NAN])


def test_nothing_counted_is_undefined_not_zero():
    _, means = values(label=[0, 0])
    flat = [value for name, value in means.items() if name != "boundary_f"] + [*means["boundary_f"].values()]
    assert np.isnan(flat).all()


def test_leading_axes_are_kept():
    one, two = sums(both=[3], label=[4], prediction=[5]), sums(both=[1], label=[4], prediction=[5])
    together = scores.means(np.stack([one, two]), (3, 5))
    np.testing.assert_allclose(together["miou"], [3 / 6, 1 / 8])


def test_confusions_within_a_group_are_no_errors():
    confusion = np.array([[5, 2, 1], [3, 4, 0], [0, 0, 6]])
    np.testing.assert_allclose(scores.grouped_iou(confusion, [[0, 1], [2]]), [14 / 15, 6 / 7])
    np.testing.assert_allclose(scores.grouped_iou(confusion, [[0, 1, 2]]), [1])
