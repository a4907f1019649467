"""MCIBI: "Mining Contextual Information Beyond Image" (2108.11819, ICCV 2021), as in its authors' code.

A memory holds a representation of each class over the whole data set; each pixel reads it by its class
probabilities, beside a context within the image.

Sources of each part: `FIDELITY`. "Author code" is sssegmentation, segmentors/mcibi, the same since its first
release but for names.

Legend: `B` batch, `C` channels, `K` classes, `V` vectors per class, `h, w` feature size.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.models import layers
from seglib.models.auxiliary import HeadWithAuxiliary
from seglib.models.class_memory import ClassMemory
from seglib.models.deeplabv3 import ASPP, default_dilations
from seglib.models.layers import Classifier, ConvNormAct, FCNHead, PyramidPooling, SelfAttention
from seglib.models.ocrnet import ObjectContext
from seglib.models.segmentor import Criterion, TrainingPosition, require_stages


class MCIBI(HeadWithAuxiliary):
    """Base of the methods below. ``hard_aggregation``: read the likeliest class's vectors alone.
    ``update_rule``, ``vectors_per_class``, ``memory_init``, ``author_exact``: see :class:`ClassMemory`.

    The momentum falls from ``initial_momentum`` to ``final_momentum_share`` of it, with the power
    ``momentum_power`` (0: constant); ``consistency_weight`` applies from ``consistency_epoch`` on, the
    first being 0. The authors have momentum 0.9 and weight 1 for ADE20K, 0.9 and 0 for LIP, 1.0 and 0 for
    Cityscapes and COCO-Stuff; a share of 0.1 for COCO-Stuff with ResNeSt-101; ``leaky_relu`` for LIP with
    ResNet; for HRNet no auxiliary head (``auxiliary_weight`` 0), and ``downsample``, which halves the last
    stage, on Cityscapes and LIP. ``dilations``: of ASPP.
    """

    CONTEXT: ClassVar[Literal["none", "aspp", "ppm", "ocr"]]
    """Context within the image."""

    FIDELITY = (
        ("memory", "paper", "each class's representation over the data set, moved in every step"),
        ("memory read", "paper", "by class probabilities that the ground truth supervises (stage 1)"),
        ("consistency loss", "paper", "stage 2 classifies the memory's vectors"),
        ("its weight and start", "author code", "1.0 from the second epoch on, for ADE20K; elsewhere off"),
        ("hard_aggregation: true", "author code", "in none of the authors' configurations"),
        ("vectors_per_class > 1", "author code", "in none either"),
        ("update", "author code", "pixels, at label size, weigh by 1 - cosine similarity to the memory"),
        ("momentum", "author code", "as the learning rate: from 0.9 (ADE20K, LIP) or 1.0 to 1 % of it"),
        ("attention", "author code", "1x1 convolutions, BN, ReLU: two for key and query, else one; 256 wide"),
        ("fusion", "author code", "3x3 convolutions: of input and memory, then of both contexts"),
        ("context within the image", "author code", "ASPP or pyramid pooling, read by attention"),
        ("loss", "author code", "1.0 stage 2 + 0.4 stage 1 + 0.4 auxiliary (C4), cross entropy each"),
        ("leaky_relu, downsample", "author code", "LIP with ResNet; HRNet on Cityscapes and LIP"),
        ("with a ViT", "own choice", "one auxiliary head, no norm of the maps; the authors': three, a norm"),
        ("mcibi_fcn", "own choice", "no context within the image, which the authors' code allows"),
        ("mcibi_ocrnet", "own choice", "OCRNet's object context, with stage-1 logits as the soft regions"),
        ("memory_init: zeros, kmeans", "own choice", "the authors start each class from its first mean"),
        ("gradient of the read", "own choice", "of the memory as read; author_exact: of the updated one"),
        ("accumulate > 1", "own choice", "the memory moves in every forward pass, several times per step"),
        ("vectors without pixels", "own choice", "stay; the authors' (author_exact) shrink with their class"),
        ("several processes", "own choice", "as one with all images; author_exact averages their memories"),
        ("update without upsampling", "own choice", "the same function as the authors' loop over classes"),
        ("initial head weights", "author code", "torch's defaults"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        hard_aggregation: bool = False,
        update_rule: Literal["cosine", "mean"] = "cosine",
        vectors_per_class: int = 1,
        memory_init: Literal["first_batch", "zeros", "kmeans"] = "first_batch",
        initial_momentum: float = 0.9,
        momentum_power: float = 0.9,
        final_momentum_share: float = 0.01,
        author_exact: bool = False,
        consistency_weight: float = 1.0,
        consistency_epoch: int = 1,
        dilations: tuple[int, ...] | None = None,
        downsample: bool = False,
        leaky_relu: bool = False,
        width: int = 512,
        attention_width: int = 256,
        dropout: float = 0.1,
        stage1_weight: float = 0.4,
        auxiliary_weight: float = 0.4,
    ):
        super().__init__()
        if dilations and self.CONTEXT != "aspp":
            raise ValueError("dilations are those of ASPP, which only mcibi_deeplabv3 has")
        self.initial_momentum, self.momentum_power = initial_momentum, momentum_power
        self.final_momentum_share = final_momentum_share
        self.consistency_weight, self.consistency_epoch = consistency_weight, consistency_epoch
        self.stage1_weight, self.auxiliary_weight = stage1_weight, auxiliary_weight
        act = layers.leaky_relu if leaky_relu else layers.relu
        inputs, stride = channels[-1], strides[-1]

        self.halve = nn.Identity()
        if downsample:
            halving = nn.Conv2d(inputs, inputs, 3, stride=2, padding=1, bias=False)
            self.halve, stride = nn.Sequential(halving, nn.BatchNorm2d(inputs), act()), 2 * stride
        self.bottleneck = ConvNormAct(inputs, width, 3, act=act)
        self.stage1 = _classifier(width, num_classes, dropout, act)
        memory = ClassMemory(
            num_classes,
            width,
            vectors_per_class=vectors_per_class,
            rule=update_rule,
            start=memory_init,
            author_exact=author_exact,
        )
        self.beyond_image = BeyondImage(memory, attention_width, hard=hard_aggregation, act=act)
        if self.CONTEXT == "aspp":
            self.context = ASPP(inputs, width, dilations=dilations or default_dilations(stride), act=act)
        elif self.CONTEXT == "ppm":
            self.context = PyramidPooling(inputs, width, act=act)
        elif self.CONTEXT == "ocr":
            self.context = ObjectContext(width, attention_width, act=act)
        if self.CONTEXT != "none":
            self.within_image = WithinImage(width, attention_width, act=act)
        self.stage2 = _classifier(width, num_classes, dropout, act)
        if auxiliary_weight:
            require_stages(strides, 2, way_out="set auxiliary_weight to 0")
            self.auxiliary = FCNHead(channels[-2], width, num_classes, dropout=dropout, act=act)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Stage-2 logits (B, K, h, w) at the size of the last stage, or half of it with ``downsample``."""
        return self.stages(features)[0]

    def stages(self, features: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of stage 2 and of stage 1, and the features (B, C, h, w) that update the memory."""
        last = self.halve(features[-1])
        x = self.bottleneck(last)
        stage1 = self.stage1(x)
        fused = self.beyond_image(x, stage1)
        if self.CONTEXT != "none":
            context = self.context(x, stage1) if self.CONTEXT == "ocr" else self.context(last)
            fused = self.within_image(x, context, fused)
        return self.stage2(fused), stage1, x

    def losses(
        self, features: list[Tensor], labels: Tensor, criterion: Criterion, position: TrainingPosition
    ) -> dict[str, Tensor]:
        """Weighted loss terms; the memory is updated, too."""
        stage2, stage1, x = self.stages(features)
        losses = {
            "stage2": criterion(stage2, labels),
            "stage1": self.stage1_weight * criterion(stage1, labels),
        }
        losses |= self.auxiliary_loss(features, labels, criterion)
        self.beyond_image.memory.update(x, labels, momentum=self.momentum(position))
        if self.consistency_weight and position.epoch >= self.consistency_epoch:
            losses["consistency"] = self.consistency_weight * self.consistency()
        return losses

    def momentum(self, position: TrainingPosition) -> float:
        """Falls as the authors' learning rate does, whose last value is not 0."""
        left = (1 - position.iteration / position.iterations) ** self.momentum_power
        return self.initial_momentum * (left + (1 - left) * self.final_momentum_share)

    def consistency(self) -> Tensor:
        """Cross entropy of stage 2 on the memory's vectors, those of classes never seen included."""
        vectors = self.beyond_image.memory.vectors
        logits = self.stage2(vectors.flatten(0, 1)[..., None, None]).flatten(1)
        classes = torch.arange(len(vectors), device=vectors.device).repeat_interleave(vectors.shape[1])
        return F.cross_entropy(logits, classes)


class MCIBIFCN(MCIBI):
    CONTEXT = "none"


class MCIBIPSPNet(MCIBI):
    CONTEXT = "ppm"


class MCIBIDeepLabV3(MCIBI):
    CONTEXT = "aspp"


class MCIBIOCRNet(MCIBI):
    CONTEXT = "ocr"


class BeyondImage(nn.Module):
    """Every pixel attends to the memory's vectors for the classes of all pixels."""

    def __init__(self, memory: ClassMemory, attention_width: int, *, hard: bool, act: layers.Activation):
        super().__init__()
        self.memory, self.hard = memory, hard
        _, count, width = memory.vectors.shape
        self.attentions = nn.ModuleList(
            SelfAttention(width, width, width, width=attention_width, act=act) for _ in range(count)
        )
        self.merge = ConvNormAct(count * width, width, act=act) if count > 1 else nn.Identity()
        self.fuse = ConvNormAct(2 * width, width, 3, act=act)

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        """``x`` (B, C, h, w) and ``logits`` (B, K, h, w) to (B, C, h, w)."""
        maps = self.memory.read(logits, hard=self.hard)
        attended = [attention(x, key) for attention, key in zip(self.attentions, maps, strict=True)]
        return self.fuse(torch.cat([x, self.merge(torch.cat(attended, dim=1))], dim=1))


class WithinImage(nn.Module):
    """Every pixel attends to the context within the image."""

    def __init__(self, width: int, attention_width: int, *, act: layers.Activation):
        super().__init__()
        self.attention = SelfAttention(width, width, width, width=attention_width, act=act)
        self.fuse = ConvNormAct(2 * width, width, 3, act=act)

    def forward(self, x: Tensor, context: Tensor, beyond: Tensor) -> Tensor:
        """(B, C, h, w) each, and the result."""
        return self.fuse(torch.cat([self.attention(x, context), beyond], dim=1))


def _classifier(width: int, num_classes: int, dropout: float, act: layers.Activation) -> nn.Module:
    return nn.Sequential(ConvNormAct(width, width, act=act), Classifier(width, num_classes, dropout=dropout))
