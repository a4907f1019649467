"""The batches of a training, as a function of the iteration: which images, in which order, how augmented.

Legend: ``B`` images per batch (with several processes: this one's part), ``h, w`` crop size.
"""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seglib.data.cache import pair_reader
from seglib.data.manifest import PreparedData
from seglib.data.samples import load_ahead, read_label
from seglib.experiment.recipe import Recipe
from seglib.numerics.seeds import derive_seed
from seglib.training.augment import Augmentation
from seglib.training.class_uniform import ANYWHERE, class_centres, draw_epoch


@dataclass(frozen=True)
class Batch:
    images: Tensor
    """(B, 3, h, w) uint8 RGB, channels last in memory."""
    labels: Tensor
    """(B, h, w) uint8."""
    ids: tuple[str, ...]
    """Ids of the images of all processes."""
    epoch: int

    def pin_memory(self) -> "Batch":
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())


class TrainSet:
    """The training split, in a new order each epoch; the images at its end that fill no batch are left out.

    ``fill``: colour (RGB, 0..255) of the padding. Draws depend on ``seed``, the epoch and the image's place
    among the samples only, hence neither on workers nor on where a training was resumed. ``cache``: folder
    for decoded pixels (see :mod:`seglib.data.cache`), on which no result depends. ``workers``: threads that
    read all labels first where the recipe samples classes uniformly.

    Process ``rank`` of ``processes`` gets its share of every batch: of each of the parts that the recipe
    accumulates, so that all processes' images together are at any time those of a single process.
    """

    def __init__(
        self,
        *,
        data: PreparedData,
        recipe: Recipe,
        seed: int,
        fill: tuple[int, int, int],
        cache: Path | None = None,
        workers: int = 0,
        rank: int = 0,
        processes: int = 1,
    ):
        manifest, self.samples = data.manifest, data.split("train")
        self.recipe, self.batch_size = recipe, recipe.batch_size
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
        self.own = np.arange(recipe.batch_size).reshape(recipe.accumulate, processes, -1)[:, rank].ravel()
        self.iterations = recipe.iterations or recipe.epochs * self.batches_per_epoch
        self.read = pair_reader(self.samples, cache)
        self.order = functools.lru_cache(maxsize=2)(self._order)
        self.centres = self._find_centres(manifest.num_classes, workers) if recipe.class_uniform else None

    def batch(self, iteration: int) -> Batch:
        epoch, number = divmod(iteration, self.batches_per_epoch)
        places = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        images, labels = zip(*(self.sample(int(place), epoch) for place in places[self.own]), strict=True)
        return Batch(
            images=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
            labels=torch.from_numpy(np.stack(labels)),
            ids=tuple(self.samples[index].id for index in self.order(epoch)[places, 0]),
            epoch=epoch,
        )

    def sample(self, place: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The crop at ``place`` in the order of ``epoch``: uint8 (h, w, 3) and label (h, w)."""
        index, *cover_yx = self.order(epoch)[place].tolist()
        if ANYWHERE in cover_yx:
            rng = np.random.default_rng(derive_seed(self.seed, "sample", epoch, index))
            return self.augment(*self.read(index), rng)
        # An image, and even a centre, may come several times in an epoch.
        rng = np.random.default_rng(derive_seed(self.seed, "sample", epoch, index, "place", place))
        return self.augment(*self.read(index), rng, cover_yx)

    def _order(self, epoch: int) -> np.ndarray:
        """Image, and row and column that its crop must show (:data:`ANYWHERE` if none), per place: (N, 3)."""
        rng = np.random.default_rng(derive_seed(self.seed, "order", epoch))
        if self.centres is not None:
            return draw_epoch(len(self.samples), self.centres, share=self.recipe.class_uniform, rng=rng)
        anywhere = np.full((len(self.samples), 3), ANYWHERE)
        anywhere[:, 0] = rng.permutation(len(self.samples))
        return anywhere

    def _find_centres(self, num_classes: int, workers: int) -> list[np.ndarray]:
        """Per class the image, row and column (M, 3) of its centres."""

        def centres(index: int) -> np.ndarray:
            label = read_label(self.samples[index])
            places = class_centres(label, num_classes=num_classes, tile=self.recipe.class_uniform_tile)
            return np.insert(places, 1, index, axis=1)

        everything = np.concatenate(list(load_ahead(centres, range(len(self.samples)), workers=workers)))
        return [everything[everything[:, 0] == c, 1:] for c in range(num_classes)]
