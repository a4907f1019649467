"""DeepLabV3: "Rethinking Atrous Convolution for Semantic Image Segmentation" (1706.05587).

Parallel convolutions of growing dilation and the global average (ASPP) give each pixel context of several
sizes.

Sources of each part: `FIDELITY`. "Author code" is that of ISNet and MCIBI (sssegmentation, deeplabv3.py and
aspp.py), which has DeepLabV3 as a baseline.

Legend: `B` batch, `C` channels, `K` classes, `h, w` feature size.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from seglib.models import layers
from seglib.models.auxiliary import HeadWithAuxiliary
from seglib.models.layers import Classifier, ConvNormAct, FCNHead
from seglib.models.segmentor import require_stages


class DeepLabV3(HeadWithAuxiliary):
    """``dilations`` of the branches, 1 for a 1x1 convolution (``None``: by the encoder's stride);
    ``width``: channels of each branch, 256 in the paper; ``bottleneck_kernel``: 3 or 1;
    ``auxiliary_weight`` 0 leaves out the auxiliary head.
    """

    FIDELITY = (
        ("parallel branches", "paper", "1x1, three dilated 3x3 convolutions, global average (section 3.3)"),
        ("dilations", "paper", "6, 12, 18 at stride 16, doubled at stride 8 (section 3.3)"),
        ("width", "author code", "512 channels; 256 in the paper"),
        ("bottleneck", "author code", "3x3 convolution to 512 of all branches"),
        ("bottleneck_kernel: 1", "paper", "1x1 convolution (section 3.3)"),
        ("classifier", "author code", "channel dropout 0.1, 1x1 convolution"),
        ("auxiliary head", "author code", "on the last stage but one (C4), weight 0.4; none in the paper"),
        ("initial head weights", "author code", "torch's defaults"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        width: int = 512,
        dilations: tuple[int, ...] | None = None,
        bottleneck_kernel: Literal[1, 3] = 3,
        dropout: float = 0.1,
        auxiliary_weight: float = 0.4,
    ):
        super().__init__()
        dilations = dilations or default_dilations(strides[-1])
        self.aspp = ASPP(channels[-1], width, dilations=dilations, bottleneck_kernel=bottleneck_kernel)
        self.classifier = Classifier(width, num_classes, dropout=dropout)
        self.auxiliary_weight = auxiliary_weight
        if auxiliary_weight:
            require_stages(strides, 2, way_out="set auxiliary_weight to 0")
            self.auxiliary = FCNHead(channels[-2], width, num_classes, dropout=dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, K, h, w) at the size of the last stage."""
        return self.classifier(self.aspp(features[-1]))


def default_dilations(stride: int) -> tuple[int, ...]:
    """The paper's rates for features of this stride, with the 1 of the 1x1 convolution."""
    return (1, 12, 24, 36) if stride <= 8 else (1, 6, 12, 18)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: convolutions of growing reach beside the global average.

    ``dilated(in_channels, width, 3, dilation=d, act=act)`` builds a branch of dilation ``d`` > 1.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        dilations: tuple[int, ...],
        bottleneck_kernel: Literal[1, 3] = 3,
        dilated: Callable[..., nn.Module] = ConvNormAct,
        act: layers.Activation = layers.relu,
    ):
        super().__init__()
        self.branches = nn.ModuleList(
            ConvNormAct(in_channels, width, act=act)
            if d == 1
            else dilated(in_channels, width, 3, dilation=d, act=act)
            for d in dilations
        )
        self.average = ConvNormAct(in_channels, width, act=act)
        self.bottleneck = ConvNormAct((len(dilations) + 1) * width, width, bottleneck_kernel, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) to (B, width, h, w)."""
        average = self.average(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        return self.bottleneck(torch.cat([*(branch(x) for branch in self.branches), average], dim=1))
