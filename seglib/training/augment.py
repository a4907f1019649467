"""Random training crops, on uint8 throughout.

Order and distributions as in the ISNet and MCIBI authors' code (sssegmentation): resize, crop with a limit on
the share of one class, flip, rotate, distort colours, pad. Two things differ, both own choices: the
crop is chosen first and only its pixels are resized (same geometry, see :func:`resize_crop`), and
labels are resized by pixel centres, like the images, where that code truncates coordinates.

Legend: ``H, W`` size of the source image, ``h, w`` size of the crop.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from seglib.experiment.recipe import Recipe
from seglib.numerics.sizes import scaled_size
from seglib.training.appearance import blur, jitter_colors

CROP_ATTEMPTS = 10
BRIGHTNESS = 32.0
CONTRAST = SATURATION = (0.5, 1.5)
HUE = 18
"""Steps of 2 degrees, as OpenCV stores hue in 0..179."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    recipe: Recipe
    flip_pairs: tuple[tuple[int, int], ...]
    """Classes that change places under a flip: left and right arm, ..."""
    fill: tuple[int, int, int]
    """Colour (RGB, 0..255) of the padding."""
    ignore_index: int

    def __call__(
        self,
        image: np.ndarray,
        label: np.ndarray,
        rng: np.random.Generator,
        cover_yx: tuple[int, int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Crop (h, w, 3) and label (h, w) of an RGB image (H, W, 3) and its label (H, W), all uint8.

        ``cover_yx``: a pixel of the label that the crop, before it is flipped or rotated, must show.
        """
        recipe = self.recipe
        size_hw = scaled_size(
            label.shape,
            recipe.resize_hw,
            scale=rng.uniform(*recipe.scale_range),
            keep_aspect=recipe.keep_aspect,
        )
        offset_yx, label = self._choose_crop(label, size_hw, rng, cover_yx)
        image = resize_crop(image, size_hw, offset_yx, label.shape)
        if rng.random() < recipe.flip:
            image, label = cv2.flip(image, 1), self._swap_pairs(cv2.flip(label, 1))
        if rng.random() < recipe.rotation:
            angle = rng.uniform(-recipe.rotation_degrees, recipe.rotation_degrees)
            image, label = rotate(image, label, angle, self.ignore_index)
        if recipe.photometric:
            image = distort_colours(image, rng)
        if recipe.color_jitter:
            image = jitter_colors(image, recipe.color_jitter, rng)
        if recipe.blur and rng.random() < recipe.blur:
            image = blur(image, rng)
        return pad(image, recipe.crop_hw, self.fill), pad(label, recipe.crop_hw, self.ignore_index)

    def _choose_crop(
        self,
        label: np.ndarray,
        size_hw: tuple[int, int],
        rng: np.random.Generator,
        cover_yx: tuple[int, int] | None,
    ) -> tuple[tuple[int, int], np.ndarray]:
        """Offset of a crop in the image scaled to ``size_hw``, and its label.

        Redrawn while one class fills ``max_class_share`` of the labelled pixels; the last draw stands.
        """
        crop_hw = np.minimum(self.recipe.crop_hw, size_hw)
        room_yx = size_hw - crop_hw
        first_yx, last_yx = np.zeros(2, int), room_yx
        if cover_yx is not None:
            covered = ((np.array(cover_yx) + 0.5) * size_hw / label.shape).astype(int)
            # Drawn about the pixel and then moved into the image (author code: SFSegNets).
            first_yx, last_yx = covered - crop_hw + 1, covered
        for _ in range(CROP_ATTEMPTS):
            drawn_yx = [int(rng.integers(first_yx[i], last_yx[i] + 1)) for i in range(2)]
            top, left = (min(max(drawn_yx[i], 0), int(room_yx[i])) for i in range(2))
            crop = resize_crop_label(label, size_hw, (top, left), crop_hw)
            if self.recipe.max_class_share >= 1:
                break
            counts = cv2.calcHist([crop], [0], None, [256], [0, 256]).ravel()
            counts[self.ignore_index] = 0
            if counts.max() < self.recipe.max_class_share * counts.sum():
                break
        return (top, left), crop

    def _swap_pairs(self, label: np.ndarray) -> np.ndarray:
        if not self.flip_pairs:
            return label
        table = np.arange(256, dtype=np.uint8)
        for a, b in self.flip_pairs:
            table[a], table[b] = b, a
        return cv2.LUT(label, table)


def resize_crop(
    image: np.ndarray, size_hw: tuple[int, int], offset_yx: tuple[int, int], crop_hw: tuple[int, int]
) -> np.ndarray:
    """The crop at ``offset_yx`` of ``image`` resized bilinearly to ``size_hw``; the rest is never resized.

    Samples exactly where ``cv2.resize(image, size)[crop]`` does and differs from it by rounding only: at most
    one grey level with OpenCV 5; OpenCV 4 places warped samples at 1/32 pixel.
    """
    (top, left), (h, w) = offset_yx, crop_hw
    y_step, x_step = image.shape[0] / size_hw[0], image.shape[1] / size_hw[1]
    matrix = np.array(
        [[x_step, 0, (left + 0.5) * x_step - 0.5], [0, y_step, (top + 0.5) * y_step - 0.5]], dtype=np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (int(w), int(h)), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def resize_crop_label(
    label: np.ndarray, size_hw: tuple[int, int], offset_yx: tuple[int, int], crop_hw: tuple[int, int]
) -> np.ndarray:
    """Like :func:`resize_crop`, each pixel taking the value of the source pixel that holds its centre."""
    rows, columns = (
        ((np.arange(start, start + length) + 0.5) * (own / scaled)).astype(np.intp)
        for start, length, own, scaled in zip(offset_yx, crop_hw, label.shape, size_hw, strict=True)
    )
    return label.take(rows, axis=0).take(columns, axis=1)


def rotate(
    image: np.ndarray, label: np.ndarray, angle_degrees: float, ignore_index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rotate about the centre; pixels from outside the image are black and ignored (author code)."""
    h, w = label.shape
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), angle_degrees, 1)
    image = cv2.warpAffine(image, matrix, (w, h), flags=cv2.INTER_CUBIC, borderValue=0)
    label = cv2.warpAffine(label, matrix, (w, h), flags=cv2.INTER_NEAREST, borderValue=ignore_index)
    return image, label


def distort_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and hue, each with probability 1/2; contrast first or last by chance.

    Where both saturation and hue change, they do so in one conversion to HSV and back, which saves one
    rounding of the author code.
    """
    brighten, contrast_first, contrast, saturate, turn = rng.random(5) < 0.5
    values = np.arange(256, dtype=np.float64)
    if brighten:
        values = clip(values + rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    contrast_factor = rng.uniform(*CONTRAST) if contrast else 1.0
    if contrast_first:
        values = clip(values * contrast_factor)
    image = cv2.LUT(image, values.astype(np.uint8))
    if saturate or turn:
        identity = np.arange(256)
        hue = (identity + rng.integers(-HUE, HUE, endpoint=True)) % 180 if turn else identity
        saturation = clip(identity * rng.uniform(*SATURATION)) if saturate else identity
        tables = np.stack([hue, saturation, identity], axis=-1).astype(np.uint8)[None]
        hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), tables)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if contrast and not contrast_first:
        image = cv2.LUT(image, clip(np.arange(256) * contrast_factor).astype(np.uint8))
    return image


def clip(values: np.ndarray) -> np.ndarray:
    return values.clip(0, 255).astype(np.uint8).astype(np.float64)


def pad(array: np.ndarray, size_hw: tuple[int, int], fill: int | tuple[int, ...]) -> np.ndarray:
    """Centre ``array`` (h, w[, 3]) in a frame of ``size_hw`` (author code), which is at least as large."""
    room_y, room_x = size_hw[0] - array.shape[0], size_hw[1] - array.shape[1]
    if not room_y and not room_x:
        return array
    top, left = room_y // 2, room_x // 2
    return cv2.copyMakeBorder(array, top, room_y - top, left, room_x - left, cv2.BORDER_CONSTANT, value=fill)
