"""One value at a time, in plain Python: what vectorised code is compared with."""

import math

import torch
from torch import Tensor


def read_bilinear(image: Tensor, column: float, row: float) -> Tensor:
    """``image`` (C, H, W) at a fractional position, the values at its edge going on outside; (C,)."""
    height, width = image.shape[-2:]
    column, row = min(max(column, 0), width - 1), min(max(row, 0), height - 1)
    left, top = math.floor(column), math.floor(row)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    x, y = column - left, row - top
    above = (1 - x) * image[:, top, left] + x * image[:, top, right]
    below = (1 - x) * image[:, bottom, left] + x * image[:, bottom, right]
    return (1 - y) * above + y * below


def softmax(scores: list[Tensor]) -> list[Tensor]:
    """Shares of scalar ``scores``."""
    exponentials = [torch.exp(score) for score in scores]
    return [e / sum(exponentials) for e in exponentials]
