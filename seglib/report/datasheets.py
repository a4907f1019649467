"""The page of one data set: splits, classes and how often they occur, and a contact sheet."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seglib.core import tables
from seglib.core.tables import Column, Table
from seglib.experiment.records import ImagePair, Manifest
from seglib.report import overlays
from seglib.report.summaries import class_shares

CONTACT_SHEET_IMAGES = 12


def context(manifest: Manifest, data: Path, used: Collection[str], pictures: Path | None) -> dict[str, Any]:
    """What the template ``dataset.html`` shows; writes the contact sheet into the folder ``pictures``.

    ``data``: folder of the prepared data set; ``used``: the splits that this report trains or tests on.
    """
    splits, classes = statistics(manifest)
    column = Column(name="used", title="Used here", fixed=True)
    rows = [(*row, tables.text("yes" if row[0].text in used else "no")) for row in splits.rows]
    sheet, trouble = _sheet(manifest, data, pictures) if pictures else ([], "")
    return {
        "dataset": manifest.dataset,
        "digest": manifest.data_digest,
        "splits": replace(splits, columns=(*splits.columns, column), rows=tuple(rows)),
        "classes": classes,
        "sheet": sheet,
        "sheet_split": first_split(manifest)[0],
        "sheet_trouble": trouble,
    }


def statistics(manifest: Manifest) -> tuple[Table, Table]:
    """The splits (images, sizes, ignored pixels) and the classes (share of the pixels of each split)."""
    splits = {name: entries for name, entries in manifest.splits.items() if entries}
    return _splits(splits, manifest.label_histogram), _classes(manifest, list(splits))


def first_split(manifest: Manifest) -> tuple[str, Sequence[ImagePair]]:
    """The split that the contact sheet shows: the first that has images, with its entries."""
    return next((name, entries) for name, entries in manifest.splits.items() if entries)


def choose(entries: Sequence[Any]) -> list[int]:
    """The places of images at equal steps through a split, so that nobody has picked them."""
    count = min(CONTACT_SHEET_IMAGES, len(entries))
    return [i * len(entries) // count for i in range(count)]


def _splits(splits: dict[str, Sequence[ImagePair]], histogram: dict[str, tuple[int, ...]]) -> Table:
    rows = []
    for name, entries in splits.items():
        heights, widths = ([getattr(entry, side) for entry in entries] for side in ("height", "width"))
        rows.append(
            (
                tables.text(name),
                tables.number(len(entries), "{:,}".format),
                tables.text(f"{_range(heights)} × {_range(widths)}"),
                tables.number(_size_mib(entries), "{:,.1f}".format),
                tables.percent(histogram[name][-1] / max(1, sum(histogram[name]))),
            )
        )
    columns = (
        Column(name="split", title="Split"),
        Column(name="images", title="Images", number=True),
        Column(name="size_hw_px", title="Height × width, px", fixed=True),
        Column(name="size_mib", title="On disk, MiB", number=True),
        Column(name="ignored", title="Ignored pixels, %", number=True),
    )
    return Table(name="splits", caption="Splits", columns=columns, rows=tuple(rows))


def _size_mib(entries: Sequence[ImagePair]) -> float:
    """Of images and prepared labels."""
    return sum(entry.image_bytes + entry.label_bytes for entry in entries) / 2**20


def _classes(manifest: Manifest, splits: Sequence[str]) -> Table:
    """Share of the labelled pixels of each split that each class has."""
    shares = [class_shares(manifest, split) for split in splits]
    columns = [Column(name="class", title="Class")]
    columns += [
        Column(name=split, title=f"{split}, % of pixels", number=True, bar="first") for split in splits
    ]
    rows = []
    for index, (name, colour) in enumerate(overlays.legend(manifest)):
        of_class = [share[index] for share in shares]
        rows.append((tables.text(name, colour=colour), *(tables.percent(s, heat=s) for s in of_class)))
    return Table(name="classes", caption="Classes", columns=tuple(columns), rows=tuple(rows))


def _sheet(manifest: Manifest, data: Path, pictures: Path) -> tuple[list[dict[str, Any]], str]:
    """The contact sheet's pictures, and why others are missing: a damaged file costs a picture, no report."""
    split, entries = first_split(manifest)
    palette, ignore = overlays.colours(manifest), manifest.ignore_index
    shown, trouble = [], ""
    for index in choose(entries):
        entry = entries[index]
        names = [f"{manifest.dataset}.{split}.{index}.{kind}.jpg" for kind in ("input", "label")]
        files = [data / getattr(entry, kind) for kind in ("image", "label")]
        try:
            image, _ = overlays.draw_label(*files, palette, ignore, [pictures / name for name in names])
        except (ValueError, OSError) as error:
            trouble = str(error)
            continue
        height, width = image.shape[:2]
        paths = [f"{pictures.name}/{name}" for name in names]
        shown.append({"id": entry.id, "input": paths[0], "label": paths[1], "height": height, "width": width})
    return shown, trouble


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
