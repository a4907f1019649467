"""SRM and CRM: "A Deep Semantic Segmentation Network with Semantic and Contextual Refinements" (2412.08671).

Semantic refinement (SRM) moves each pixel of an upsampled map by a learned offset. Contextual refinement
(CRM) joins all stages of the encoder and attends over their channels, then over positions.

Sources of each part: `FIDELITY`. The abstract and two readers' summaries are known, no code is. Backbones,
widths, places, formulas, losses and the network behind "82.5 mIoU with 137.9 GFLOPs" are not known;
benchmarks/srm_crm_cost.py lists backbones that would fit.

Legend: `B` batch, `C` channels, `K` classes, `H, W` size of the finer map, `h, w` size of the coarsest.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.models.layers import Classifier, ConvNormAct, resize, sample_pixels
from seglib.models.segmentor import Criterion, DecodeHead, TrainingPosition, require_pyramid


class SRMCRM(DecodeHead):
    """``semantic_refinement``, ``contextual_refinement``: the two parts; ``width``: channels of all maps."""

    FIDELITY = (
        ("semantic refinement", "paper", "an offset per upsampled pixel, guided by finer map and neighbours"),
        ("neighbourhood", "second-hand", "3x3: a reader's public notes (machine summary)"),
        ("contextual refinement", "paper", "all four stages aggregated; context over space and channels"),
        ("order of attention", "second-hand", "channel, then spatial: sciencestack.ai (machine summary)"),
        ("offsets", "own choice", "3x3 convolutions of both maps; softmax-weighted mean of nine neighbours"),
        ("outside the map", "own choice", "no offset; values as at the edge"),
        ("aggregation", "own choice", "stages averaged to the coarsest size, `width` channels each, joined"),
        ("attention", "own choice", "scaled dot products of 1x1 convolutions, added to their input"),
        ("place", "own choice", "top-down pyramid, one SRM per step, CRM on top, output of the finest level"),
        ("widths", "own choice", "256; 64 as the lightweight configuration"),
        ("classifier", "own choice", "3x3 convolution, channel dropout 0.1, 1x1 convolution"),
        ("semantic_refinement: false", "own choice", "bilinear upsampling without offsets"),
        ("contextual_refinement: false", "own choice", "1x1 convolution of the last stage on top"),
        ("published backbone", "own choice", "unknown; a cost near 137.9 GFLOPs is a fit, no reproduction"),
        ("loss", "own choice", "on the output alone"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        semantic_refinement: bool = True,
        contextual_refinement: bool = True,
        width: int = 256,
        dropout: float = 0.1,
    ):
        super().__init__()
        require_pyramid(strides, 4)
        steps = range(len(channels) - 1)
        self.laterals = nn.ModuleList(ConvNormAct(channels[i], width) for i in steps)
        self.top = (
            ContextualRefinement(channels, strides, width)
            if contextual_refinement
            else LastStage(channels[-1], width)
        )
        self.refine = nn.ModuleList(SemanticRefinement(width) for _ in steps) if semantic_refinement else None
        self.classifier = nn.Sequential(
            ConvNormAct(width, width, 3), Classifier(width, num_classes, dropout=dropout)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, K, H, W) at the size of the first stage."""
        x = self.top(features)
        for i in reversed(range(len(self.laterals))):
            low = self.laterals[i](features[i])
            x = low + (self.refine[i](low, x) if self.refine else resize(x, low.shape[-2:]))
        return self.classifier(x)

    def losses(
        self, features: list[Tensor], labels: Tensor, criterion: Criterion, position: TrainingPosition
    ) -> dict[str, Tensor]:
        return {"main": criterion(self(features), labels)}


class SemanticRefinement(nn.Module):
    """The coarser map at the finer one's size, each pixel read from where a learned offset points."""

    def __init__(self, width: int):
        super().__init__()
        self.guide = ConvNormAct(2 * width, width)
        self.offsets = nn.Conv2d(width, 2, 3, padding=1)
        self.neighbours = nn.Conv2d(width, 9, 3, padding=1)
        # Close to plain upsampling at first, but not equal: the neighbours' weights would get no gradient.
        nn.init.normal_(self.offsets.weight, std=0.001)
        nn.init.zeros_(self.offsets.bias)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """``low`` (B, C, H, W) and ``high`` (B, C, smaller) to (B, C, H, W)."""
        high = resize(high, low.shape[-2:])
        guide = self.guide(torch.cat([low, high], dim=1))
        offsets = mean_of_neighbours(self.offsets(guide), self.neighbours(guide))
        columns = torch.arange(low.shape[3], dtype=torch.float32, device=low.device)
        rows = torch.arange(low.shape[2], dtype=torch.float32, device=low.device)[:, None]
        return sample_pixels(high, columns + offsets[:, 0], rows + offsets[:, 1], padding="border")


def mean_of_neighbours(offsets: Tensor, scores: Tensor) -> Tensor:
    """Mean of each pixel's 3x3 ``offsets`` (B, 2, H, W), weighted by softmax of its ``scores`` (B, 9, H, W).

    The nine go row by row. Neighbours outside the map count, with offset 0.
    """
    neighbours = F.unfold(offsets, 3, padding=1).view(len(offsets), 2, 9, *offsets.shape[-2:])
    return (F.softmax(scores, dim=1)[:, None] * neighbours).sum(2)


class ContextualRefinement(nn.Module):
    """All stages at the coarsest size: channels read channels, then positions read positions."""

    def __init__(self, channels: tuple[int, ...], strides: tuple[int, ...], width: int):
        super().__init__()
        joined = len(channels) * width
        self.ratios = [strides[-1] // stride for stride in strides]
        self.stages = nn.ModuleList(ConvNormAct(c, width) for c in channels)
        self.channel = nn.ModuleList(nn.Conv2d(joined, joined, 1) for _ in range(3))
        self.fuse = ConvNormAct(joined, width)
        # No bias in the key of positions: it would add the same to all scores of a query.
        self.spatial = nn.ModuleList(nn.Conv2d(width, width, 1, bias=i != 1) for i in range(3))
        self.out = ConvNormAct(width, width, 3)

    def forward(self, features: list[Tensor]) -> Tensor:
        """One map (B, width, h, w) of all ``features``, at the size of the last."""
        size_hw = features[-1].shape[-2:]
        maps = [
            stage(resize(F.avg_pool2d(x, ratio, ceil_mode=True), size_hw))
            for stage, ratio, x in zip(self.stages, self.ratios, features, strict=True)
        ]
        x = torch.cat(maps, dim=1)
        x = x + _attend([project(x).flatten(2) for project in self.channel]).unflatten(2, size_hw)
        x = self.fuse(x)
        x = x + _attend([project(x).flatten(2).mT for project in self.spatial]).mT.unflatten(2, size_hw)
        return self.out(x)


class LastStage(nn.Module):
    """The last stage alone, in place of contextual refinement."""

    def __init__(self, in_channels: int, width: int):
        super().__init__()
        self.project = ConvNormAct(in_channels, width)

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.project(features[-1])


def _attend(query_key_value: list[Tensor]) -> Tensor:
    """Scaled dot-product attention of three (B, tokens, features)."""
    one_head = (x.contiguous().unsqueeze(1) for x in query_key_value)
    return F.scaled_dot_product_attention(*one_head).squeeze(1)
