"""Convert a data set's labels to train ids and describe everything in one manifest.

    python -m seglib prepare camvid --raw data/camvid/raw --out data/camvid

Writes ``labels/<split>/<id>.png`` (one 8-bit channel with a palette, 255 = ignore), ``classes.txt``
and last ``manifest.json``; images stay where they are. A split whose labels the publisher keeps is
listed apart, under ``unlabelled``: it can be predicted, not scored. Every image and label is decoded
in full, so that a training meets no damaged file. Finished pairs are noted in ``.prepare.jsonl``: a run
after an interruption goes on behind them. A file that would not change is not written again.
"""

import hashlib
import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from seglib import __version__
from seglib.core import registry
from seglib.core.code_digest import step_code
from seglib.core.files import atomic_path, naming_full_disk
from seglib.core.progress import track
from seglib.core.typed import canonical_json
from seglib.data.label_formats import IGNORE_INDEX
from seglib.data.sets.base import DataSet, Item, open_image
from seglib.experiment import records
from seglib.experiment.records import About, ImagePair, LabelClass, Manifest, RawData


def run(*, dataset: str, raw: Path, out: Path, workers: int) -> None:
    """Prepare what ``seglib download`` left in ``raw``.

    ``workers``: threads; decoding and compression run outside Python's lock.

    Raises ``ValueError`` naming the file for a damaged image or label, a label that does not fit its
    image or the label table, files without a partner, and splits of a wrong size.
    """
    description = registry.resolve(registry.DATASETS[dataset])()
    raw, out = Path(raw), Path(out)
    root, is_users = _root(raw)
    if root.resolve() == out.resolve():
        raise ValueError(f"{out}: this is your own folder of raw files; choose another --out")
    items = description.find(root)
    _refuse_strangers(out / "labels", {_label_path(item) for item in items if item.label})
    journal = _Journal(out / ".prepare.jsonl", step_code("prepare", dataset=dataset))
    converted = _convert_all(description, items, root, out, journal, workers)

    splits: dict[str, list[ImagePair]]
    splits = {name: [] for name, split in description.SPLITS.items() if split.labels}
    unlabelled: dict[str, list[ImagePair]] = defaultdict(list)
    histogram = {split: np.zeros(len(description.CLASSES) + 1, np.int64) for split in splits}
    for item, record in zip(items, converted, strict=True):
        image = root / item.image
        path = str(image) if is_users else Path(os.path.relpath(image, out)).as_posix()
        pair = ImagePair(id=item.id, image=path, label=item.label and _label_path(item), **record["pair"])
        if item.label:
            splits[item.split].append(pair)
            histogram[item.split] += record["histogram"]
        else:
            unlabelled[item.split].append(pair)
    os.sync()
    _write_if_new(out / "classes.txt", class_file(description))
    manifest = Manifest(
        dataset=dataset,
        **class_table(description),
        splits={name: tuple(pairs) for name, pairs in splits.items()},
        unlabelled={name: tuple(pairs) for name, pairs in unlabelled.items()},
        label_histogram={split: tuple(counts.tolist()) for split, counts in histogram.items()},
        data_digest=data_digest(splits, class_table(description)),
        about=About(
            title=description.TITLE,
            evaluation=description.EVALUATION,
            licence=description.LICENCE,
            citation=description.CITATION,
        ),
        software={
            "seglib": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
    )
    _write_if_new(out / "manifest.json", records.text(manifest).encode())
    journal.path.unlink(missing_ok=True)


def data_digest(splits: Mapping[str, Iterable[ImagePair]], class_table: dict[str, Any]) -> str:
    """SHA-256 over what a result can depend on: every pair's id, split and pixels, and the classes.

    Paths, PNG bytes and versions are left out, so that equal data have equal digests everywhere, and so are
    images without labels: no number depends on them.
    """
    pairs = sorted(
        [pair.id, split, pair.image_sha256, pair.label_sha256]
        for split, pairs in splits.items()
        for pair in pairs
    )
    return hashlib.sha256(canonical_json([pairs, class_table]).encode()).hexdigest()


def _root(raw: Path) -> tuple[Path, bool]:
    """The folder of the raw files, and whether it is the user's own."""
    marker = raw / "source.json"
    source = records.read(RawData, marker)
    if source is None:
        raise ValueError(
            f"{marker}: missing, so the raw files are not known to be complete; run download first"
        )
    return (raw, False) if source.data_root is None else (Path(source.data_root), True)


def class_table(description: DataSet) -> dict[str, Any]:
    """The part of a manifest that follows from the data set's description alone."""
    return {
        "classes": tuple(
            LabelClass(name=name, color=color)
            for name, color in zip(description.CLASSES, description.PALETTE, strict=True)
        ),
        "flip_pairs": description.FLIP_PAIRS,
        "ignore_index": IGNORE_INDEX,
    }


def class_file(description: DataSet) -> bytes:
    """``classes.txt``: a class a line, its category after a tab, as ``seglib score`` reads it."""
    columns = (
        (description.CLASSES, description.CATEGORIES) if description.CATEGORIES else (description.CLASSES,)
    )
    return "".join("\t".join(row) + "\n" for row in zip(*columns, strict=True)).encode()


def _label_path(item: Item) -> str:
    return f"labels/{item.split}/{item.id}.png"


def _refuse_strangers(folder: Path, ours: set[str]) -> None:
    """A label of an image that is gone would be scored; it may be the user's, so it is not deleted."""
    for path in sorted(folder.rglob("*.png")):
        if path.relative_to(folder.parent).as_posix() not in ours:
            raise ValueError(f"{path}: belongs to no image; delete {folder} and run again")


def _convert_all(
    description: DataSet, items: list[Item], root: Path, out: Path, journal: "_Journal", workers: int
) -> list[dict[str, Any]]:
    stamps = {item: _stamp(item, root, out) for item in items}
    records = {item: journal.find(item, stamps[item]) for item in items}
    todo = [item for item in items if records[item] is None]
    palette = bytes(channel for color in description.PALETTE for channel in color).ljust(3 * 256, b"\0")
    with ThreadPoolExecutor(workers) as pool:
        converted = pool.map(lambda item: _convert(description, item, root, out, palette), todo)
        done = len(items) - len(todo)
        for item, record in zip(
            todo,
            track(converted, total=len(items), start=done, what=f"prepare {description.TITLE}"),
            strict=True,
        ):
            records[item] = record
            journal.add(item, record, _stamp(item, root, out))
    return list(records.values())


def _convert(description: DataSet, item: Item, root: Path, out: Path, palette: bytes) -> dict[str, Any]:
    """Check one pair and write its label map; or check one image without a label.

    ``label_sha256`` is of the pixels, which a result depends on; ``label_file_sha256`` of the PNG.
    """
    image_path = root / item.image
    content = image_path.read_bytes()
    width, height = open_image(content, image_path).size
    pair = {
        "image_sha256": hashlib.sha256(content).hexdigest(),
        "image_bytes": len(content),
        "height": height,
        "width": width,
    }
    if item.label is None:
        return {"pair": pair}
    label_path = root / item.label
    ids = description.train_ids(label_path)
    if ids.shape != (height, width):
        raise ValueError(
            f"{label_path}: {ids.shape[0]}x{ids.shape[1]} pixels, but its image {item.image} has "
            f"{height}x{width}; replace whichever is not as published"
        )
    label = _palette_png(ids, palette)
    _write_if_new(out / _label_path(item), label, sync=False)
    counts = np.bincount(ids.ravel(), minlength=256)
    return {
        "pair": pair
        | {
            "label_sha256": hashlib.sha256(ids.tobytes()).hexdigest(),
            "label_file_sha256": hashlib.sha256(label).hexdigest(),
            "label_bytes": len(label),
        },
        "histogram": [*counts[: len(description.CLASSES)].tolist(), int(counts[IGNORE_INDEX])],
    }


def _palette_png(ids: np.ndarray, palette: bytes) -> bytes:
    image = Image.fromarray(ids)
    image.putpalette(palette)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _write_if_new(path: Path, content: bytes, *, sync: bool = True) -> None:
    if not path.exists() or path.read_bytes() != content:
        with atomic_path(path, sync=sync) as temporary:
            temporary.write_bytes(content)


def _stamp(item: Item, root: Path, out: Path) -> list[list[int]]:
    """Size and time of change of a pair's files and its label map; an absent one has none."""
    paths = (
        [root / item.image, root / item.label, out / _label_path(item)] if item.label else [root / item.image]
    )
    return [
        [status.st_size, status.st_mtime_ns] for path in paths if path.exists() for status in [path.stat()]
    ]


class _Journal:
    """Records of the pairs that an interrupted run has finished.

    Valid while the code (``identity``) and, per pair, the files stay as they were.
    """

    def __init__(self, path: Path, identity: dict[str, str]):
        self.path = path
        self.finished: dict[Item, tuple[dict[str, Any], list]] = {}
        header = json.dumps(identity, sort_keys=True)
        lines = path.read_text("utf-8").split("\n")[:-1] if path.exists() else []  # the last may be torn
        if lines[:1] != [header]:
            lines = [header]
        for line in lines[1:]:
            item, record, stamp = json.loads(line)
            self.finished[Item(**item)] = record, stamp
        with atomic_path(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), "utf-8")

    def find(self, item: Item, stamp: list) -> dict[str, Any] | None:
        record, recorded = self.finished.get(item, (None, None))
        return record if stamp == recorded else None

    def add(self, item: Item, record: dict[str, Any], stamp: list) -> None:
        with naming_full_disk(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps([asdict(item), record, stamp]) + "\n")
