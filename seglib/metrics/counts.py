"""Integer counts of every image, from which every metric of every subset follows without the images.

A file of counts is an ``.npz`` (no pickle) of a few MB for 2,000 images of 150 classes:

==============  ================  ====================================================================
``version``     ()                of this layout; another one is refused
``settings``    () str            JSON of :class:`Settings`
``images``      (N,) str          names of the images
``size``        (N, 2) int64      height and width, pixels
``width``       (N,) int64        ``d`` of the boundary counts, pixels
``region``      (M, 4) int64      image, label, prediction, pixels: the confusions' non-zero entries
``classes``     (L, 7 + 2R) int64 image, class, then one column per ``ROWS`` from ``boundary_both`` on
==============  ================  ====================================================================

Letters: ``N`` images, ``K`` classes, ``R`` radii of boundary F, ``S`` = 8 + 2R counts per class.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from seglib.core import typed
from seglib.core.files import PYTHON_PARSER, atomic_path
from seglib.metrics.boundary import boundary_counts, boundary_width
from seglib.metrics.confusion import LabelPair, check_classes, region_confusion
from seglib.metrics.contours import contour_counts

FILE_NAME = "counts.npz"
VERSION = 1

ROWS = (
    "both",
    "label",
    "prediction",
    "boundary_both",
    "boundary_label",
    "boundary_prediction",
    "contour_label",
    "contour_prediction",
)
"""The counts of a class, in order. Behind them R rows of matched contour pixels of the label, R of the
prediction. All are pixels; the first three follow from the region confusion."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters that the counts depend on."""

    num_classes: int
    ignore_index: int = 255
    boundary_ratio: float = 0.02
    """Share of the image's diagonal."""
    contour_radii_px: tuple[int, ...] = (3, 5, 9, 12)
    """Ascending."""

    def __post_init__(self):
        check_classes(self.num_classes, self.ignore_index)
        if not 0 < self.boundary_ratio <= 1:
            raise ValueError(f"boundary_ratio {self.boundary_ratio} is not a share of the diagonal (0..1)")
        radii = list(self.contour_radii_px)
        if not radii or radii[0] < 1 or radii != sorted(set(radii)):
            raise ValueError(f"contour_radii_px {radii} is not one or more radii from 1 px on, ascending")


@dataclass(frozen=True)
class ImageCounts:
    size: tuple[int, int]
    width: int
    region: np.ndarray
    """(M, 3): label, prediction, pixels."""
    classes: np.ndarray
    """(L, 6 + 2R): class, then counts, of the classes in the label or the prediction."""


@dataclass(frozen=True)
class Counts:
    """The counts of all images: the fields of the file."""

    settings: Settings
    images: tuple[str, ...]
    size: np.ndarray
    width: np.ndarray
    region: np.ndarray
    classes: np.ndarray

    @staticmethod
    def collect(settings: Settings, images: Mapping[str, ImageCounts]) -> "Counts":
        """Join the counts of single images."""
        counts = images.values()
        return Counts(
            settings,
            tuple(images),
            np.array([count.size for count in counts], np.int64).reshape(-1, 2),
            np.array([count.width for count in counts], np.int64),
            *(
                np.concatenate([np.insert(rows, 0, i, axis=1) for i, rows in enumerate(tables)])
                for tables in ([count.region for count in counts], [count.classes for count in counts])
            ),
        )

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file,
                version=VERSION,
                settings=json.dumps(asdict(self.settings)),
                images=np.array(self.images),
                **{name: getattr(self, name) for name in ("size", "width", "region", "classes")},
            )

    @staticmethod
    def load(path: Path) -> "Counts":
        """Read a file. ``ValueError`` when it is no file of counts or one of another version."""
        try:
            with PYTHON_PARSER, np.load(path, allow_pickle=False) as file:
                content = dict(file)
        except OSError:  # missing or unreadable, whatever it holds
            raise
        except Exception as error:  # whatever zipfile, zlib and NumPy's parser of headers raise
            raise ValueError(
                f"{path}: not a file of counts, or a damaged one ({error}); score again"
            ) from None
        version = content.pop("version", "unknown")
        if version != VERSION:
            raise ValueError(
                f"{path}: counts of version {version}, but this seglib reads version {VERSION}: score again"
            )
        try:
            settings = typed.parse(Settings, json.loads(str(content.pop("settings"))), "settings")
            return Counts(settings=settings, images=tuple(map(str, content.pop("images"))), **content)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: not a file of counts, or a damaged one ({error}); score again"
            ) from None

    def subset(self, keep: Sequence[bool] | np.ndarray) -> "Counts":
        """The images for which ``keep`` (N,) is true."""
        keep = np.asarray(keep, bool)
        number = np.cumsum(keep) - 1
        tables = []
        for table in (self.region, self.classes):
            table = table[keep[table[:, 0]]]
            table[:, 0] = number[table[:, 0]]
            tables.append(table)
        images = tuple(image for image, kept in zip(self.images, keep, strict=True) if kept)
        return Counts(self.settings, images, self.size[keep], self.width[keep], *tables)

    def confusion(self) -> np.ndarray:
        """Summed region confusion: int64 (K, K), row = label."""
        matrix = np.zeros((self.settings.num_classes,) * 2, np.int64)
        np.add.at(matrix, (self.region[:, 1], self.region[:, 2]), self.region[:, 3])
        return matrix

    def per_image(self) -> np.ndarray:
        """``ROWS`` of every class of every image: int64 (N, S, K)."""
        image, label, prediction, pixels = self.region.T
        rows = self.classes.shape[1] - 2 + 3
        table = np.zeros((len(self.images), rows, self.settings.num_classes), np.int64)
        right = label == prediction
        np.add.at(table, (image[right], 0, label[right]), pixels[right])
        np.add.at(table, (image, 1, label), pixels)
        np.add.at(table, (image, 2, prediction), pixels)
        table[self.classes[:, 0], 3:, self.classes[:, 1]] = self.classes[:, 2:]
        return table

    def total(self) -> np.ndarray:
        """``ROWS`` of every class, summed over the images: int64 (S, K)."""
        confusion = self.confusion()
        table = np.zeros((self.settings.num_classes, self.classes.shape[1] - 2), np.int64)
        np.add.at(table, self.classes[:, 1], self.classes[:, 2:])
        region = np.stack([np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)])
        return np.concatenate([region, table.T])


def count_image(pair: LabelPair, settings: Settings) -> ImageCounts:
    """All counts of one image."""
    confusion = region_confusion(pair)
    label, prediction = np.nonzero(confusion)
    width = boundary_width(*pair.label.shape, settings.boundary_ratio)
    boundary = boundary_counts(pair, width=width, confusion=confusion)
    totals, matched = contour_counts(pair, radii_px=settings.contour_radii_px)
    rows = np.concatenate([boundary, totals, matched.reshape(-1, pair.num_classes)])
    present = np.union1d(label, prediction)
    return ImageCounts(
        pair.label.shape,
        width,
        np.stack([label, prediction, confusion[label, prediction]], axis=1),
        np.column_stack([present, rows[:, present].T]),
    )
