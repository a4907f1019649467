import colorsys

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from seglib.training import appearance

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)


class Draws:
    """In place of a random generator: these values, then this order."""

    def __init__(self, *values: float, order: tuple[int, ...] = (0, 1, 2, 3)):
        self.values, self.order = list(values), order

    def uniform(self, low: float, high: float) -> float:
        value = self.values.pop(0)
        assert low <= value <= high
        return value

    def permutation(self, count: int) -> tuple[int, ...]:
        assert sorted(self.order) == list(range(count))
        return self.order


@pytest.mark.parametrize(
    ("kind", "values", "factor"),
    [
        (ImageEnhance.Brightness, (1.2, 1, 1, 0), 1.2),
        (ImageEnhance.Contrast, (1, 0.8, 1, 0), 0.8),
        (ImageEnhance.Color, (1, 1, 1.24, 0), 1.24),
    ],
)
def test_each_change_is_pillows_which_the_authors_use(kind, values, factor):
    found = appearance.jitter_colors(IMAGE, 0.25, Draws(*values))
    expected = np.asarray(kind(Image.fromarray(IMAGE)).enhance(factor))
    # Pillow truncates; and the way through HSV and back, here without a turn, moves values by some levels.
    assert np.abs(found.astype(int) - expected).max() <= 8
    assert np.abs(found.astype(int) - expected).mean() < 1.5


def test_hue_turns_by_a_share_of_the_circle():
    red = np.full((2, 2, 3), (200, 20, 20), np.uint8)
    found = appearance.jitter_colors(red, 0.25, Draws(1, 1, 1, 1 / 6))
    hue, _, value = colorsys.rgb_to_hsv(*found[0, 0] / 255)
    assert hue == pytest.approx(1 / 6, abs=0.01)
    assert value == pytest.approx(200 / 255, abs=0.01)


def test_the_order_of_the_changes_matters():
    draws = [Draws(1.25, 0.75, 1.2, 0.1, order=order) for order in ((0, 1, 2, 3), (1, 0, 3, 2))]
    assert not np.array_equal(*(appearance.jitter_colors(IMAGE, 0.25, draw) for draw in draws))


def test_blur_is_a_gaussian_filter_of_each_channel():
    found = appearance.blur(IMAGE, Draws(1.1))
    expected = ndimage.gaussian_filter(IMAGE.astype(float), (1.1, 1.1, 0), mode="nearest")
    assert np.abs(found - expected).max() <= 1.5
