"""The cache of decoded pixels: never another bit, whatever happens to its folder."""

import errno
import shutil

import numpy as np
import pytest
import torch

from seglib.data import cache
from seglib.data.manifest import read_prepared
from seglib.data.samples import load_ahead
from seglib.experiment.recipe import Recipe
from seglib.training.training_set import TrainSet


@pytest.fixture(autouse=True)
def _nothing_in_memory(monkeypatch):
    monkeypatch.setattr(cache, "MEMORY_BYTES", 0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def train_set(data, cache=None):
    recipe = Recipe(iterations=10, batch_size=5, crop_hw=(32, 40), lr=0.1)
    return TrainSet(data=read_prepared(data), recipe=recipe, seed=7, fill=(1, 2, 3), cache=cache)


def files(folder):
    return sorted(folder.rglob("*.u8"))


def assert_equal(found, expected):
    for batch, reference in zip(found, expected, strict=True):
        assert torch.equal(batch.images, reference.images)
        assert torch.equal(batch.labels, reference.labels)


@pytest.fixture
def expected(miniature):
    return [train_set(miniature).batch(i) for i in range(4)]


@pytest.mark.parametrize("workers", [0, 3])
def test_batches_are_the_same_bit_for_bit(miniature, folder, expected, workers):
    for _ in range(2):  # the second process finds all files
        data = train_set(miniature, folder)
        assert_equal(load_ahead(data.batch, range(4), workers=workers), expected)
        assert len(files(folder)) == 10
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_the_source_files_are_not_read_again(own_miniature, folder, expected):
    data = train_set(own_miniature, folder)
    assert_equal((data.batch(i) for i in range(4)), expected)
    shutil.rmtree(own_miniature / "images")
    assert_equal((train_set(own_miniature, folder).batch(i) for i in range(4)), expected)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        flip,
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),  # as after a loss of power
    ],
)
def test_a_damaged_file_is_made_anew(miniature, folder, expected, harm, capsys):
    data = train_set(miniature, folder)
    assert_equal((data.batch(i) for i in range(4)), expected)
    before = [path.read_bytes() for path in files(folder)]
    for path in files(folder):
        harm(path)
    capsys.readouterr()
    assert_equal((train_set(miniature, folder).batch(i) for i in range(4)), expected)
    assert capsys.readouterr().err.count("is damaged; decoding the image again") == 10
    assert [path.read_bytes() for path in files(folder)] == before


def test_the_folder_may_vanish_at_any_time(miniature, folder, expected):
    data = train_set(miniature, folder)
    found = [data.batch(0)]
    shutil.rmtree(folder)
    assert_equal([*found, *(data.batch(i) for i in range(1, 4))], expected)


def test_other_content_or_another_decoder_has_other_files(miniature, own_miniature, folder, monkeypatch):
    train_set(miniature, folder).batch(0)
    count = len(files(folder))
    train_set(own_miniature, folder).batch(0)
    assert len(files(folder)) == count, "the same content elsewhere"
    monkeypatch.setattr(cache, "decoder_id", lambda: "another")
    train_set(miniature, folder).batch(0)
    assert len(files(folder)) == 2 * count


def test_the_need_is_stated_first_and_refused_where_there_is_no_room(miniature, folder, monkeypatch, capsys):
    samples = read_prepared(miniature).split("train")
    train_set(miniature, folder)
    size_gib = sum(4 * sample.height * sample.width + 32 for sample in samples) / 2**30
    assert (
        f"takes {size_gib:.2f} GiB, of which {size_gib:.2f} are still to be written;"
        in capsys.readouterr().err
    )
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        ValueError, match=r"cache/\w+: the cache takes .* free some, or leave the setting out"
    ):
        train_set(miniature, folder)
    assert files(folder) == []


def test_a_disk_that_fills_up_costs_the_cache_only(miniature, folder, expected, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    data = train_set(miniature, folder)
    monkeypatch.setattr(cache, "atomic_path", full)
    capsys.readouterr()
    assert_equal((data.batch(i) for i in range(4)), expected)
    assert capsys.readouterr().err.count("going on without writing more") == 1


def test_a_folder_that_cannot_be_made_is_named(miniature, folder):
    folder.write_text("in the way")
    with pytest.raises(ValueError, match=r"cache/\w+: Not a directory; leave the setting cache out"):
        train_set(miniature, folder)


def test_a_small_set_is_kept_in_memory_instead(miniature, folder, expected, monkeypatch, capsys):
    monkeypatch.setattr(cache, "MEMORY_BYTES", 2**20)
    data = train_set(miniature, folder)
    assert "kept in memory; nothing is written" in capsys.readouterr().err
    assert_equal((data.batch(i) for i in range(4)), expected)
    assert not folder.exists()


def test_pixels_cannot_be_changed_by_their_reader(miniature, folder):
    data = train_set(miniature, folder)
    data.read(0)
    for array in data.read(0):
        with pytest.raises(ValueError, match="read-only"):
            array += np.uint8(1)
