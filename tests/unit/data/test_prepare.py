import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglib.core.files import sha256_file
from seglib.data import prepare
from seglib.experiment.records import ImagePair
from tests.unit.data import mini as minis
from tests.unit.data.mini import NAME, Mini, contents

IDS = ["train/aachen/a0", "train/bonn/b0", "val/ulm/u0"]


@pytest.fixture
def mini(monkeypatch):
    return minis.register(monkeypatch)


@pytest.fixture
def out(tmp_path, mini):
    """``data/mini`` with what download leaves in ``raw``."""
    folder = tmp_path / "data" / "mini"
    minis.describe_source(minis.write(folder / "raw"))
    return folder


def run(out, raw=None, workers=2):
    prepare.run(dataset=NAME, raw=raw or out / "raw", out=out, workers=workers)


def manifest(out):
    return json.loads((out / "manifest.json").read_text())


def prepared(out):
    """The result, without raw files."""
    return {path for path in contents(out) if not path.startswith("raw/")}


def test_the_manifest_describes_every_pair(out):
    run(out)
    found = manifest(out)
    assert list(found) == [
        *("schema", "dataset", "classes", "flip_pairs", "ignore_index"),
        *("splits", "unlabelled", "label_histogram", "data_digest", "about", "software"),
    ]
    assert found["classes"][1] == {"name": "left", "color": [220, 40, 40]}
    assert found["flip_pairs"] == [[1, 2]]
    assert found["ignore_index"] == 255
    assert (out / "classes.txt").read_text() == "ground\nleft\nright\n"
    assert [f"{split}/{pair['id']}" for split, pairs in found["splits"].items() for pair in pairs] == IDS
    for split, pairs in found["splits"].items():
        for pair in pairs:
            assert pair["image"] == f"raw/images/{split}/{pair['id']}_rgb.png"
            for kind, digest in (("image", "image_sha256"), ("label", "label_file_sha256")):
                assert pair[digest] == sha256_file(out / pair[kind])
                assert pair[f"{kind}_bytes"] == (out / pair[kind]).stat().st_size
            assert pair["label"] == f"labels/{split}/{pair['id']}.png"
            assert (pair["height"], pair["width"]) == (minis.HEIGHT, minis.WIDTH)
            with Image.open(out / pair["label"]) as image:
                assert image.mode == "P"
                assert image.getpalette()[3:6] == [220, 40, 40]
                ids = np.asarray(image)
            assert pair["label_sha256"] == hashlib.sha256(ids.tobytes()).hexdigest()
    assert prepared(out) == {f"labels/{id}.png" for id in IDS} | {"classes.txt", "manifest.json"}


def test_labels_and_histogram_are_right(out):
    run(out)
    found = manifest(out)
    for index, id in enumerate(IDS):
        stored = minis.label(index)
        ids = np.asarray(Image.open(out / f"labels/{id}.png"))
        assert all((ids[stored == value] == train_id).all() for value, train_id in Mini.LABEL_TABLE.items())
    # Row 0 is void; below, 3 columns are left and 2 + index are right.
    rows = minis.HEIGHT - 1
    assert found["label_histogram"] == {
        "train": [rows * (7 + 6), rows * 6, rows * (2 + 3), 2 * minis.WIDTH],
        "val": [rows * 5, rows * 3, rows * 4, minis.WIDTH],
    }


def test_equal_data_have_equal_digests(out, tmp_path, monkeypatch):
    run(out)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(out / "raw", tmp_path / "own")
    (tmp_path / "link").symlink_to(tmp_path / "own")
    for path in (tmp_path / "own" / "labels").rglob("*.png"):  # the same pixels in other bytes
        Image.open(path).save(path, compress_level=1)
    minis.describe_source(tmp_path / "own")
    monkeypatch.setattr(prepare, "__version__", "99")
    run(elsewhere, raw=tmp_path / "link", workers=1)
    assert manifest(elsewhere)["data_digest"] == manifest(out)["data_digest"]
    assert manifest(elsewhere) != manifest(out)


def digest_of(change):
    pair = {"id": "a", "image": "x", "image_sha256": "1", "image_bytes": 9, "height": 3, "width": 4}
    pairs = {"train": [pair | {"label_sha256": "2"}]}
    table = {"classes": [{"name": "n", "color": [1, 2, 3]}], "flip_pairs": [], "ignore_index": 255}
    change(pairs, table)
    splits = {name: [ImagePair(**pair) for pair in members] for name, members in pairs.items()}
    return prepare.data_digest(splits, table)


@pytest.mark.parametrize(
    "change",
    [
        lambda pairs, table: pairs["train"][0].update(id="b"),
        lambda pairs, table: pairs["train"][0].update(image_sha256="3"),
        lambda pairs, table: pairs["train"][0].update(label_sha256="3"),
        lambda pairs, table: pairs.update(val=pairs.pop("train")),
        lambda pairs, table: table["classes"][0].update(name="m"),
        lambda pairs, table: table["classes"][0].update(color=[1, 2, 4]),
        lambda pairs, table: table.update(flip_pairs=[[0, 1]]),
        lambda pairs, table: table.update(ignore_index=0),
    ],
)
def test_the_digest_follows_what_results_depend_on(change):
    assert digest_of(change) != digest_of(lambda pairs, table: None)


def test_the_digest_follows_nothing_else():
    def change(pairs, table):
        pairs["train"][0].update(image="/elsewhere/x", height=9, label_bytes=7)

    # Written out, since every published result refers to digests of this very form.
    classes = '{"classes":[{"color":[1,2,3],"name":"n"}],"flip_pairs":[],"ignore_index":255}'
    text = f'[[["a","train","1","2"]],{classes}]'
    assert digest_of(change) == hashlib.sha256(text.encode()).hexdigest()


def times(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_a_second_run_writes_nothing(out):
    run(out)
    before = times(out)
    run(out)
    assert times(out) == before


def test_a_changed_label_is_the_only_one_written(out):
    run(out)
    before, digest = times(out), manifest(out)["data_digest"]
    changed = out / "raw/labels/train/bonn/b0_ids.png"
    Image.fromarray(minis.label(5)).save(changed)
    run(out)
    assert {path for path, time in times(out).items() if time != before[path]} == {
        changed,
        out / "labels/train/bonn/b0.png",
        out / "manifest.json",
    }
    assert manifest(out)["data_digest"] != digest


def test_the_users_folder_is_named_absolutely_and_left_alone(out, tmp_path):
    own = minis.write(tmp_path / "own")
    raw = tmp_path / "other" / "raw"
    raw.mkdir(parents=True)
    (raw / "source.json").write_text(
        json.dumps(minis.SOURCE | {"source": "data_root", "data_root": str(own)})
    )
    before = contents(own)
    run(tmp_path / "other", raw=raw)
    assert contents(own) == before
    pair = manifest(tmp_path / "other")["splits"]["train"][0]
    assert pair["image"] == str(own / "images/train/aachen/a0_rgb.png")
    assert pair["label"] == "labels/train/aachen/a0.png"
    with pytest.raises(ValueError, match="this is your own folder"):
        run(own, raw=raw)


def test_incomplete_raw_files_are_refused(out):
    (out / "raw/source.json").unlink()
    with pytest.raises(ValueError, match=r"source.json: missing.*run download first"):
        run(out)
    assert prepared(out) == set()


def image_truncated(raw):
    path = raw / "images/train/bonn/b0_rgb.png"
    path.write_bytes(path.read_bytes()[:200])
    return path


def image_truncated_jpeg(raw):
    path = raw / "images/train/bonn/b0_rgb.png"
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (10, 12, 3)).astype(np.uint8)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-40])
    return path


def image_of_text(raw):
    path = raw / "images/train/bonn/b0_rgb.png"
    path.write_text("<html>")
    return path


def label_truncated(raw):
    path = raw / "labels/train/bonn/b0_ids.png"
    path.write_bytes(path.read_bytes()[:-20])
    return path


def label_out_of_table(raw):
    path = raw / "labels/train/bonn/b0_ids.png"
    Image.fromarray(np.full((10, 12), 200, np.uint8)).save(path)
    return path


def label_of_16_bits(raw):
    path = raw / "labels/train/bonn/b0_ids.png"
    Image.fromarray(np.full((10, 12), 7, np.uint16)).save(path)
    return path


def label_in_colours(raw):
    path = raw / "labels/train/bonn/b0_ids.png"
    Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(path)
    return path


def label_of_another_size(raw):
    path = raw / "labels/train/bonn/b0_ids.png"
    Image.fromarray(np.full((12, 10), 7, np.uint8)).save(path)
    return path


def label_missing(raw):
    path = raw / "labels/train/bonn/b0_ids.png"
    path.unlink()
    return path


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (image_truncated, "not a readable image .*; put the published file in its place"),
        (image_truncated_jpeg, "not a readable image .*truncated"),
        (image_of_text, "not a readable image"),
        (label_truncated, r"not a readable image .*; put the published file in its place"),
        (label_out_of_table, "label value 200 is none of Mini's"),
        (label_of_16_bits, "16 bits per pixel"),
        (label_in_colours, "holds colours"),
        (label_of_another_size, "12x10 pixels, but its image .* has 10x12"),
        (label_missing, "missing, though the train split has bonn/b0"),
    ],
)
def test_a_bad_file_is_named_and_a_good_one_continues(out, tmp_path, spoil, message):
    shutil.copytree(out / "raw", tmp_path / "good")
    path = spoil(out / "raw")
    with pytest.raises(ValueError, match=message) as error:
        run(out)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "manifest.json" not in prepared(out)
    assert "labels/train/bonn/b0.png" not in prepared(out)
    shutil.copy(tmp_path / "good" / path.relative_to(out / "raw"), path)
    run(out)
    assert prepared(out) == {f"labels/{id}.png" for id in IDS} | {"classes.txt", "manifest.json"}


def test_bad_data_leave_an_earlier_result_alone(out):
    run(out)
    before = {path: data for path, data in contents(out).items() if not path.startswith("raw/")}
    label_out_of_table(out / "raw")
    with pytest.raises(ValueError, match="label value 200"):
        run(out)
    assert {path: data for path, data in contents(out).items() if path in before} == before


def test_a_label_without_an_image_is_refused_not_deleted(out):
    run(out)
    stranger = out / "labels/train/bonn/old.png"
    shutil.copy(out / "labels/train/bonn/b0.png", stranger)
    with pytest.raises(ValueError, match=r"old.png: belongs to no image; delete"):
        run(out)
    assert stranger.exists()


@pytest.fixture
def converted(monkeypatch):
    """The ids that are converted, in order."""
    ids = []
    convert = prepare._convert

    def counted(description, item, *rest):
        ids.append(item.id)
        return convert(description, item, *rest)

    monkeypatch.setattr(prepare, "_convert", counted)
    return ids


def interrupt(out, monkeypatch, after):
    """Ctrl-C when ``after`` pairs are finished."""

    def stop(items, **_):
        for number, item in enumerate(items):
            if number == after:
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patched:
        patched.setattr(prepare, "track", stop)
        with pytest.raises(KeyboardInterrupt):
            run(out, workers=1)


def test_an_interrupted_run_goes_on_where_it_stopped(out, monkeypatch, converted, tmp_path):
    shutil.copytree(out, tmp_path / "whole")
    run(tmp_path / "whole")
    interrupt(out, monkeypatch, after=2)
    assert "manifest.json" not in prepared(out)
    converted.clear()
    run(out)
    assert converted == ["ulm/u0"]
    assert manifest(out) == manifest(tmp_path / "whole")
    assert ".prepare.jsonl" not in prepared(out)


def test_nothing_that_changed_meanwhile_is_taken_as_finished(out, monkeypatch, converted):
    interrupt(out, monkeypatch, after=2)
    Image.fromarray(minis.label(5)).save(out / "raw/labels/train/aachen/a0_ids.png")
    (out / "labels/train/bonn/b0.png").unlink()
    converted.clear()
    run(out)
    assert sorted(converted) == ["aachen/a0", "bonn/b0", "ulm/u0"]
    assert (np.asarray(Image.open(out / "labels/train/aachen/a0.png")) == 2).sum() == 9 * 7


def test_an_edit_of_the_code_starts_again(out, monkeypatch, converted):
    interrupt(out, monkeypatch, after=2)
    monkeypatch.setattr(prepare, "step_code", lambda step, dataset: {"seglib.data.prepare": "2"})
    converted.clear()
    run(out)
    assert len(converted) == 3


def test_a_torn_note_is_left_out(out, monkeypatch, converted):
    interrupt(out, monkeypatch, after=2)
    journal = out / ".prepare.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    converted.clear()
    interrupt(out, monkeypatch, after=1)
    run(out)
    assert "aachen/a0" not in converted
    assert manifest(out)["splits"]["val"]


def test_a_full_disk_is_named_and_leaves_whole_files(out, monkeypatch):
    with monkeypatch.context() as patched:
        minis.fill_disk(patched, after=2)
        with pytest.raises(OSError, match="No space left on device; free some and run again") as error:
            run(out, workers=1)
    assert Path(error.value.filename) == out / "labels/val/ulm/u0.png"
    assert prepared(out) - {".prepare.jsonl"} == {f"labels/{id}.png" for id in IDS[:2]}
    run(out)
    assert prepared(out) == {f"labels/{id}.png" for id in IDS} | {"classes.txt", "manifest.json"}


def test_a_folder_that_may_not_be_read_is_named(out, monkeypatch):
    read_bytes = Path.read_bytes

    def refuse(path):
        if path.name == "a0_rgb.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        with pytest.raises(PermissionError, match=r"a0_rgb\.png"):
            run(out)
    assert "manifest.json" not in prepared(out)


def test_splits_have_their_published_sizes(out, mini):
    mini.SPLITS = mini.SPLITS | {"train": dataclasses.replace(mini.SPLITS["train"], size=3)}
    with pytest.raises(ValueError, match="2 images instead of the 3 of the train split"):
        run(out)
