"""The record of a model's cost: figures worked out from the papers, completeness, refusals."""

import json
from dataclasses import replace

import pytest
from torch import nn

from seglib.core import registry
from seglib.core.typed import plain
from seglib.cost import complexity
from seglib.experiment.recipe import Backbone
from seglib.models.segmentor import Segmentor

SMALL = {"backbone": Backbone(model="resnet18"), "input_hw": (64, 96), "num_classes": 11}
BACKBONES = {
    "resnet18": Backbone(model="resnet18", output_stride=8),
    "resnest14d": Backbone(model="resnest14d"),
    "mobilenetv2": Backbone(model="mobilenetv2_035", output_stride=16),
    "hrnet": Backbone(model="hrnet_w18_small", options={"concatenate": True}),
    "convnext": Backbone(model="convnext_atto"),
    "swin": Backbone(model="swin_tiny_patch4_window7_224"),
    "vit": Backbone(model="vit_tiny_patch16_224"),
}


def measure(**changes):
    return complexity.measure(**{"method": "fcn", "method_options": {}, **SMALL, **changes})


@pytest.mark.parametrize("method", sorted(registry.METHODS))
def test_every_method_is_counted_in_full(method):
    cost = measure(method=method, backbone=BACKBONES["resnet18"])
    assert cost.unsupported_ops == {}
    assert cost.gmacs > cost.gmacs_conv_matmul > 0


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_every_kind_of_backbone_is_counted_in_full(backbone):
    cost = measure(backbone=BACKBONES[backbone])
    assert cost.unsupported_ops == {}
    assert cost.params_backbone + cost.params_head == cost.params


def test_numbers_of_a_small_model_by_hand():
    """FCN with one 1x1-free decoder convolution of width 8 on the 2x3 map of a ResNet-18."""
    cost = measure(method_options={"width": 8, "convs": 1, "auxiliary_weight": 0.0})
    positions = 2 * 3
    assert cost.params_head == 512 * 8 * 9 + 2 * 8 + 8 * 11 + 11
    assert cost.gmacs_conv_matmul_head * 1e9 == pytest.approx((512 * 8 * 9 + 8 * 11) * positions, abs=1e-3)
    # Batch norm 2, ReLU 1.
    head_elementwise = (cost.gmacs_head - cost.gmacs_conv_matmul_head) * 1e9
    assert head_elementwise == pytest.approx(3 * 8 * positions, abs=1e-3)
    (outside,) = [row for row in cost.modules if row.name == "normalise and resize"]
    assert outside.macs == 2 * 3 * 64 * 96 + 4 * 11 * 64 * 96
    assert cost.params_training_only == 0


def test_auxiliary_parameters_serve_training_only():
    cost = measure(method_options={"width": 8})
    assert cost.params_training_only == 256 * 8 * 9 + 2 * 8 + 8 * 11 + 11


@pytest.mark.parametrize("max_mem_gib", [8.0, 0.0])
def test_modules_add_up(max_mem_gib):
    cost = measure(method="isnet", max_mem_gib=max_mem_gib)
    rows = cost.modules
    totals = {
        "params": cost.params,
        "macs_conv_matmul": round(cost.gmacs_conv_matmul * 1e9),
        **({"macs": round(cost.gmacs * 1e9)} if max_mem_gib else {}),
    }
    for key, total in totals.items():
        parts = [getattr(row, key) for row in rows if row.depth == 0]
        assert sum(parts) == total
        # Below each part but the rest outside both, its modules.
        assert sum(getattr(row, key) for row in rows if row.depth == 1) == total - parts[-1]
    assert sum(cost.macs_by_operator.values()) == totals.get("macs", totals["macs_conv_matmul"])


def test_isnet_head_as_worked_out_from_the_published_architecture():
    """Our arithmetic on the authors' code: 2048 channels, 128x128 positions, 19 classes."""
    cost = measure(
        method="isnet",
        backbone=Backbone(model="resnet50c", output_stride=8),
        input_hw=(1024, 1024),
        num_classes=19,
        max_mem_gib=0,
    )
    rows = {row.name: row for row in cost.modules}
    params = {name: rows[name].params / 1e6 for name in ("bottleneck", "image_level", "semantic_level")}
    assert params["image_level"] == pytest.approx(5.64, abs=0.005)
    assert params["semantic_level"] == pytest.approx(5.38, abs=0.005)
    assert sum(params.values()) == pytest.approx(20.46, abs=0.005)
    assert (cost.params_head - cost.params_training_only) / 1e6 == pytest.approx(20.74, abs=0.005)
    pixels = 128 * 128
    attention = 2 * 2 * 256 * pixels**2  # of both contexts: scores, and their product with the values
    regions = 2 * 512 * 19 * pixels
    norms = 2 * 2 * (5 * 256 + 2 * 512) * pixels  # 2 per element, as in the published kind of figure
    contexts = rows["image_level"].macs_conv_matmul + rows["semantic_level"].macs_conv_matmul
    published_kind = contexts - attention - regions + norms
    assert published_kind / 1e9 == pytest.approx(180.5, abs=0.05)
    published_kind += rows["bottleneck"].macs_conv_matmul + 2 * 512 * pixels
    assert published_kind / 1e9 == pytest.approx(335.2, abs=0.05)


def test_record_is_written_and_printed(tmp_path, capsys):
    asked = {"method": "fcn", "method_options": {"width": 8}, **SMALL}
    complexity.run(**asked, out=tmp_path / "models" / "64x96.json", as_json=True)
    record = json.loads((tmp_path / "models" / "64x96.json").read_text())
    assert json.loads(capsys.readouterr().out) == record == plain(complexity.measure(**asked))
    assert record["gflops"] == 2 * record["gmacs"]
    assert record["macs"]["conv"] + record["macs"]["matmul"] == round(1e9 * record["gmacs_conv_matmul"])
    assert record["elementwise_share"] * record["gmacs"] * 1e9 == pytest.approx(record["macs"]["elementwise"])
    assert record["input_hw"] == [64, 96]
    complexity.run(**asked, out=None, as_json=False)
    text = capsys.readouterr().out
    assert f"{record['gmacs']:.3f}" in text
    assert f"{record['gflops']:.3f}" in text
    assert "Not counted: nothing." in text


def test_above_the_memory_bound_only_torch_counts(capsys):
    full, bounded = measure(), measure(max_mem_gib=0.01)
    for key in ("gmacs", "gmacs_head", "elementwise_share", "gflops", "unsupported_ops"):
        assert getattr(bounded, key) is None
    assert bounded.gmacs_conv_matmul == full.gmacs_conv_matmul
    assert not bounded.counters["fvcore"].ran
    assert bounded.counters["fvcore"].why_not == "needs 0.06 GiB, allowed are 0.01 GiB"
    assert "fvcore did not run (needs 0.06 GiB, allowed are 0.01 GiB)" in complexity.table(bounded)
    assert full.counters["fvcore"] == replace(bounded.counters["fvcore"], ran=True, why_not=None)


def test_memory_needed_is_about_the_memory_used():
    """The bound is worth something only if the estimate, made without running, is right."""
    cost = measure(input_hw=(512, 512))
    weights = 4 * cost.params
    stem = 4 * 64 * 256 * 256
    # At its peak a ResNet holds two or three stem maps beside the weights and the image, which is kept.
    assert weights + 2 * stem <= cost.mem_gib * 2**30 <= weights + 4 * stem


def test_methods_that_the_counters_see_differently_fail(monkeypatch):
    class Recurrent(nn.Module):
        strides, channels, mean, std = (4,), (3,), (0.5,) * 3, (0.5,) * 3

        def __init__(self):
            super().__init__()
            self.scan = nn.GRU(3, 4, batch_first=True)

        def forward(self, images):
            return [self.scan(images.flatten(2).mT)[0].mT.unflatten(2, images.shape[-2:])]

    class First(nn.Module):
        def forward(self, features):
            return features[0]

    monkeypatch.setattr(
        complexity,
        "build_segmentor",
        lambda **_: Segmentor(encoder=Recurrent(), method=First(), name="recurrent"),
    )
    with pytest.raises(
        ValueError, match=r"method 'fcn' with backbone 'resnet18': .* in encoder\.scan fvcore .*gru"
    ):
        measure(input_hw=(2, 3))


def test_what_cannot_be_built_says_why():
    with pytest.raises(ValueError, match="method 'fnc' is unknown; did you mean 'fcn'"):
        measure(method="fnc")


def test_no_weights_are_read(tmp_path):
    cost = measure(backbone=Backbone(model="resnet18", weights=str(tmp_path / "absent.safetensors")))
    assert cost.params == measure().params
