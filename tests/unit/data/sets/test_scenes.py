import ast
import hashlib
import inspect
import json
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from seglib.core.files import format_checksums
from seglib.data import prepare
from seglib.data.sets import scene_painter
from seglib.data.sets.scenes import HEIGHT, WIDTH, Scenes, png
from tests.unit.data.mini import SOURCE

CLASSES = len(Scenes.CLASSES)
BUSH, BUOY = scene_painter.BUSH, scene_painter.BUOY
# SHA-256 over every file's; equal on every machine, or results on `scenes` could not be compared.
FILES_SHA256 = "347b7bf56901449ecca3eb513842a41e1a03806eea670d8dda7cce064ccbcd78"
DATA_DIGEST = "321be293723ba3858782b56def7d9de2e08b1ead560a46e5a27bca1507fae198"


@pytest.fixture(scope="module")
def files():
    return dict(Scenes().generate())


@pytest.fixture(scope="module")
def splits(files):
    """Images (N, H, W, 3) and labels (N, H, W) of train and val."""

    def stack(start):
        return np.stack([Image.open(BytesIO(files[path])) for path in files if path.startswith(start)])

    return [(stack(f"images/{split}/"), stack(f"labels/{split}/")) for split in ("train", "val")]


def test_bytes_are_the_same_on_every_machine(files):
    listing = format_checksums({path: hashlib.sha256(data).hexdigest() for path, data in files.items()})
    assert hashlib.sha256(listing.encode()).hexdigest() == FILES_SHA256


def test_the_data_digest_is_the_same_on_every_machine(files, tmp_path):
    for path, content in files.items():
        (tmp_path / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / path).write_bytes(content)
    (tmp_path / "raw/source.json").write_text(
        json.dumps(SOURCE | {"dataset": "scenes", "source": "generated"})
    )
    prepare.run(dataset="scenes", raw=tmp_path / "raw", out=tmp_path, workers=2)
    assert json.loads((tmp_path / "manifest.json").read_text())["data_digest"] == DATA_DIGEST


def test_every_file_is_found_again(files, tmp_path):
    for path in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    items = Scenes().find(tmp_path)
    assert [item.split for item in items].count("train") == 160
    assert len(items) == 240
    assert len(set(files.values())) == 480


def test_painting_uses_only_whole_numbers():
    """Functions of a mathematics library differ in their last bit between machines."""
    nodes = list(ast.walk(ast.parse(inspect.getsource(scene_painter))))
    assert not [node for node in nodes if isinstance(node, ast.Div)]
    assert not [node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, float)]
    drawn = {
        node.attr for node in nodes if isinstance(node, ast.Attribute) and "random" in ast.dump(node.value)
    }
    assert drawn == {"randint"}
    scene = scene_painter._Scene(np.random.RandomState(3), HEIGHT, WIDTH)
    assert scene.image.dtype == np.int32


@pytest.mark.parametrize("size", [(96, 128), (64, 64), (97, 131), (211, 65)])
def test_sizes_may_be_odd(size):
    image, label = scene_painter.paint(seed=(5, 1), height=size[0], width=size[1])
    assert image.shape == (*size, 3)
    assert label.shape == size
    assert image.dtype == label.dtype == np.uint8
    assert set(np.unique(label)) <= {*range(CLASSES), 255}


def test_too_small_a_scene_is_refused():
    with pytest.raises(ValueError, match="48x128 is too small"):
        scene_painter.paint(seed=(0,), height=48, width=128)


@pytest.mark.parametrize("shape", [(96, 128, 3), (7, 5, 3), (7, 5), (300, 231, 3)])
def test_png_is_read_back_by_every_reader(shape, tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, palette=() if len(shape) == 3 else Scenes.PALETTE))
    with Image.open(path) as image:
        image.load()
        assert image.mode == ("RGB" if len(shape) == 3 else "P")
        assert (np.asarray(image) == pixels).all()
    if len(shape) == 3:
        assert (cv2.imread(str(path))[:, :, ::-1] == pixels).all()


def test_every_class_and_ignore_are_in_every_split(splits):
    for _, labels in splits:
        share = np.bincount(labels.ravel(), minlength=256) / labels.size
        assert (share[:CLASSES] > 0.003).all()
        assert 0.01 < share[255] < 0.06


def test_wires_are_one_pixel_wide(splits):
    """A wire's pixel has pixels above or below that are none."""
    (_, labels), _ = splits
    wire = labels == scene_painter.WIRE
    thick = wire[:, :-2] & wire[:, 1:-1] & wire[:, 2:]
    assert thick.sum() < 0.1 * wire.sum()


def colour_bins(images: np.ndarray) -> np.ndarray:
    """The bin of each pixel's colour, of 16 x 16 x 16."""
    return (images.astype(np.int64) // 16) @ np.array([256, 16, 1])


def test_colour_alone_does_not_solve_it(splits):
    """The best label per colour, learned from the training split, stays below 0.5 mIoU on val."""
    (images, labels), (val_images, val_labels) = splits
    seen, val_seen = labels != 255, val_labels != 255
    counts = np.bincount(colour_bins(images)[seen] * CLASSES + labels[seen], minlength=4096 * CLASSES)
    counts = counts.reshape(4096, CLASSES)
    for scores in (counts, counts / counts.sum(axis=0)):  # for accuracy, for rare classes
        predicted = scores.argmax(axis=1)[colour_bins(val_images)[val_seen]]
        confusion = np.bincount(val_labels[val_seen] * CLASSES + predicted, minlength=CLASSES**2)
        confusion = confusion.reshape(CLASSES, CLASSES)
        hits = np.diag(confusion)
        assert 0.2 < np.mean(hits / (confusion.sum(axis=0) + confusion.sum(axis=1) - hits)) < 0.5


def paint_twins(monkeypatch, exchange) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same scenes twice, before and after a change of the painter."""
    paint = scene_painter.paint
    before = [paint(seed=(9, i), height=HEIGHT, width=WIDTH) for i in range(8)]
    exchange(monkeypatch)
    after = [paint(seed=(9, i), height=HEIGHT, width=WIDTH) for i in range(8)]
    return list(zip(before, after, strict=True))


def test_disks_look_the_same_on_either_ground(monkeypatch):
    """Exchange the two classes: the labels of the disks change, no pixel does."""

    def exchange(monkeypatch):
        monkeypatch.setattr(scene_painter, "BUSH", BUOY)
        monkeypatch.setattr(scene_painter, "BUOY", BUSH)

    seen = 0
    for (image, label), (twin_image, twin_label) in paint_twins(monkeypatch, exchange):
        assert (image == twin_image).all()
        assert ((label == BUSH) == (twin_label == BUOY)).all()
        seen += (label == BUSH).sum()
    assert seen


def test_disks_are_bushes_on_grass_and_buoys_on_water(splits):
    """The pixels around the disks of either class are of its ground, where nothing else is in front."""
    (_, labels), _ = splits
    for disk, ground, other in (
        (BUSH, scene_painter.GRASS, scene_painter.WATER),
        (BUOY, scene_painter.WATER, scene_painter.GRASS),
    ):
        mask = labels == disk
        around = np.zeros_like(mask)
        around[:, 1:] |= mask[:, :-1]
        around[:, :-1] |= mask[:, 1:]
        around[:, :, 1:] |= mask[:, :, :-1]
        around[:, :, :-1] |= mask[:, :, 1:]
        assert (labels[around & ~mask] == other).sum() == 0
        assert (labels[around & ~mask] == ground).sum() > 1000


def test_walls_look_the_same_below_either_roof(monkeypatch):
    """Turn every house into a tower: only pixels of roofs, and of what they uncover, change."""

    def exchange(monkeypatch):
        monkeypatch.setattr(scene_painter, "HOUSE", scene_painter.TOWER)

    house = scene_painter.HOUSE
    changed = total = 0
    for (image, label), (twin_image, _) in paint_twins(monkeypatch, exchange):
        changed += (image != twin_image).any(axis=2)[label == house].sum()
        total += (label == house).sum()
    assert total > 1000
    assert changed < 0.3 * total
