import json
import struct
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from seglib import cli
from seglib.core import registry
from seglib.core.files import write_json
from seglib.evaluation import predict, predict_images
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Protocol, Recipe
from seglib.models.segmentor import build_segmentor
from seglib.training import checkpoints

COLORS = ((60, 60, 60), (220, 40, 40), (40, 40, 220), (40, 200, 60))
CELL = Cell(
    dataset="small",
    method="fcn",
    method_options={"width": 16},
    backbone_name="tiny",
    backbone=Backbone(model="test_efficientnet"),
    recipe_name="short",
    recipe=Recipe(iterations=1, batch_size=1, crop_hw=(32, 40), lr=0.1, threads=1, deterministic=False),
    seed=0,
)


@pytest.fixture(autouse=True)
def _restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def segmentor():
    torch.manual_seed(0)
    return build_segmentor(
        method=CELL.method, method_options=CELL.method_options, backbone=CELL.backbone, num_classes=4
    ).eval()


@pytest.fixture
def cell_folder(segmentor, tmp_path, monkeypatch):
    """A trained cell, and the data set that it names."""
    module = types.ModuleType("small")
    module.Small = types.SimpleNamespace(CLASSES=tuple("abcd"), PALETTE=COLORS, FLIP_PAIRS=((1, 2),))
    monkeypatch.setitem(sys.modules, "small", module)
    monkeypatch.setitem(registry.DATASETS, "small", "small:Small")
    folder = tmp_path / "cell"
    checkpoints.save_tensors(folder / "train" / "model.safetensors", segmentor.state_dict())
    write_json(folder / "train" / "cell.json", json.loads(CELL.to_json()))
    return folder


@pytest.fixture
def photos(tmp_path):
    """A folder with an RGB image, and the image."""
    image = np.random.default_rng(0).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    Image.fromarray(image).save(tmp_path / "photos" / "plain.png")
    return tmp_path / "photos", image


def call(capsys, *arguments):
    """Exit code (0 without an exit) and the lines on stderr that are no progress."""
    try:
        cli.main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as stop:
        code = stop.code
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    return code, [line for line in lines if line.startswith("seglib predict: ")]


def labels(out, name):
    with Image.open(out / "labels" / f"{name}.png") as file:
        assert file.mode == "P"
        return np.array(file)


def test_a_folder_becomes_label_maps_overlays_and_a_record(cell_folder, segmentor, photos, tmp_path, capsys):
    folder, image = photos
    Image.fromarray(image[:, ::-1].copy()).save(folder / "more" / "deep.png")
    (folder / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    protocol = Protocol(scales=(1.0, 1.5), flip=True)
    assert call(
        capsys, "predict", "--cell", cell_folder, "--images", folder, "--out", out, "--device", "cpu",
        "--protocol", '{"scales": [1.0, 1.5], "flip": true}',
    ) == (0, [])  # fmt: skip
    names = ["more/deep", "plain"]
    for kind in ("labels", "overlays"):
        found = sorted(p.relative_to(out / kind).as_posix() for p in (out / kind).rglob("*.png"))
        assert found == [f"{name}.png" for name in names]
    expected = predict.predict(segmentor, image, protocol=protocol, flip_pairs=((1, 2),))
    assert np.array_equal(labels(out, "plain"), expected)
    with Image.open(out / "overlays" / "plain.png") as file:
        overlay = np.array(file)
    pixel = 0.4 * image[5, 7] + 0.6 * np.array(COLORS[expected[5, 7]])
    assert np.abs(overlay[5, 7] - pixel).max() <= 0.51
    record = json.loads((out / "prediction.json").read_text())
    assert (record["num_images"], record["failures"], record["cell_id"]) == (2, {}, CELL.id)
    assert record["protocol"]["scales"] == [1.0, 1.5]


def test_one_image_with_the_folder_that_train_made(cell_folder, photos, tmp_path, capsys):
    folder, _ = photos
    command = ("predict", "--model", cell_folder / "train", "--images", folder / "plain.png")
    assert call(capsys, *command, "--out", tmp_path / "out", "--device", "cpu") == (0, [])
    assert labels(tmp_path / "out", "plain").shape == (36, 48)


def test_unreadable_images_are_named_and_the_others_done(cell_folder, photos, tmp_path, capsys):
    folder, image = photos
    (folder / "broken.jpg").write_bytes(b"no JPEG")
    Image.fromarray(image).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-200])
    Image.fromarray(np.zeros((9, 9), np.float32)).save(folder / "heights.tiff")
    out = tmp_path / "out"
    code, lines = call(
        capsys, "predict", "--cell", cell_folder, "--images", folder, "--out", out, "--device", "cpu"
    )
    assert code == 2
    assert len(lines) == 4
    for line, name in zip(lines, ("broken.jpg", "cut.jpg", "heights.tiff"), strict=False):
        assert line.startswith(f"seglib predict: left out {folder / name}: not a readable image (")
    assert "3 of 4 images were left out" in lines[3]
    assert [path.name for path in (out / "labels").iterdir()] == ["plain.png"]
    assert len(json.loads((out / "prediction.json").read_text())["failures"]) == 3


def test_an_image_too_large_for_the_memory_costs_no_other(cell_folder, photos, tmp_path, capsys, monkeypatch):
    folder, image = photos
    Image.fromarray(np.repeat(image, 2, axis=0)).save(folder / "large.png")

    def bounded(segmentor, image, **arguments):
        if len(image) > 40:
            raise ValueError("out of memory on cpu: 1 image of 72x48")
        return predict.predict(segmentor, image, **arguments)

    monkeypatch.setattr(predict_images, "predict", bounded)
    out = tmp_path / "out"
    command = ("predict", "--cell", cell_folder, "--images", folder, "--out", out, "--device", "cpu")
    code, lines = call(capsys, *command)
    assert (code, len(lines)) == (2, 2)
    assert lines[0] == f"seglib predict: left out {folder}/large.png: out of memory on cpu: 1 image of 72x48"
    assert [path.name for path in (out / "labels").iterdir()] == ["plain.png"]


def _grey(image):
    return Image.fromarray(image[..., 0])


def _deep_grey(image):
    return Image.fromarray(image[..., 0].astype(np.uint16) * 257)


def _transparent(image):
    return Image.fromarray(np.dstack([image, image[..., :1]]))


def _palette(image):
    return Image.fromarray(image).quantize(16)


def _turned(image):
    """As a camera held upright stores it: the pixels lie, the tag says so."""
    picture = Image.fromarray(np.rot90(image).copy())
    picture.getexif()[0x0112] = 6
    return picture


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_grey, lambda image: image[..., :1].repeat(3, 2)),
        (_deep_grey, lambda image: image[..., :1].repeat(3, 2)),
        (_transparent, lambda image: image),
        (_palette, lambda image: np.array(_palette(image).convert("RGB"))),
        (_turned, lambda image: image),
    ],
)
def test_images_are_read_as_a_viewer_shows_them(photos, tmp_path, make, expected):
    image = photos[1]
    path = tmp_path / "image.png"
    picture = make(image)
    picture.save(path, exif=picture.getexif())
    assert np.array_equal(predict_images.read_own_image(path), expected(image))


def test_a_wrong_tag_costs_neither_the_image_nor_its_orientation(photos, tmp_path):
    image = photos[1]
    picture = _turned(image)
    tags = picture.getexif()
    tags[0x010E] = "a description"
    as_width = tags.tobytes().replace(b"\x01\x0e\x00\x02", b"\x01\x00\x00\x02")  # a number, by its tag
    as_width = as_width.replace(b"\x0e\x01\x02\x00", b"\x00\x01\x02\x00")
    assert as_width != tags.tobytes()
    path = tmp_path / "image.png"
    picture.save(path, exif=as_width)
    with Image.open(path) as file, pytest.raises((struct.error, TypeError, ValueError)):
        ImageOps.exif_transpose(file)
    assert np.array_equal(predict_images.read_own_image(path), image)


def test_whatever_a_decoder_raises_is_a_reason(photos, monkeypatch):
    monkeypatch.setattr(Image.Image, "convert", lambda *_: (_ for _ in ()).throw(RuntimeError("bad block")))
    with pytest.raises(ValueError, match=r"not a readable image \(bad block\)"):
        predict_images.read_own_image(photos[0] / "plain.png")


def test_names_stay_apart_and_results_are_no_input(photos, tmp_path):
    folder, image = photos
    Image.fromarray(image).save(folder / "plain.jpg")
    Image.fromarray(image).save(folder / "other.JPG", format="JPEG")
    for path in ("labels/plain.png", "overlays/plain.png"):
        (folder / path).parent.mkdir()
        Image.fromarray(image).save(folder / path)
    found = predict_images.find_images(folder, folder)
    assert sorted(found) == ["other", "plain.jpg", "plain.png"]
    with pytest.raises(ValueError, match="holds no image"):
        predict_images.find_images(folder / "labels", folder)
    with pytest.raises(ValueError, match="holds no image"):  # it would be replaced by its own labels
        predict_images.find_images(folder / "labels" / "plain.png", folder)
    with pytest.raises(ValueError, match="does not exist"):
        predict_images.find_images(folder / "none", folder)


def test_a_name_that_ends_like_an_extension_loses_no_image(photos):
    folder, image = photos
    names = ("a.jpg", "a.png", "a.jpg.png", "b.png", "b.png.tif")
    for name in names:
        Image.fromarray(image).save(folder / "more" / name)
    found = predict_images.find_images(folder / "more", folder)
    assert {file.name for file in found.values()} == set(names)
    assert sorted(found) == ["a.jpg", "a.jpg.png", "a.png", "b", "b.png.tif"]


def test_a_split_belongs_to_a_data_set(cell_folder, photos, tmp_path, capsys):
    command = ("predict", "--cell", cell_folder, "--images", photos[0], "--out", tmp_path, "--split", "val")
    assert call(capsys, *command) == (
        2,
        ["seglib predict: error: --split names a part of --data; --images are predicted all"],
    )
