"""An image under the colours of its classes."""

from collections.abc import Sequence

import cv2
import numpy as np

OPACITY = 0.6
"""Share of the classes' colours in the result."""


def blend(
    image: np.ndarray, ids: np.ndarray, colours: np.ndarray | Sequence[tuple[int, int, int]]
) -> np.ndarray:
    """The image (h, w, 3) uint8 under the colours (K, 3) of its classes ``ids`` (h, w) uint8.

    Image and colours have one order of channels. Ids without a colour are white.
    """
    table = np.full((256, 3), 255, np.uint8)
    table[: len(colours)] = colours
    return cv2.addWeighted(image, 1 - OPACITY, table[ids], OPACITY, 0)
