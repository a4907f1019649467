"""OCRNet: "Object-Contextual Representations for Semantic Segmentation" (1909.11065).

Each pixel reads, by attention, the representations of the soft regions of all classes in its image.

Sources of each part: `FIDELITY`. "Author code" is that of ISNet and MCIBI (sssegmentation,
segmentors/ocrnet), which has OCRNet as a baseline.

Legend: `B` batch, `C` channels, `K` classes, `h, w` feature size.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.models import layers
from seglib.models.layers import Classifier, ConvNormAct, FCNHead, SelfAttention, resize
from seglib.models.segmentor import Criterion, DecodeHead, TrainingPosition, require_stages


class OCRNet(DecodeHead):
    """``width`` and ``attention_width``: channels of features and attention; ``fusion_kernel``: 3 or 1."""

    FIDELITY = (
        ("soft object regions", "paper", "logits of an auxiliary classifier on C4 (section 3.2)"),
        ("region representations", "paper", "mean of all pixels by softmax over positions (equation 4)"),
        ("pixels read regions", "paper", "attention over the K representations, 256 wide (equation 5)"),
        ("pixel representations", "paper", "3x3 convolution of the last stage to 512 (section 3.4)"),
        ("query and key", "author code", "two 1x1 convolutions, BN, ReLU each; scores over sqrt(256)"),
        ("fusion", "author code", "3x3 convolution over context and input, BN, ReLU"),
        ("fusion_kernel: 1", "paper", "1x1 convolution (section 3.4)"),
        ("region classifier", "author code", "3x3 convolution to 512, BN, ReLU, 1x1 convolution"),
        ("dropout", "author code", "none"),
        ("loss", "paper", "1.0, and 0.4 for the region classifier (section 3.4)"),
        ("region step", "own choice", "one matrix product for all images and classes: the same function"),
        ("initial head weights", "author code", "torch's defaults"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        width: int = 512,
        attention_width: int = 256,
        fusion_kernel: Literal[1, 3] = 3,
        dropout: float = 0.0,
        region_weight: float = 0.4,
    ):
        super().__init__()
        require_stages(strides, 2, way_out="choose fcn, pspnet or deeplabv3 for a single one")
        self.region_weight = region_weight
        self.regions = FCNHead(channels[-2], width, num_classes, dropout=dropout)
        self.bottleneck = ConvNormAct(channels[-1], width, 3)
        self.context = ObjectContext(width, attention_width, kernel=fusion_kernel)
        self.classifier = Classifier(width, num_classes, dropout=dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, K, h, w) at the size of the last stage."""
        return self.stages(features)[0]

    def stages(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The output's logits and those of the regions, which have the size of the last stage but one."""
        regions = self.regions(features[-2])
        return self.classifier(self.context(self.bottleneck(features[-1]), regions)), regions

    def losses(
        self, features: list[Tensor], labels: Tensor, criterion: Criterion, position: TrainingPosition
    ) -> dict[str, Tensor]:
        main, regions = self.stages(features)
        return {"main": criterion(main, labels), "regions": self.region_weight * criterion(regions, labels)}


class ObjectContext(nn.Module):
    """Every pixel attends to the representations of the K soft regions of its image."""

    def __init__(
        self,
        width: int,
        attention_width: int,
        *,
        kernel: Literal[1, 3] = 3,
        act: layers.Activation = layers.relu,
    ):
        super().__init__()
        self.attention = SelfAttention(width, width, width, width=attention_width, act=act)
        self.fuse = ConvNormAct(2 * width, width, kernel, act=act)

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        """``x`` (B, C, h, w) and ``logits`` (B, K, any size) to (B, C, h, w)."""
        attended = self.attention(x, region_means(x, logits))
        return self.fuse(torch.cat([attended, x], dim=1))


def region_means(x: Tensor, logits: Tensor) -> Tensor:
    """The mean (B, C, K, 1) for each class of ``x`` (B, C, h, w), where pixels weigh by the softmax over
    positions of the class's logits (B, K, any size), resized to ``x``.
    """
    weights = F.softmax(resize(logits, x.shape[-2:]).flatten(2), dim=2)
    return (x.flatten(2) @ weights.mT)[..., None]
