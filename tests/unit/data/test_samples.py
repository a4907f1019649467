import json
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from seglib.data import cache
from seglib.data.manifest import read_prepared
from seglib.data.samples import load_ahead, read_image, read_label
from seglib.experiment.recipe import Recipe
from seglib.training.training_set import TrainSet


def train_set(folder, **values) -> TrainSet:
    recipe = Recipe(**{"iterations": 10, "batch_size": 4, "crop_hw": (32, 40), "lr": 0.1, **values})
    return TrainSet(data=read_prepared(folder), recipe=recipe, seed=7, fill=(1, 2, 3))


def test_files_are_read_as_they_were_prepared(miniature):
    sample = read_prepared(miniature).split("train")[1]
    with Image.open(sample.image) as file:
        assert np.array_equal(read_image(sample), np.array(file.convert("RGB")))
    label = read_label(sample)
    assert label.shape == (sample.height, sample.width)
    assert set(np.unique(label)) == {0, 1, 2, 3, 255}


def test_a_manifest_that_cannot_be_used_is_named(own_miniature):
    with pytest.raises(ValueError, match=r"no images in split 'test'; it has train, val"):
        read_prepared(own_miniature).split("test")
    with pytest.raises(ValueError, match=r"nowhere/manifest.json does not exist: prepare"):
        read_prepared(own_miniature / "nowhere")
    path = own_miniature / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(ValueError, match=r"manifest\.schema: 99 is not one of 2; delete it"):
        read_prepared(own_miniature)


@pytest.mark.parametrize("kind", ["image", "label"])
@pytest.mark.parametrize("harm", ["missing", "truncated", "replaced", "garbage"])
def test_a_harmed_file_is_named_and_never_used(own_miniature, kind, harm):
    first, second = read_prepared(own_miniature).split("train")[:2]
    path = getattr(first, kind)
    if harm == "missing":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif harm == "garbage":
        path.write_bytes(b"<html>log in</html>")
    else:
        path.write_bytes(getattr(second, kind).read_bytes())
    read = read_image if kind == "image" else read_label
    with pytest.raises(ValueError, match=path.name) as error:
        read(first)
    assert "prepare the data set again" in str(error.value)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_work_ahead_keeps_the_order_and_raises_where_it_is_due(workers):
    def load(item):
        if item == 5:
            raise ValueError("five")
        return item * item

    results = load_ahead(load, range(9), workers=workers)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    with pytest.raises(ValueError, match="five"):
        next(results)


def test_work_ahead_is_bounded_and_stops_when_nobody_wants_it():
    started = []
    results = load_ahead(lambda item: started.append(item), range(1000), workers=2)
    for _ in range(3):
        next(results)
    assert len(started) <= 3 + 2
    before = threading.active_count()
    results.close()
    assert threading.active_count() == before - 2


def test_batches_depend_on_the_iteration_only(miniature):
    reference = [train_set(miniature).batch(i) for i in range(6)]
    for workers, start in ((0, 3), (3, 0), (2, 4)):
        batches = load_ahead(train_set(miniature).batch, range(start, 6), workers=workers)
        for expected, found in zip(reference[start:], batches, strict=True):
            assert expected.ids == found.ids
            assert torch.equal(expected.images, found.images)
            assert torch.equal(expected.labels, found.labels)
    first = reference[0]
    assert first.images.shape == (4, 3, 32, 40)
    assert first.images.is_contiguous(memory_format=torch.channels_last)
    assert (first.images.dtype, first.labels.dtype) == (torch.uint8, torch.uint8)


def test_an_epoch_shows_no_image_twice_and_leaves_out_what_fills_no_batch(miniature):
    data = train_set(miniature)
    epochs = [[data.batch(i) for i in range(start, start + 2)] for start in range(0, 10, 2)]
    orders = [tuple(id for batch in epoch for id in batch.ids) for epoch in epochs]
    assert [{batch.epoch for batch in epoch} for epoch in epochs] == [{0}, {1}, {2}, {3}, {4}]
    assert all(len(set(order)) == 8 for order in orders)
    assert len(set(orders)) == 5
    assert len(set().union(*orders)) == 10  # other images are left out each time
    assert train_set(miniature, iterations=None, epochs=3).iterations == 6


def test_the_same_image_is_cropped_anew_each_epoch(miniature):
    data = train_set(miniature)
    places = [int(np.flatnonzero(data.order(epoch)[:, 0] == 3)[0]) for epoch in (0, 1)]
    assert not np.array_equal(data.sample(places[0], 0)[0], data.sample(places[1], 1)[0])


@pytest.mark.parametrize("values", [{}, {"accumulate": 2}, {"class_uniform": 0.8, "class_uniform_tile": 16}])
def test_the_parts_of_several_processes_are_the_batch_of_one(miniature, values):
    alone = train_set(miniature, **values)
    prepared = read_prepared(miniature)
    arguments = {"data": prepared, "recipe": alone.recipe, "seed": 7, "fill": (1, 2, 3), "processes": 2}
    parts = [TrainSet(**arguments, rank=rank) for rank in range(2)]
    accumulate = alone.recipe.accumulate
    for iteration in range(4):
        whole, halves = alone.batch(iteration), [part.batch(iteration) for part in parts]
        assert {half.ids for half in halves} == {whole.ids}
        for name in ("images", "labels"):
            chunks = zip(*(getattr(half, name).chunk(accumulate) for half in halves), strict=True)
            joined = [torch.cat(chunk) for chunk in chunks]
            assert torch.equal(torch.cat(joined), getattr(whole, name))


def test_class_uniform_crops_show_their_class_and_are_a_function_of_seed_and_epoch(miniature):
    values = {"class_uniform": 1.0, "class_uniform_tile": 16, "scale_range": (1.0, 1.0), "crop_hw": (8, 8)}
    data = train_set(miniature, **values)
    order = data.order(3)
    assert np.array_equal(order, train_set(miniature, **values).order(3))
    assert not np.array_equal(order, data.order(4))
    assert len(order) == 10
    covered = [place for place in range(10) if order[place, 1] >= 0]
    assert len(covered) == 4 * (10 // 4)  # two for each class
    wanted = [read_label(data.samples[i])[y, x] for i, y, x in order[covered]]
    shown = [data.sample(place, 3)[1] for place in covered]
    mirrored = {1: 2, 2: 1}
    assert all(c in crop or mirrored.get(c, c) in crop for c, crop in zip(wanted, shown, strict=True))
    twice = [data.sample(place, 3)[0] for place in covered]
    assert len({crop.tobytes() for crop in twice}) == len(covered)


def test_decoding_once_changes_nothing(miniature, monkeypatch):
    cached = train_set(miniature)
    monkeypatch.setattr(cache, "MEMORY_BYTES", 0)
    plain = train_set(miniature)
    for iteration in range(6):  # the second epoch reads from memory
        assert torch.equal(cached.batch(iteration).images, plain.batch(iteration).images)
    assert cached.read.cache_info().hits > 0
    assert not hasattr(plain.read, "cache_info")


def test_a_batch_larger_than_the_set_is_refused(miniature):
    with pytest.raises(ValueError, match=r"batch_size 11 is more than the 10 training images of miniature"):
        train_set(miniature, batch_size=11)


def test_samples_have_an_order_that_no_file_finder_changes(own_miniature):
    """An image's place decides how it is drawn and cropped."""
    before = {name: read_prepared(own_miniature).split(name) for name in ("train", "val")}
    assert [sample.id for sample in before["train"]] == [f"train_{i}" for i in range(10)]
    few = read_prepared(own_miniature).limited(4, seed=3).split("train")
    path = own_miniature / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["splits"] = {name: pairs[::-1] for name, pairs in reversed(manifest["splits"].items())}
    path.write_text(json.dumps(manifest))
    assert {name: read_prepared(own_miniature).split(name) for name in ("train", "val")} == before
    assert read_prepared(own_miniature).limited(4, seed=3).split("train") == few


def test_a_limit_takes_images_by_seed_and_a_larger_one_takes_more(miniature):
    whole = read_prepared(miniature)
    everything = whole.split("train")
    assert whole.limited(None, seed=0).split("train") == everything
    assert whole.limited(99, seed=0).split("train") == everything
    few, more, other = (whole.limited(n, seed=seed).split("train") for n, seed in ((3, 0), (6, 0), (3, 1)))
    assert [len(samples) for samples in (few, more, other)] == [3, 6, 3]
    assert set(few) < set(more)
    assert few != other
    assert whole.limited(3, seed=0).split("val") == whole.split("val"), "no more than there are"
    places = [everything.index(sample) for sample in more]
    assert places == sorted(places)
    recipe = Recipe(iterations=10, batch_size=2, crop_hw=(32, 40), lr=0.1)
    data = TrainSet(data=whole.limited(3, seed=0), recipe=recipe, seed=7, fill=(1, 2, 3))
    assert {id for i in range(9) for id in data.batch(i).ids} == {sample.id for sample in few}
