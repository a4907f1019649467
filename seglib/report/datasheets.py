"""The page of one data set: splits, classes and how often they occur, and a contact sheet."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from seglib.core.tables import Column, Entry, Table, percent
from seglib.experiment.records import ImagePair, Manifest
from seglib.report import overlays
from seglib.report.results_tables import class_shares

CONTACT_SHEET_IMAGES = 12


def context(manifest: Manifest, data: Path, used: Collection[str], pictures: Path | None) -> dict[str, Any]:
    """What the template ``dataset.html`` shows; writes the contact sheet into the folder ``pictures``.

    ``data``: folder of the prepared data set; ``used``: the splits that this report trains or tests on.
    """
    trouble: list[str] = []
    return {
        "manifest": manifest,
        "splits": splits(manifest, used),
        "classes": classes(manifest),
        "sheet": list(_sheet(manifest, data, pictures, trouble)) if pictures else [],
        "sheet_split": first_split(manifest)[0],
        "sheet_trouble": trouble,
    }


def splits(manifest: Manifest, used: Collection[str] | None = None) -> Table:
    """Images, sizes and ignored pixels of each split that has images, and whether it is one of those used."""

    def ignored(split: str) -> float:
        *labelled, ignored = manifest.label_histogram[split]
        return ignored / max(1, sum(labelled) + ignored)

    columns = [
        Column("split", "Split", str),
        Column("images", "Images", lambda split: len(manifest.splits[split]), "{:,}".format),
        Column("size_hw_px", "Height × width, px", lambda split: _sizes(manifest.splits[split]), fixed=True),
        Column("size_mib", "On disk, MiB", lambda split: _size_mib(manifest.splits[split]), "{:,.1f}".format),
        Column("ignored", "Ignored pixels, %", ignored, percent),
    ]
    if used is not None:
        columns.append(
            Column("used", "Used here", lambda split: "yes" if split in used else "no", fixed=True)
        )
    return Table("splits", "Splits", columns, _filled(manifest))


def classes(manifest: Manifest) -> Table:
    """Share of the labelled pixels of each split that each class has."""
    legend = overlays.legend(manifest)

    def name(index: int) -> Entry:
        return Entry(text=legend[index][0], value=legend[index][0], colour=legend[index][1])

    columns = [Column("class", "Class", name)]
    for split in _filled(manifest):
        shares = class_shares(manifest, split)
        title = f"{split}, % of pixels"
        columns.append(Column(split, title, shares.__getitem__, percent, shade="bar first"))
    return Table("classes", "Classes", columns, range(len(legend)))


def first_split(manifest: Manifest) -> tuple[str, Sequence[ImagePair]]:
    """The split that the contact sheet shows: the first that has images, with them."""
    split = _filled(manifest)[0]
    return split, manifest.splits[split]


def choose(images: Sequence[Any]) -> list[int]:
    """The places of images at equal steps through a split, so that nobody has picked them."""
    count = min(CONTACT_SHEET_IMAGES, len(images))
    return [i * len(images) // count for i in range(count)]


def _filled(manifest: Manifest) -> list[str]:
    return [split for split, images in manifest.splits.items() if images]


def _size_mib(images: Sequence[ImagePair]) -> float:
    """Of images and prepared labels."""
    return sum(image.image_bytes + image.label_bytes for image in images) / 2**20


def _sizes(images: Sequence[ImagePair]) -> str:
    return f"{_range([image.height for image in images])} × {_range([image.width for image in images])}"


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _sheet(manifest: Manifest, data: Path, pictures: Path, trouble: list[str]) -> Iterator[dict[str, Any]]:
    """The contact sheet. A damaged file costs its picture, not the report, and is named in ``trouble``."""
    split, images = first_split(manifest)
    painter = overlays.Painter.of(manifest)
    for index in choose(images):
        image = images[index]
        names = [f"{manifest.dataset}.{split}.{index}.{kind}.jpg" for kind in ("input", "label")]
        try:
            drawn, _ = painter.draw_label(
                data / image.image, data / image.label, [pictures / name for name in names]
            )
        except (ValueError, OSError) as error:
            trouble.append(str(error))
            continue
        height, width = drawn.shape[:2]
        paths = [f"{pictures.name}/{name}" for name in names]
        yield {"id": image.id, "input": paths[0], "label": paths[1], "height": height, "width": width}
