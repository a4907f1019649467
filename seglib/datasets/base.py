"""What a data set is: a table of names, colours, sources and folders, and one way to read its files.

Each data set is a subclass of :class:`DataSet` in a file of its own. Whatever differs from the
common way (labels in ``.mat`` files, split lists with paths in them) overrides one method.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from seglib.files import read_checksums
from seglib.label_png import read_label_png

IGNORE_INDEX = 255


@dataclass(frozen=True, kw_only=True)
class Source:
    """An archive as its publisher gives it out."""

    file_name: str
    """A mirror holds it under this name."""
    url: str | None
    """``None``: only behind a login or a form (see ``DataSet.INSTRUCTIONS``)."""
    sha256: str | None
    """Of the archive; ``None`` where its bytes are not promised to stay, and only the files in it are."""
    size_mib: int
    """About; for the progress display."""
    top_folder: str = ""
    """Cut from the front of its members' names."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Where the pairs of one split lie below the root folder; an id may hold slashes."""

    size: int
    """Number of images in the published split."""
    images: str
    """e.g. ``leftImg8bit/train/{id}_leftImg8bit.png``"""
    labels: str
    list_file: str | None = None
    """Names the ids, one a line; ``None``: every file that fits ``images`` belongs to the split."""


@dataclass(frozen=True)
class Item:
    """One image and its label; paths are relative to the data set's root."""

    split: str
    id: str
    image: str
    label: str


class DataSet:
    """Description of one data set. Subclasses fill the table."""

    TITLE: str
    CLASSES: tuple[str, ...]
    """In the order of the train ids."""
    PALETTE: tuple[tuple[int, int, int], ...]
    """RGB per class."""
    FLIP_PAIRS: tuple[tuple[int, int], ...] = ()
    """Train ids that change places when an image is mirrored (left arm, right arm)."""
    LABEL_TABLE: ClassVar[dict[int, int]]
    """Value in a label file -> train id, or ``IGNORE_INDEX``. Any other value is an error."""
    SPLITS: ClassVar[dict[str, Split]]
    SOURCES: tuple[Source, ...] = ()
    """Empty: the data set is generated."""
    CHECKSUMS: str | None = None
    """Name of the file beside this one with the SHA-256 of every file, as ``sha256sum`` writes it."""
    LICENCE: str
    CITATION: str
    INSTRUCTIONS: str = ""
    """How to get the archives where a login or a form is needed."""

    def checksums(self) -> dict[str, str]:
        """Path below the root -> SHA-256 of every file; empty where no publisher's file is known."""
        return read_checksums(Path(__file__).with_name(self.CHECKSUMS)) if self.CHECKSUMS else {}

    def generate(self) -> Iterator[tuple[str, bytes]]:
        """Path below the root and content of every file, for a data set without sources."""
        raise NotImplementedError

    def listed_id(self, line: str) -> str:
        """The id that one line of a split list names."""
        return line.strip()

    def read_label(self, path: Path) -> np.ndarray:
        """Label as it is on disk, (H, W) uint8: here a grey or palette PNG."""
        open_image(path.read_bytes(), path)
        values = read_label_png(path)
        if values.dtype != np.uint8:
            raise ValueError(
                f"{path}: a label of {8 * values.itemsize} bits per pixel instead of 8; "
                f"put the published file in its place"
            )
        return values

    def train_ids(self, path: Path) -> np.ndarray:
        """Label as train ids, (H, W) uint8. ``ValueError`` if it holds a value outside ``LABEL_TABLE``."""
        values = self.read_label(path)
        ids = self._lookup[values]
        if ids.min() < 0:
            outside = ", ".join(map(str, np.unique(values[ids < 0])[:8]))
            raise ValueError(
                f"{path}: label value {outside} is none of {self.TITLE}'s "
                f"({min(self.LABEL_TABLE)} to {max(self.LABEL_TABLE)}); is this file of another label set?"
            )
        return ids.astype(np.uint8)

    @cached_property
    def _lookup(self) -> np.ndarray:
        lookup = np.full(256, -1, np.int16)
        lookup[list(self.LABEL_TABLE)] = list(self.LABEL_TABLE.values())
        return lookup

    def has(self, path: str) -> bool:
        """Whether a path below the root is an image, a label or a list of some split."""
        lists = {split.list_file for split in self.SPLITS.values()}
        patterns = {p for split in self.SPLITS.values() for p in (split.images, split.labels)}
        return path in lists or any(_id(path, pattern) for pattern in patterns)

    def find(self, root: Path) -> list[Item]:
        """Every pair below ``root``, by split and id.

        Raises ``ValueError`` if a label or an image has no partner, a list and a folder disagree,
        or a split has another size than the published one.
        """
        images = {split.images: _ids(root, split.images) for split in self.SPLITS.values()}
        labels = {split.labels: _ids(root, split.labels) for split in self.SPLITS.values()}
        members = {
            name: self._listed(root / split.list_file) if split.list_file else sorted(images[split.images])
            for name, split in self.SPLITS.items()
        }
        claimed = defaultdict(set)  # splits may share a folder
        for name, split in self.SPLITS.items():
            for pattern, found in ((split.images, images), (split.labels, labels)):
                claimed[pattern].update(members[name])
                missing = set(members[name]) - found[pattern]
                if missing:
                    raise ValueError(
                        f"{root / pattern.format(id=min(missing))}: missing, though the {name} split has "
                        f"{min(missing)} ({len(missing)} such files); complete the folder"
                    )
        for pattern, found in (images | labels).items():
            extra = found - claimed[pattern]
            if extra:
                raise ValueError(
                    f"{root / pattern.format(id=min(extra))}: belongs to no pair of any split "
                    f"({len(extra)} such files); move it away"
                )
        for name, split in self.SPLITS.items():
            if len(members[name]) != split.size:
                raise ValueError(
                    f"{root / split.images.format(id='*')}: {len(members[name])} images instead of the "
                    f"{split.size} of the {name} split; complete the folder or move extra files away"
                )
        return [
            Item(name, id, split.images.format(id=id), split.labels.format(id=id))
            for name, split in self.SPLITS.items()
            for id in sorted(members[name])
        ]

    def _listed(self, path: Path) -> list[str]:
        ids = [self.listed_id(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        if len(set(ids)) != len(ids):
            twice = next(id for id in ids if ids.count(id) > 1)
            raise ValueError(f"{path}: {twice} is listed twice; use the list as it was published")
        return ids


def _ids(root: Path, pattern: str) -> set[str]:
    """Ids of all files below ``root`` that fit ``pattern``; hidden files do not count, links do."""
    start = root / pattern.partition("{id}")[0].rpartition("/")[0]
    if not start.is_dir():
        raise ValueError(f"{start}: no such folder; {pattern.format(id='*')} must lie below {root}")
    ids = set()
    for folder, _, names in os.walk(start, followlinks=True):
        for name in names:
            path = Path(folder, name).relative_to(root).as_posix()
            if not name.startswith(".") and (id := _id(path, pattern)):
                if not id.isprintable():  # bytes that are no UTF-8 arrive as unprintable surrogates
                    raise ValueError(f"{path!r} in {root}: the name is not UTF-8 text; rename the file")
                ids.add(id)
    return ids


def _id(path: str, pattern: str) -> str:
    """What stands for ``{id}``; empty if ``path`` does not fit ``pattern``."""
    before, after = pattern.split("{id}")
    fits = path.startswith(before) and path.endswith(after)
    return path[len(before) : len(path) - len(after)] if fits else ""


def open_image(data: bytes, path: Path) -> Image.Image:
    """Decode all of an image. ``ValueError`` naming ``path`` if any part of it is damaged."""
    try:
        Image.open(BytesIO(data)).verify()  # the checksums within, which decoding does not look at
        image = Image.open(BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path}: not a readable image ({error}); put the published file in its place"
        ) from None
    return image
