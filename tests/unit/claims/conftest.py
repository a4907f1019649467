import dataclasses
from decimal import Decimal

import pytest

from seglib.claims.claim import Claim, Conditions
from seglib.claims.measured import Measurement

SAME = Conditions(
    output_stride=8,
    num_classes=150,
    train_split="train",
    eval_split="val",
    crop_hw=(512, 512),
    epochs=130.0,
    lr=0.01,
    batch_size=16,
    pretraining="imagenet",
    test_mode="whole",
    test_scales=(1.0,),
    test_flip=False,
    test_size="native",
)
CONDITIONS = {field.name for field in dataclasses.fields(Conditions)}


def change(base, changes):
    """``base`` with changed fields, or changed conditions."""
    inner = {name: value for name, value in changes.items() if name in CONDITIONS}
    outer = {name: value for name, value in changes.items() if name not in CONDITIONS}
    return dataclasses.replace(base, conditions=dataclasses.replace(base.conditions, **inner), **outer)


@pytest.fixture
def make_claim():
    """A claim of 44.22 % mIoU; keyword arguments change fields or conditions."""
    base = Claim(
        paper="isnet",
        method="isnet",
        variant=None,
        backbone="resnet50c",
        dataset="ade20k",
        conditions=SAME,
        metric="miou",
        bound="",
        value=Decimal("44.22"),
        unit="%",
        provenance="author_release",
        release="current",
        source="a page",
        protocol_source=None,
        note=None,
        where="isnet.csv:2",
    )

    def make(value="44.22", **changes):
        return change(base, {"value": Decimal(value), **changes})

    return make


@pytest.fixture
def make_measurement():
    """Three seeds under the conditions of the claim; keyword arguments change fields or conditions."""
    base = Measurement(
        name="ade20k/isnet/resnet50c/author val-ss",
        dataset="ade20k",
        method="isnet",
        backbone="resnet50c",
        conditions=dataclasses.replace(SAME, iterations=164_190),
        recipe="author",
        metric="miou",
        values={0: 0.4412, 1: 0.4422, 2: 0.4432},
    )
    return lambda **changes: change(base, changes)
