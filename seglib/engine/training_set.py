"""The batches of a training, as a function of the iteration: which images, in which order, how augmented.

Legend: ``B`` images per batch, ``h, w`` crop size.
"""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seglib.cell import Recipe
from seglib.engine.augment import Augmentation
from seglib.engine.loading import Manifest
from seglib.engine.pixel_cache import pair_reader
from seglib.engine.randomness import derive_seed


@dataclass(frozen=True)
class Batch:
    images: Tensor
    """(B, 3, h, w) uint8 RGB, channels last in memory."""
    labels: Tensor
    """(B, h, w) uint8."""
    ids: tuple[str, ...]
    epoch: int

    def pin_memory(self) -> "Batch":
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())


class TrainSet:
    """The training split, in a new order each epoch; images that fill no batch at its end are left out.

    ``fill``: colour (RGB, 0..255) of the padding. Draws depend on ``seed``, the epoch and the image's place
    in the manifest only, hence neither on workers nor on where a training was resumed. ``cache``: folder for
    decoded pixels (see :mod:`seglib.engine.pixel_cache`), on which nothing depends.
    """

    def __init__(
        self,
        *,
        manifest: Manifest,
        recipe: Recipe,
        seed: int,
        fill: tuple[int, int, int],
        cache: Path | None = None,
    ):
        self.samples = manifest.split("train")
        self.batch_size = recipe.batch_size
        self.seed = seed
        self.augment = Augmentation(
            recipe=recipe, flip_pairs=manifest.flip_pairs, fill=fill, ignore_index=manifest.ignore_index
        )
        self.batches_per_epoch = len(self.samples) // recipe.batch_size
        if self.batches_per_epoch == 0:
            raise ValueError(
                f"recipe.batch_size {recipe.batch_size} is more than the {len(self.samples)} training images "
                f"of {manifest.dataset}; lower it"
            )
        self.iterations = recipe.iterations or recipe.epochs * self.batches_per_epoch
        self.read = pair_reader(self.samples, cache)
        self.order = functools.lru_cache(maxsize=2)(self._order)

    def batch(self, iteration: int) -> Batch:
        epoch, place = divmod(iteration, self.batches_per_epoch)
        indices = self.order(epoch)[place * self.batch_size :][: self.batch_size]
        images, labels = zip(*(self.sample(int(index), epoch) for index in indices), strict=True)
        return Batch(
            images=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
            labels=torch.from_numpy(np.stack(labels)),
            ids=tuple(self.samples[index].id for index in indices),
            epoch=epoch,
        )

    def sample(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Image ``index`` as augmented in ``epoch``: uint8 (h, w, 3) and label (h, w)."""
        rng = np.random.default_rng(derive_seed(self.seed, "sample", epoch, index))
        return self.augment(*self.read(index), rng)

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(derive_seed(self.seed, "order", epoch)).permutation(len(self.samples))
