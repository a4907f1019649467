"""Prepared data as the training and the inference see it: the manifest, decoded files, work ahead of need.

Every file is compared with the manifest's checksum as it is read (1-5 % of the decoding time), so that
no pixel that ``prepare`` did not see is ever trained or tested on.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from PIL import Image

from seglib.engine.randomness import derive_seed

T = TypeVar("T")
R = TypeVar("R")

SCHEMA = 2
# Images are read in parallel; threads within one image would only compete with them.
cv2.setNumThreads(0)


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


def read_image(sample: Sample) -> np.ndarray:
    """The image as RGB uint8 (H, W, 3). ``ValueError`` when it is missing, damaged or another one."""
    data = _read(sample.image)
    _check(hashlib.sha256(data).hexdigest() == sample.image_sha256, sample.image)
    # Labels know nothing of a camera's orientation tag.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    _check(image is not None and image.shape[:2] == (sample.height, sample.width), sample.image)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_label(sample: Sample) -> np.ndarray:
    """The label map as uint8 (H, W). ``ValueError`` when it is missing, damaged or not the prepared one."""
    data = _read(sample.label)
    _check(hashlib.sha256(data).hexdigest() == sample.label_sha256, sample.label)
    with Image.open(BytesIO(data)) as file:  # OpenCV would replace the ids of a palette image by colours
        return np.array(file)


def load_ahead(load: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """Yield ``load(item)`` in the order of ``items``, computed by ``workers`` threads ahead of need.

    Decoding and resizing release Python's lock, so threads give what processes would, with nothing
    to copy, to start or to lose. At most ``workers + 1`` results wait. An error of ``load`` is raised
    where its result is due. Without workers everything happens when it is asked for.
    """
    if workers == 0:
        yield from map(load, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="load")
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: restore it, or prepare the data set again") from None


def _check(same: bool, path: Path) -> None:
    if not same:
        raise ValueError(
            f"{path} is not the file that was prepared (damaged or replaced): restore it, or prepare the "
            "data set again"
        )
