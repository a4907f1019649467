"""A prepared data set: its manifest, and the images and labels of its splits in a fixed order.

The order of the samples is part of every training: draws depend on an image's place in it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seglib.experiment import records
from seglib.experiment.records import Manifest
from seglib.numerics.seeds import derive_seed


@dataclass(frozen=True)
class Sample:
    """One image and its label on disk; sizes in pixels, checksums of the files."""

    id: str
    image: Path
    image_sha256: str
    label: Path | None
    """``None`` in a split whose labels the publisher keeps."""
    label_sha256: str | None
    height: int
    width: int


@dataclass(frozen=True)
class PreparedData:
    """A prepared data set, or a part of it."""

    manifest: Manifest
    folder: Path
    limit: int | None = None
    """At most so many images of each split, chosen by ``seed``; ``None``: all."""
    seed: int = 0

    def limited(self, count: int | None, *, seed: int) -> "PreparedData":
        """A choice by ``seed`` of ``count`` images or fewer of each split; ``None``: all.

        A larger count contains the images of a smaller one.
        """
        return replace(self, limit=count, seed=seed)

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of a split by id, whatever order the manifest has.

        ``ValueError`` when there is no split of that name, or nothing in it.
        """
        splits = self.manifest.all_splits
        if not splits.get(name):
            filled = ", ".join(key for key, pairs in splits.items() if pairs)
            raise ValueError(
                f"data set {self.manifest.dataset} has no images in split {name!r}; it has {filled}"
            )
        pairs = sorted(splits[name], key=lambda pair: pair.id)
        return tuple(
            Sample(
                id=pair.id,
                image=self.folder / pair.image,
                image_sha256=pair.image_sha256,
                label=None if pair.label is None else self.folder / pair.label,
                label_sha256=pair.label_file_sha256,
                height=pair.height,
                width=pair.width,
            )
            for pair in (pairs[index] for index in self._choose(name, len(pairs)))
        )

    def _choose(self, split: str, available: int) -> list[int]:
        """Places of the samples that are taken, ascending."""
        if self.limit is None:
            return list(range(available))
        rng = np.random.default_rng(derive_seed(self.manifest.dataset, "limit", split, self.seed))
        return sorted(rng.permutation(available)[: self.limit].tolist())


def read_manifest_file(folder: Path) -> Manifest:
    """What ``manifest.json`` holds. ``ValueError`` when it is missing, damaged or of another schema."""
    path = Path(folder) / "manifest.json"
    manifest = records.read(Manifest, path)
    if manifest is None:
        raise ValueError(f"{path} does not exist: prepare the data set first (seglib prepare)")
    return manifest


def read_prepared(folder: Path) -> PreparedData:
    """The prepared data set in a folder; errors as in :func:`read_manifest_file`."""
    return PreparedData(read_manifest_file(folder), Path(folder))
