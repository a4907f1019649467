from dataclasses import replace

import pytest

from seglib.claims.claim import METRICS
from seglib.claims.measured import Measurement, conditions_of, cost_conditions_of, settings_of
from seglib.claims.papers import load_papers
from seglib.claims.reading import load_claims
from seglib.claims.relative import derive
from seglib.claims.verdicts import judge
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Loss, Protocol, Recipe


def cell(**recipe):
    recipe = Recipe(**{"batch_size": 16, "crop_hw": (512, 1024), "lr": 0.01, **recipe})
    backbone = Backbone(model="resnet50c", output_stride=8, weights="imagenet")
    return Cell(
        dataset="ade20k",
        method="isnet",
        backbone_name="r50",
        backbone=backbone,
        recipe_name="author",
        recipe=recipe,
        seed=0,
    )


def conditions(trained=None, **protocol):
    return conditions_of(
        trained or cell(epochs=130),
        split="val",
        protocol=Protocol(**protocol),
        num_classes=150,
        train_images=20_210,
    )


def test_a_cell_states_every_condition_of_a_quality():
    found = conditions(mode="slide", crop_hw=(512, 512), stride_hw=(341, 341), scales=(0.5, 1.0), flip=True)
    unknown = [name for name, value in vars(found).items() if value is None]
    assert unknown == ["input_hw"]
    assert (found.test_mode, found.test_crop_hw, found.test_scales, found.test_flip) == (
        "slide",
        (512, 512),
        (0.5, 1.0),
        True,
    )


def test_length_is_known_in_epochs_and_in_iterations():
    by_epochs, by_iterations = conditions(), conditions(cell(iterations=164_190))
    assert (by_epochs.epochs, by_epochs.iterations) == (130, 164_190)
    assert by_iterations.iterations == 164_190
    assert by_iterations.epochs == pytest.approx(130, rel=0.001)


@pytest.mark.parametrize(
    ("model", "asked", "stride"),
    [
        ("resnet50", None, 32),
        ("resnet50", 16, 16),
        ("hrnet_w48", None, 4),
        ("vit_large_patch16_384", None, 16),
        ("swin_tiny_patch4_window7_224", None, 32),
    ],
)
def test_output_stride_is_the_one_a_paper_names(model, asked, stride):
    backbone = Backbone(model=model, output_stride=asked)
    found = cost_conditions_of(backbone, num_classes=19, input_hw=(512, 1024))
    assert (found.output_stride, found.num_classes, found.input_hw) == (stride, 19, (512, 1024))


FILE = {"weights": "a.safetensors", "weights_sha256": "0" * 64}


@pytest.mark.parametrize(
    ("recipe", "backbone", "protocol", "same"),
    [
        ({"epochs": 2, "batch_size": 8, "lr": 0.1, "crop_hw": (64, 64)}, {}, {}, True),  # in the conditions
        ({"threads": 1, "deterministic": False, "norm_batch_size": 16}, {}, {}, True),
        ({"optimizer": "adamw"}, {}, {}, False),
        ({"photometric": False}, {}, {}, False),
        ({"precision": "bf16"}, {}, {}, False),
        ({"loss": Loss(name="ohem")}, {}, {}, False),
        ({}, {"model": "resnet101c", "output_stride": 16}, {}, True),
        ({}, FILE | {"weights": "renamed.safetensors"}, {}, True),
        ({}, FILE | {"weights_sha256": "1" * 64}, {}, False),
        ({}, {"weights": "imagenet", "weights_sha256": None}, {}, False),
        ({}, {"mean": (0.5, 0.5, 0.5)}, {}, False),
        ({}, {}, {"average": "logits"}, True),  # of one view
        ({}, {}, {"average": "early_probabilities"}, False),
    ],
)
def test_what_two_of_our_measurements_must_share(recipe, backbone, protocol, same):
    base = replace(cell(iterations=9), backbone=replace(cell(epochs=1).backbone, **FILE))
    recipe = {"iterations": None if "epochs" in recipe else 9, **recipe}
    other = replace(
        base,
        method="fcn",
        method_options={"width": 9},
        recipe_name="other",
        recipe=replace(base.recipe, **recipe),
        backbone=replace(base.backbone, **backbone),
    )
    assert (settings_of(base, Protocol()) == settings_of(other, Protocol(**protocol))) is same


@pytest.mark.parametrize(
    "changes", [{"average": "logits"}, {"average": "logits", "scales": (1.0,)}, {"stride_hw": (96, 96)}]
)
def test_views_and_windows_are_averaged_alike(changes):
    several = Protocol(mode="slide", crop_hw=(128, 128), stride_hw=(64, 64), scales=(0.5, 1.0), flip=True)
    trained = cell(iterations=9)
    assert settings_of(trained, several) != settings_of(trained, replace(several, **changes))


CLAIMS = [claim for claim in load_claims() if not METRICS[claim.metric].deterministic]


def limited_measurement(claim):
    """Of a run that meets every condition of a claim, and its value, but for the limit."""
    part = conditions_of(
        cell(epochs=1).limited(200),
        split=claim.conditions.eval_split or "val",
        protocol=Protocol(),
        num_classes=150,
        train_images=200,
    )
    named = {"train_split": part.train_split, "eval_split": part.eval_split}
    return Measurement(
        name=claim.id,
        dataset=claim.dataset,
        method=claim.method,
        variant=claim.variant,
        backbone=claim.backbone or "resnet50",
        conditions=replace(claim.conditions, **named),
        metric=claim.metric,
        values={seed: float(claim.value) / 100 for seed in range(3)},
    )


def test_a_limited_cell_never_yields_a_verdict():
    for claim in CLAIMS:
        (found,) = judge([claim], [limited_measurement(claim)])
        assert found.verdict in ("not comparable", "not run"), claim.id
        assert (found.interval, found.difference) == (None, None)
    assert len(CLAIMS) > 100


def test_nor_do_two_limited_cells():
    cards = load_papers()
    pairs = derive(CLAIMS, [pair for card in cards.values() for pair in card.relative])
    assert pairs
    for claim in pairs:
        both = [limited_measurement(side) for side in (claim.of, claim.over)]
        (found,) = judge([claim], both)
        assert found.verdict in ("not comparable", "not run"), claim.id
