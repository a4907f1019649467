"""A model's losses on several processes; gradients are averaged over them while others are computed."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seglib.models.segmentor import Criterion, Progress, Segmentor


class Parallel(DistributedDataParallel):
    """Called like :meth:`Segmentor.losses` of ``model``. ``some_unreached``: see below."""

    def __init__(self, model: Segmentor, *, some_unreached: bool):
        super().__init__(_Losses(model), find_unused_parameters=some_unreached, gradient_as_bucket_view=True)
        # Not from the first process before each pass: batch norms and memories are equal by themselves.
        self.broadcast_buffers = False


class _Losses(nn.Module):
    def __init__(self, model: Segmentor):
        super().__init__()
        self.model = model

    def forward(self, *arguments) -> dict[str, Tensor]:
        return self.model.losses(*arguments)


def some_unreached(model: Segmentor, criterion: Criterion) -> bool:
    """Whether ``model``, on the CPU, has parameters without a gradient, as HRNet under some methods.

    Torch would wait for their gradients. It can look for them in every step, but warns where there are none.
    """
    twin = copy.deepcopy(model).train()
    images, labels = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.zeros(2, 64, 64, dtype=torch.int64)
    progress = Progress(iteration=0, iterations=1, epoch=0)
    sum(twin.losses(images, labels, criterion, progress).values()).backward()
    return any(parameter.grad is None for parameter in twin.parameters() if parameter.requires_grad)
