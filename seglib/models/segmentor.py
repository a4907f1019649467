"""A segmentor is an encoder (timm) and a method (decode head with its losses).

    backbone = Backbone(model="resnet18", output_stride=8)
    segmentor = build_segmentor(method="isnet", method_options={}, backbone=backbone, num_classes=19)
    logits = segmentor(images)  # (B, K, H, W), float32
    loss = sum(segmentor.losses(images, labels, criterion, position).values())

Legend: `B` batch, `C` channels, `K` classes, `H, W` image size, `h, w` feature size.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from seglib.core import registry, typed
from seglib.experiment.recipe import Backbone
from seglib.models.backbones import Encoder, build_backbone
from seglib.models.layers import resize

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, K, h, w) and labels (B, H, W) to a scalar, see :mod:`seglib.training.losses`."""


@dataclass(frozen=True)
class TrainingPosition:
    """Progress of a training; ``iteration`` and ``epoch`` count from 0."""

    iteration: int
    iterations: int
    epoch: int


class DecodeHead(nn.Module):
    """Base class of decode heads.

    A subclass takes ``channels`` and ``strides`` (one per encoder stage, finest first), ``num_classes``
    and its options as keyword-only arguments with annotations and literal defaults: the configuration
    is checked against them, without importing torch. It raises ``ValueError`` for a backbone or an option
    that it cannot use; :func:`build_segmentor` adds the names of both.
    """

    FIDELITY: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    """Rows of (part, source, note), a literal: where each part comes from, stated here alone.

    Sources: ``paper``, its own text or figures; ``author code``; ``second-hand``, somebody else quoting the
    paper; ``own choice``, where none of these tells.
    """

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits (B, K, h, w) at the method's own resolution, from features (B, C_i, h_i, w_i)."""
        raise NotImplementedError

    def losses(
        self, features: list[Tensor], labels: Tensor, criterion: Criterion, position: TrainingPosition
    ) -> dict[str, Tensor]:
        """Weighted scalar terms, whose sum is minimised; labels (B, H, W) int64, 255 = ignore."""
        raise NotImplementedError


def require_stages(strides: tuple[int, ...], count: int, *, way_out: str) -> None:
    """Raise ``ValueError``, with the advice ``way_out``, where the encoder gives fewer feature maps."""
    if len(strides) < count:
        raise ValueError(f"needs {count} feature maps, the backbone gives {len(strides)}; {way_out}")


def require_pyramid(strides: tuple[int, ...], count: int) -> None:
    """Raise ``ValueError`` unless there are ``count`` feature maps and the first is finer than the last."""
    if len(strides) < count or strides[0] == strides[-1]:
        raise ValueError(
            f"needs {count} feature maps from fine to coarse, the backbone's have strides {tuple(strides)}; "
            "choose a convolutional or hierarchical backbone (resnet50c, swin_tiny_patch4_window7_224, ...)"
        )


class Segmentor(nn.Module):
    """An encoder and a decode head; ``name`` names both in errors."""

    def __init__(self, *, encoder: Encoder, method: DecodeHead, name: str):
        super().__init__()
        self.encoder = encoder
        self.method = method
        self.name = name
        mean, std = torch.tensor(encoder.mean), torch.tensor(encoder.std)
        self.register_buffer("mean_255", 255 * mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std_255", 255 * std.view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W) float32 at the size of ``images``, (B, 3, H, W) uint8 or float in 0..255."""
        logits = self.method(self.encoder(self.normalise(images)))
        return resize(logits.float(), images.shape[-2:])

    def losses(
        self, images: Tensor, labels: Tensor, criterion: Criterion, position: TrainingPosition
    ) -> dict[str, Tensor]:
        """Weighted loss terms; ``images`` (B, 3, H, W) in 0..255, ``labels`` (B, H, W) int64, 255 = ignore.

        Raises ``ValueError`` where a batch norm would see a single value per channel.
        """
        try:
            features = self.encoder(self.normalise(images))
            return self.method.losses(features, labels, criterion, position)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                f"{self.name}: a batch norm over a map of 1x1 pixel needs at least 2 images, got a batch of "
                f"{len(images)}; raise batch_size (per device, and divided by accumulate) to 2 or more"
            ) from error

    def normalise(self, images: Tensor) -> Tensor:
        """(x / 255 - mean) / std of ``images`` (B, 3, H, W), uint8 or float in 0..255."""
        return (images - self.mean_255) / self.std_255


def build_segmentor(
    *,
    method: str,
    method_options: dict,
    backbone: Backbone,
    num_classes: int,
    load_weights: bool = True,
) -> Segmentor:
    """The segmentor of a cell, its parameters drawn by torch or read from ``backbone.weights``.

    ``load_weights=False`` leaves ``backbone.weights`` unread, for callers that load a whole state dict or
    only count. Works under ``torch.device("meta")``. Raises ``ValueError`` that names method and backbone.
    """
    if method not in registry.METHODS:
        raise ValueError(f"method {method!r} is unknown{typed.suggest(method, registry.METHODS)}")
    method_class = registry.resolve(registry.METHODS[method])
    known = inspect.signature(method_class).parameters
    for option in method_options:
        if option not in known:
            raise ValueError(f"method {method!r}: unknown option {option!r}{typed.suggest(option, known)}")
    name = f"method {method!r} with backbone {backbone.model!r}"
    try:
        # The encoder first: with equal random state, every method starts from the same encoder.
        encoder = build_backbone(backbone, load_weights=load_weights)
        head = method_class(
            channels=encoder.channels, strides=encoder.strides, num_classes=num_classes, **method_options
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return Segmentor(encoder=encoder, method=head, name=name)
