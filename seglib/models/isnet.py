"""ISNet: "Integrate Image-Level and Semantic-Level Context" (2108.12382, ICCV 2021), as in its authors' code.

Each pixel is joined with two contexts that it reads by attention: the features of all pixels beside their
average (image level), and the representations of class regions, predicted in a first stage (semantic level).

Sources of each part: `FIDELITY`. "Author code" is sssegmentation, segmentors/isnet, the same since its first
release but for names.

Legend: `B` batch, `C` channels, `K` classes, `h, w` feature size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.models import layers
from seglib.models.auxiliary import HeadWithAuxiliary
from seglib.models.layers import Classifier, ConvNormAct, FCNHead, SelfAttention, resize
from seglib.models.segmentor import Criterion, TrainingPosition, require_stages


class ISNet(HeadWithAuxiliary):
    """``width`` and ``attention_width``: channels of features and attention; ``auxiliary_weight`` 0 leaves
    out the auxiliary head. The authors set ``lip_shortcut`` and ``leaky_relu`` for LIP, neither elsewhere.
    """

    FIDELITY = (
        ("image-level context", "second-hand", "Figure 2, by its caption on liner.com"),
        ("semantic-level context", "second-hand", "Figure 2, likewise; regions supervised by ground truth"),
        ("attention", "author code", "256 wide; two 1x1 convolutions (BN, ReLU) for key and query, else one"),
        ("image-level key", "author code", "global average beside the pixel's own features"),
        ("regions", "author code", "hard argmax of stage 1; softmax of the class's logit over its pixels"),
        ("fusion", "author code", "3x3 convolution of [image-level; attended regions], without the input"),
        ("loss", "author code", "1.0 stage 2 + 0.4 stage 1 + 0.4 auxiliary (C4), cross entropy each"),
        (
            "LIP variant",
            "author code",
            "lip_shortcut: C2, at 48 channels, joined before stage 2; leaky_relu: slope 0.01",
        ),
        ("image_context: false", "own choice", "the fusion takes the input in place of image-level features"),
        ("semantic_context: false", "own choice", "stage 2 on image-level features; no stage 1"),
        ("region step", "own choice", "all images and classes at once: the authors' function without loops"),
        ("initial head weights", "author code", "torch's defaults"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        image_context: bool = True,
        semantic_context: bool = True,
        lip_shortcut: bool = False,
        leaky_relu: bool = False,
        width: int = 512,
        attention_width: int = 256,
        shortcut_width: int = 48,
        dropout: float = 0.1,
        stage1_weight: float = 0.4,
        auxiliary_weight: float = 0.4,
    ):
        super().__init__()
        act = layers.leaky_relu if leaky_relu else layers.relu
        self.stage1_weight = stage1_weight
        self.auxiliary_weight = auxiliary_weight
        self.bottleneck = ConvNormAct(channels[-1], width, 3, act=act)
        self.image_level = ImageLevelContext(width, attention_width, act) if image_context else None
        self.semantic_level = SemanticLevelContext(width, attention_width, act) if semantic_context else None
        if semantic_context:
            self.stage1 = nn.Sequential(
                ConvNormAct(width, width, act=act), Classifier(width, num_classes, dropout=dropout)
            )
        self.shortcut = None
        self.stage2 = Classifier(width, num_classes, dropout=dropout)
        if lip_shortcut:
            require_stages(strides, 2, way_out="set lip_shortcut to false")
            self.shortcut = ConvNormAct(channels[0], shortcut_width, bias=True, act=act)
            self.stage2 = nn.Sequential(ConvNormAct(width + shortcut_width, width, act=act), self.stage2)
        if auxiliary_weight:
            require_stages(strides, 2, way_out="set auxiliary_weight to 0")
            self.auxiliary = FCNHead(channels[-2], width, num_classes, dropout=dropout, act=act)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Stage-2 logits (B, K, h, w) at the size of the last stage; of the first with the LIP shortcut."""
        return self.stages(features)[0]

    def stages(self, features: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits of stage 2 and of stage 1; the latter is ``None`` without semantic-level context."""
        x = self.bottleneck(features[-1])
        context = self.image_level(x) if self.image_level is not None else x
        stage1 = None
        if self.semantic_level is not None:
            stage1 = self.stage1(x)
            context = self.semantic_level(x, stage1, context)
        if self.shortcut is not None:
            finest = self.shortcut(features[0])
            context = torch.cat([resize(context, finest.shape[-2:]), finest], dim=1)
        return self.stage2(context), stage1

    def losses(
        self, features: list[Tensor], labels: Tensor, criterion: Criterion, position: TrainingPosition
    ) -> dict[str, Tensor]:
        stage2, stage1 = self.stages(features)
        losses = {"stage2": criterion(stage2, labels)}
        if stage1 is not None:
            losses["stage1"] = self.stage1_weight * criterion(stage1, labels)
        losses |= self.auxiliary_loss(features, labels, criterion)
        return losses


class ImageLevelContext(nn.Module):
    """Every pixel attends to all pixels, each joined with the image's average."""

    def __init__(self, width: int, attention_width: int, act: layers.Activation):
        super().__init__()
        self.attention = SelfAttention(width, 2 * width, width, width=attention_width, act=act)
        self.fuse = ConvNormAct(2 * width, width, 3, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, h, w)."""
        average = x.mean((2, 3), keepdim=True).expand_as(x)
        attended = self.attention(x, torch.cat([average, x], dim=1))
        return self.fuse(torch.cat([x, attended], dim=1))


class SemanticLevelContext(nn.Module):
    """Every pixel attends to the region representations of all pixels."""

    def __init__(self, width: int, attention_width: int, act: layers.Activation):
        super().__init__()
        self.attention = SelfAttention(width, width, width, width=attention_width, act=act)
        self.fuse = ConvNormAct(2 * width, width, 3, act=act)

    def forward(self, x: Tensor, logits: Tensor, context: Tensor) -> Tensor:
        """``x`` and ``context`` (B, C, h, w), ``logits`` (B, K, h, w), to (B, C, h, w)."""
        attended = self.attention(x, region_representations(x, logits))
        return self.fuse(torch.cat([context, attended], dim=1))


def region_representations(x: Tensor, logits: Tensor) -> Tensor:
    """The mean, at each pixel, of ``x`` (B, C, h, w) over the pixels of its class in its own image.

    The class is the argmax of ``logits`` (B, K, h, w); pixels weigh by the softmax, over the class's pixels,
    of that class's logit. Returns (B, C, h, w). Author code: semanticlevel.py, which loops.
    """
    scores = logits.flatten(2)
    # Not True: torch cannot trace a boolean fill value, and counting multiply-adds traces.
    member = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.argmax(1, keepdim=True), 1)
    # Not -inf: the row of an absent class would be NaN, in the gradient too.
    scores = scores.masked_fill(~member, torch.finfo(scores.dtype).min)
    weights = F.softmax(scores, dim=2) * member
    regions = weights @ x.flatten(2).mT
    # A product rather than indexing: one kernel, and its gradient is deterministic on CUDA.
    return (regions.mT @ member.to(regions.dtype)).unflatten(2, x.shape[-2:])
