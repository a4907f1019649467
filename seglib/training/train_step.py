"""One optimiser step of a training: forward, backward and update of one batch.

Legend: `B` images per step (with several processes: this one's part), `H, W` crop size.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from seglib.experiment.cell import Cell
from seglib.models.segmentor import TrainingPosition, build_segmentor
from seglib.numerics.collectives import rank, sum_over_processes, world_size
from seglib.numerics.devices import explain_out_of_memory
from seglib.numerics.precision import autocast, keep_depthwise_in_float32
from seglib.numerics.seeds import derive_seed, training_seed
from seglib.training.batch_norm import synchronise
from seglib.training.ddp import Parallel
from seglib.training.losses import build_criterion
from seglib.training.optimisers import build_optimizer, learning_rate, set_learning_rate
from seglib.training.training_set import Batch


class NotFiniteError(ValueError):
    """The loss or a gradient is NaN or infinite. The weights are still those of before the step."""


class Stepper:
    """A cell's model with its optimiser. ``weights``: the file that the cell's backbone names, if any."""

    def __init__(self, *, cell: Cell, num_classes: int, weights: Path | None, device: torch.device):
        recipe, backbone = cell.recipe, cell.backbone
        if weights is not None:
            if backbone.weights in (None, "imagenet"):
                raise ValueError(
                    f"--weights {weights}: the cell starts from {backbone.weights or 'random'} weights"
                )
            backbone = replace(backbone, weights=str(weights))
        self.recipe, self.device = recipe, device
        self.seed = training_seed(cell)
        torch.manual_seed(derive_seed(self.seed, "init"))
        model = build_segmentor(
            method=cell.method,
            method_options=cell.method_options,
            backbone=backbone,
            num_classes=num_classes,
        )
        self.criterion = build_criterion(recipe.loss)
        if world_size() > 1 and recipe.sync_batch_norm:
            model = synchronise(model, device)
        if device.type == "cpu" and recipe.precision == "bf16":
            keep_depthwise_in_float32(model)
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.model = model.to(device=device, memory_format=layout).train()
        self.parallel, losses = None, self.model.losses
        if world_size() > 1:
            losses = self.parallel = Parallel(self.model)
        self.losses = torch.compile(losses) if recipe.compile else losses
        self.optimizer = build_optimizer(self.model, recipe)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")

    @property
    def padding_color(self) -> tuple[int, int, int]:
        """RGB, 0..255: the colour that the normalisation turns into 0."""
        return tuple(round(255 * value) for value in self.model.encoder.mean)

    def step(self, batch: Batch, position: TrainingPosition) -> dict[str, float]:
        """Update the weights with ``batch``; the values of the loss terms and ``loss``, their sum.

        With ``accumulate``, each part of the batch is averaged over its own labelled pixels, and the parts
        over one another. Of several processes each has its part of ``batch``, and all return the same. Raises
        :class:`NotFiniteError`, and ``ValueError`` when memory does not suffice.
        """
        lr = learning_rate(self.recipe, position.iteration, position.iterations)
        set_learning_rate(self.optimizer, lr)
        torch.manual_seed(derive_seed(self.seed, "step", position.iteration, "rank", rank()))
        parts = self.recipe.accumulate
        totals: dict[str, Tensor] = {}
        with explain_out_of_memory(
            self.device, self._describe_size(), "raise recipe.accumulate or lower crop_hw"
        ):
            for part, (images, labels) in enumerate(self._parts_on_device(batch), start=1):
                with self._gradients_stay_here(until=part == parts):
                    with autocast(self.recipe.precision, self.device):
                        terms = self.losses(images, labels, self.criterion, position)
                        loss = sum(terms.values())
                    self.scaler.scale(loss / parts).backward()
                for name, term in {**terms, "loss": loss}.items():
                    wide = term.detach().to(torch.promote_types(term.dtype, torch.float32))
                    totals[name] = totals.get(name, 0.0) + wide / parts
            norm = self._clip_gradients()
            # Read when all work is queued, so that a GPU does not wait for the reading.
            means = sum_over_processes(torch.stack([*totals.values(), norm])) / world_size()
            *means, norm = means.tolist()
            values = dict(zip(totals, means, strict=True))
            if not math.isfinite(values["loss"]):
                raise NotFiniteError(_describe_failure("the loss", values, position.iteration, lr, batch))
            # In float16 the scaler skips such a step, and lowers its scale.
            if not math.isfinite(norm) and not self.scaler.is_enabled():
                raise NotFiniteError(_describe_failure("a gradient", values, position.iteration, lr, batch))
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
        return values

    def _clip_gradients(self) -> Tensor:
        """Clip to the recipe's norm, if it has one; the norm before that, a scalar."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        limit = self.recipe.clip_grad_norm
        if limit is not None:
            self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        if limit is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return norm

    def _gradients_stay_here(self, *, until: bool) -> AbstractContextManager:
        """Gradients are averaged over processes with the last part of a batch only."""
        return nullcontext() if self.parallel is None or until else self.parallel.no_sync()

    def _parts_on_device(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
        """The batch in ``accumulate`` equal parts: images uint8 (b, 3, H, W), labels int64 (b, H, W)."""
        layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        size = len(batch.images) // self.recipe.accumulate
        for images, labels in zip(batch.images.split(size), batch.labels.split(size), strict=True):
            yield (
                images.to(self.device, memory_format=layout, non_blocking=True),
                labels.to(self.device, non_blocking=True).long(),
            )

    def _describe_size(self) -> str:
        height, width = self.recipe.crop_hw
        images = self.recipe.batch_size // self.recipe.accumulate // world_size()
        return f"training on {images} crops of {height}x{width} at a time in {self.recipe.precision}"


def _describe_failure(what: str, values: dict[str, float], iteration: int, lr: float, batch: Batch) -> str:
    terms = ", ".join(f"{name} {value:g}" for name, value in values.items())
    return (
        f"{what} is not finite in iteration {iteration} ({terms}), learning rate {lr:g}, images "
        f"{', '.join(batch.ids)}; lower recipe.lr, or set warmup_iterations, clip_grad_norm or precision"
    )
