"""Semantic FPN: "Panoptic Feature Pyramid Networks" (1901.02446), the semantic branch (section 3.1, Fig. 3).

Each level of a feature pyramid is enlarged to 1/4 of the image by convolutions with upsampling; their sum is
classified.

Sources of each part: `FIDELITY`. "Author code" is that of ISNet and MCIBI (sssegmentation, semanticfpn.py and
fpn.py), which has Semantic FPN as a baseline.

Legend: `B` batch, `C` channels, `K` classes, `h, w` size of the first stage.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from seglib.models.layers import Classifier, ConvNormAct, Upsample, resize
from seglib.models.segmentor import Criterion, DecodeHead, TrainingPosition, require_pyramid


class SemanticFPN(DecodeHead):
    """``width`` and ``head_width``: channels of pyramid and head (with ``paper_norms`` in 32s)."""

    FIDELITY = (
        ("pyramid", "paper", "FPN (1612.03144): 1x1 laterals to 256, nearest upsampling, sum, 3x3 per level"),
        ("head", "paper", "per level 3x3 convolutions to 128, each with 2x bilinear upsampling; sum at 1/4"),
        ("classifier", "paper", "1x1 convolution at 1/4"),
        ("norms", "author code", "BN and ReLU after every convolution, the pyramid's too"),
        ("paper_norms: true", "paper", "group norm in the head, plain convolutions in the pyramid"),
        ("dropout", "author code", "of channels, 0.1, before the classifier"),
        ("loss", "author code", "on the output alone"),
        ("initial head weights", "author code", "torch's defaults"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        width: int = 256,
        head_width: int = 128,
        paper_norms: bool = False,
        dropout: float = 0.1,
    ):
        super().__init__()
        require_pyramid(strides, 2)
        if paper_norms:
            self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
            self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)
        else:
            self.laterals = nn.ModuleList(ConvNormAct(c, width) for c in channels)
            self.smooth = nn.ModuleList(ConvNormAct(width, width, 3) for _ in channels)
        block = _group_norm_block if paper_norms else _batch_norm_block
        scales = [stride // strides[0] for stride in strides]
        self.heads = nn.ModuleList(_head(block, width, head_width, scale) for scale in scales)
        self.classifier = Classifier(head_width, num_classes, dropout=dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, K, h, w) at the size of the first stage."""
        maps = [lateral(x) for lateral, x in zip(self.laterals, features, strict=True)]
        for i in reversed(range(len(maps) - 1)):
            maps[i] = maps[i] + self.propagate(i, maps[i], maps[i + 1])
        maps = [smooth(x) for smooth, x in zip(self.smooth, maps, strict=True)]
        size_hw = maps[0].shape[-2:]
        levels = [resize(head(x), size_hw) for head, x in zip(self.heads, maps, strict=True)]
        return self.classifier(sum(levels[1:], start=levels[0]))

    def propagate(self, level: int, low: Tensor, high: Tensor) -> Tensor:
        """The addition to ``level`` of the pyramid, ``low`` (B, C, H, W), from the level above, ``high``."""
        return F.interpolate(high, low.shape[-2:], mode="nearest")

    def losses(
        self, features: list[Tensor], labels: Tensor, criterion: Criterion, position: TrainingPosition
    ) -> dict[str, Tensor]:
        return {"main": criterion(self(features), labels)}


def _head(block: type, in_channels: int, width: int, scale: int) -> nn.Sequential:
    """Blocks that enlarge a map ``scale`` (a power of 2) times; one block without upsampling at scale 1."""
    steps = max(1, int(math.log2(scale)))
    stages = []
    for i in range(steps):
        stages.append(block(in_channels if i == 0 else width, width))
        if scale > 1:
            stages.append(Upsample(2))
    return nn.Sequential(*stages)


def _batch_norm_block(in_channels: int, width: int) -> nn.Module:
    return ConvNormAct(in_channels, width, 3)


def _group_norm_block(in_channels: int, width: int) -> nn.Module:
    convolution = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(32, width), nn.ReLU(inplace=True))
