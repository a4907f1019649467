import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from seglib.core.files import sha256_file, write_json
from seglib.data.manifest import read_prepared
from seglib.data.samples import read_image
from seglib.evaluation import predict as predict_step
from seglib.evaluation import test_time_augmentation
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Protocol, Recipe
from seglib.models.segmentor import build_segmentor
from seglib.training import checkpoints
from tests.unit.training.peak_memory import PeakMemory

CELL = Cell(
    dataset="miniature",
    method="fcn",
    method_options={"width": 16},
    backbone_name="tiny",
    backbone=Backbone(model="test_efficientnet"),
    recipe_name="short",
    recipe=Recipe(iterations=1, batch_size=1, crop_hw=(32, 40), lr=0.1, threads=1, deterministic=False),
    seed=0,
)
PAIRS = ((1, 2),)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # maps of a few pixels: more threads would only wait for one another
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def segmentor():
    torch.manual_seed(0)
    model = build_segmentor(
        method=CELL.method, method_options=CELL.method_options, backbone=CELL.backbone, num_classes=4
    )
    return model.eval()


@pytest.fixture
def trained(segmentor, tmp_path):
    folder = tmp_path / "train"
    checkpoints.save_tensors(folder / "model.safetensors", segmentor.state_dict())
    write_json(folder / "cell.json", json.loads(CELL.to_json()))
    return folder


def predict(trained, data, out, protocol=None, **changes):
    arguments = {"split": "val", "device": "cpu", "workers": 1, **changes}
    predict_step.run(model=trained, data=data, out=out, protocol=protocol or Protocol(), **arguments)


@torch.inference_mode()
def plain_loop(segmentor, image, protocol):
    """The same with one window, one flip, one scale at a time and no memory saved."""
    height, width = image.shape[:2]
    image = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    maps = []
    early = protocol.average == "early_probabilities"
    for scale in protocol.scales:
        size = (int(height * scale + 0.5), int(width * scale + 0.5))
        for mirrored in (False, True)[: 1 + protocol.flip]:
            view = F.interpolate(image, size, mode="bilinear")
            view = torch.flip(view, [3]) if mirrored else view
            if protocol.mode == "slide":
                logits = torch.zeros(1, 4, *size)
                count = torch.zeros(*size)
                ch, cw = (min(c, s) for c, s in zip(protocol.crop_hw, size, strict=True))
                sh, sw = protocol.stride_hw
                y_count, x_count = (
                    max(size[0] - ch + sh - 1, 0) // sh + 1,
                    max(size[1] - cw + sw - 1, 0) // sw + 1,
                )
                for y in [min(i * sh, size[0] - ch) for i in range(y_count)]:
                    for x in [min(i * sw, size[1] - cw) for i in range(x_count)]:
                        window = segmentor(view[:, :, y : y + ch, x : x + cw])
                        logits[:, :, y : y + ch, x : x + cw] += window.softmax(1) if early else window
                        count[y : y + ch, x : x + cw] += 1
                logits = logits / count
            else:
                logits = segmentor.method(segmentor.encoder(segmentor.normalise(view)))
                logits = logits.softmax(1) if early else logits
            if mirrored:
                logits = torch.flip(logits, [3])[:, [0, 2, 1, 3]]
            logits = F.interpolate(logits, (height, width), mode="bilinear")
            maps.append(logits.softmax(1) if protocol.average == "probabilities" else logits)
    return torch.stack(maps).mean(0)


WINDOW = {"mode": "slide", "crop_hw": (24, 20), "stride_hw": (16, 13)}
PROTOCOLS = {
    "flip": Protocol(flip=True),
    "logits": Protocol(flip=True, scales=(1.0, 1.5), average="logits"),
    "early": Protocol(flip=True, scales=(1.0, 1.5), average="early_probabilities"),
    "early in windows": Protocol(**WINDOW, flip=True, average="early_probabilities"),
    "multi-scale and flip": Protocol(scales=(0.5, 1.0, 1.75), flip=True),
    "windows": Protocol(**WINDOW, scales=(0.75, 1.0)),
    "everything": Protocol(**WINDOW, scales=(0.5, 1.0, 1.75), flip=True),
}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("index", [0, 1])
def test_every_protocol_equals_a_plain_loop(segmentor, miniature, protocol, index):
    image = read_image(read_prepared(miniature).split("val")[index])
    expected = plain_loop(segmentor, image, protocol)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        found = test_time_augmentation.average_views(segmentor, pixels, protocol=protocol, flip_pairs=PAIRS)
    count = len(protocol.scales) * (1 + protocol.flip)
    torch.testing.assert_close(found / count, expected, rtol=0, atol=1e-5)
    labels = predict_step.predict(segmentor, image, protocol=protocol, flip_pairs=PAIRS)
    assert labels.shape == image.shape[:2]
    assert labels.dtype == np.uint8
    top = expected[0].topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-4).numpy()
    assert clear.mean() > 0.9
    assert np.array_equal(labels[clear], expected[0].argmax(0).numpy()[clear])


def test_one_whole_view_is_the_class_of_the_largest_logit(segmentor, miniature):
    image = read_image(read_prepared(miniature).split("val")[0])
    with torch.inference_mode():
        expected = segmentor(torch.from_numpy(image).permute(2, 0, 1)[None])[0].argmax(0)
    assert np.array_equal(
        predict_step.predict(segmentor, image, protocol=Protocol(), flip_pairs=PAIRS), expected
    )


def test_images_seen_together_are_as_seen_alone(segmentor, miniature):
    samples = read_prepared(miniature).split("train")
    images = np.stack([read_image(sample) for sample in samples if sample.height == 40])
    protocol = Protocol(scales=(1.0, 1.5), flip=True)
    alone = [predict_step.predict(segmentor, image, protocol=protocol, flip_pairs=PAIRS) for image in images]
    together = predict_step.predict_batch(segmentor, images, protocol=protocol, flip_pairs=PAIRS)
    assert np.array_equal(together, alone)


def test_batches_hold_equal_sizes_each_image_once_and_bounded_maps(miniature, monkeypatch):
    samples = read_prepared(miniature).split("train")
    protocol = Protocol(scales=(0.5, 2.0))
    batches = list(predict_step._batches(samples, 4, protocol))
    assert sorted(sample.id for batch in batches for sample in batch) == sorted(s.id for s in samples)
    assert [len(batch) for batch in batches] == [5, 5]
    assert all(len({(s.height, s.width) for s in batch}) == 1 for batch in batches)
    for room, sizes in ((3 * 4 * 4 * 80 * 104, {2, 3}), (1, {1})):
        monkeypatch.setattr(predict_step, "BATCH_BYTES", room)
        batches = list(predict_step._batches(samples, 4, protocol))
        assert {len(batch) for batch in batches} == sizes
        assert all(len(b) == 1 or len(b) * 4 * 4 * 4 * b[0].height * b[0].width <= room for b in batches)


def test_the_test_size_is_where_the_network_looks_and_the_label_keeps_its_own(segmentor, miniature):
    image = read_image(read_prepared(miniature).split("val")[0])
    seen = []
    hook = segmentor.encoder.register_forward_pre_hook(lambda _, images: seen.append(images[0].shape[-2:]))
    for protocol in (Protocol(resize_hw=(60, 500)), Protocol(resize_hw=(33, 47), keep_aspect=False)):
        assert (
            predict_step.predict(segmentor, image, protocol=protocol, flip_pairs=()).shape == image.shape[:2]
        )
    hook.remove()
    assert seen == [(60, 78), (33, 47)]


@pytest.mark.parametrize(
    ("length", "crop", "stride", "starts"),
    [
        (1024, 512, 341, [0, 341, 512]),
        (512, 512, 341, [0]),
        (300, 512, 341, [0]),
        (853, 512, 341, [0, 341]),
        (854, 512, 341, [0, 341, 342]),
    ],
)
def test_windows_cover_the_image_and_end_at_its_border(length, crop, stride, starts):
    windows = test_time_augmentation._windows(length, crop, stride)
    assert [window.start for window in windows] == starts
    assert {window.stop - window.start for window in windows} == {min(crop, length)}
    assert windows[-1].stop == length


def test_a_split_becomes_a_folder_of_palette_pngs_and_a_record_beside_it(
    trained, segmentor, miniature, tmp_path
):
    out = tmp_path / "val-ms" / "predictions"
    protocol = Protocol(scales=(0.5, 1.0), flip=True)
    predict(trained, miniature, out, protocol)
    prepared = read_prepared(miniature)
    samples = prepared.split("val")
    assert sorted(path.name for path in out.iterdir()) == [f"{sample.id}.png" for sample in samples]
    for sample in samples:
        with Image.open(out / f"{sample.id}.png") as file:
            assert file.mode == "P"
            assert file.getpalette()[:12] == list(np.ravel(prepared.manifest.colors))
            labels = np.array(file)
        expected = predict_step.predict(segmentor, read_image(sample), protocol=protocol, flip_pairs=PAIRS)
        assert np.array_equal(labels, expected)
    record = json.loads((out.parent / "prediction.json").read_text())
    assert record["protocol"]["scales"] == [0.5, 1.0]
    assert record["model_sha256"] == sha256_file(trained / "model.safetensors")
    assert (record["split"], record["num_images"], record["cell_id"]) == ("val", 3, CELL.id)
    assert "seglib.evaluation.predict" in record["code"]
    assert (
        "seglib.training.augment" not in record["code"]
    )  # an edit of the augmentation predicts nothing anew


def test_the_record_says_what_was_there_at_the_start(trained, miniature, tmp_path, monkeypatch):
    """An edit, a commit or another model while images are predicted made none of their maps."""
    write = predict_step.write_label_map

    def write_and_edit(*arguments):
        write(*arguments)
        for module, name in (
            (predict_step.provenance, "describe"),
            (predict_step.code_digest, "step_code"),
            (predict_step, "sha256_file"),
        ):
            monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("asked too late"))

    monkeypatch.setattr(predict_step, "write_label_map", write_and_edit)
    predict(trained, miniature, tmp_path / "predictions")
    assert json.loads((tmp_path / "prediction.json").read_text())["num_images"] == 3


def test_label_maps_with_many_classes_keep_their_ids(tmp_path):
    labels = np.arange(200, dtype=np.uint8).reshape(10, 20)
    for count in (2, 16, 200):
        colors = tuple((i, i, i) for i in range(count))
        predict_step.write_label_map(tmp_path / "map.png", labels % count, colors)
        with Image.open(tmp_path / "map.png") as file:
            assert np.array_equal(np.array(file), labels % count)


def test_an_interrupted_prediction_leaves_the_last_complete_one(trained, own_miniature, tmp_path):
    out = tmp_path / "val-ss" / "predictions"
    predict(trained, own_miniature, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    victim = read_prepared(own_miniature).split("val")[2].image
    victim.write_bytes(victim.read_bytes()[:-9])
    with pytest.raises(ValueError, match=victim.name):
        predict(trained, own_miniature, out, Protocol(flip=True))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ["predict.sha256", "prediction.json", "predictions"]


def test_a_model_that_cannot_be_used_is_named(trained, miniature, tmp_path):
    with pytest.raises(ValueError, match=r"cell.json does not exist: train the cell first"):
        predict(tmp_path, miniature, tmp_path / "out")
    weights = trained / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-20])
    with pytest.raises(ValueError, match=r"model.safetensors is damaged .*train the cell again"):
        predict(trained, miniature, tmp_path / "out")
    weights.write_bytes(content)
    wider = replace(CELL, method_options={"width": 24})
    write_json(trained / "cell.json", json.loads(wider.to_json()))
    with pytest.raises(ValueError, match=r"model.safetensors does not fit its cell and 4 classes"):
        predict(trained, miniature, tmp_path / "out")
    weights.unlink()
    with pytest.raises(ValueError, match=r"model.safetensors does not exist"):
        predict(trained, miniature, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Coarse(nn.Module):
    """150 classes at 1/8, as a paper's network would give them."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.AvgPool2d(8)
        self.method = nn.Conv2d(3, 150, 1)

    def normalise(self, images):
        return images / 255


@pytest.mark.parametrize(
    ("protocol", "maps"),
    [
        (Protocol(scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True), 2),
        (Protocol(mode="slide", crop_hw=(64, 64), stride_hw=(43, 43), scales=(1.0,), flip=True), 3),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])  # off the CPU torch resizes otherwise if deterministic
def test_memory_is_bounded_whatever_the_number_of_scales(protocol, maps, device, deterministic):
    size = (128, 256)
    model, images = Coarse().to(device), torch.zeros(1, 3, *size, device=device)
    with PeakMemory() as memory, torch.inference_mode():
        total = test_time_augmentation.average_views(model, images, protocol=protocol, flip_pairs=PAIRS)
    assert total.shape == (1, 150, *size)
    one_map = 150 * size[0] * size[1] * 4
    coarse = 2 * one_map * max(protocol.scales) ** 2 / 64
    assert maps * one_map * 0.99 < memory.peak < maps * one_map * 1.1 + coarse


def test_a_limited_cell_is_tested_on_the_images_of_its_seed(trained, miniature, tmp_path):
    cell = CELL.limited(2)
    write_json(trained / "cell.json", json.loads(cell.to_json()))
    predict(trained, miniature, tmp_path / "out" / "predictions")
    chosen = read_prepared(miniature).limited(2, seed=cell.seed).split("val")
    assert {path.stem for path in (tmp_path / "out" / "predictions").iterdir()} == {s.id for s in chosen}
    assert json.loads((tmp_path / "out" / "prediction.json").read_text())["num_images"] == 2
