"""A model's losses on several processes; gradients are averaged over them while others are computed."""

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seglib.models.segmentor import Segmentor


class Parallel(DistributedDataParallel):
    """Called like :meth:`Segmentor.losses` of ``model``."""

    def __init__(self, model: Segmentor):
        # Torch looks in each step for parameters that no loss reaches, as HRNet has under some methods. Where
        # it need not look, it orders the gradients anew after its first step: of three or more processes they
        # would then be added in another order, and rounded otherwise, in the first step after a stop.
        super().__init__(_Losses(model), find_unused_parameters=True, gradient_as_bucket_view=True)
        # Not from the first process before each pass: batch norms and memories are equal by themselves.
        self.broadcast_buffers = False


class _Losses(nn.Module):
    def __init__(self, model: Segmentor):
        super().__init__()
        self.model = model
        # Torch warns where it looks and finds none: it finds this one, which is neither saved nor optimised.
        self.unreached = nn.Parameter(torch.zeros(1, device=next(model.parameters()).device))

    def forward(self, *arguments) -> dict[str, Tensor]:
        return self.model.losses(*arguments)
