"""Look at a prepared data set: splits, class frequencies, and a contact sheet with labels and legend.

    python -m seglib inspect camvid [--data data/camvid] [--out camvid.png]

The page of the data set in a report shows the same tables and pictures.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seglib.core.files import atomic_path
from seglib.core.tables import to_text
from seglib.data.manifest import read_manifest_file
from seglib.experiment.records import Manifest
from seglib.report import datasheets, overlays
from seglib.report.results_tables import class_shares

TILE_WIDTH_PX, PAIRS_PER_ROW, MARGIN_PX = 320, 3, 12
FONT_PX, LINE_PX, LEGEND_COLUMN_PX = 15, 22, 240
INK, PAPER = (27, 30, 34), (255, 255, 255)


def run(*, dataset: str, data: Path | None, out: Path | None) -> None:
    """Print the tables and write the contact sheet of the first split with images as PNG ``out``.

    ``data``: the prepared data set (default ``data/<dataset>``). Raises ``ValueError`` or ``OSError`` naming
    the file for a manifest, an image or a label that is missing or damaged.
    """
    data, out = data or Path("data", dataset), out or Path(f"{dataset}.png")
    manifest = read_manifest_file(data)
    if manifest.dataset != dataset:
        raise ValueError(f"{data}/manifest.json is of data set {manifest.dataset}, not {dataset}")
    tables = datasheets.splits(manifest), datasheets.classes(manifest)
    print(*map(to_text, tables), f"data digest {manifest.data_digest}", sep="\n\n")
    sheet = contact_sheet(manifest, data)
    with atomic_path(out) as temporary:
        sheet.save(temporary, "PNG")
    print(f"written: {out}")


def contact_sheet(manifest: Manifest, data: Path) -> Image.Image:
    """Images at equal steps through the first split, each beside its label, above a legend of all classes."""
    split, images = datasheets.first_split(manifest)
    painter, pairs = overlays.Painter.of(manifest), []
    for image in (images[index] for index in datasheets.choose(images)):
        pictures = painter.show_label(data / image.image, data / image.label)[:2]
        pairs.append((image.id, [_tile(picture) for picture in pictures]))
    rows = [pairs[start : start + PAIRS_PER_ROW] for start in range(0, len(pairs), PAIRS_PER_ROW)]
    heights = [max(tile.height for _, tiles in row for tile in tiles) + LINE_PX + MARGIN_PX for row in rows]
    legend = _legend(manifest, split)
    width = PAIRS_PER_ROW * (2 * TILE_WIDTH_PX + MARGIN_PX) + MARGIN_PX
    legend_columns = width // LEGEND_COLUMN_PX
    legend_rows = -(-len(legend) // legend_columns)
    top = LINE_PX + 2 * MARGIN_PX
    sheet = Image.new("RGB", (width, top + sum(heights) + (legend_rows + 1) * LINE_PX + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_PX)

    def write(x: int, y: int, words: str, width_px: int) -> None:
        while words and draw.textlength(words, font) > width_px:
            words = words[:-2].rstrip("…") + "…" if len(words) > 2 else ""
        draw.text((x, y), words, INK, font)

    title = f"{manifest.dataset}, {split}: {len(pairs)} of {len(images)} images at equal steps"
    write(MARGIN_PX, MARGIN_PX, title, width - 2 * MARGIN_PX)
    for row, height in zip(rows, heights, strict=True):
        for column, (id, tiles) in enumerate(row):
            left = MARGIN_PX + column * (2 * TILE_WIDTH_PX + MARGIN_PX)
            for i, tile in enumerate(tiles):
                sheet.paste(tile, (left + i * TILE_WIDTH_PX, top))
            write(left, top + tiles[0].height + 2, id, 2 * TILE_WIDTH_PX)
        top += height
    for i, (words, colour) in enumerate(legend):
        x = MARGIN_PX + i // legend_rows * LEGEND_COLUMN_PX
        y = top + i % legend_rows * LINE_PX
        draw.rectangle((x, y, x + FONT_PX, y + FONT_PX), colour, INK)
        write(x + FONT_PX + 6, y, words, LEGEND_COLUMN_PX - FONT_PX - 12)
    note = "Share of the labelled pixels of the split. Parts of a label without colour are ignored."
    write(MARGIN_PX, top + legend_rows * LINE_PX, note, width - 2 * MARGIN_PX)
    return sheet


def _legend(manifest: Manifest, split: str) -> list[tuple[str, str]]:
    """(name and share, CSS colour) of each class."""
    shares = class_shares(manifest, split)
    named = overlays.legend(manifest)
    return [(f"{100 * s:.2f} %  {name}", colour) for (name, colour), s in zip(named, shares, strict=True)]


def _tile(picture: np.ndarray) -> Image.Image:
    image = Image.fromarray(picture[..., ::-1])
    return image.resize((TILE_WIDTH_PX, max(1, round(image.height * TILE_WIDTH_PX / image.width))))
