"""Colour jitter and blur of SFSegNets' trainings (transforms.py there), on uint8 throughout."""

import cv2
import numpy as np

BLUR_SIGMA = (0.15, 1.3)
"""Pixels."""
HUE_TURN = 180
"""OpenCV stores hue in 0..179."""


def jitter_colors(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue of an RGB image (H, W, 3), in random order.

    The first three by factors in 1 +- ``strength``: toward black, the image's mean grey, each pixel's grey.
    Hue turns by up to ``strength`` of a circle either way. Author code: torchvision's ColorJitter.
    """
    factor = [rng.uniform(max(0.0, 1 - strength), 1 + strength) for _ in range(3)]
    turn = rng.uniform(-strength, strength)
    changes = (
        lambda x: _blend(x, 0.0, factor[0]),
        lambda x: _blend(x, round(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).mean()), factor[1]),
        lambda x: cv2.addWeighted(x, factor[2], _grey(x), 1 - factor[2], 0),
        lambda x: _turn_hue(x, turn),
    )
    for i in rng.permutation(len(changes)):
        image = changes[i](image)
    return image


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of random width; ``image`` (H, W, 3)."""
    sigma = rng.uniform(*BLUR_SIGMA)
    size = 2 * int(4 * sigma + 0.5) + 1  # scikit-image, which the authors use, goes to 4 sigma
    return cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)


def _blend(image: np.ndarray, other: float, factor: float) -> np.ndarray:
    values = np.arange(256) * factor + other * (1 - factor)
    return cv2.LUT(image, values.round().clip(0, 255).astype(np.uint8))


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _turn_hue(image: np.ndarray, turn: float) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    table = (np.arange(256) + round(turn * HUE_TURN)) % HUE_TURN
    hsv[..., 0] = cv2.LUT(np.ascontiguousarray(hsv[..., 0]), table.astype(np.uint8))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
