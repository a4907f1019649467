"""A model's losses on several processes; gradients are averaged over them while others are computed."""

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seglib.models.segmentor import Segmentor


class Parallel(DistributedDataParallel):
    """Called like :meth:`Segmentor.losses` of ``model``."""

    def __init__(self, model: Segmentor):
        # HRNet has parameters that no loss reaches under some methods, so torch must look for them in each
        # step. Otherwise it would reorder the gradients after its first step: in the first step after a stop,
        # those of three or more processes would be added in another order, and rounded otherwise.
        super().__init__(_Losses(model), find_unused_parameters=True, gradient_as_bucket_view=True)
        # Not from the first process before each pass: batch norms and memories are equal by themselves.
        self.broadcast_buffers = False


class _Losses(nn.Module):
    def __init__(self, model: Segmentor):
        super().__init__()
        self.model = model
        # Torch warns if every parameter is reached. This one never is; it is neither saved nor optimised.
        self.unreached = nn.Parameter(torch.zeros(1, device=next(model.parameters()).device))

    def forward(self, *arguments) -> dict[str, Tensor]:
        return self.model.losses(*arguments)
