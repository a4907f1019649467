"""The manifest of a prepared data set: its classes, its splits and the checksum of every file."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seglib.numerics.seeds import derive_seed

SCHEMA = 2


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
    """Description of a prepared data set."""

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
        """A choice by ``seed`` of ``count`` images or fewer of each split, in their order; ``None``: all.

        A larger count contains the images of a smaller one.
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


def read_manifest_file(folder: Path) -> dict[str, Any]:
    """What ``manifest.json`` holds. ``ValueError`` when it is missing, damaged or of another schema."""
    path = Path(folder) / "manifest.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: prepare the data set first (seglib prepare)") from None
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); prepare the data set again") from None
    schema = values.get("schema") if isinstance(values, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{path}: schema {schema!r}, not {SCHEMA}; prepare the data set again")
    return values


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared data set; errors as in :func:`read_manifest_file`."""
    folder, values = Path(folder), read_manifest_file(folder)
    return Manifest(
        dataset=values["dataset"],
        class_names=tuple(entry["name"] for entry in values["classes"]),
        colors=tuple(tuple(entry["color"]) for entry in values["classes"]),
        flip_pairs=tuple(tuple(pair) for pair in values["flip_pairs"]),
        ignore_index=values["ignore_index"],
        splits={
            name: tuple(
                Sample(
                    id=entry["id"],
                    image=folder / entry["image"],
                    image_sha256=entry["image_sha256"],
                    label=folder / entry["label"] if "label" in entry else None,
                    label_sha256=entry.get("label_file_sha256"),
                    height=entry["height"],
                    width=entry["width"],
                )
                for entry in entries
            )
            for name, entries in (values["splits"] | values.get("unlabelled", {})).items()
        },
        data_digest=values["data_digest"],
    )
