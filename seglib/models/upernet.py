"""UPerNet: "Unified Perceptual Parsing for Scene Understanding" (1807.10221), for its task "objects" alone.

A feature pyramid has pyramid pooling at its top, and all its levels are joined at the size of the first.

Sources of each part: `FIDELITY`. "Author code" is that of ISNet and MCIBI (sssegmentation, upernet.py), which
has UPerNet as a baseline.

Legend: `B` batch, `C` channels, `K` classes, `h, w` size of the first stage.
"""

import torch
from torch import Tensor, nn

from seglib.models.auxiliary import HeadWithAuxiliary
from seglib.models.layers import ConvNormAct, FCNHead, PyramidPooling, resize
from seglib.models.segmentor import require_pyramid


class UPerNet(HeadWithAuxiliary):
    """``width``: channels of the pyramid; ``auxiliary_weight`` 0 leaves out the auxiliary head."""

    FIDELITY = (
        ("pyramid", "paper", "FPN whose top is pyramid pooling of the last stage (section 3.1)"),
        ("fusion", "paper", "all levels at the size of the first, joined (section 3.1)"),
        ("pooled sizes", "paper", "1, 2, 3 and 6 cells a side, as PSPNet"),
        ("width", "author code", "512 channels"),
        ("laterals, levels", "author code", "1x1 and 3x3 convolutions, BN, ReLU; none over the pooled top"),
        ("top-down path", "author code", "bilinear upsampling (align_corners=False) and sum"),
        ("fused convolution", "author code", "3x3 to 512, BN, ReLU"),
        ("classifier", "author code", "channel dropout 0.1, 1x1 convolution"),
        ("auxiliary head", "author code", "on the last stage but one (C4), loss weight 0.4"),
        ("initial head weights", "author code", "torch's defaults"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        width: int = 512,
        bins: tuple[int, ...] = (1, 2, 3, 6),
        dropout: float = 0.1,
        auxiliary_weight: float = 0.4,
    ):
        super().__init__()
        require_pyramid(strides, 2)
        self.top = PyramidPooling(channels[-1], width, bins=tuple(bins))
        self.laterals = nn.ModuleList(ConvNormAct(c, width) for c in channels[:-1])
        self.levels = nn.ModuleList(ConvNormAct(width, width, 3) for _ in channels[:-1])
        self.head = FCNHead(len(channels) * width, width, num_classes, dropout=dropout)
        self.auxiliary_weight = auxiliary_weight
        if auxiliary_weight:
            self.auxiliary = FCNHead(channels[-2], width, num_classes, dropout=dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, K, h, w) at the size of the first stage."""
        maps = [lateral(x) for lateral, x in zip(self.laterals, features[:-1], strict=True)]
        maps.append(self.top(features[-1]))
        for i in reversed(range(len(maps) - 1)):
            maps[i] = maps[i] + resize(maps[i + 1], maps[i].shape[-2:])
        maps[:-1] = [level(x) for level, x in zip(self.levels, maps[:-1], strict=True)]
        return self.head(torch.cat([resize(x, maps[0].shape[-2:]) for x in maps], dim=1))
