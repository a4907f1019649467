"""FCN: "Fully Convolutional Networks for Semantic Segmentation" (1411.4038).

Convolutions classify each position of the last stage of a dilated encoder; there are no skip connections.

Sources of each part: `FIDELITY`. "Author code" is that of ISNet and MCIBI (sssegmentation, fcn.py), whose
baseline has this form.

Legend: `B` batch, `C` channels, `K` classes, `h, w` feature size.
"""

from torch import Tensor

from seglib.models.auxiliary import HeadWithAuxiliary
from seglib.models.layers import FCNHead
from seglib.models.segmentor import require_stages


class FCN(HeadWithAuxiliary):
    """``width``: channels of the convolutions; ``auxiliary_weight`` 0 leaves out the auxiliary head."""

    FIDELITY = (
        ("decoder", "author code", "two 3x3 convolutions to 512, BN, ReLU; no skip connections"),
        ("classifier", "author code", "channel dropout 0.1, 1x1 convolution"),
        ("auxiliary head", "author code", "on the last stage but one (C4), loss weight 0.4"),
        (
            "upsampling",
            "author code",
            "bilinear, align_corners=False; the paper's is learned and adds C3 and C4",
        ),
        ("initial head weights", "author code", "torch's defaults"),
    )

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_classes: int,
        width: int = 512,
        convs: int = 2,
        dropout: float = 0.1,
        auxiliary_weight: float = 0.4,
    ):
        super().__init__()
        self.decoder = FCNHead(channels[-1], width, num_classes, convs=convs, dropout=dropout)
        self.auxiliary_weight = auxiliary_weight
        if auxiliary_weight:
            require_stages(strides, 2, way_out="set auxiliary_weight to 0")
            self.auxiliary = FCNHead(channels[-2], width, num_classes, dropout=dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """(B, K, h, w) at the size of the last stage."""
        return self.decoder(features[-1])
