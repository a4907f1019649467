"""The manifest of a prepared data set: its classes, its splits and the checksum of every file."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seglib.experiment import records
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
class Manifest:
    """What ``prepare`` wrote about a data set."""

    dataset: str
    class_names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...]
    ignore_index: int
    splits: dict[str, tuple[Sample, ...]]
    data_digest: str

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def limited(self, count: int | None, *, seed: int) -> "Manifest":
        """At most ``count`` images of each split, chosen by ``seed``, in their order; ``None``: all.

        A larger count takes the images of a smaller one and more.
        """
        if count is None:
            return self
        return replace(self, splits={name: self._choose(name, count, seed) for name in self.splits})

    def _choose(self, split: str, count: int, seed: int) -> tuple[Sample, ...]:
        samples = self.splits[split]
        rng = np.random.default_rng(derive_seed(self.dataset, "limit", split, seed))
        return tuple(samples[index] for index in sorted(rng.permutation(len(samples))[:count]))

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of a split; ``ValueError`` when there is none of that name, or nothing in it."""
        if not self.splits.get(name):
            filled = ", ".join(key for key, samples in self.splits.items() if samples)
            raise ValueError(f"data set {self.dataset} has no images in split {name!r}; it has {filled}")
        return self.splits[name]


def read_manifest_file(folder: Path) -> records.Manifest:
    """What ``manifest.json`` holds. ``ValueError`` when it is missing, damaged or of another schema."""
    path = Path(folder) / "manifest.json"
    manifest = records.read(records.Manifest, path)
    if manifest is None:
        raise ValueError(f"{path} does not exist: prepare the data set first (seglib prepare)")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared data set; errors as in :func:`read_manifest_file`."""
    folder, manifest = Path(folder), read_manifest_file(folder)
    return Manifest(
        dataset=manifest.dataset,
        class_names=manifest.class_names,
        colors=manifest.colors,
        flip_pairs=manifest.flip_pairs,
        ignore_index=manifest.ignore_index,
        splits={
            name: tuple(
                Sample(
                    id=pair.id,
                    image=folder / pair.image,
                    image_sha256=pair.image_sha256,
                    label=None if pair.label is None else folder / pair.label,
                    label_sha256=pair.label_file_sha256,
                    height=pair.height,
                    width=pair.width,
                )
                for pair in pairs
            )
            for name, pairs in manifest.all_splits.items()
        },
        data_digest=manifest.data_digest,
    )
