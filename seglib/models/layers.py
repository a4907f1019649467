"""Blocks that several methods share. All of them have deterministic kernels on CPU and CUDA, which
``nn.AdaptiveAvgPool2d`` and ``F.grid_sample`` have not.

Parameters start as torch's layers start them (convolutions: uniform in +-1/sqrt(fan in)), as in the author
code base (sssegmentation), which initialises none of these heads by hand.

Legend: `B` batch, `C` channels, `K` classes, `H, W` height and width, `h, w` output height and width.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[], nn.Module]
relu: Activation = partial(nn.ReLU, inplace=True)
leaky_relu: Activation = partial(nn.LeakyReLU, 0.01, inplace=True)


def resize(x: Tensor, size_hw: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """``x`` (B, C, H, W) at ``size_hw``, bilinear."""
    if x.shape[-2:] == size_hw:
        return x
    if x.is_cpu:
        return F.interpolate(x, size_hw, mode="bilinear", align_corners=align_corners)
    return _Resize.apply(x, size_hw, align_corners)


class Upsample(nn.Module):
    """:func:`resize` by a whole factor."""

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return resize(x, (self.factor * x.shape[2], self.factor * x.shape[3]))


class _Resize(torch.autograd.Function):
    """Bilinear resizing whose gradient is a matrix product, since torch's own adds in any order on CUDA.

    Where that is forbidden, ``F.interpolate`` gathers instead, in the memory of seven results.
    """

    @staticmethod
    def forward(ctx, x: Tensor, size_hw: tuple[int, int], align_corners: bool) -> Tensor:
        ctx.size_hw, ctx.align_corners = x.shape[-2:], align_corners
        return torch.ops.aten.upsample_bilinear2d.vec(x, size_hw, align_corners, None)  # as F.interpolate

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (batch, channels, height, width), (h, w) = gradient.shape, ctx.size_hw
        # Channels last, as the maps are: no copies.
        wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32)).permute(0, 2, 3, 1)
        rows, columns = (
            upsampling(*sizes, wide, align_corners=ctx.align_corners).T for sizes in ((h, height), (w, width))
        )
        x = torch.bmm(rows.expand(batch, -1, -1), wide.reshape(batch, height, width * channels))
        x = torch.bmm(columns.expand(batch * h, -1, -1), x.view(batch * h, width, channels))
        return x.view(batch, h, w, channels).permute(0, 3, 1, 2).to(gradient.dtype), None, None


def upsampling(size: int, upsampled: int, like: Tensor, *, align_corners: bool = False) -> Tensor:
    """Bilinear resizing along one axis as a matrix (upsampled, size) of shares."""
    eye = torch.eye(size, dtype=like.dtype, device=like.device)
    return F.interpolate(eye[None], upsampled, mode="linear", align_corners=align_corners)[0].T


class ConvNormAct(nn.Sequential):
    """Convolution that keeps the size, batch norm, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        act: Activation = relu,
    ):
        padding = dilation * (kernel // 2)
        super().__init__(
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel,
                padding=padding,
                dilation=dilation,
                groups=groups,
                bias=bias,
            ),
            nn.BatchNorm2d(out_channels),
            act(),
        )


class Classifier(nn.Sequential):
    """Channel dropout and a 1x1 convolution to K logits."""

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float = 0.1):
        super().__init__(nn.Dropout2d(dropout), nn.Conv2d(in_channels, num_classes, 1))


class FCNHead(nn.Sequential):
    """``convs`` times 3x3 convolution, batch norm, activation; then a :class:`Classifier`.

    With one convolution: the auxiliary head of the author code base.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        num_classes: int,
        *,
        convs: int = 1,
        dropout: float = 0.1,
        act: Activation = relu,
    ):
        inputs = [in_channels] + [width] * convs
        super().__init__(
            *(ConvNormAct(inputs[i], width, 3, act=act) for i in range(convs)),
            Classifier(inputs[-1], num_classes, dropout=dropout),
        )


class SelfAttention(nn.Module):
    """Every position of ``query`` reads all positions of ``key``, as in ISNet's and MCIBI's author code.

    Key and query pass two 1x1 convolutions, the value (of ``key``) and the result one, each with batch norm
    and activation; scores are scaled by 1/sqrt(width).
    """

    def __init__(
        self,
        query_channels: int,
        key_channels: int,
        out_channels: int,
        *,
        width: int,
        act: Activation = relu,
    ):
        super().__init__()
        self.query = nn.Sequential(
            ConvNormAct(query_channels, width, act=act), ConvNormAct(width, width, act=act)
        )
        self.key = nn.Sequential(
            ConvNormAct(key_channels, width, act=act), ConvNormAct(width, width, act=act)
        )
        self.value = ConvNormAct(key_channels, width, act=act)
        self.out = ConvNormAct(width, out_channels, act=act)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """(B, C_q, H, W) and (B, C_k, h, w) to (B, out_channels, H, W)."""
        q, k, v = (_positions(x) for x in (self.query(query), self.key(key), self.value(key)))
        context = F.scaled_dot_product_attention(q, k, v).squeeze(1)
        return self.out(context.transpose(1, 2).unflatten(2, query.shape[-2:]))


def _positions(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 1 head, H * W, C)."""
    return x.flatten(2).transpose(1, 2).contiguous().unsqueeze(1)


class PyramidPooling(nn.Module):
    """Pyramid pooling module (PSPNet section 3.2): the input joined with its averages over n x n cells."""

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        bins: tuple[int, ...] = (1, 2, 3, 6),
        act: Activation = relu,
    ):
        super().__init__()
        self.bins = bins
        self.branches = nn.ModuleList(ConvNormAct(in_channels, width, act=act) for _ in bins)
        self.bottleneck = ConvNormAct(in_channels + len(bins) * width, width, 3, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, width, H, W)."""
        pooled = (
            branch(adaptive_average(x, (n, n))) for n, branch in zip(self.bins, self.branches, strict=True)
        )
        return self.bottleneck(torch.cat([x, *(resize(p, x.shape[-2:]) for p in pooled)], dim=1))


def adaptive_average(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """``F.adaptive_avg_pool2d`` of ``x`` (B, C, H, W) by matrix products, whose gradient is deterministic."""
    if size_hw == (1, 1):
        return x.mean((2, 3), keepdim=True)
    rows, row_counts = _cells(x.shape[2], size_hw[0], x)
    columns, column_counts = _cells(x.shape[3], size_hw[1], x)
    # The matrices hold ones, and each division comes after: exact weights in half precision, and no overflow.
    x = F.linear(x, columns) / column_counts
    return (F.linear(x.mT, rows) / row_counts).mT


def _cells(size: int, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """1 where a cell (they may overlap) holds a position: (cells, size); positions per cell: (cells,)."""
    cell = torch.arange(cells, device=like.device)
    first, end = cell * size // cells, -(-(cell + 1) * size // cells)
    position = torch.arange(size, device=like.device)
    member = (position >= first[:, None]) & (position < end[:, None])
    return member.to(like.dtype), (end - first).to(like.dtype)


def sample_pixels(
    x: Tensor, column: Tensor, row: Tensor, *, padding: Literal["zeros", "border"] = "zeros"
) -> Tensor:
    """``x`` (B, C, H, W) read bilinearly at ``column`` and ``row`` (B, ...); whole numbers are pixel centres.

    Returns (B, C, ...): ``F.grid_sample`` in units of pixels, with a deterministic gradient.
    """
    index, share = bilinear_corners(column, row, x.shape[-2:], padding=padding)
    values = weighted_rows(pixel_rows(x).to(share.dtype), index.flatten(0, -2), share.flatten(0, -2))
    return values.view(*column.shape, -1).movedim(-1, 1)


def pixel_rows(x: Tensor) -> Tensor:
    """The pixels of ``x`` (B, C, H, W), as (B * H * W, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def bilinear_corners(
    column: Tensor, row: Tensor, size_hw: tuple[int, int], *, padding: Literal["zeros", "border"]
) -> tuple[Tensor, Tensor]:
    """The four pixels around each position (B, ...) in maps of ``size_hw``, and their shares: (B, ..., 4).

    Pixels are numbered as in :func:`pixel_rows`. Outside a map lie zeros, or the values at its ``border``.
    """
    height, width = size_hw
    if padding == "border":
        column, row = column.clamp(0, width - 1), row.clamp(0, height - 1)
    left, top = column.floor(), row.floor()
    x, y = column - left, row - top
    share = torch.stack([1 - x, x, 1 - x, x], dim=-1) * torch.stack([1 - y, 1 - y, y, y], dim=-1)
    columns = torch.stack([left, left + 1, left, left + 1], dim=-1)
    rows = torch.stack([top, top, top + 1, top + 1], dim=-1)
    if padding == "zeros":
        share = share * ((columns >= 0) & (columns < width) & (rows >= 0) & (rows < height))
    image = torch.arange(column.shape[0], device=column.device).view(-1, *[1] * column.dim())
    # Clamped as integers, so that a diverged training reads NaN and no invalid address.
    columns, rows = columns.long().clamp(0, width - 1), rows.long().clamp(0, height - 1)
    return (image * height + rows) * width + columns, share


def weighted_rows(rows: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Sums of ``rows`` (P, C) at ``index`` (Q, K), each times its ``share`` (Q, K): (Q, C).

    One kernel computes them without holding (Q, K, C); its gradient is deterministic.
    """
    return F.embedding_bag(index, rows, per_sample_weights=share, mode="sum")
