"""A data set: a table of names, colours, sources and folders, and one way to read its files.

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

from seglib.core.files import read_checksums
from seglib.data.label_formats import read_label_png


@dataclass(frozen=True, kw_only=True)
class Source:
    """An archive as its publisher offers it."""

    file_name: str
    """A mirror holds it under this name."""
    url: str | None
    """``None``: only behind a login or a form (see ``DataSet.INSTRUCTIONS``)."""
    checksum: str | None
    """The archive's, ``sha256:...`` or, where only that is known, ``sha1:...`` or ``md5:...`` (which
    detect damage, not manipulation). ``None``: the data set's file says why."""
    size_mib: int | None
    """Approximate size, for messages and for the progress display. ``None``: not known."""
    into: str = ""
    """Folder, with a slash behind it, that its members lie in once unpacked."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The paths of one split's pairs below the root folder; an id may hold slashes."""

    size: int
    """Number of images in the published split."""
    images: str
    """e.g. ``leftImg8bit/train/{id}_leftImg8bit.png``"""
    labels: str | None
    """``None``: the publisher keeps the labels. Such a split can be predicted, not scored, and a user may
    leave it out altogether."""
    list_file: str | None = None
    """Names the ids, one a line; ``None``: every file that fits ``images`` belongs to the split."""


@dataclass(frozen=True)
class Item:
    """One image and its label; paths are relative to the data set's root."""

    split: str
    id: str
    image: str
    label: str | None
    """``None`` in a split whose labels the publisher keeps."""


class DataSet:
    """Description of one data set. Subclasses fill the table."""

    TITLE: str
    CLASSES: tuple[str, ...]
    """Names in the order of the train ids."""
    CATEGORIES: tuple[str, ...] = ()
    """The category of each class, where its authors also report the IoU of categories."""
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
    READING_OF: str | None = None
    """Registry name of the set whose files it reads with other classes: papers call both by one name."""
    EVALUATION: str = ""
    """The split and the pixels that count, in the words of the benchmark."""
    LICENCE: str
    CITATION: str
    INSTRUCTIONS: str = ""
    """The way to the archives, where a login or a form is needed."""

    def checksums(self) -> dict[str, str]:
        """Path below the root -> SHA-256 of every file; empty where no publisher's file is known."""
        return read_checksums(Path(__file__).with_name(self.CHECKSUMS)) if self.CHECKSUMS else {}

    def generate(self) -> Iterator[tuple[str, bytes]]:
        """Path below the root and content of every file, for a data set without sources."""
        raise NotImplementedError

    def layout(self, root: Path) -> dict[str, Split]:
        """The splits as they lie below ``root``; one without labels only if its images are there."""
        return {
            name: split
            for name, split in self.SPLITS.items()
            if split.labels or (root / _folder(split.images)).is_dir()
        }

    def listed(self, name: str, root: Path) -> list[str] | None:
        """The ids that belong to the split ``name``; ``None``: every file that fits its ``images``."""
        list_file = self.SPLITS[name].list_file
        if list_file is None:
            return None
        lines = (root / list_file).read_text("utf-8").splitlines()
        return [self.listed_id(line) for line in lines if line.strip()]

    def listed_id(self, line: str) -> str:
        """The id that one line of a split list names."""
        return line.strip()

    def place(self, member: str, source: Source) -> str | None:
        """Path below the root at which a member of an archive belongs; ``None``: it is not needed.

        Only the end of the member's name has to be as published: repacked archives often have other
        folders around the files.
        """
        parts = member.split("/")
        ends = (source.into + "/".join(parts[i:]) for i in range(len(parts)))
        return next((end for end in ends if self.has(end)), None)

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
        values, table = self.read_label(path), self.label_table(path)
        lookup = np.full(256, -1, np.int16)
        lookup[list(table)] = list(table.values())
        ids = lookup[values]
        if ids.min() < 0:
            outside = ", ".join(map(str, np.unique(values[ids < 0])[:8]))
            raise ValueError(
                f"{path}: label value {outside} is none of {self.TITLE}'s "
                f"({min(table)} to {max(table)}); is this file of another label set?"
            )
        return ids.astype(np.uint8)

    def label_table(self, path: Path) -> dict[int, int]:
        """``LABEL_TABLE``, for a set whose labels exist in one encoding only."""
        return self.LABEL_TABLE

    def has(self, path: str) -> bool:
        """Whether a path below the root is an image, a label or a list of some split."""
        lists, patterns = self._known
        return path in lists or any(_id(path, pattern) for pattern in patterns)

    @cached_property
    def _known(self) -> tuple[set[str], set[str]]:
        splits = self.SPLITS.values()
        lists = {split.list_file for split in splits if split.list_file}
        return lists, {p for split in splits for p in (split.images, split.labels) if p}

    def find(self, root: Path) -> list[Item]:
        """Every pair below ``root``, by split and id.

        Raises ``ValueError`` if a label or an image has no partner, a list and a folder disagree,
        or a split has another size than the published one.
        """
        splits = self.layout(root)
        images = {split.images: find_ids(root, split.images) for split in splits.values()}
        labels = {split.labels: find_ids(root, split.labels) for split in splits.values() if split.labels}
        members = {name: self._members(name, root, images[split.images]) for name, split in splits.items()}
        claimed = defaultdict(set)  # splits may share a folder
        for name, split in splits.items():
            for pattern, ids in ((split.images, images), (split.labels, labels)):
                if pattern is None:
                    continue
                claimed[pattern].update(members[name])
                missing = set(members[name]) - ids[pattern]
                if missing:
                    raise ValueError(
                        f"{root / pattern.format(id=min(missing))}: missing, though the {name} split has "
                        f"{min(missing)} ({len(missing)} such files); complete the folder"
                    )
        for pattern, ids in (images | labels).items():
            extra = ids - claimed[pattern]
            if extra:
                raise ValueError(
                    f"{root / pattern.format(id=min(extra))}: belongs to no pair of any split "
                    f"({len(extra)} such files); move it away"
                )
        for name, split in splits.items():
            if len(members[name]) != split.size:
                raise ValueError(
                    f"{root / split.images.format(id='*')}: {len(members[name])} images instead of the "
                    f"{split.size} of the {name} split; complete the folder or move extra files away"
                )
        return [
            Item(name, id, split.images.format(id=id), split.labels and split.labels.format(id=id))
            for name, split in splits.items()
            for id in sorted(members[name])
        ]

    def _members(self, name: str, root: Path, images: set[str]) -> list[str]:
        ids = self.listed(name, root)
        if ids is None:
            return sorted(images)
        if len(set(ids)) != len(ids):
            twice = next(id for id in ids if ids.count(id) > 1)
            path = root / self.SPLITS[name].list_file
            raise ValueError(f"{path}: {twice} is listed twice; use the list as it was published")
        return ids


def find_ids(root: Path, pattern: str) -> set[str]:
    """Ids of all files below ``root`` that fit ``pattern``; hidden files do not count, links do."""
    start = root / _folder(pattern)
    if not start.is_dir():
        raise ValueError(f"{start}: no such folder; {pattern.format(id='*')} must lie below {root}")
    ids = set()
    for folder, _, names in os.walk(start, followlinks=True):
        for name in names:
            path = Path(folder, name).relative_to(root).as_posix()
            if id := _id(path, pattern):
                if not id.isprintable():  # bytes that are no UTF-8 arrive as unprintable surrogates
                    raise ValueError(f"{path!r} in {root}: the name is not UTF-8 text; rename the file")
                ids.add(id)
    return ids


def _folder(pattern: str) -> str:
    """The folder that every file of a pattern lies in."""
    return pattern.partition("{id}")[0].rpartition("/")[0]


def _id(path: str, pattern: str) -> str:
    """The part of ``path`` at ``{id}``; empty if it does not fit ``pattern`` or is hidden."""
    before, after = pattern.split("{id}")
    fits = path.startswith(before) and path.endswith(after)
    id = path[len(before) : len(path) - len(after)] if fits else ""
    return "" if id.rpartition("/")[2].startswith(".") else id


def class_names(text: str) -> tuple[str, ...]:
    """Names written one after the other, ``"road; sidewalk"``."""
    return tuple(text.split("; "))


def hex_colors(text: str) -> tuple[tuple[int, int, int], ...]:
    """Colours written as in a style sheet, e.g. ``"ff8000 0a0b0c"``, as RGB."""
    return tuple((*bytes.fromhex(color),) for color in text.split())


def open_image(data: bytes, path: Path) -> Image.Image:
    """Decode all of an image. ``ValueError`` naming ``path`` if any part of it is damaged."""
    try:
        Image.open(BytesIO(data)).verify()  # the checksums within, which decoding ignores
        image = Image.open(BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path}: not a readable image ({error}); put the published file in its place"
        ) from None
    return image
