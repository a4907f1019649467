import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from seglib.core import registry
from seglib.core.files import format_checksums, read_checksums
from seglib.data.sets.base import DataSet, Split, open_image
from tests.unit.data import mini
from tests.unit.data.mini import Mini


@pytest.fixture
def root(tmp_path):
    return mini.write(tmp_path / "raw")


@pytest.mark.parametrize("name", sorted(registry.DATASETS))
def test_tables_agree_with_themselves(name):
    description: DataSet = registry.resolve(registry.DATASETS[name])()
    count = len(description.CLASSES)
    assert count == len(description.PALETTE) == len(set(description.CLASSES))
    assert set(description.LABEL_TABLE.values()) - {255} == set(range(count))
    assert "train" in description.SPLITS
    assert {"val", "test"} & {name for name, split in description.SPLITS.items() if split.labels}
    assert description.LICENCE
    assert description.CITATION
    assert description.EVALUATION
    for split in description.SPLITS.values():
        assert split.size > 0
        assert all(path.count("{id}") == 1 for path in (split.images, split.labels) if path)
    for source in description.SOURCES:
        assert source.url.startswith(("https://", "http://")) if source.url else description.INSTRUCTIONS
    expected = description.checksums()
    if expected:
        lists = sum(split.list_file is not None for split in description.SPLITS.values())
        assert len(expected) == 2 * sum(split.size for split in description.SPLITS.values()) + lists
        assert all(description.has(path) for path in expected)


def test_class_tables_need_no_heavy_import():
    code = (
        "import sys; from seglib.core import registry\n"
        "for target in registry.DATASETS.values(): registry.resolve(target).CLASSES\n"
        "print([name for name in ('torch', 'cv2', 'requests', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_pairs_are_found_by_split_and_nested_id(root):
    items = Mini().find(root)
    assert [(item.split, item.id) for item in items] == [
        ("train", "aachen/a0"),
        ("train", "bonn/b0"),
        ("val", "ulm/u0"),
    ]
    assert items[0].image == "images/train/aachen/a0_rgb.png"
    assert items[0].label == "labels/train/aachen/a0_ids.png"


def test_links_are_followed_and_hidden_files_are_not_images(root, tmp_path):
    shutil.move(root / "images/train/aachen", tmp_path / "elsewhere")
    (root / "images/train/aachen").symlink_to(tmp_path / "elsewhere")
    (root / "images/train/bonn/._b0_rgb.png").write_bytes(b"left by a Mac")
    (root / "images/train/notes.txt").write_text("not an image")
    assert len(Mini().find(root)) == 3


def damage_missing_label(root):
    (root / "labels/train/bonn/b0_ids.png").unlink()


def damage_missing_image(root):
    (root / "images/train/bonn/b0_rgb.png").unlink()


def damage_missing_listed_image(root):
    (root / "images/val/ulm/u0_rgb.png").unlink()


def damage_extra_image(root):
    shutil.copy(root / "images/val/ulm/u0_rgb.png", root / "images/val/ulm/u1_rgb.png")


def damage_extra_pair(root):
    for kind, end in (("images", "rgb"), ("labels", "ids")):
        shutil.copy(root / f"{kind}/train/bonn/b0_{end}.png", root / f"{kind}/train/bonn/b1_{end}.png")


def damage_duplicate_in_list(root):
    (root / "val.txt").write_text("/home/author/val/ulm/u0_rgb.png\n" * 2)


def damage_missing_folder(root):
    shutil.rmtree(root / "labels/val")


def damage_empty_split(root):
    for kind in ("images", "labels"):
        shutil.rmtree(root / kind / "train")
        (root / kind / "train").mkdir()


def damage_name(root):
    path = os.path.join(os.fsencode(root / "images/train"), b"caf\xe9_rgb.png")
    shutil.copy(root / "images/val/ulm/u0_rgb.png", path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing_label, "labels/train/bonn/b0_ids.png: missing, though the train split has bonn/b0"),
        (damage_missing_image, "labels/train/bonn/b0_ids.png: belongs to no pair"),
        (damage_missing_listed_image, "images/val/ulm/u0_rgb.png: missing, though the val split has ulm/u0"),
        (damage_extra_image, "images/val/ulm/u1_rgb.png: belongs to no pair"),
        (damage_extra_pair, "3 images instead of the 2 of the train split"),
        (damage_duplicate_in_list, "val.txt: ulm/u0 is listed twice"),
        (damage_missing_folder, "labels/val: no such folder"),
        (damage_empty_split, "0 images instead of the 2 of the train split"),
        (damage_name, "the name is not UTF-8 text"),
    ],
)
def test_a_wrong_folder_is_refused_by_name(root, damage, message):
    damage(root)
    with pytest.raises(ValueError, match=message) as error:
        Mini().find(root)
    assert str(root) in str(error.value)
    assert "\n" not in str(error.value)


def test_splits_may_share_a_folder(tmp_path):
    class Shared(Mini):
        SPLITS = {
            name: Split(size=1, images="i/{id}.png", labels="l/{id}.png", list_file=f"{name}.txt")
            for name in ("train", "val")
        }

        def listed_id(self, line):
            return line.strip()

    for split, id in (("train", "a"), ("val", "b")):
        for kind in "il":
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"{id}.png").touch()
        (tmp_path / f"{split}.txt").write_text(f"{id}\n\n")
    assert [(item.split, item.id) for item in Shared().find(tmp_path)] == [("train", "a"), ("val", "b")]


def test_labels_become_train_ids(root):
    path = root / "labels/train/aachen/a0_ids.png"
    stored = np.asarray(Image.open(path))
    ids = Mini().train_ids(path)
    assert ids.dtype == np.uint8
    for value, train_id in Mini.LABEL_TABLE.items():
        assert (ids[stored == value] == train_id).all()
    assert set(np.unique(ids)) == {0, 1, 2, 255}


def test_palette_and_grey_labels_are_read_alike(root):
    path = root / "labels/train/aachen/a0_ids.png"
    before = Mini().train_ids(path)
    image = Image.open(path)
    image.putpalette(bytes(range(256)) * 3)
    image.save(path)
    assert (Mini().train_ids(path) == before).all()


def label_out_of_table(path):
    values = mini.label(0)
    values[4, 4] = 99
    Image.fromarray(values).save(path)


def label_of_16_bits(path):
    Image.fromarray(mini.label(0).astype(np.uint16)).save(path)


def label_in_colours(path):
    Image.fromarray(mini.label(0)).convert("RGB").save(path)


def label_truncated(path):
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (label_out_of_table, r"label value 99 is none of Mini's \(0 to 11\)"),
        (label_of_16_bits, "16 bits per pixel instead of 8"),
        (label_in_colours, "holds colours"),
        (label_truncated, "not a readable image"),
    ],
)
def test_a_wrong_label_is_refused_by_name(root, spoil, message):
    path = root / "labels/train/aachen/a0_ids.png"
    spoil(path)
    with pytest.raises(ValueError, match=message) as error:
        Mini().train_ids(path)
    assert str(path) in str(error.value)


def test_no_damage_to_a_png_goes_unseen(tmp_path):
    """Cut anywhere or flip any bit: either it is refused, or the pixels are the right ones."""
    path = tmp_path / "a.png"
    Image.fromarray(mini.label(0)).save(path)
    data = path.read_bytes()
    cut = [data[:length] for length in range(len(data))]
    flipped = [data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :] for i in range(len(data))]
    accepted = 0
    for damaged in cut + flipped:
        try:
            decoded = np.asarray(open_image(damaged, path))
        except ValueError:
            continue
        assert (decoded == mini.label(0)).all()
        accepted += 1
    assert accepted <= 16  # the end mark and its checksum carry no pixel


def test_another_label_format_overrides_one_method(tmp_path):
    class FromArrays(Mini):
        def read_label(self, path):
            return np.load(path)

    np.save(tmp_path / "x.npy", mini.label(0))
    assert FromArrays().train_ids(tmp_path / "x.npy").max() == 255


def test_checksums_have_one_spelling(tmp_path):
    text = format_checksums({"b c": "2" * 64, "a": "1" * 64})
    assert text == f"{'1' * 64}  a\n{'2' * 64}  b c\n"
    (tmp_path / "x.sha256").write_text(text)
    assert read_checksums(tmp_path / "x.sha256") == {"a": "1" * 64, "b c": "2" * 64}
