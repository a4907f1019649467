"""What ran, in the words of the claims: the conditions of a cell, and the values of its seeds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from seglib.cell import Backbone, Cell, Protocol
from seglib.claims.claims import Conditions


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One metric of cells that differ in their seed only, tested one way; also when none has run yet.

    The flags mark numbers that are no evidence for a published one.
    """

    name: str
    """Shown to the reader, e.g. ``ade20k/isnet/resnet50c/author_ade20k_r50 val-ss``."""
    dataset: str
    method: str
    variant: str | None = None
    backbone: str
    """timm name."""
    conditions: Conditions
    metric: str
    values: Mapping[int, float] = field(default_factory=dict)
    """By seed; fractions, counts or giga-MACs. A cost has one entry."""
    failures: Mapping[int, str] = field(default_factory=dict)
    """By seed: the reason and the log of a training that failed, or of this very test."""
    options: tuple[str, ...] = ()
    """Method options that are not the defaults, e.g. ``soft=false``."""
    subset: bool = False
    """Trained or tested on a part of the images."""
    quick_recipe: bool = False
    embedded_data: bool = False
    command: str | None = None
    """What runs the cells that have no value yet."""
    gpu_hours: float | None = None
    """Estimate for ``command``; ``None``: unknown."""


def conditions_of(
    cell: Cell, *, split: str, protocol: Protocol, num_classes: int, train_images: int
) -> Conditions:
    """The conditions of a tested cell. ``train_images``: images in the split ``train``."""
    recipe = cell.recipe
    # A part of a split is another split: no claim is about it.
    part = "" if cell.limit is None else f", {cell.limit} images"
    epochs, iterations = recipe.epochs, recipe.iterations
    if epochs is None:
        epochs = iterations * recipe.batch_size / train_images
    else:
        iterations = epochs * max(1, train_images // recipe.batch_size)
    return Conditions(
        output_stride=_output_stride(cell.backbone),
        num_classes=num_classes,
        train_split=f"train{part}",
        eval_split=f"{split}{part}",
        crop_hw=recipe.crop_hw,
        epochs=epochs,
        iterations=iterations,
        lr=recipe.lr,
        batch_size=recipe.batch_size,
        # A weights file may hold anything; what it was trained on is not recorded.
        pretraining={None: "none", "imagenet": "imagenet"}.get(cell.backbone.weights),
        test_mode=protocol.mode,
        test_crop_hw=protocol.crop_hw if protocol.mode == "slide" else None,
        test_scales=protocol.scales,
        test_flip=protocol.flip,
        test_size=_test_size(protocol),
    )


def cost_conditions_of(backbone: Backbone, *, num_classes: int, input_hw: tuple[int, int]) -> Conditions:
    """The conditions of a model's parameters and giga-MACs."""
    return Conditions(output_stride=_output_stride(backbone), num_classes=num_classes, input_hw=input_hw)


def _test_size(protocol: Protocol) -> str:
    if protocol.resize_hw is None:
        return "native"
    if not protocol.keep_aspect:
        return "{}x{}".format(*protocol.resize_hw)
    # Shorter and longer side, whichever way an image lies.
    return "fit {}x{}".format(*sorted(protocol.resize_hw))


def _output_stride(backbone: Backbone) -> int:
    """The stride that a paper would name: HRNet's is that of its finest branch."""
    if backbone.output_stride:
        return backbone.output_stride
    if backbone.model.startswith("hrnet"):
        return 4
    if plain := re.match(r"(?:vit|deit|beit)\w*_patch(\d+)_", backbone.model):
        return int(plain[1])
    return 32
