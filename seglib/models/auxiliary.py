"""Methods with an auxiliary head on the last stage but one (C4), as in the author code base (sssegmentation).

Legend: `B` batch, `C` channels, `H, W` label size, `h, w` feature size.
"""

from torch import Tensor, nn

from seglib.models.segmentor import Criterion, DecodeHead, TrainingPosition


class HeadWithAuxiliary(DecodeHead):
    """Losses of the output and, unless ``auxiliary_weight`` is 0, of the logits of ``auxiliary``."""

    auxiliary_weight: float
    auxiliary: nn.Module
    """The head on features (B, C, h, w) of the last stage but one; absent where its weight is 0."""

    def losses(
        self, features: list[Tensor], labels: Tensor, criterion: Criterion, position: TrainingPosition
    ) -> dict[str, Tensor]:
        main = criterion(self(features), labels)
        return {"main": main, **self.auxiliary_loss(features, labels, criterion)}

    def auxiliary_loss(
        self, features: list[Tensor], labels: Tensor, criterion: Criterion
    ) -> dict[str, Tensor]:
        """The weighted term ``auxiliary``, or none."""
        if not self.auxiliary_weight:
            return {}
        return {"auxiliary": self.auxiliary_weight * criterion(self.auxiliary(features[-2]), labels)}
