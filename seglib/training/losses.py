"""The pixel loss that all classifiers share: cross entropy, plain or of the hardest pixels only.

Legend: `B` batch, `K` classes, `H, W` label size, `h, w` logit size, `N` = B*H*W pixels.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from seglib.data.label_formats import IGNORE_INDEX
from seglib.experiment.recipe import Loss
from seglib.models.layers import resize
from seglib.numerics.collectives import sum_over_processes, world_size

MIN_COLUMNS = 16
IMPOSSIBLE = -1e4
"""A logit whose probability is 0 in float32."""


def build_criterion(spec: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of logits (B, K, h, w), any float type, and labels (B, H, W) int64, 255 = ignore.

    It returns the (class-weighted) mean of the cross entropy over the pixels that count, float32 (float64 for
    such logits); 0, with zero gradient, when none does. Logits are resized to the labels (bilinear,
    ``align_corners=False``).

    Over several processes the mean of their losses is that over the pixels of all, but with ``ohem`` each
    process averages over its own hard pixels.
    """

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        num_classes = logits.shape[1]
        # torch's softmax takes twice the time for rows that fill no vector register: add impossible classes.
        logits = F.pad(logits, (0, 0, 0, 0, 0, max(0, MIN_COLUMNS - num_classes)), value=IMPOSSIBLE)
        # Channels last, so that neither the resizing nor the flattening copies.
        wide = torch.promote_types(logits.dtype, torch.float32)
        logits = resize(logits.to(wide, memory_format=torch.channels_last), labels.shape[-2:])
        # As (N, K): for maps (B, K, H, W) CUDA has no deterministic cross entropy.
        logits = logits.permute(0, 2, 3, 1).flatten(0, 2)
        labels = labels.flatten()
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
        weights = (labels != IGNORE_INDEX).to(losses.dtype)
        if spec.class_weights is not None:
            of_class = _class_weights(spec.class_weights, num_classes, weights)
            weights = weights * of_class[labels.where(labels != IGNORE_INDEX, 0)]
        if spec.name == "ohem":
            weights = weights * _hard(
                losses.detach(), threshold=spec.ohem_threshold, min_kept=spec.ohem_min_kept
            )
        total = weights.sum()
        if spec.name == "cross_entropy" and world_size() > 1:
            total = sum_over_processes(total) / world_size()
        return (losses * weights).sum() / total.clamp_min(torch.finfo(weights.dtype).tiny)

    return criterion


def _hard(losses: Tensor, *, threshold: float, min_kept: int) -> Tensor:
    """Pixels (N,) whose label has probability <= ``threshold``, and in any case the ``min_kept`` lowest.

    Source: SFSegNets, ``OhemCrossEntropy2dTensor``; ``min_kept`` counts over the batch of one process.
    Ignored pixels have loss 0 and are no harder than any other.
    """
    hardest = losses.topk(min(min_kept, len(losses)), sorted=False).values
    return losses >= hardest.min().clamp_max(-math.log(threshold))


def _class_weights(weights: tuple[float, ...], num_classes: int, like: Tensor) -> Tensor:
    if len(weights) != num_classes:
        raise ValueError(
            f"recipe.loss.class_weights has {len(weights)} values, but the data set {num_classes} classes"
        )
    return torch.tensor(weights, dtype=like.dtype, device=like.device)
