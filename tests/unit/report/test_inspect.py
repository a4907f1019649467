"""What ``seglib inspect`` prints and draws of a prepared data set."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from seglib.data import prepare
from seglib.data.manifest import read_manifest_file
from seglib.experiment.records import LabelClass
from seglib.report import datasheets, inspect
from tests.unit.data import mini as minis
from tests.unit.data.mini import NAME, Mini


@pytest.fixture
def data(tmp_path, monkeypatch):
    minis.register(monkeypatch)
    folder = tmp_path / "data" / "mini"
    minis.describe_source(minis.write(folder / "raw"))
    prepare.run(dataset=NAME, raw=folder / "raw", out=folder, workers=1)
    return folder


def manifest(data):
    return read_manifest_file(data)


def test_the_numbers_are_those_of_the_labels(data, tmp_path, capsys):
    capsys.readouterr()
    inspect.run(dataset=NAME, data=data, out=tmp_path / "sheet.png")
    said = capsys.readouterr().out
    files = [*data.rglob("train/*/*.png")]
    mib = sum(path.stat().st_size for path in files if "raw/labels" not in str(path)) / 2**20
    # Row 0 of 10 is ignored; below, of 12 columns 3 are left and 2 or 3 are right.
    assert re.search(rf"^train +2 +10 × 12 +{mib:.1f} +10\.00$", said, re.MULTILINE)
    for name, columns in (("ground", 7 + 6), ("left", 6), ("right", 2 + 3)):
        assert re.search(rf"^{name} +{100 * columns / 24:.2f} ", said, re.MULTILINE)
    assert f"data digest {manifest(data).data_digest}" in said


def test_the_sheet_shows_each_image_beside_its_label_and_a_legend(data, tmp_path):
    inspect.run(dataset=NAME, data=data, out=tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    tile, margin = inspect.TILE_WIDTH_PX, inspect.MARGIN_PX
    top = inspect.LINE_PX + 2 * margin
    height = tile * minis.HEIGHT // minis.WIDTH
    for column, id in enumerate(("aachen/a0", "bonn/b0")):
        left = margin + column * (2 * tile + margin)
        image = np.asarray(Image.open(data / f"raw/images/train/{id}_rgb.png").resize((tile, height)))
        assert np.abs(sheet[top : top + height, left : left + tile] - image).mean() < 2
        label = sheet[top : top + height, left + tile : left + 2 * tile]
        # Of a colour laid over the image at 60 %: left is red, right is blue, the ignored row is the image.
        inside = label[height // 5 :]
        assert (inside[:, : tile // 6, 0] - inside[:, : tile // 6, 2]).mean() > 50
        assert (inside[:, -tile // 12 :, 2] - inside[:, -tile // 12 :, 0]).mean() > 50
        assert np.abs(label[:6] - image[:6]).mean() < 9
    below = sheet[top + height + inspect.LINE_PX :]
    for colour in Mini.PALETTE:
        assert (below == colour).all(axis=2).sum() > 100, "a swatch in the legend"


def test_a_long_table_of_classes_fits(data):
    values = manifest(data)
    names = [*(f"class {i}" for i in range(149)), "a name that is much longer than its column of the legend"]
    values = dataclasses.replace(
        values,
        classes=tuple(LabelClass(name=name, color=(i, 0, 0)) for i, name in enumerate(names)),
        label_histogram=dict.fromkeys(values.splits, (1,) * 151),
    )
    assert inspect.contact_sheet(values, data).width < 2200


@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_missing_or_damaged_file_is_named(data, tmp_path, kind):
    path = data / getattr(manifest(data).splits["train"][0], kind)
    for harm in (lambda: path.write_bytes(b"<html>"), path.unlink):
        harm()
        with pytest.raises((ValueError, OSError), match=path.name):
            inspect.run(dataset=NAME, data=data, out=tmp_path / "sheet.png")
        assert not (tmp_path / "sheet.png").exists()


def test_a_damaged_file_costs_a_report_one_picture(data, tmp_path):
    path = data / manifest(data).splits["train"][0].label
    path.write_bytes(b"<html>")
    shown = datasheets.context(manifest(data), data, ["train"], tmp_path)
    assert [picture["id"] for picture in shown["sheet"]] == ["bonn/b0"]
    assert path.name in shown["sheet_trouble"][0]


def test_images_are_taken_at_equal_steps():
    assert datasheets.choose(range(5)) == [0, 1, 2, 3, 4]
    assert datasheets.choose(range(120)) == list(range(0, 120, 10))
