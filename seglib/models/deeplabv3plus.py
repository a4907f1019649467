"""DeepLabV3+: "Encoder-Decoder with Atrous Separable Convolution" (1802.02611).

A decoder joins the output of DeepLabV3's ASPP with the first stage of the encoder (C2), at that stage's size.

Sources of each part: `FIDELITY`. "Author code" is that of ISNet and MCIBI (sssegmentation,
segmentors/deeplabv3plus), which has DeepLabV3+ as a baseline.

Legend: `B` batch, `C` channels, `K` classes, `h, w` size of the first stage (C2).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from seglib.models import layers
from seglib.models.auxiliary import HeadWithAuxiliary
from seglib.models.deeplabv3 import ASPP, default_dilations
from seglib.models.layers import Classifier, ConvNormAct, FCNHead, resize
from seglib.models.segmentor import require_pyramid


class DeepLabV3Plus(HeadWithAuxiliary):
    """``dilations``, ``bottleneck_kernel``: see :class:`seglib.models.deeplabv3.DeepLabV3`; ``width``:
    channels of ASPP and decoder, 256 in the paper; ``auxiliary_weight`` 0 leaves out the auxiliary head.
    """

    FIDELITY = (
        ("encoder", "paper", "DeepLabV3's ASPP with separable convolutions (sections 3.1 and 3.2)"),
        ("shortcut", "paper", "1x1 convolution of the first stage (C2) to 48 channels (section 3.1)"),
        ("decoder", "paper", "ASPP's output at C2's size beside it, two separable 3x3 convolutions"),
        ("dilations", "paper", "6, 12, 18 at stride 16, doubled at stride 8, as DeepLabV3"),
        ("width", "author code", "512 channels; 256 in the paper"),
        ("ASPP bottleneck", "author code", "3x3 convolution of all branches"),
        ("bottleneck_kernel: 1", "paper", "1x1 convolution, as DeepLabV3"),
        ("separable convolutions", "author code", "BN and ReLU after both halves"),
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
        shortcut_width: int = 48,
        dilations: tuple[int, ...] | None = None,
        bottleneck_kernel: Literal[1, 3] = 3,
        dropout: float = 0.1,
        auxiliary_weight: float = 0.4,
    ):
        super().__init__()
        require_pyramid(strides, 2)
        dilations = dilations or default_dilations(strides[-1])
        self.aspp = ASPP(
            channels[-1],
            width,
            dilations=dilations,
            bottleneck_kernel=bottleneck_kernel,
            dilated=SeparableConv,
        )
        self.shortcut = ConvNormAct(channels[0], shortcut_width)
        self.decoder = nn.Sequential(
            SeparableConv(width + shortcut_width, width, 3),
            SeparableConv(width, width, 3),
            Classifier(width, num_classes, dropout=dropout),
        )
        self.auxiliary_weight = auxiliary_weight
        if auxiliary_weight:
            self.auxiliary = FCNHead(channels[-2], width, num_classes, dropout=dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, K, h, w) at the size of the first stage."""
        context = resize(self.aspp(features[-1]), features[0].shape[-2:])
        return self.decoder(torch.cat([context, self.shortcut(features[0])], dim=1))


class SeparableConv(nn.Sequential):
    """A convolution per channel, then a 1x1 convolution, each with batch norm and activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        dilation: int = 1,
        act: layers.Activation = layers.relu,
    ):
        super().__init__(
            ConvNormAct(in_channels, in_channels, kernel, dilation=dilation, groups=in_channels, act=act),
            ConvNormAct(in_channels, out_channels, act=act),
        )
