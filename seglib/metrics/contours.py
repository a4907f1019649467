"""Contours of all classes of an image, matched between label and prediction: the counts of boundary F.

A contour pixel of a class is a pixel of its mask that a 3 x 3 erosion removes: one of its eight
neighbours is another class. Neither the image's border nor a border to ignored pixels makes a
contour, since nothing is known of the other side. A contour pixel is matched at radius r when a
contour pixel of the same class of the other map lies at a Euclidean distance of r or less, i.e. in a
disk of radius r around it (the convention of DAVIS, Perazzi et al., CVPR 2016).

Shapes: ``H, W`` image size, ``K`` classes, ``R`` radii.
"""

from collections.abc import Sequence

import numpy as np

from seglib.metrics.bits import pack, shifted, unpack
from seglib.metrics.confusion import LabelPair


def contour_counts(pair: LabelPair, *, radii_px: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Contour pixels per class and how many of them are matched, of the label and of the prediction.

    ``radii_px``: ascending. Returns int64 totals (2, K) and matched (2, R, K); index 0 is the
    label (recall = matched / total), 1 the prediction (precision).
    """
    maps, positions = zip(
        *(_contour(values, pair.num_classes, radii_px[-1]) for values in (pair.label, pair.prediction)),
        strict=True,
    )
    classes = [contour.ravel()[where] for contour, where in zip(maps, positions, strict=True)]
    totals = np.stack([np.bincount(values, minlength=pair.num_classes) for values in classes])
    matched = []
    for own, other in ((0, 1), (1, 0)):
        # Classes that the other map lacks cannot match.
        possible = np.flatnonzero((totals[other] > 0)[classes[own]])
        matched.append(
            _matched(
                positions[own][possible], classes[own][possible], maps[other], radii_px, pair.num_classes
            )
        )
    return totals, np.stack(matched)


def _contour(values: np.ndarray, ignore: int, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """``values`` where they are contour, else ``ignore``, with ``margin`` pixels of ``ignore`` all round;
    and where in the flat result the contour is.
    """
    padded = np.pad(values, margin, constant_values=ignore)
    flat, row = padded.ravel(), padded.shape[1]
    known = pack(flat != ignore)
    # Bit i is pixel i + reach, so that all shifts go one way.
    reach = row + 1
    edge = np.zeros_like(known)
    for step in (1, row - 1, row, row + 1):
        # The margin keeps a step from the end of one row to the start of the next out of the image.
        differ = pack(flat[step:] != flat[:-step])
        for other in (known, shifted(known, step)):
            differ &= other[: differ.size]
        for part in (shifted(differ, reach), shifted(differ, reach - step)):
            edge[: part.size] |= part
    positions = np.flatnonzero(unpack(edge)) + reach
    contour = np.full_like(padded, ignore)
    contour.ravel()[positions] = flat[positions]
    return contour, positions


def _matched(
    positions: np.ndarray, classes: np.ndarray, other: np.ndarray, radii_px: Sequence[int], num_classes: int
) -> np.ndarray:
    """The number (R, K) of ``positions`` with a pixel of their class in ``other`` within each radius.

    Compares the pixels of the disk from the centre outwards and drops matched positions: nearly
    all of them in the first few steps when the prediction is good.
    """
    row, other = other.shape[1], other.ravel()
    reach = radii_px[-1] * (row + 1)
    positions = positions - reach
    count = np.zeros(num_classes, np.int64)
    rings, matched = _rings(radii_px[-1]), []
    for radius in radii_px:
        while rings and rings[-1][0] <= radius**2:
            hit = np.zeros(positions.size, bool)
            for dy, dx in rings.pop()[1]:
                hit |= other[reach + dy * row + dx :][positions] == classes
            count += np.bincount(classes[np.flatnonzero(hit)], minlength=num_classes)
            # Several times faster than indexing with booleans.
            left = np.flatnonzero(~hit)
            positions, classes = positions[left], classes[left]
        matched.append(count.copy())
    return np.stack(matched)


def _rings(radius: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Offsets (dy, dx) in a disk by squared length, the longest first."""
    rings: dict[int, list[tuple[int, int]]] = {}
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            rings.setdefault(dy**2 + dx**2, []).append((dy, dx))
    return sorted((item for item in rings.items() if item[0] <= radius**2), reverse=True)
