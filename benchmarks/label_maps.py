"""Label maps that look like a data set's: made from a seed, so that a benchmark needs no download.

Polygons of log-uniform size painted over horizontal bands; the prediction is the label with wavering
outlines and some objects renamed. Real maps of CamVid change class at some 2 % of the steps from a
pixel to the next one, of ADE20K, at this size, 1 to 1.5 %, and so do these (1 % at that of Cityscapes).
"""

from typing import NamedTuple

import cv2
import numpy as np

IGNORE = 255


class Size(NamedTuple):
    num_classes: int
    present: int
    height: int
    width: int
    objects: int


SIZES = {
    "camvid": Size(num_classes=11, present=11, height=360, width=480, objects=60),
    "ade20k": Size(num_classes=150, present=30, height=512, width=683, objects=60),
    "cityscapes": Size(num_classes=19, present=17, height=1024, width=2048, objects=160),
}


def make_pair(size: Size, *, seed: int, ignore_share: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A label map and a prediction of it, (height, width) uint8.

    ``ignore_share``: part of the label's pixels, in a few objects, that become ``IGNORE``.
    """
    rng = np.random.default_rng(seed)
    classes = rng.permutation(size.num_classes)[: size.present]
    label = np.empty((size.height, size.width), np.uint8)
    bands = np.sort(rng.integers(0, size.height, 4))
    label[:] = np.repeat(classes[:5], np.diff(bands, prepend=0, append=size.height))[:, None]
    prediction = label.copy()
    for i in range(size.objects):
        center_xy = rng.random(2) * (size.width, size.height)
        radius = size.height * np.exp(rng.uniform(np.log(0.01), np.log(0.15)))
        angles = np.sort(rng.random(rng.integers(6, 14))) * 2 * np.pi
        radii = radius * rng.uniform(0.5, 1.2, len(angles))[:, None]
        polygon = np.int32(center_xy + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1))
        color = int(classes[i % size.present])
        cv2.fillPoly(label, [polygon], color)
        cv2.fillPoly(prediction, [polygon], int(rng.choice(classes)) if rng.random() < 0.1 else color)
    prediction = _waver(prediction, rng)
    while (label == IGNORE).mean() < ignore_share:
        center = tuple(int(v) for v in rng.random(2) * (size.width, size.height))
        cv2.circle(label, center, size.height // 25, IGNORE, -1)
    return label, prediction


def _waver(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``label`` displaced by a smooth random field of a few pixels."""
    height, width = label.shape
    grid = rng.normal(0, 3, (2, height // 24 + 2, width // 24 + 2)).astype(np.float32)
    dy, dx = (cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in grid)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(label, x + dx, y + dy, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
