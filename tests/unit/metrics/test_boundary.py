"""Boundary counts against the published definition, class by class."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglib.metrics.boundary import boundary_counts, boundary_width
from seglib.metrics.confusion import label_pair, region_confusion
from tests.unit.metrics.maps import IGNORE, num_classes, pairs, random_pair


def mask_to_boundary(mask, width):
    """As published with Boundary IoU: pad with background, erode ``width`` times by 3 x 3, subtract."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)
    return mask - eroded[1:-1, 1:-1]


def per_class_loop(label, prediction, num_classes, width, ignore_index=IGNORE):
    prediction = np.where(label == ignore_index, ignore_index, prediction)
    rows = []
    for c in range(num_classes):
        g, p = (mask_to_boundary((values == c).astype(np.uint8), width) for values in (label, prediction))
        rows.append([(g & p).sum(), g.sum(), p.sum()])
    return np.array(rows, np.int64).T


def region_counts(label, prediction, num_classes):
    prediction = np.where(label == IGNORE, IGNORE, prediction)
    masks = [((label == c), (prediction == c)) for c in range(num_classes)]
    return np.array([[(g & p).sum(), g.sum(), p.sum()] for g, p in masks]).T


def counts(label, prediction, num_classes, width, ignore_index=IGNORE):
    pair = label_pair(label, prediction, num_classes=num_classes, ignore_index=ignore_index)
    result = boundary_counts(pair, width=width, confusion=region_confusion(pair))
    assert result.dtype == np.int64
    return result


@settings(max_examples=150, deadline=None)
@given(pairs, num_classes, st.integers(1, 12))
def test_equals_the_per_class_loop(pair, num_classes, width):
    np.testing.assert_array_equal(
        counts(*pair, num_classes, width), per_class_loop(*pair, num_classes, width)
    )


# Around every width at which bits are counted in larger units, with room for interior pixels.
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 46])
@pytest.mark.parametrize("ignore", [False, True])
def test_equals_the_per_class_loop_where_classes_have_an_interior(width, ignore):
    interior = np.zeros(3, np.int64)
    for seed in range(3):
        label, prediction = random_pair(
            seed, height=7 * width + 3, width=9 * width + 7, num_classes=4, blob=8 * width, ignore=ignore
        )
        expected = per_class_loop(label, prediction, 4, width)
        np.testing.assert_array_equal(counts(label, prediction, 4, width), expected)
        interior += region_counts(label, prediction, 4).sum(axis=1) - expected.sum(axis=1)
    assert (interior > 0).all(), "nothing was eroded: this tests nothing"


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 90), (90, 1), (3, 3), (64, 64), (65, 63), (2, 128), (93, 93), (94, 93)]
)
@pytest.mark.parametrize("width", [1, 46, 1000])
def test_one_class_fills_an_image_of_any_size(shape, width):
    """The interior of a full map is what is further than ``width`` from the border."""
    label = np.zeros(shape, np.uint8)
    interior = max(0, shape[0] - 2 * width) * max(0, shape[1] - 2 * width)
    expected = np.full((3, 1), label.size - interior)
    np.testing.assert_array_equal(counts(label, label, 1, width), expected)


def test_more_classes_than_a_byte_holds():
    label, prediction = (
        np.random.default_rng(seed).integers(0, 300, (6, 7)).repeat(9, 0).repeat(9, 1) for seed in (0, 1)
    )
    label[:9, :9] = 1000
    np.testing.assert_array_equal(
        counts(label, prediction, 300, 3, ignore_index=1000), per_class_loop(label, prediction, 300, 3, 1000)
    )


@settings(max_examples=40, deadline=None)
@given(pairs, num_classes, st.integers(1, 9), st.randoms(use_true_random=False))
def test_renaming_classes_renames_the_counts(pair, num_classes, width, random):
    new_name = np.arange(256)
    new_name[:num_classes] = random.sample(range(num_classes), num_classes)
    renamed = counts(*(new_name[values].astype(np.uint8) for values in pair), num_classes, width)
    np.testing.assert_array_equal(renamed[:, new_name[:num_classes]], counts(*pair, num_classes, width))


@settings(max_examples=40, deadline=None)
@given(pairs, num_classes, st.integers(1, 9), st.sampled_from([np.flipud, np.fliplr, np.transpose, np.rot90]))
def test_turning_an_image_changes_nothing(pair, num_classes, width, turn):
    np.testing.assert_array_equal(
        counts(*map(turn, pair), num_classes, width), counts(*pair, num_classes, width)
    )


def test_ignored_pixels_are_no_class_and_bound_their_neighbours():
    label = np.zeros((21, 21), np.uint8)
    label[10, 10] = IGNORE
    prediction = np.zeros_like(label)
    prediction[10, 10] = 1  # not looked at
    ring = 21 * 21 - 17 * 17
    around = 5 * 5 - 1
    np.testing.assert_array_equal(counts(label, prediction, 2, 2), [[ring + around, 0]] * 3)


@pytest.mark.parametrize(
    ("height", "width", "ratio", "expected"),
    [
        (1024, 2048, 0.02, 46),
        (512, 683, 0.02, 17),
        (360, 480, 0.02, 12),
        (3, 4, 0.02, 1),
        (300, 400, 0.005, 2),
    ],
)
def test_boundary_width(height, width, ratio, expected):
    """The last one is 2.5, which Python and the published code round to 2."""
    assert boundary_width(height, width, ratio) == expected
