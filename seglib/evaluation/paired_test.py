"""One result against another of the same images: ``seglib score --against``."""

import functools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from seglib.core.typed import plain
from seglib.experiment import records
from seglib.experiment.records import Against, ImageComparison, Metrics
from seglib.metrics import scores, statistics
from seglib.metrics.counts import FILE_NAME, ROWS, Counts, Settings

RESAMPLES = 2000
CONFIDENCE = 0.95
ROWS_OF_LABEL = [ROWS.index(name) for name in ("label", "boundary_label", "contour_label")]
"""Counts of the label alone: they differ between nearly all different labels (not between mirrored ones)."""
TOLERANCE = 1e-12
"""Tolerance of a recomputed mean: other versions of numpy may sum in another order."""


def load_other(against: Path) -> Counts:
    """The counts of another result. ``ValueError`` unless a metrics file agrees with its counts."""
    if against.is_dir():
        return Counts.load(against / FILE_NAME)
    if against.suffix == ".npz":
        return Counts.load(against)
    file = against.with_name(FILE_NAME)
    counts = Counts.load(file)
    means = _flat_means(counts.settings, counts.total())
    try:
        recorded = records.read(Metrics, against)
    except ValueError as error:
        raise ValueError(
            f"{against}: not a metrics.json of seglib score; give one, or a counts.npz"
        ) from error
    if recorded is None:
        raise ValueError(f"{against}: no such file; give a metrics.json of seglib score, or a counts.npz")
    flat = _flat(plain(recorded))
    values = np.array([flat[name] for name in means], float)  # None becomes NaN
    if not np.allclose(values, list(means.values()), rtol=0, atol=TOLERANCE, equal_nan=True):
        raise ValueError(
            f"{against}: does not follow from {file}, which is of another result; score it again, elsewhere"
        )
    return counts


def compare(counts: Counts, other: Counts, *, file: str) -> Against:
    """Paired bootstrap over images of ``counts`` minus ``other``, which are those of ``file``; ``ValueError``
    unless both are of the same images and labels, scored with the same settings.
    """
    require_same_task(counts.settings, counts.images, other)
    tables = counts.per_image(), other.per_image()
    differ = (tables[0][:, ROWS_OF_LABEL] != tables[1][:, ROWS_OF_LABEL]).any(axis=(1, 2))
    if differ.any():
        raise ValueError(
            f"the other result was scored against another label of {counts.images[differ.argmax()]}"
        )
    compared = statistics.paired_bootstrap(
        *tables, functools.partial(_flat_means, counts.settings), resamples=RESAMPLES, confidence=CONFIDENCE
    )
    return Against(
        file=file,
        question="is this result better on images like these, given these two trainings?",
        method=f"paired bootstrap over images, {RESAMPLES} resamples",
        confidence=CONFIDENCE,
        metrics={name: ImageComparison(**asdict(comparison)) for name, comparison in compared.items()},
    )


def require_same_task(settings: Settings, images: Sequence[str], other: Counts) -> None:
    if settings != other.settings:
        raise ValueError(f"the other result was scored with {other.settings}, this one with {settings}")
    one_sided = sorted(set(images) ^ set(other.images))
    if one_sided:
        raise ValueError(f"the other result is of other images: {one_sided[0]} is in one of them only")
    if tuple(images) != other.images:
        raise ValueError("the other result has its images in another order; score one of them again")


def _flat_means(settings: Settings, sums: np.ndarray) -> dict[str, np.ndarray]:
    return _flat(scores.means(sums, settings.contour_radii_px))


def _flat(means: dict[str, Any]) -> dict[str, Any]:
    """``means`` of the metrics, with a name for boundary F of each radius."""
    boundary_f = {f"boundary_f_{radius}px": value for radius, value in means["boundary_f"].items()}
    return {name: value for name, value in means.items() if name != "boundary_f"} | boundary_f
