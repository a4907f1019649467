"""PSPNet: "Pyramid Scene Parsing Network" (1612.01105).

Averages of the features over grids of 1, 2, 3 and 6 cells a side give each pixel context of several sizes.

Sources of each part: `FIDELITY`. "Author code" is that of ISNet and MCIBI (sssegmentation, pspnet.py and
ppm.py), which has PSPNet as a baseline.

Legend: `B` batch, `C` channels, `K` classes, `h, w` feature size.
"""

from torch import Tensor

from seglib.models.auxiliary import HeadWithAuxiliary
from seglib.models.layers import Classifier, FCNHead, PyramidPooling
from seglib.models.segmentor import require_stages


class PSPNet(HeadWithAuxiliary):
    """``width``: channels of branches and bottleneck; ``auxiliary_weight`` 0: no auxiliary head."""

    FIDELITY = (
        ("pooled sizes", "paper", "1, 2, 3 and 6 cells a side (section 3.2)"),
        ("branches", "author code", "1x1 convolution to 512, BN, ReLU; a quarter of 2048 in the paper"),
        ("bottleneck", "author code", "3x3 convolution to 512 of input and upsampled averages, BN, ReLU"),
        ("classifier", "author code", "channel dropout 0.1, 1x1 convolution"),
        ("auxiliary head", "paper", "on the last stage but one (C4), loss weight 0.4 (section 3.3)"),
        ("averaging", "own choice", "two matrix products: the same function with a deterministic gradient"),
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
        self.pool = PyramidPooling(channels[-1], width, bins=tuple(bins))
        self.classifier = Classifier(width, num_classes, dropout=dropout)
        self.auxiliary_weight = auxiliary_weight
        if auxiliary_weight:
            require_stages(strides, 2, way_out="set auxiliary_weight to 0")
            self.auxiliary = FCNHead(channels[-2], width, num_classes, dropout=dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, K, h, w) at the size of the last stage."""
        return self.classifier(self.pool(features[-1]))
