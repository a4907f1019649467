"""What holds for every entry of the registry, beside the tests of :class:`MethodTester`."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from seglib.core import registry
from seglib.data.sets import scene_painter, scenes
from seglib.experiment import method_options
from seglib.experiment.recipe import Backbone
from seglib.models.segmentor import DecodeHead, build_segmentor
from tests.unit.models.method_tester import CRITERION, PROGRESS, small_options

every_method = pytest.mark.parametrize("name", registry.METHODS)


@every_method
def test_has_a_tester(name):
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert f'    method = "{name}"\n' in tests, f"no subclass of MethodTester for {name}"


@every_method
def test_fidelity_is_a_literal_to_which_the_file_refers(name):
    cls = registry.resolve(registry.METHODS[name])
    fidelity = method_options.class_literal(name, "FIDELITY")
    assert fidelity == cls.FIDELITY
    assert len(fidelity) >= 3
    owner = next(c for c in cls.__mro__ if "FIDELITY" in vars(c))
    head = importlib.import_module(owner.__module__).__doc__
    assert "Sources of each part: `FIDELITY`." in head
    for part, source, note in fidelity:
        assert source in ("paper", "author code", "second-hand", "own choice")
        assert part
        assert note
        assert source != "author code" or '"Author code" is ' in head


@every_method
def test_options_are_read_from_the_source_as_python_has_them(name):
    cls = registry.resolve(registry.METHODS[name])
    assert issubclass(cls, DecodeHead)
    parameters = inspect.signature(cls).parameters
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    options = {n: p for n, p in parameters.items() if n not in method_options.BUILT_IN}
    assert method_options.method_options(name) == {n: p.annotation for n, p in options.items()}
    assert all(p.default is not p.empty for p in options.values())


@every_method
def test_builds_at_full_size_on_meta(name):
    with torch.device("meta"):
        segmentor = build_segmentor(
            method=name,
            method_options={},
            backbone=Backbone(model="resnet50c", output_stride=8, weights="imagenet"),
            num_classes=150,
            load_weights=False,
        ).eval()
        assert segmentor(torch.empty(1, 3, 512, 512, dtype=torch.uint8)).shape == (1, 150, 512, 512)


@every_method
@pytest.mark.parametrize("strides", [(16, 16, 16), (32,)])
def test_a_backbone_without_a_pyramid_works_or_is_refused_in_words(name, strides):
    cls = registry.resolve(registry.METHODS[name])
    options = {"channels": (16,) * len(strides), "strides": strides, "num_classes": 3}
    try:
        method = cls(**options, **small_options(name)).eval()
    except ValueError as error:
        assert "feature maps" in str(error)  # noqa: PT017
    else:
        features = [torch.rand(1, 16, 64 // stride, 64 // stride) for stride in strides]
        with torch.no_grad():
            assert method(features).shape[:2] == (1, 3)


@pytest.fixture(scope="module")
def four_scenes() -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels, 64x64, of the embedded data set's landscapes.

    None has a pole or a wire: these are thinner than a cell of the coarser outputs, a quarter of the size.
    """
    pairs = [scene_painter.paint(seed=(scenes.SEED, 0, i), height=64, width=64) for i in (2, 4, 5, 12)]
    images, labels = (torch.from_numpy(np.stack(maps)) for maps in zip(*pairs, strict=True))
    assert not (set(labels.unique().tolist()) & {scene_painter.POLE, scene_painter.WIRE})
    return images.permute(0, 3, 1, 2), labels.long()


@pytest.mark.slow  # a hundred steps of each method
@every_method
def test_overfits_four_scenes(name, four_scenes):
    images, labels = four_scenes
    torch.manual_seed(0)
    segmentor = build_segmentor(
        method=name,
        method_options=small_options(name) | {"dropout": 0.0},
        backbone=Backbone(model="test_efficientnet", output_stride=4, options={"out_indices": [0, 1, 2, 4]}),
        num_classes=len(scene_painter.CLASSES),
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(segmentor.parameters(), lr=0.01)
    for step in range(1, 121):
        sum(segmentor.train().losses(images, labels, CRITERION, PROGRESS).values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            with torch.no_grad():
                miou = mean_iou(segmentor.eval()(images).argmax(1), labels)
            if miou > 0.95:
                break
    assert miou > 0.95


def mean_iou(prediction: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean over the classes that are in the labels; ignored pixels count for none."""
    ious = []
    for c in labels[labels != 255].unique():
        predicted, labelled = (prediction == c) & (labels != 255), labels == c
        ious.append((predicted & labelled).sum() / (predicted | labelled).sum())
    return torch.stack(ious).mean().item()
