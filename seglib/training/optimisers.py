"""Optimiser, parameter groups and learning rate of a recipe."""

import torch
from torch import nn

from seglib.experiment.recipe import Recipe


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW over the trained parameters of ``model``, which has the parts ``encoder`` and ``method``.

    Each group holds its ``lr_factor``; :func:`set_learning_rate` must run before each step.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            in_backbone = name.startswith("encoder.")
            factor = recipe.backbone_lr_factor if in_backbone else recipe.head_lr_factor
            # Biases, the scales of norms and layer scales are the parameters of one dimension.
            decays = recipe.decay_norm_bias or parameter.ndim > 1
            groups.setdefault((factor, recipe.weight_decay if decays else 0.0), []).append(parameter)
    settings = [
        {"params": parameters, "lr_factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=recipe.lr, momentum=recipe.momentum)
    return torch.optim.AdamW(settings, lr=recipe.lr)


def learning_rate(recipe: Recipe, iteration: int, iterations: int) -> float:
    """Polynomial decay from ``lr`` at iteration 0 to ``min_lr`` at ``iterations``, after a linear warm-up."""
    decay = (1 - iteration / iterations) ** recipe.poly_power
    warmup = min(1.0, (iteration + 1) / recipe.warmup_iterations) if recipe.warmup_iterations else 1.0
    return warmup * (recipe.min_lr + (recipe.lr - recipe.min_lr) * decay)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
