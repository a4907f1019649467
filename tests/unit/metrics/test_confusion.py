import numpy as np
import pytest
import torch
from hypothesis import given, settings

from seglib.metrics import confusion_torch
from seglib.metrics.confusion import label_pair, region_confusion
from tests.unit.metrics.maps import IGNORE, num_classes, pairs, random_pair


def count_pixels(label, prediction, num_classes, ignore_index=IGNORE):
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for i, j in zip(label.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if i != ignore_index:
            matrix[i, j] += 1
    return matrix


def confusion(label, prediction, num_classes, ignore_index=IGNORE):
    result = region_confusion(
        label_pair(label, prediction, num_classes=num_classes, ignore_index=ignore_index)
    )
    assert result.dtype == np.int64
    return result


@settings(max_examples=100, deadline=None)
@given(pairs, num_classes)
def test_counts_every_pixel_that_is_not_ignored(pair, num_classes):
    expected = count_pixels(*pair, num_classes)
    np.testing.assert_array_equal(confusion(*pair, num_classes), expected)
    on_device = confusion_torch.region_confusion(
        *map(torch.from_numpy, pair), num_classes=num_classes, ignore_index=IGNORE
    )
    np.testing.assert_array_equal(on_device.numpy(), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int32", "int64"])
def test_any_integer_type_and_memory_layout(dtype):
    pair = random_pair(0, height=11, width=17, num_classes=19, blob=3, ignore=True)
    expected = count_pixels(*pair, 19)
    label, prediction = (values.astype(dtype) for values in pair)
    np.testing.assert_array_equal(confusion(label, prediction, 19), expected)
    np.testing.assert_array_equal(confusion(np.asfortranarray(label), prediction[::-1][::-1], 19), expected)


def test_the_inputs_are_left_as_they_are():
    label, prediction = random_pair(0, height=11, width=17, num_classes=3, blob=3, ignore=True)
    before = label.copy(), prediction.copy()
    confusion(label, prediction, 3)
    np.testing.assert_array_equal([label, prediction], before)


def test_a_signed_map_may_ignore_a_negative_value():
    label = np.array([[-1, 0, 1]], np.int16)
    np.testing.assert_array_equal(
        confusion(label, np.array([[7, 0, 0]]), 2, ignore_index=-1), [[1, 0], [1, 0]]
    )


def test_what_is_predicted_at_ignored_pixels_does_not_matter():
    label, prediction = random_pair(1, height=9, width=9, num_classes=3, blob=2, ignore=True)
    other = np.where(label == IGNORE, 77, prediction)
    np.testing.assert_array_equal(confusion(label, other, 3), confusion(label, prediction, 3))


ZERO = np.zeros((2, 3), np.uint8)


@pytest.mark.parametrize(
    ("label", "prediction", "settings", "message"),
    [
        (ZERO + 2, ZERO, {}, r"the label holds 2: no class \(0..1\) and not ignored \(255\)"),
        (ZERO, ZERO + 255, {}, "the prediction holds 255"),
        (ZERO.astype(int) - 1, ZERO, {}, "the label holds -1"),
        (np.arange(6).reshape(2, 3) + 10, ZERO, {}, r"10, 11, 12, 13, 14, \.\.\.:"),
        (ZERO, ZERO[:, :2], {}, r"prediction is 2 x 2 pixels \(height x width\), the label 2 x 3"),
        (ZERO.astype(float), ZERO, {}, "the label is not one integer per pixel"),
        (ZERO, np.zeros((2, 3, 3), np.uint8), {}, r"the prediction is not .* \(2, 3, 3\)"),
        (ZERO[:0], ZERO[:0], {}, "not one integer per pixel"),
        (ZERO, ZERO, {"ignore_index": 1}, "ignore_index 1 is also a class"),
        (ZERO, ZERO, {"num_classes": 0}, "num_classes 0"),
    ],
)
def test_refuses(label, prediction, settings, message):
    with pytest.raises(ValueError, match=message):
        label_pair(label, prediction, **{"num_classes": 2, "ignore_index": 255} | settings)


@pytest.mark.parametrize(("label", "prediction"), [(2, 0), (0, 2), (-1, 0), (0, -1), (0, 255)])
def test_torch_refuses_what_is_no_class(label, prediction):
    with pytest.raises(ValueError, match="1 pixels hold no class"):
        confusion_torch.region_confusion(
            torch.tensor([0, label]), torch.tensor([0, prediction]), num_classes=2, ignore_index=255
        )
