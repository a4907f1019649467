"""SFNet: "Semantic Flow for Fast and Accurate Scene Parsing" (2002.10120), as in its authors' code.

A flow alignment module (FAM) replaces bilinear upsampling in the top-down path of a feature pyramid. It
predicts a flow from both levels and reads the coarser map along it.

Sources of each part: `FIDELITY`. "Author code" is SFSegNets: operators.py (AlignedModule), sfnet_resnet.py
(PSPModule, UperNetAlignHead; the baseline UperNetHead) and loss.py (CriterionSFNet). The authors' encoder has
a deep stem and dilates its last stages at unchanged stride; it is not part of the head.

Legend: `B` batch, `C` channels, `K` classes, `H, W` size of the finer map, `h, w` size of C2.
"""

from functools import partial

import torch
from torch import Tensor, nn

from seglib.models.layers import ConvNormAct, FCNHead, adaptive_average, resize, sample_pixels
from seglib.models.segmentor import Criterion, DecodeHead, TrainingPosition, require_pyramid

_resize = partial(resize, align_corners=True)


class SFNet(DecodeHead):
    """``width``: channels of the pyramid, in the author code 128 for ResNet-18 and 256 else;
    ``deep_supervision_weight`` 0 leaves the classifiers of the inner levels out.
    """

    FIDELITY = (
        ("flow alignment", "paper", "flow from the finer map and the upsampled coarser one, read bilinearly"),
        ("flow unit", "author code", "a flow of 2 moves about one output pixel; outside the map reads 0"),
        ("context", "author code", "PSPModule: bins 1, 2, 3, 6 on C5; no ReLU in branches, 1x1 bottleneck"),
        ("decoder", "author code", "1x1 laterals, 3x3 per level, levels joined at 1/4, 3x3, 1x1 classifier"),
        ("resizing", "author code", "bilinear, align_corners=True inside the head"),
        ("alignment: false", "author code", "bilinear upsampling, the authors' baseline head"),
        ("deep supervision", "author code", "weight 1 in some of their trainings; none by default"),
        ("reading, averaging", "own choice", "indexing, matrix products: the same functions, deterministic"),
        ("final upsampling", "own choice", "align_corners=False, as for every method here"),
        ("initial head weights", "author code", "torch's defaults"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        width: int = 256,
        bins: tuple[int, ...] = (1, 2, 3, 6),
        alignment: bool = True,
        dropout: float = 0.1,
        deep_supervision_weight: float = 0.0,
    ):
        super().__init__()
        require_pyramid(strides, 2)
        inner = channels[:-1]
        self.context = PyramidContext(channels[-1], width, bins=tuple(bins), dropout=dropout)
        self.laterals = nn.ModuleList(ConvNormAct(c, width) for c in inner)
        self.align = nn.ModuleList(FlowAlignment(width) for _ in inner) if alignment else None
        self.smooth = nn.ModuleList(ConvNormAct(width, width, 3) for _ in inner)
        self.classifier = nn.Sequential(
            ConvNormAct(len(channels) * width, width, 3), nn.Conv2d(width, num_classes, 1)
        )
        self.deep_supervision_weight = deep_supervision_weight
        if deep_supervision_weight:
            self.auxiliary = nn.ModuleList(FCNHead(width, width, num_classes, dropout=dropout) for _ in inner)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, K, h, w) at the size of the first stage."""
        return self._classify(self._pyramid(features))

    def _pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Maps (B, width, h_i, w_i), finest first, each the sum of its lateral and the map above."""
        maps = [self.context(features[-1])]
        for i in reversed(range(len(self.laterals))):
            low, high = self.laterals[i](features[i]), maps[0]
            above = self.align[i](low, high) if self.align else _resize(high, low.shape[-2:])
            maps.insert(0, low + above)
        return maps

    def _classify(self, maps: list[Tensor]) -> Tensor:
        levels = [smooth(x) for smooth, x in zip(self.smooth, maps[:-1], strict=True)] + maps[-1:]
        return self.classifier(torch.cat([_resize(x, maps[0].shape[-2:]) for x in levels], dim=1))

    def losses(
        self, features: list[Tensor], labels: Tensor, criterion: Criterion, position: TrainingPosition
    ) -> dict[str, Tensor]:
        maps = self._pyramid(features)
        losses = {"main": criterion(self._classify(maps), labels)}
        if self.deep_supervision_weight:
            inner = zip(self.auxiliary, maps[:-1], strict=True)
            losses["auxiliary"] = self.deep_supervision_weight * sum(
                criterion(head(x), labels) for head, x in inner
            )
        return losses


class FlowAlignment(nn.Module):
    """The coarser map at the finer one's size, each pixel read from where a learned flow points."""

    def __init__(self, width: int):
        super().__init__()
        self.low = nn.Conv2d(width, width // 2, 1, bias=False)
        self.high = nn.Conv2d(width, width // 2, 1, bias=False)
        self.flow = nn.Conv2d(2 * (width // 2), 2, 3, padding=1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """``low`` (B, C, H, W) and ``high`` (B, C, smaller) to (B, C, H, W)."""
        above = _resize(self.high(high), low.shape[-2:])
        return warp(high, self.flow(torch.cat([above, self.low(low)], dim=1)))


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """``x`` (B, C, smaller) read bilinearly along ``flow`` (B, 2, H, W), which holds (x, y): (B, C, H, W).

    Both maps' corner pixels coincide (align_corners=True). The authors divide the flow by the output size and
    add it to coordinates from -1 to 1. Outside ``x`` there are zeros.
    """
    (in_h, in_w), (out_h, out_w) = x.shape[-2:], flow.shape[-2:]
    like = {"device": x.device, "dtype": torch.promote_types(flow.dtype, torch.float32)}
    columns = torch.linspace(0, in_w - 1, out_w, **like)
    rows = torch.linspace(0, in_h - 1, out_h, **like)[:, None]
    column = columns + flow[:, 0] * ((in_w - 1) / (2 * out_w))
    row = rows + flow[:, 1] * ((in_h - 1) / (2 * out_h))
    return sample_pixels(x, column, row, padding="zeros")


class PyramidContext(nn.Module):
    """Averages over ``bins`` x ``bins`` cells beside the input, joined by a 1x1 convolution."""

    def __init__(self, in_channels: int, width: int, *, bins: tuple[int, ...], dropout: float):
        super().__init__()
        self.bins = bins
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width)) for _ in bins
        )
        self.bottleneck = nn.Sequential(
            ConvNormAct(in_channels + len(bins) * width, width), nn.Dropout2d(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, width, H, W)."""
        pooled = (
            branch(adaptive_average(x, (n, n))) for n, branch in zip(self.bins, self.branches, strict=True)
        )
        return self.bottleneck(torch.cat([*(_resize(p, x.shape[-2:]) for p in pooled), x], dim=1))
