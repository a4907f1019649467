"""How a cell is trained and tested: its backbone, its recipe with the loss, its test protocol.

No torch import: Snakemake parses this.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from seglib.core.typed import check_range, renamed

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""Name in records of schema 1 -> today's name."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A timm encoder with multi-scale features."""

    model: str
    """timm name, e.g. ``resnet50``."""
    output_stride: int | None = None
    """4, 8, 16 or 32; ``None`` keeps the model's own strides."""
    weights: str | None = None
    """``None``: random; ``imagenet``: timm's hub; anything else: a safetensors file (in a cell: its name)."""
    weights_sha256: str | None = None
    """Of that file: checked before it is read. A cell has it for every file, so that it names weights by
    content; what ``imagenet`` was is in the training's ``provenance.json``."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of ``timm.create_model``, e.g. ``{pad_type: same}``."""
    mean: tuple[float, float, float] | None = None
    """Input mean per RGB channel, of values in 0..1; ``None``: timm's for this model."""
    std: tuple[float, float, float] | None = None

    def __post_init__(self):
        check_range(self, "mean", least=0, most=1)
        check_range(self, "std", above=0, most=1)
        if self.output_stride not in (None, 4, 8, 16, 32):
            raise ValueError(f"output_stride: {self.output_stride} is not 4, 8, 16 or 32")


NO_WEIGHTS = {"weights": None, "weights_sha256": None}
"""Fields of a :class:`Backbone` that change no cost of a model."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Pixel loss shared by the main and the auxiliary classifiers."""

    name: Literal["cross_entropy", "ohem"] = "cross_entropy"
    ohem_threshold: float = 0.7
    ohem_min_kept: int = 100_000
    """Pixels kept per image batch when fewer fall under the threshold."""
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self):
        check_range(self, "ohem_threshold", above=0, most=1)
        check_range(self, "ohem_min_kept", least=1)
        check_range(self, "class_weights", least=0)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Schedule, crop, augmentation and optimiser of a training."""

    iterations: int | None = None
    """Optimiser steps; give this or ``epochs``."""
    epochs: int | None = None
    batch_size: int
    """Images per optimiser step, over all devices."""
    crop_hw: tuple[int, int]
    resize_hw: tuple[int, int] | None = None
    """Size that scale 1.0 refers to (longer and shorter side kept in aspect); ``None``: the image's own."""
    scale_range: tuple[float, float] = (0.5, 2.0)
    keep_aspect: bool = True
    max_class_share: float = 0.75
    """A crop is redrawn (10 times at most) while one class fills more than this share of it."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    rotation_degrees: float = 0.0
    rotation: float = 0.0
    """Probability of a rotation by up to ``rotation_degrees``."""
    photometric: bool = True
    """Brightness, contrast, saturation and hue distortion."""
    color_jitter: float = 0.0
    """Strength of SFSegNets' distortion of brightness, contrast, saturation and hue (0.25 there)."""
    blur: float = 0.0
    """Probability of a Gaussian blur of 0.15 to 1.3 pixels."""
    class_uniform: float = 0.0
    """Share of an epoch's crops that cover classes drawn uniformly (see ``engine.class_uniform``)."""
    class_uniform_tile: int = 1024
    """Side, in pixels of the data set, of the tiles in which a class has one place each."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay_norm_bias: bool = True
    """Whether weight decay also acts on norms and biases."""
    backbone_lr_factor: float = 1.0
    head_lr_factor: float = 1.0
    poly_power: float = 0.9
    min_lr: float = 0.0
    warmup_iterations: int = 0
    clip_grad_norm: float | None = None
    accumulate: int = 1
    """Forward passes per optimiser step; batch norm sees ``batch_size / accumulate`` images."""
    norm_batch_size: int | None = None
    """Images that batch norm must see together, or the training does not start; ``None``: any number."""
    loss: Loss = Loss()
    precision: Literal["fp32", "bf16", "fp16"] = renamed("fp32", formerly=PRECISIONS)
    channels_last: bool = True
    compile: bool = False
    sync_batch_norm: bool = True
    deterministic: bool = True
    threads: int = 2
    """CPU threads of the training arithmetic: part of the recipe, since bits depend on it."""

    def images(self, train_images: int) -> int:
        """Images that a training sees on a split of ``train_images``: those of whole batches."""
        batches = max(1, train_images // self.batch_size)
        return (self.iterations or self.epochs * batches) * self.batch_size

    def __post_init__(self):
        if (self.iterations is None) == (self.epochs is None):
            raise ValueError("give either iterations or epochs")
        check_range(self, "iterations epochs batch_size accumulate norm_batch_size threads", least=1)
        check_range(self, "crop_hw resize_hw class_uniform_tile", least=1)
        check_range(self, "scale_range clip_grad_norm", above=0)
        check_range(self, "flip rotation blur class_uniform max_class_share", least=0, most=1)
        check_range(self, "color_jitter", least=0, most=0.5)
        check_range(self, "lr momentum weight_decay poly_power min_lr warmup_iterations", least=0)
        check_range(self, "backbone_lr_factor head_lr_factor rotation_degrees", least=0)
        if bool(self.rotation) != bool(self.rotation_degrees):
            raise ValueError(
                "rotation (probability) and rotation_degrees go together: one alone turns nothing"
            )
        if self.scale_range[0] > self.scale_range[1]:
            raise ValueError(f"scale_range: the lower end comes first, got {list(self.scale_range)}")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}"
            )


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How an image is tested. Labels always keep their own resolution."""

    mode: Literal["whole", "slide"] = "whole"
    resize_hw: tuple[int, int] | None = None
    """Size that scale 1.0 refers to, as in :class:`Recipe`; ``None``: the image's own."""
    keep_aspect: bool = True
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    average: Literal["probabilities", "early_probabilities", "logits"] = "probabilities"
    """What is averaged over scales and flips; early: taken at the network's own, coarse resolution."""
    crop_hw: tuple[int, int] | None = None
    """Window of ``slide``."""
    stride_hw: tuple[int, int] | None = None

    def __post_init__(self):
        if self.mode == "slide" and (self.crop_hw is None or self.stride_hw is None):
            raise ValueError("mode slide needs crop_hw and stride_hw")
        if self.mode == "whole" and (self.crop_hw or self.stride_hw):
            raise ValueError("crop_hw and stride_hw are of mode slide: add it, or leave them out")
        if not self.scales:
            raise ValueError("scales: at least one is needed, e.g. [1.0]")
        check_range(self, "scales", above=0)
        check_range(self, "resize_hw crop_hw stride_hw", least=1)
        if self.mode == "slide" and any(
            stride > crop for stride, crop in zip(self.stride_hw, self.crop_hw, strict=True)
        ):
            raise ValueError(
                f"stride_hw {list(self.stride_hw)} leaves gaps between windows of crop_hw "
                f"{list(self.crop_hw)}"
            )
