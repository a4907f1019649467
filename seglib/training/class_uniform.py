"""Class-uniform sampling (SFSegNets, datasets/uniform.py): a share of crops shows all classes equally often.

Labels are cut into tiles; a class that is in a tile has a *centre* there, the mean position of its pixels. Of
an epoch's crops a share covers centres, of each class equally many, and the rest are images like any other.
Centres of a class, and images, are drawn without repetition until all were drawn. Own choices: tiles at the
right and bottom edge may be smaller (author code: left out, hence nothing of images smaller than a tile), and
crops of classes that the data set lacks go to images (author code: the epoch is shorter).

Legend: ``M`` centres, ``N`` images, ``K`` classes, ``H, W`` size of a label.
"""

import numpy as np

ANYWHERE = -1
"""Row and column of a crop without a place to cover."""


def class_centres(label: np.ndarray, *, num_classes: int, tile: int) -> np.ndarray:
    """Class, row and column (M, 3) int64 of all centres of ``label`` (H, W) uint8; ``tile`` in pixels."""
    centres = []
    for top in range(0, label.shape[0], tile):
        for left in range(0, label.shape[1], tile):
            part = label[top : top + tile, left : left + tile]
            # Moments from one histogram of (class, row) and one of (class, column), for all classes at once.
            height, width = part.shape
            rows = _histogram(part, np.arange(height)[:, None], height)[:num_classes]
            columns = _histogram(part, np.arange(width)[None], width)[:num_classes]
            counts = rows.sum(1)
            present = np.flatnonzero(counts)
            y = (rows[present] @ np.arange(height)) // counts[present] + top
            x = (columns[present] @ np.arange(width)) // counts[present] + left
            centres.append(np.stack([present, y, x], axis=1))
    return np.concatenate(centres)


def _histogram(part: np.ndarray, position: np.ndarray, size: int) -> np.ndarray:
    """Pixels (256, ``size``) of each value at each ``position``."""
    flat = part.astype(np.int64) * size + position
    return np.bincount(flat.ravel(), minlength=256 * size).reshape(256, size)


def draw_epoch(
    images: int, centres: list[np.ndarray], *, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Image, row and column (N, 3) of an epoch's crops in random order, :data:`ANYWHERE` where none is set.

    ``centres``: per class its image, row and column (M, 3). Each class gets ``share * N / K``, rounded down.
    """
    per_class = int(images * share / len(centres))
    chosen = [_draw(of_class, per_class, rng) for of_class in centres if len(of_class)]
    rest = images - sum(len(part) for part in chosen)
    anywhere = np.full((images, 3), ANYWHERE)
    anywhere[:, 0] = np.arange(images)
    return rng.permutation(np.concatenate([*chosen, _draw(anywhere, rest, rng)]))


def _draw(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rows[np.resize(rng.permutation(len(rows)), count)]
