"""DDSM: "Dynamic Dual Sampling Module for Fine-Grained Semantic Segmentation" (2105.11657, ICIP 2021).

Each pixel (and each channel) of a finer map reads N pixels (channels) of the coarser map above it. Their
positions are learned; their weights are affinities.

Sources of each part: `FIDELITY`. The abstract and one figure are known, no code is.

Memory: a training keeps N sampled keys per pixel, 9 x 32 MiB an image for 128x256x256 features in float32,
and 150 MiB of positions. Sampled values, sampled channels and the pixels around a position are never held.

Legend: `B` batch, `C` channels, `N` samples, `a` pooled size, `s` = sqrt(C), `H, W` size of the finer map.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.models.layers import (
    adaptive_average,
    bilinear_corners,
    pixel_rows,
    resize,
    sample_pixels,
    weighted_rows,
)
from seglib.models.semantic_fpn import SemanticFPN

OFFSET_SCALE = 0.1
"""Pixels by which a position moves per unit of the convolution that predicts it."""


class DDSM(SemanticFPN):
    """``spatial`` and ``channel``: the two modules; without both, the method is Semantic FPN. ``samples``: N;
    ``pooled_size``: a; ``width``: C; ``head_width``: channels of the head.
    """

    FIDELITY = (
        ("position embeddings", "paper", "figure (a): added to both maps"),
        ("query, key, value", "paper", "figure (a): 1x1 of the finer map, of both joined, of the coarser"),
        ("spatial sampling", "paper", "figure (a): N learned positions around 3x3; softmax over N; sum; 1x1"),
        ("channel query, key", "paper", "figure (b): both maps averaged to a x a; 1x1 of the finer, of both"),
        ("channel sampling", "paper", "figure (b): N read from a sqrt(C) x sqrt(C) image; softmax over N"),
        ("channel result", "paper", "figure (b): weighted sum of the downsampled coarser map, upsampled"),
        ("form of embedding", "own choice", "sines of normalised row and column; the figure shows a wave"),
        ("offsets", "own choice", "3x3 convolution, at first 0, of the key's input (channels: of the key)"),
        ("positions of values", "own choice", "those of the keys"),
        ("offset scale", "own choice", "0.1, as Deformable DETR's rate for offsets: with 1, AdamW diverges"),
        ("first positions", "own choice", "the N pixels nearest to the centre: 3x3 for 9, 5x5 for 25"),
        ("score scale", "own choice", "1 / sqrt(length of query and key)"),
        ("channel values", "own choice", "the coarser map at half its size"),
        ("N = 9, a = 8, C = 256", "own choice", "not known; C must be a square"),
        ("place", "own choice", "every top-down step of the pyramid"),
        ("fusion", "own choice", "both results are added to the upsampled coarser map"),
        ("decoder", "own choice", "Semantic FPN; SFSegNets, named as the code's base, has a similar one"),
        ("loss", "own choice", "on the output alone"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        spatial: bool = True,
        channel: bool = True,
        samples: int = 9,
        pooled_size: int = 8,
        width: int = 256,
        head_width: int = 128,
        dropout: float = 0.1,
    ):
        super().__init__(
            channels=channels,
            strides=strides,
            num_classes=num_classes,
            width=width,
            head_width=head_width,
            dropout=dropout,
        )
        steps = range(len(channels) - 1)
        self.spatial = nn.ModuleList(SpatialSampling(width, samples) for _ in steps) if spatial else None
        self.channel = (
            nn.ModuleList(ChannelSampling(width, samples, pooled_size) for _ in steps) if channel else None
        )

    def propagate(self, level: int, low: Tensor, high: Tensor) -> Tensor:
        total = super().propagate(level, low, high)
        if self.spatial:
            total = total + self.spatial[level](low, high)
        if self.channel:
            total = total + self.channel[level](low, high)
        return total


class SpatialSampling(nn.Module):
    """Each pixel of the finer map reads N pixels of the upsampled coarser one."""

    def __init__(self, width: int, samples: int):
        super().__init__()
        if width % 4:
            raise ValueError(f"width {width} is no multiple of 4, which the position embedding needs")
        self.query = nn.Conv2d(width, width, 1)
        self.key = nn.Conv2d(2 * width, width, 1, bias=False)  # a bias would add the same to all N scores
        self.value = nn.Conv2d(width, width, 1)
        self.positions = SampledPositions(2 * width, samples)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """``low`` (B, C, H, W) and ``high`` (B, C, smaller) to (B, C, H, W)."""
        low = low + position_embedding(low)
        high = resize(high + position_embedding(high), low.shape[-2:])
        both = torch.cat([high, low], dim=1)
        index, share = bilinear_corners(*self.positions(both), low.shape[-2:], padding="border")
        index, share = (x.movedim(1, 3).flatten(0, 2) for x in (index, share))  # (B * H * W, N, 4)
        query, key, value = (
            pixel_rows(x).to(share.dtype) for x in (self.query(low), self.key(both), self.value(high))
        )
        scores = [
            (query * weighted_rows(key, *sample)).sum(1)
            for sample in zip(index.unbind(1), share.unbind(1), strict=True)
        ]
        affinity = F.softmax(torch.stack(scores, dim=1) / math.sqrt(query.shape[1]), dim=1)
        read = weighted_rows(value, index.flatten(1), (affinity[:, :, None] * share).flatten(1))
        return self.out(read.view(low.shape[0], *low.shape[-2:], -1).permute(0, 3, 1, 2))


class ChannelSampling(nn.Module):
    """Each channel of the finer map reads N channels of the coarser one."""

    def __init__(self, width: int, samples: int, pooled_size: int):
        super().__init__()
        self.side = math.isqrt(width)
        if self.side**2 != width:
            raise ValueError(f"width {width} is no square number, which sampling channels as an image needs")
        self.pooled_hw = (pooled_size, pooled_size)
        self.query = nn.Conv2d(width, width, 1)
        self.key = nn.Conv2d(2 * width, width, 1)
        self.positions = SampledPositions(pooled_size**2, samples)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """``low`` (B, C, H, W) and ``high`` (B, C, smaller) to (B, C, H, W)."""
        pooled = [adaptive_average(x, self.pooled_hw) for x in (low, high)]
        query = self.query(pooled[0]).flatten(2)
        key = self.key(torch.cat(pooled[::-1], dim=1)).flatten(2).mT.unflatten(2, (self.side, self.side))
        values = F.avg_pool2d(high, 2, ceil_mode=True)
        mixed = self._affinity(query, key) @ values.flatten(2)
        return resize(mixed.unflatten(2, values.shape[-2:]), low.shape[-2:])

    def _affinity(self, query: Tensor, key: Tensor) -> Tensor:
        """Weights (B, C, C) of all channels for each (row); ``query`` (B, C, a^2), ``key`` (B, a^2, s, s).

        Sampling is linear: the identity, read at a sample's positions, gives its weights over all channels.
        So one product mixes values of any size, instead of N samplings.
        """
        channels, length = query.shape[1:]
        identity = torch.eye(channels, device=key.device).view(1, channels, self.side, self.side)
        image = torch.cat([key, identity.expand(key.shape[0], -1, -1, -1)], dim=1)
        sampled = sample_pixels(image, *self.positions(key), padding="border").flatten(3)
        keys, rows = sampled.split([length, channels], dim=1)
        scores = torch.einsum("bca,banc->bnc", query, keys.to(query.dtype)) / math.sqrt(length)
        return torch.einsum("bnc,bjnc->bcj", F.softmax(scores, dim=1), rows)


class SampledPositions(nn.Module):
    """The positions that a pixel samples: its N nearest pixels (3x3 for 9), moved by learned offsets."""

    def __init__(self, in_channels: int, samples: int):
        super().__init__()
        if samples < 1:
            raise ValueError(f"samples is {samples}, must be at least 1")
        neighbours = torch.tensor(_nearest_pixels(samples), dtype=torch.float32)
        self.register_buffer("neighbours", neighbours, persistent=False)
        self.offsets = nn.Conv2d(in_channels, 2 * samples, 3, padding=1)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Columns and rows (B, N, H, W), in pixels, of ``x`` (B, in_channels, H, W)."""
        # The changes of all weights in a step of AdamW add up in an offset: unscaled, it jumps by pixels.
        moved = OFFSET_SCALE * self.offsets(x).unflatten(1, (-1, 2)) + self.neighbours[:, :, None, None]
        columns = torch.arange(x.shape[3], dtype=torch.float32, device=x.device)
        rows = torch.arange(x.shape[2], dtype=torch.float32, device=x.device)
        return moved[:, :, 0] + columns, moved[:, :, 1] + rows[:, None]


def _nearest_pixels(count: int) -> list[tuple[int, int]]:
    """The first ``count`` (dx, dy) of growing squares around (0, 0), within a square by distance."""
    reach = math.isqrt(count)
    square = [(x, y) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    return sorted(square, key=lambda p: (max(abs(p[0]), abs(p[1])), p[0] ** 2 + p[1] ** 2))[:count]


def position_embedding(x: Tensor) -> Tensor:
    """Sines and cosines (1, C, H, W) of row (first half) and column, which span 0 to 2 pi at any size."""
    channels, height, width = x.shape[1:]
    like = {"device": x.device, "dtype": torch.float64}
    frequencies = 10_000 ** (torch.arange(channels // 4, **like) * (-4 / channels))

    def waves(size: int) -> Tensor:
        angles = (torch.arange(size, **like) + 0.5) * (2 * math.pi / size) * frequencies[:, None]
        return torch.cat([angles.sin(), angles.cos()])

    rows = waves(height)[:, :, None].expand(-1, -1, width)
    columns = waves(width)[:, None, :].expand(-1, height, -1)
    return torch.cat([rows, columns])[None].to(x.dtype)
