"""Region confusion of two label maps: NumPy in, NumPy out.

Shapes: ``H, W`` image size, ``K`` classes.
"""

from dataclasses import dataclass

import numpy as np

MAX_CLASSES = 4096
"""The confusion of an image is dense while it is counted: K x K int64."""


@dataclass(frozen=True)
class LabelPair:
    """A label map and a prediction that share one ignore region; made by :func:`label_pair`.

    (H, W) each, contiguous, uint8 up to 255 classes, else uint16: class ids 0..K-1, and K where ignored.
    """

    label: np.ndarray
    prediction: np.ndarray
    num_classes: int


def check_classes(num_classes: int, ignore_index: int) -> None:
    """Raise ``ValueError`` unless classes 0..K-1 can be counted and the ignored value is none of them."""
    if not 1 <= num_classes <= MAX_CLASSES:
        raise ValueError(f"num_classes {num_classes} is not in 1..{MAX_CLASSES}")
    if 0 <= ignore_index < num_classes:
        raise ValueError(
            f"ignore_index {ignore_index} is also a class (0..{num_classes - 1}): "
            "the ignored value must lie outside the classes"
        )


def label_pair(
    label: np.ndarray, prediction: np.ndarray, *, num_classes: int, ignore_index: int
) -> LabelPair:
    """Check two integer maps (H, W) and remove the ignored pixels from both.

    ``ignore_index``: the label's value of pixels that do not count, outside 0..K-1. The
    prediction's values at those pixels are never read.

    Raises ``ValueError`` for maps of another kind or of two sizes, and for values that are no class.
    """
    check_classes(num_classes, ignore_index)
    for name, values in (("label", label), ("prediction", prediction)):
        if values.ndim != 2 or values.dtype.kind not in "iu" or values.size == 0:
            raise ValueError(
                f"the {name} is not one integer per pixel (height, width), but {values.dtype} {values.shape}"
            )
    if label.shape != prediction.shape:
        sizes = (" x ".join(map(str, values.shape)) for values in (prediction, label))
        raise ValueError("the prediction is {} pixels (height x width), the label {}".format(*sizes))
    label, prediction = np.ascontiguousarray(label), np.ascontiguousarray(prediction)
    ignored = label == ignore_index
    num_ignored = np.count_nonzero(ignored)
    ids = []
    for name, values in (("label", label), ("prediction", prediction)):
        ids.append(_ids(values, ignored, num_classes))
        none = ids[-1] == num_classes
        if np.count_nonzero(none) > num_ignored:
            wrong = np.unique(values[none & ~ignored])
            listed = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
            raise ValueError(
                f"the {name} holds {listed}: no class (0..{num_classes - 1}) and not ignored ({ignore_index})"
            )
    return LabelPair(*ids, num_classes)


def _ids(values: np.ndarray, ignored: np.ndarray, num_classes: int) -> np.ndarray:
    """``values``, but ``num_classes`` where they are ignored or no class; of the narrowest unsigned type."""
    narrow = np.dtype(np.uint8 if num_classes <= 255 else np.uint16)
    # As unsigned numbers, negative values are large, and -1 is the largest: OR with it gives it.
    wide = np.promote_types(f"u{values.itemsize}", narrow)
    mask = ignored.astype(wide)
    ids = values.astype(wide, copy=False) | np.negative(mask, out=mask)
    # Against a row instead of a number: NumPy has no fast loop for the minimum of bytes and a number.
    np.minimum(ids, np.full(ids.shape[1], num_classes, wide), out=ids)
    return ids.astype(narrow, copy=False)


def region_confusion(pair: LabelPair) -> np.ndarray:
    """Pixels of class i that were predicted as class j: int64 (K, K), row = label, column = prediction.

    Counts runs of equal pixels instead of pixels: label maps have few.
    """
    label, prediction = pair.label.ravel(), pair.prediction.ravel()
    changes = np.empty(label.size, bool)
    changes[0] = True
    np.not_equal(label[1:], label[:-1], out=changes[1:])
    changes[1:] |= prediction[1:] != prediction[:-1]
    starts = np.flatnonzero(changes)
    lengths = np.diff(starts, append=label.size)
    k = pair.num_classes
    # Ignored pixels, K in both maps, come to lie behind the matrix.
    cells = label[starts] * np.int64(k) + prediction[starts]
    # Weighted bincount sums in float64, exact below 2**53 pixels.
    return np.bincount(cells, lengths, minlength=k * k)[: k * k].astype(np.int64).reshape(k, k)
