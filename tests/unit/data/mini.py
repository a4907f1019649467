"""A data set of three tiny pairs in the awkward layout of the real ones, and ways to spoil it."""

import errno
import itertools
import json
import os
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from seglib.core import registry
from seglib.core.files import format_checksums, sha256_file
from seglib.data import prepare
from seglib.data.sets.base import DataSet, Source, Split

NAME = "mini"
ARCHIVE = "Mini-1.0.zip"
FILES = 7
HEIGHT, WIDTH = 10, 12
SOURCE = {
    "schema": 1,
    "dataset": NAME,
    "source": "archives",
    "files": FILES,
    "bytes": 1,
    "manifest_sha256": "",
}


class Mini(DataSet):
    """Nested ids, a split list with paths in it, label values with gaps, and void."""

    TITLE = "Mini"
    CLASSES = ("ground", "left", "right")
    PALETTE = ((60, 60, 60), (220, 40, 40), (40, 40, 220))
    FLIP_PAIRS = ((1, 2),)
    LABEL_TABLE: ClassVar = {7: 0, 8: 1, 11: 2, 0: 255}
    SPLITS: ClassVar = {
        "train": Split(size=2, images="images/train/{id}_rgb.png", labels="labels/train/{id}_ids.png"),
        "val": Split(
            size=1, images="images/val/{id}_rgb.png", labels="labels/val/{id}_ids.png", list_file="val.txt"
        ),
    }
    SOURCES = (Source(file_name=ARCHIVE, url="http://127.0.0.1:9/x.zip", checksum=None, size_mib=1),)
    LICENCE = "CC0-1.0"
    CITATION = "none"
    INSTRUCTIONS = "Ask the authors."
    published: ClassVar[dict[str, str]] = {}

    def checksums(self) -> dict[str, str]:
        return self.published

    def listed_id(self, line: str) -> str:
        return line.split("/val/")[1].removesuffix("_rgb.png")


def label(index: int) -> np.ndarray:
    values = np.full((HEIGHT, WIDTH), 7, np.uint8)
    values[:, :3] = 8
    values[:, -2 - index :] = 11
    values[0] = 0
    return values


def write(root: Path) -> Path:
    """The unpacked files: ``train`` has ids in two folders."""
    for index, name in enumerate(("train/aachen/a0", "train/bonn/b0", "val/ulm/u0")):
        image = np.random.RandomState(index).randint(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        for path, pixels in ((f"images/{name}_rgb.png", image), (f"labels/{name}_ids.png", label(index))):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / path)
    (root / "val.txt").write_text("/home/author/val/ulm/u0_rgb.png\n")
    return root


def checksums(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in root.rglob("*.*")}


def pack(root: Path, archive: Path, *, extra: dict[str, str] | None = None) -> Path:
    """A zip as GitHub makes it, with a top folder and things nobody asked for."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in checksums(root):
            packed.write(root / path, f"Mini-1.0/{path}")
        packed.writestr("Mini-1.0/README.md", "hello")
        for name, content in (extra or {}).items():
            packed.writestr(name, content)
    return archive


def describe_source(raw: Path) -> Path:
    """Mark ``raw`` as download does, for tests of later steps."""
    (raw / "files.sha256").write_text(format_checksums(checksums(raw)))
    (raw / "source.json").write_text(json.dumps(SOURCE))
    return raw


def register(monkeypatch) -> type[Mini]:
    """Make the data set known by name; a test may change the table of the class that it gets."""

    class Registered(Mini):
        pass

    monkeypatch.setitem(registry.DATASETS, NAME, "tests.unit.data.mini:Mini")
    monkeypatch.setattr(registry, "resolve", lambda target: Registered)
    monkeypatch.setattr(prepare, "step_code", lambda step, dataset: {"seglib.data.prepare": "1"})
    for name in ("sync", "fsync"):  # these wait for everything that runs on the machine
        monkeypatch.setattr(os, name, lambda *_: None)
    return Registered


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def fill_disk(monkeypatch, after: int) -> None:
    """Let the disk be full from the given number of files on, each cut in the middle."""
    write_bytes, count = Path.write_bytes, itertools.count()

    def write(path: Path, data: bytes) -> int:
        if next(count) < after:
            return write_bytes(path, data)
        write_bytes(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)
