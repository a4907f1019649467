"""Contour counts against masks and distances computed one pair of pixels at a time."""

import cv2
import numpy as np
from hypothesis import given, settings

from seglib.metrics.confusion import label_pair
from seglib.metrics.contours import contour_counts
from tests.unit.metrics.maps import IGNORE, num_classes, pairs

RADII = (3, 5, 9, 12)


def contour(values, c):
    """Pixels (N, 2) of class ``c`` that a 3 x 3 erosion removes; no edge to ignore or the outside."""
    kept = cv2.erode(((values == c) | (values == IGNORE)).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.argwhere((values == c) & (kept == 0))


def by_distance(label, prediction, num_classes):
    prediction = np.where(label == IGNORE, IGNORE, prediction)
    totals = np.zeros((2, num_classes), np.int64)
    matched = np.zeros((2, len(RADII), num_classes), np.int64)
    for c in range(num_classes):
        points = [contour(values, c) for values in (label, prediction)]
        for side, (own, other) in enumerate([points, points[::-1]]):
            totals[side, c] = len(own)
            if len(other):
                nearest = ((own[:, None] - other) ** 2).sum(axis=2).min(axis=1)
                matched[side, :, c] = [(nearest <= radius**2).sum() for radius in RADII]
    return totals, matched


def counts(label, prediction, num_classes):
    pair = label_pair(label, prediction, num_classes=num_classes, ignore_index=IGNORE)
    return contour_counts(pair, radii_px=RADII)


@settings(max_examples=80, deadline=None)
@given(pairs, num_classes)
def test_equals_brute_force(pair, num_classes):
    for found, expected in zip(counts(*pair, num_classes), by_distance(*pair, num_classes), strict=True):
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, expected)


def test_a_shifted_edge_is_matched_from_its_distance_on():
    """Edges 5 pixels apart: unmatched at 3, matched at 5, 9 and 12."""
    label, prediction = np.zeros((2, 20, 40), np.uint8)
    label[:, 10:] = 1
    prediction[:, 15:] = 1
    totals, matched = counts(label, prediction, 2)
    assert (totals == 20).all(), "one column each: the image's border makes no contour"
    np.testing.assert_array_equal(matched[:, :, 0], [[0, 20, 20, 20]] * 2)


def test_the_disk_is_round():
    """Two single pixels at (3, 4) from each other are 5 apart; at (4, 4) they are not."""
    for offset, expected in (((3, 4), 1), ((4, 4), 0)):
        label, prediction = np.zeros((2, 31, 31), np.uint8)
        label[15, 15] = prediction[15 + offset[0], 15 + offset[1]] = 1
        _, matched = counts(label, prediction, 2)
        assert matched[0, 1, 1] == matched[1, 1, 1] == expected


def test_a_contour_that_only_borders_ignore_is_left_out():
    label = np.zeros((9, 9), np.uint8)
    label[:, 4] = IGNORE
    totals, _ = counts(label, np.zeros_like(label), 1)
    assert not totals.any()
