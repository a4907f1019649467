import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglib.experiment.recipe import Recipe
from seglib.numerics.sizes import scaled_size
from seglib.training import augment

WARP_ERROR = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 8
"""Grey levels; OpenCV 4 places warped samples at 1/32 pixel."""


def augmentation(**values) -> augment.Augmentation:
    still = {"flip": 0.0, "photometric": False, "scale_range": (1.0, 1.0), "max_class_share": 1.0}
    recipe = Recipe(**{"iterations": 1, "batch_size": 1, "lr": 0.1, "crop_hw": (30, 40), **still, **values})
    return augment.Augmentation(recipe=recipe, flip_pairs=((1, 2),), fill=(9, 8, 7), ignore_index=255)


def picture(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, rng.integers(0, 5, (height, width), dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    source=st.tuples(st.integers(5, 90), st.integers(5, 90)),
    scaled=st.tuples(st.integers(3, 180), st.integers(3, 180)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    share=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
)
def test_cropping_first_equals_resizing_the_whole_image_and_cropping_it(source, scaled, place, share):
    image, label = picture(np.random.default_rng(0), *source)
    crop = tuple(max(1, int(size * part)) for size, part in zip(scaled, share, strict=True))
    top, left = (int((size - part) * at) for size, part, at in zip(scaled, crop, place, strict=True))
    window = np.s_[top : top + crop[0], left : left + crop[1]]

    whole = cv2.resize(image, scaled[::-1], interpolation=cv2.INTER_LINEAR)[window]
    found = augment.resize_crop(image, scaled, (top, left), crop)
    assert np.abs(whole.astype(int) - found).max() <= WARP_ERROR

    rows = np.floor((np.arange(scaled[0]) + 0.5) * (source[0] / scaled[0])).astype(int)
    columns = np.floor((np.arange(scaled[1]) + 0.5) * (source[1] / scaled[1])).astype(int)
    whole_label = label[rows[:, None], columns[None]]
    assert np.array_equal(augment.resize_crop_label(label, scaled, (top, left), crop), whole_label[window])


def test_labels_are_resized_by_pixel_centres_like_opencvs_exact_mode():
    _, label = picture(np.random.default_rng(1), 37, 53)
    reference = cv2.resize(label, (81, 29), interpolation=cv2.INTER_NEAREST_EXACT)
    assert np.array_equal(augment.resize_crop_label(label, (29, 81), (0, 0), (29, 81)), reference)


def test_unscaled_full_crop_is_the_image_itself():
    image, label = picture(np.random.default_rng(2), 30, 40)
    found = augmentation()(image, label, np.random.default_rng(0))
    assert np.array_equal(found[0], image)
    assert np.array_equal(found[1], label)


def test_flip_mirrors_and_swaps_the_paired_classes():
    image, label = picture(np.random.default_rng(3), 30, 40)
    flipped, labels = augmentation(flip=1.0)(image, label, np.random.default_rng(0))
    assert np.array_equal(flipped, image[:, ::-1])
    swapped = np.array([0, 2, 1, 3, 4], np.uint8)[label[:, ::-1]]
    assert np.array_equal(labels, swapped)


def test_no_class_fills_the_crop_where_another_place_is_free():
    image = np.zeros((100, 400, 3), np.uint8)
    label = np.zeros((100, 400), np.uint8)
    label[:, 300:] = np.arange(100) % 4  # three quarters of the image are class 0
    label[:5] = 255
    shares = []
    for limit in (0.75, 1.0):
        draw = augmentation(crop_hw=(40, 40), max_class_share=limit)
        crops = [draw(image, label, np.random.default_rng(i))[1] for i in range(100)]
        shares.append(np.mean([(crop == 0).sum() >= 0.75 * (crop != 255).sum() for crop in crops]))
    assert shares[1] > 0.6
    assert shares[0] < 0.1  # ten draws fail together now and then


@pytest.mark.parametrize("crop_hw", [(64, 30), (20, 64), (64, 64)])
def test_small_images_are_centred_in_the_crop(crop_hw):
    image, label = picture(np.random.default_rng(4), 30, 40)
    padded, labels = augmentation(crop_hw=crop_hw)(image, label, np.random.default_rng(0))
    assert padded.shape == (*crop_hw, 3)
    assert labels.shape == crop_hw
    outside = labels == 255
    assert (padded[outside] == (9, 8, 7)).all()
    top, left = max(0, (crop_hw[0] - 30) // 2), max(0, (crop_hw[1] - 40) // 2)
    inside = labels[top : top + 30, left : left + 40]
    assert not (inside == 255).any()
    assert outside.sum() == labels.size - inside.size


def test_rotation_turns_image_and_label_together():
    label = np.zeros((31, 31), np.uint8)
    label[10:20, 5:12] = 3
    image = np.repeat(label[..., None] * 60, 3, axis=2)
    turned, labels = augment.rotate(image, label, 90, 255)
    assert np.array_equal(labels[1:-1, 1:-1], np.rot90(label)[:-2, 1:-1])
    assert np.array_equal(turned[..., 0][labels == 3], np.full((labels == 3).sum(), 180))
    assert 255 in augment.rotate(image, label, 30, 255)[1]


class Draws:
    """Stands for a generator: the five chances of ``distort_colours``, then one value for all others."""

    def __init__(self, *chances: str, value: float = 0):
        names = ("brighten", "contrast_first", "contrast", "saturate", "turn")
        self.chances = np.array([0.0 if name in chances else 0.9 for name in names])
        self.value = value

    def random(self, count):
        return self.chances

    def uniform(self, low, high):
        assert low <= self.value <= high
        return self.value

    def integers(self, low, high, endpoint):
        return self.value


def test_each_colour_distortion_is_the_plain_arithmetic():
    image, _ = picture(np.random.default_rng(5), 40, 40)
    assert np.array_equal(augment.distort_colours(image, Draws()), image)
    brighter = np.clip(image + 20.5, 0, 255).astype(np.uint8)
    assert np.array_equal(augment.distort_colours(image, Draws("brighten", value=20.5)), brighter)
    contrast = np.clip(image * 1.3, 0, 255).astype(np.uint8)
    for order in ((), ("contrast_first",)):
        assert np.array_equal(augment.distort_colours(image, Draws("contrast", *order, value=1.3)), contrast)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(float)
    saturated, turned = hsv.copy(), hsv.copy()
    saturated[..., 1] = np.clip(hsv[..., 1] * 0.6, 0, 255)
    turned[..., 0] = (hsv[..., 0] - 7) % 180
    for reference, draws in ((saturated, Draws("saturate", value=0.6)), (turned, Draws("turn", value=-7))):
        expected = cv2.cvtColor(reference.astype(np.uint8), cv2.COLOR_HSV2RGB)
        assert np.array_equal(augment.distort_colours(image, draws), expected)


def test_all_draws_come_from_the_generator_alone():
    image, label = picture(np.random.default_rng(6), 60, 80)
    values = {"flip": 0.5, "photometric": True, "rotation": 0.5, "rotation_degrees": 20.0}
    draw = augmentation(scale_range=(0.5, 2.0), **values)
    first, again, other = (draw(image, label, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("hw", "resize_hw", "scale", "keep_aspect", "expected"),
    [
        ((360, 480), None, 1.0, True, (360, 480)),
        ((360, 480), None, 0.5, True, (180, 240)),
        ((512, 683), (512, 2048), 1.0, True, (512, 683)),
        ((683, 512), (512, 2048), 1.0, True, (683, 512)),  # whichever way either lies
        ((300, 2000), (512, 2048), 1.0, True, (307, 2048)),  # the longer side binds
        ((1024, 2048), (1024, 2048), 1.5, True, (1536, 3072)),
        ((300, 200), (520, 520), 0.75, False, (390, 390)),
        ((2, 2), None, 0.1, True, (1, 1)),
    ],
)
def test_scaled_sizes(hw, resize_hw, scale, keep_aspect, expected):
    assert scaled_size(hw, resize_hw, scale=scale, keep_aspect=keep_aspect) == expected


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_a_crop_shows_the_place_that_it_must_cover(scale):
    label = np.zeros((60, 80), np.uint8)
    image = np.zeros((60, 80, 3), np.uint8)
    for y, x in ((0, 0), (59, 79), (31, 7), (20, 60)):
        label[:] = 0
        label[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 1
        for seed in range(8):
            rng = np.random.default_rng(seed)
            _, crop = augmentation(scale_range=(scale, scale))(image, label, rng, (y, x))
            assert 1 in crop


def test_jitter_and_blur_are_off_by_default_and_change_the_image_alone():
    image, label = picture(np.random.default_rng(3), 30, 40)
    for values in ({"color_jitter": 0.25}, {"blur": 1.0}):
        found = augmentation(**values)(image, label, np.random.default_rng(0))
        assert not np.array_equal(found[0], image)
        assert np.array_equal(found[1], label)
