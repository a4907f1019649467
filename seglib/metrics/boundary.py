"""Boundary counts of all classes of an image at once, bit-equal to ``mask_to_boundary`` per class.

Boundary IoU (Cheng et al., CVPR 2021) compares, per class, the pixels of two masks that lie within
``d`` pixels of the mask's edge: the mask minus its erosion by ``d`` iterations of a 3 x 3 square,
outside the image counting as background (the authors' ``mask_to_boundary``).

A pixel survives that erosion, it is *interior*, iff the (2d+1)-square around it lies inside the image
and holds one value; and it holds one value iff none of the 2d x 2d blocks of 2 x 2 pixels in it is
mixed. So one bit per pixel (is the block below and right of it mixed?), dilated by a 2d x 2d square,
serves all classes, and bits are dilated 64 at a time.

Shapes: ``H, W`` image size, ``K`` classes.
"""

import math

import numpy as np

from seglib.metrics.bits import WORD, WORD_BITS, pack, shifted, unpack
from seglib.metrics.confusion import LabelPair


def boundary_width(height: int, width: int, ratio: float) -> int:
    """``d`` in pixels: ``ratio`` of the image's diagonal, rounded (halves to even), at least 1."""
    return max(1, round(ratio * math.sqrt(height**2 + width**2)))


def boundary_counts(pair: LabelPair, *, width: int, confusion: np.ndarray) -> np.ndarray:
    """Pixels of ``G_d AND P_d``, of ``G_d`` and of ``P_d`` per class: int64 (3, K).

    ``width``: d in pixels. ``confusion``: ``region_confusion(pair)``, from which the interior
    pixels are subtracted.
    """
    interior_label, interior_prediction = _interior(pair.label, width), _interior(pair.prediction, width)
    # Bit i of these is pixel i + shift, since a square has the number of the block in its upper left corner.
    shift = width * (pair.label.shape[1] + 1)
    label, prediction = pair.label.ravel()[shift:], pair.prediction.ravel()[shift:]
    equal = pack(label == prediction)[: interior_label.size]
    only_label, only_prediction = interior_label & equal & ~interior_prediction, interior_prediction & equal
    k = pair.num_classes
    lost_label, lost_both = _class_pixels(interior_label, only_label, label, width, k)
    lost_prediction, also_lost_both = _class_pixels(
        interior_prediction, only_prediction, prediction, width, k
    )
    return np.stack(
        [
            np.diag(confusion) - lost_both - also_lost_both,
            confusion.sum(axis=1) - lost_label,
            confusion.sum(axis=0) - lost_prediction,
        ]
    )


def _interior(values: np.ndarray, width: int) -> np.ndarray:
    """One bit per pixel of ``values`` (H, W): bit i is set iff pixel i + width * (W + 1) is interior.

    Pixels are numbered row after row. A square that leaves the image on the left or right contains,
    in this numbering, the step from one row to the next, which is marked as mixed.
    """
    height, row = values.shape
    bits = (height - 2 * width) * row - width
    if min(height, row) <= 2 * width:
        return np.empty(0, WORD)
    flat = values.ravel()
    right = np.ones(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=right[:-1])
    right[row - 1 :: row] = True
    mixed, below = pack(right), pack(flat[row:] != flat[:-row])
    for part in (below, shifted(below, 1)):
        mixed[: part.size] |= part
    for step in (1, row):
        length = 1
        while length < 2 * width:
            growth = min(length, 2 * width - length)
            grown = shifted(mixed, growth * step)
            mixed[: grown.size] |= grown
            length += growth
    interior = ~mixed[: -(-bits // WORD_BITS)]
    interior[-1] &= WORD.type((1 << (bits - 1) % WORD_BITS + 1) - 1)
    return interior


def _class_pixels(
    interior: np.ndarray, part: np.ndarray, values: np.ndarray, width: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Set bits of ``interior`` and of ``part``, a subset of them, per class of their pixels: int64 (K,) each.

    Interior pixels of different value are more than ``2 * width`` pixels apart, so all those within
    2 * width + 1 bits have one value, and that of the first one serves the whole unit.
    """
    unit = next((bits for bits in (64, 32, 16, 8) if bits <= 2 * width + 1), 1)
    if unit == 1:
        interior, part = (unpack(bits).view(np.uint8) for bits in (interior, part))
    else:
        interior, part = interior.view(f"<u{unit // 8}"), part.view(f"<u{unit // 8}")
    index = np.flatnonzero(interior != 0)
    interior, part = interior[index], part[index]
    first = np.bitwise_count((interior & -interior) - interior.dtype.type(1))
    classes = values[index * unit + first]
    interior_pixels, part_pixels = (
        np.bincount(classes, np.bitwise_count(bits), minlength=num_classes)[:num_classes].astype(np.int64)
        for bits in (interior, part)
    )
    return interior_pixels, part_pixels
