"""Batch norm over all images that a step sees, on one device or several.

Legend: `B` images of this process, `C` channels.
"""

from functools import partial

import torch
from torch import Tensor, nn

from seglib.experiment.recipe import Recipe
from seglib.models import torchvision_ops
from seglib.numerics.collectives import average_over_processes, world_size

torchvision_ops.ensure()

from timm.layers import convert_sync_batchnorm  # noqa: E402


def images_seen(recipe: Recipe, *, processes: int) -> int:
    """Images over which a batch norm averages in a training of ``recipe`` by ``processes``.

    Raises ``ValueError`` unless processes x images per process x ``accumulate`` give ``batch_size``, and the
    result is ``norm_batch_size``: accumulating keeps the size of a step, but not that of a batch norm.
    """
    batch_size, accumulate = recipe.batch_size, recipe.accumulate
    together = batch_size // accumulate
    if together % processes:
        valid = ", ".join(str(n) for n in range(1, together + 1) if together % n == 0)
        raise ValueError(
            f"recipe.batch_size {batch_size} with accumulate {accumulate} does not split over {processes} "
            f"processes; start {valid} of them (torchrun --nproc-per-node), or change accumulate"
        )
    seen = together if recipe.sync_batch_norm else together // processes
    if recipe.norm_batch_size not in (None, seen):
        apart = "" if recipe.sync_batch_norm else f", {processes} processes without sync_batch_norm"
        raise ValueError(
            f"batch norm would see {seen} images at a time (batch_size {batch_size}, accumulate {accumulate}"
            f"{apart}), not recipe.norm_batch_size {recipe.norm_batch_size}; spread the batch over more "
            f"devices instead, or accept it with norm_batch_size {seen}"
        )
    return seen


def synchronise(model: nn.Module, device: torch.device) -> nn.Module:
    """Let the batch norms of ``model`` average over all processes. Parameters keep their names.

    On a GPU these are torch's ``nn.SyncBatchNorm``, which refuses the CPU's tensors.
    """
    if device.type == "cuda":
        return convert_sync_batchnorm(model)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = partial(_forward, module, module.forward)
    return model


def _forward(norm: nn.modules.batchnorm._BatchNorm, plain, x: Tensor) -> Tensor:
    """Batch norm of ``x`` (B, C, ...), equally large on every process; then the additions of timm's norms.

    Two passes, mean and then variance, so that no digits cancel.
    """
    if not norm.training:
        return plain(x)
    axes = [0, *range(2, x.ndim)]
    shape = [1, -1] + [1] * (x.ndim - 2)
    count = world_size() * x.numel() // x.shape[1]
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
    wide = x.to(torch.promote_types(x.dtype, norm.weight.dtype))
    mean = average_over_processes(wide.mean(axes))
    centred = wide - mean.view(shape)
    variance = average_over_processes(centred.square().mean(axes))
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    normalised = (centred * scale.view(shape) + norm.bias.view(shape)).to(x.dtype)
    for name in ("drop", "act"):
        if hasattr(norm, name):
            normalised = getattr(norm, name)(normalised)
    return normalised
