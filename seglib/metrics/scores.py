"""Metrics from counts: every one is a function of sums of ``counts.ROWS`` over images.

All are fractions, 0 to 1. NaN is "undefined": a class in neither the labels nor the predictions
(region and Boundary IoU), a class not in the labels (accuracy, boundary F), or one without a
contour on either side (boundary F). Means leave undefined classes out. A class that is predicted but
not in the labels has an IoU of 0, which counts.

Shapes: ``K`` classes, ``R`` radii, ``S`` = 8 + 2R counts per class; ``...`` any leading axes, e.g.
resamples of a bootstrap.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np


def per_class(sums: np.ndarray, radii_px: Sequence[int]) -> dict[str, Any]:
    """``iou``, ``boundary_iou``, ``accuracy`` (recall): (..., K) each; ``boundary_f``: radius -> (..., K).

    ``sums``: (..., S, K).
    """
    both, label, prediction, near_both, near_label, near_prediction, contour_label, contour_prediction = (
        sums[..., row, :] for row in range(8)
    )
    matched_label, matched_prediction = np.split(sums[..., 8:, :], 2, axis=-2)
    boundary_f = {}
    for i, radius in enumerate(radii_px):
        recall = _ratio(matched_label[..., i, :], contour_label)
        precision = _ratio(matched_prediction[..., i, :], contour_prediction)
        # One of them undefined: only one side has a contour, so nothing is matched.
        f = np.nan_to_num(_ratio(2 * precision * recall, precision + recall))
        boundary_f[radius] = np.where((label > 0) & (contour_label + contour_prediction > 0), f, np.nan)
    return {
        "iou": _ratio(both, label + prediction - both),
        "boundary_iou": _ratio(near_both, near_label + near_prediction - near_both),
        "accuracy": _ratio(both, label),
        "boundary_f": boundary_f,
    }


def means(sums: np.ndarray, radii_px: Sequence[int]) -> dict[str, Any]:
    """``miou``, ``boundary_iou``, ``pixel_accuracy``, ``mean_accuracy``, ``fwiou``, each (...); and
    ``boundary_f``: radius -> (...).
    """
    values = per_class(sums, radii_px)
    both, label = sums[..., 0, :], sums[..., 1, :]
    pixels = label.sum(axis=-1)
    return {
        "miou": mean_defined(values["iou"]),
        "boundary_iou": mean_defined(values["boundary_iou"]),
        "pixel_accuracy": _ratio(both.sum(axis=-1), pixels),
        "mean_accuracy": mean_defined(values["accuracy"]),
        "fwiou": _ratio((label * np.nan_to_num(values["iou"])).sum(axis=-1), pixels),
        "boundary_f": {radius: mean_defined(f) for radius, f in values["boundary_f"].items()},
    }


def grouped_iou(confusion: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """IoU of unions of classes (Cityscapes: of categories): float64, one per group.

    ``confusion``: (K, K) pixels, row = label. ``groups``: class numbers. Confusions within a group
    are no errors. Boundaries inside a group would vanish, so there is no such function of boundary counts.
    """
    membership = np.zeros((len(groups), len(confusion)), np.int64)
    for row, group in zip(membership, groups, strict=True):
        row[list(group)] = 1
    merged = membership @ confusion @ membership.T
    right = np.diag(merged)
    return _ratio(right, merged.sum(axis=1) + merged.sum(axis=0) - right)


def mean_defined(values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice")  # NaN is the answer that is meant
        return np.nanmean(values, axis=-1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    result = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)
