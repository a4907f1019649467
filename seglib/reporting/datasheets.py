"""The page of one data set: splits, classes and how often they occur, and a contact sheet."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from seglib.reporting import overlays, tables
from seglib.reporting.summaries import class_shares
from seglib.reporting.tables import Column, Table

CONTACT_SHEET_IMAGES = 12


def context(manifest: dict[str, Any], data: Path, used: Collection[str], pictures: Path) -> dict[str, Any]:
    """What the template ``dataset.html`` shows; writes the contact sheet into the folder ``pictures``.

    ``data``: folder of the prepared data set; ``used``: the splits that this report trains or tests on.
    """
    splits = {name: entries for name, entries in manifest["splits"].items() if entries}
    return {
        "dataset": manifest["dataset"],
        "digest": manifest["data_digest"],
        "splits": _splits(splits, used, manifest["label_histogram"]),
        "classes": _classes(manifest, list(splits)),
        "sheet": _sheet(manifest, next(iter(splits)), data, pictures),
        "sheet_split": next(iter(splits)),
    }


def _splits(
    splits: dict[str, list[dict[str, Any]]], used: Collection[str], histogram: dict[str, list[int]]
) -> Table:
    rows = []
    for name, entries in splits.items():
        heights, widths = ([entry[side] for entry in entries] for side in ("height", "width"))
        rows.append(
            (
                tables.text(name),
                tables.number(len(entries), "{:,}".format),
                tables.text(f"{_range(heights)} × {_range(widths)}"),
                tables.percent(histogram[name][-1] / max(1, sum(histogram[name]))),
                tables.text("yes" if name in used else "no"),
            )
        )
    columns = (
        Column(name="split", title="Split"),
        Column(name="images", title="Images", number=True),
        Column(name="size_hw_px", title="Height × width, px", fixed=True),
        Column(name="ignored", title="Ignored pixels, %", number=True),
        Column(name="used", title="Used here", fixed=True),
    )
    return Table(name="splits", caption="Splits", columns=columns, rows=tuple(rows))


def _classes(manifest: dict[str, Any], splits: Sequence[str]) -> Table:
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


def _sheet(manifest: dict[str, Any], split: str, data: Path, pictures: Path) -> list[dict[str, Any]]:
    """Images at equal steps through a split, so that nobody has picked them."""
    entries = manifest["splits"][split]
    count = min(CONTACT_SHEET_IMAGES, len(entries))
    palette, ignore = overlays.colours(manifest), manifest["ignore_index"]
    shown = []
    for index in (i * len(entries) // count for i in range(count)):
        entry = entries[index]
        files = data / entry["image"], data / entry["label"]
        if not all(file.is_file() for file in files):
            continue
        names = [f"{manifest['dataset']}.{split}.{index}.{kind}.jpg" for kind in ("input", "label")]
        image, _ = overlays.draw_label(*files, palette, ignore, [pictures / name for name in names])
        height, width = image.shape[:2]
        paths = [f"{pictures.name}/{name}" for name in names]
        shown.append(
            {"id": entry["id"], "input": paths[0], "label": paths[1], "height": height, "width": width}
        )
    return shown


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
