"""Every real data set, from a miniature of its archives to a row of the report."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from seglib.claims import compare
from seglib.core import registry
from seglib.data import download, prepare
from seglib.data.sets.camvid import CamVid
from seglib.data.sets.camvid_full import COLORS, CamVidFull
from seglib.data.sets.cityscapes import Cityscapes
from seglib.data.sets.coco_stuff import CocoStuff10k, CocoStuff10k182, CocoStuff164k, CocoStuff164k182
from seglib.evaluation import predict, score
from seglib.experiment import config, paths
from seglib.report import page
from seglib.training import trainer
from tests.unit.data import miniatures

UNLABELLED = {"bdd100k", "cityscapes"}  # miniatures with images of a split whose labels are withheld


def prepared(name, tmp_path, monkeypatch, **source):
    cls = miniatures.shrink(monkeypatch, name)
    source = source or {"mirror": str(miniatures.pack(name, tmp_path / "mirror"))}
    raw, out = tmp_path / "data" / name / "raw", tmp_path / "data" / name
    download.run(dataset=name, out=raw, **{"mirror": None, "data_root": None} | source)
    prepare.run(dataset=name, raw=raw, out=out, workers=1)
    return cls, out, json.loads((out / "manifest.json").read_text())


def settings(tmp_path, name, split):
    return {
        **{key: str(tmp_path / key) for key in ("data", "results")},
        "backbones": {"small": {"model": "mobilenetv3_small_050"}},
        "methods": {"fcn": {"width": 16}},
        "recipes": {
            "tiny": {"iterations": 1, "batch_size": 2, "crop_hw": [32, 32], "lr": 0.01, "threads": 1}
        },
        "protocols": {"ss": {}},
        "matrix": [
            {
                "datasets": [name],
                **{"methods": ["fcn"], "backbones": ["small"], "recipes": ["tiny"], "seeds": [0]},
                "splits": [split],
            }
        ],
    }


@pytest.mark.slow  # downloads, trains and reports
@pytest.mark.parametrize("name", sorted(miniatures.BUILDERS))
def test_from_the_archives_to_a_row_of_the_report(name, tmp_path, monkeypatch, capsys):
    cls, data, manifest = prepared(name, tmp_path, monkeypatch)
    assert "recorded new ones" in capsys.readouterr().err
    draw = miniatures.truth if name in miniatures.VOIDLESS else miniatures.truth_with_void
    numbers = {"train": [0, 1], "val": [2], "test": [3]}
    assert {split: len(pairs) for split, pairs in manifest["splits"].items()} == {
        split: len(numbers[split]) for split in cls.SPLITS if cls.SPLITS[split].labels
    }
    for split, pairs in manifest["splits"].items():
        for number, pair in zip(numbers[split], pairs, strict=True):
            ids = np.asarray(Image.open(data / pair["label"]))
            np.testing.assert_array_equal(ids, draw(number, len(cls.CLASSES)))

    split = "val" if "val" in manifest["splits"] else "test"
    values = settings(tmp_path, name, split)
    plan = config.load(values)
    (cell,) = plan.cells
    train, test = (
        paths.train_folder(tmp_path / "results", cell),
        paths.evaluation_folder(tmp_path / "results", cell, f"{split}-ss"),
    )
    running = {"device": "cpu", "workers": 0}
    trainer.run(
        **running,
        **{"cell": cell, "data": data, "out": train, "checkpoints": tmp_path / "checkpoints"},
        **{"weights": None, "checkpoint_interval_s": 60},
    )
    (test_of_plan,) = plan.evaluations(cell)
    predicting = {"model": train, "data": data, "protocol": test_of_plan.protocol, **running}
    predict.run(**predicting, split=split, out=test / "predictions")
    score.run(
        **{"predictions": test / "predictions", "labels": data / "labels" / split},
        **{"num_classes": len(cls.CLASSES), "ignore_index": 255, "boundary_ratio": 0.02},
        class_names=data / "classes.txt",
        **{"out": test / "metrics.json", "against": None, "csv": False, "latex": False, "workers": 1},
    )
    metrics = json.loads((test / "metrics.json").read_text())
    assert metrics["class_names"] == list(cls.CLASSES)
    assert len(metrics.get("category_iou", {})) == (7 if name == "cityscapes" else 0)
    compare.run(config=values, out=tmp_path / "results")
    (row,) = csv.DictReader((tmp_path / "results" / "summary.csv").open())
    assert (row["dataset"], row["split"], row["status"], row["train_images"]) == (name, split, "done", "2")
    assert 0 <= float(row["miou"]) <= 1
    page.run(config=values, results=tmp_path / "results", out=tmp_path / "reports", partial=True)
    assert name in (tmp_path / "reports" / "index.html").read_text()
    (cell_page,) = (tmp_path / "reports" / "cells").glob("*.html")
    assert ("IoU of categories" in cell_page.read_text()) == (name == "cityscapes")

    assert set(manifest["unlabelled"]) == ({"test"} if name in UNLABELLED else set())
    if name in UNLABELLED:
        predict.run(**predicting, split="test", out=tmp_path / "handed_in")
        (handed_in,) = (np.array(Image.open(path)) for path in (tmp_path / "handed_in").rglob("*.png"))
        table = cls.LABEL_TABLE
        # A server compares with label files as they were published.
        assert {table[value] for value in np.unique(handed_in).tolist()} <= set(range(len(cls.CLASSES)))
        with pytest.raises(ValueError, match=rf"labels of {name}'s split 'test' are withheld"):
            config.load(settings(tmp_path, name, "test"))
        assert not (data / "labels" / "test").exists()


def test_a_split_that_a_set_lacks_is_refused_before_any_job(tmp_path):
    with pytest.raises(ValueError, match="coco_stuff_10k has no split 'val'; it has train, test"):
        config.load(settings(tmp_path, "coco_stuff_10k", "val"))


def unpack(name, folder):
    """A user's own folder: the members of the archives where they belong."""
    cls = registry.resolve(registry.DATASETS[name])()
    sources = {source.file_name: source for source in cls.SOURCES}
    for archive, files in miniatures.BUILDERS[name]().items():
        for member, content in files.items():
            if path := cls.place(member, sources[archive]):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
    return folder


def test_cityscapes_with_train_ids_has_the_same_digest(tmp_path, monkeypatch):
    own = unpack("cityscapes", tmp_path / "own")
    _, _, by_id = prepared("cityscapes", tmp_path / "a", monkeypatch, data_root=str(own))
    for path in own.rglob("*_labelIds.png"):
        ids = Cityscapes().train_ids(path)
        path.unlink()
        Image.fromarray(ids).save(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    _, _, by_train_id = prepared("cityscapes", tmp_path / "b", monkeypatch, data_root=str(own))
    assert by_train_id["data_digest"] == by_id["data_digest"]


def test_images_without_labels_may_be_left_out_and_change_no_digest(tmp_path, monkeypatch):
    own = unpack("cityscapes", tmp_path / "own")
    _, _, whole = prepared("cityscapes", tmp_path / "a", monkeypatch, data_root=str(own))
    shutil.rmtree(own / "leftImg8bit/test")
    _, _, part = prepared("cityscapes", tmp_path / "b", monkeypatch, data_root=str(own))
    assert (len(whole["unlabelled"]["test"]), part["unlabelled"]) == (1, {})
    assert part["data_digest"] == whole["data_digest"]


def test_an_incomplete_split_without_labels_is_refused(tmp_path, monkeypatch):
    own = unpack("cityscapes", tmp_path / "own")
    next((own / "leftImg8bit/test").rglob("*.png")).unlink()
    with pytest.raises(ValueError, match="0 images instead of the 1 of the test split"):
        prepared("cityscapes", tmp_path, monkeypatch, data_root=str(own))


@pytest.mark.parametrize(
    ("cls", "offset", "is_182"),
    [
        *((CocoStuff10k, 0, False), (CocoStuff10k182, 0, True)),
        *((CocoStuff164k, 1, False), (CocoStuff164k182, 1, True)),
    ],
)
def test_both_readings_of_coco_stuff_name_the_same_pixels(cls, offset, is_182):
    table = cls.LABEL_TABLE
    by_id = {1: "person", 13: "stop sign", 92: "banner", 106: "clouds", 169: "tree", 182: "wood"}
    assert {id: cls.CLASSES[table[id - offset]] for id in by_id} == by_id
    assert len(cls.CLASSES) == (182 if is_182 else 171)
    assert table[255 if offset else 0] == 255
    assert ((91 - offset) in table) == is_182  # hair brush: never annotated


def test_colours_of_camvid_merge_as_in_segnets_release():
    assert len(COLORS) == 32
    assert set(CamVidFull.LABEL_TABLE.values()) == {*range(11), 255}
    listed = {split: CamVidFull().listed(split, None) for split in CamVidFull.SPLITS}
    assert {split: len(ids) for split, ids in listed.items()} == {"train": 367, "val": 101, "test": 233}
    assert all(f"CamVid/{split}annot/{ids[0]}.png" in CamVid().checksums() for split, ids in listed.items())


def test_no_damage_to_a_matlab_file_goes_unseen(tmp_path):
    """Cut anywhere or any byte changed: it is refused by name, or the pixels are the right ones."""
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    data, path = miniatures.matlab(values), tmp_path / "a.mat"
    changed = [data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :] for i in range(len(data))]
    refused = 0
    for damaged in [data[:length] for length in range(len(data))] + changed:
        path.write_bytes(damaged)
        try:
            read = CocoStuff10k().read_label(path)
        except ValueError as error:
            refused += 1
            message = str(error)
            assert message.startswith(str(path))
            assert "put the published file" in message
        else:
            np.testing.assert_array_equal(read, values)
    assert refused > len(data) // 2


@pytest.mark.parametrize("variables", [{"T": np.zeros((3, 3))}, {"S": np.full((3, 3), 1.5)}, {"S": "text"}])
def test_another_matlab_file_is_refused_by_name(tmp_path, variables):
    savemat(tmp_path / "a.mat", variables)
    with pytest.raises(ValueError, match=r"a\.mat: .*put the published file"):
        CocoStuff10k().train_ids(tmp_path / "a.mat")


def test_a_wrong_colour_is_refused_by_name(tmp_path):
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1, 2] = 1, 2, 3
    Image.fromarray(pixels).save(tmp_path / "a_L.png")
    with pytest.raises(ValueError, match=r"a_L\.png: colour \(1, 2, 3\) is none of CamVid's 32"):
        CamVidFull().train_ids(tmp_path / "a_L.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a_L.png")
    with pytest.raises(ValueError, match=r"a_L\.png: no colours \(L\)"):
        CamVidFull().train_ids(tmp_path / "a_L.png")
