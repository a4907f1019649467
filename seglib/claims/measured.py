"""What ran, in the words of the claims: the conditions of a cell, and the values of its seeds."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from seglib.claims.claim import Conditions
from seglib.core.typed import canonical_json
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Protocol

IN_CONDITIONS = {
    "recipe": {"iterations", "epochs", "batch_size", "crop_hw", "lr"},
    "backbone": {"model", "output_stride"},
}
"""Settings that :class:`Conditions`, or the name of the backbone, say already."""
NO_OUTCOME = {"norm_batch_size", "channels_last", "compile", "deterministic", "threads"}
"""Settings of a recipe that change whether a training starts, how fast it is, and the order of its additions:
a method may need its own."""


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
    recipe: str = ""
    """The name of the recipe."""
    settings: str = "{}"
    """:func:`settings_of` what ran."""
    metric: str
    values: Mapping[int, float] = field(default_factory=dict)
    """By seed; fractions, counts or giga-MACs. A cost has one entry."""
    failures: Mapping[int, str] = field(default_factory=dict)
    """By seed: the reason and the log of a training that failed, or of this very test."""
    options: tuple[str, ...] = ()
    """Method options that the cell sets, e.g. ``soft=false``."""
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
    images = recipe.images(train_images)
    return Conditions(
        output_stride=_output_stride(cell.backbone),
        num_classes=num_classes,
        train_split=f"train{part}",
        eval_split=f"{split}{part}",
        crop_hw=recipe.crop_hw,
        epochs=recipe.epochs or images / train_images,
        iterations=images // recipe.batch_size,
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


def settings_of(cell: Cell, protocol: Protocol) -> str:
    """What a number depends on beside its conditions, data set and method, in canonical JSON.

    No source states all of it, but two of our own measurements must share it to be compared with each
    other. The options of a method are not in it.
    """
    recipe, backbone = asdict(cell.recipe), asdict(cell.backbone)
    # A file is known by its content.
    backbone["weights"] = backbone.pop("weights_sha256") or cell.backbone.weights
    one_view = len(protocol.scales) == 1 and not protocol.flip
    settings = {
        "recipe": _without(recipe, IN_CONDITIONS["recipe"] | NO_OUTCOME),
        "backbone": _without(backbone, IN_CONDITIONS["backbone"]),
        "test": {
            # Of one view, logits and their probabilities name the same classes.
            "average": None if one_view and protocol.average != "early_probabilities" else protocol.average,
            "stride_hw": protocol.stride_hw,
        },
    }
    return canonical_json(settings)


def cost_conditions_of(backbone: Backbone, *, num_classes: int, input_hw: tuple[int, int]) -> Conditions:
    """The conditions of a model's parameters and giga-MACs."""
    return Conditions(output_stride=_output_stride(backbone), num_classes=num_classes, input_hw=input_hw)


def _without(settings: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


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
