"""MCIBI's memory: V vectors for each class, moved toward the features of that class in every batch.

The authors enlarge the features to the size of the labels, (B, C, H, W): 8 GiB for 16 crops of 512x512 at 512
channels. Here they keep their size, and the result is the same: bilinear upsampling is linear. With ``U`` the
shares of the (at most four) features x_q that make up a pixel f_p = sum_q U_pq x_q, and ``m`` a vector:

    dot products   f_p . m      = sum_q U_pq (x_q . m)           few products, then upsampled
    norms          |f_p|^2      = sum_qr U_pq U_pr (x_q . x_r)   q and r are neighbours: five maps of products
    weighted sums  sum_p w_p f_p = sum_q (sum_p w_p U_pq) x_q    each pixel adds its weight to its features

So there is one number per pixel at the size of the labels, and no loop over images or classes. An update for
those 16 crops takes 0.3 GiB beside the features (benchmarks/heads.py).

``index_add_``, which adds the weights, is deterministic on CUDA under
``torch.use_deterministic_algorithms(True)``; the rest always is.

Legend: `B` batch, `C` channels, `K` classes, `V` vectors per class, `H, W` label size, `h, w` feature size.
"""

from collections.abc import Iterator
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.data.label_formats import IGNORE_INDEX
from seglib.models.layers import upsampling
from seglib.numerics.collectives import sum_over_processes, world_size

CLUSTER_STEPS = 10
"""Iterations of k-means."""
SPLIT = 0.5
"""Distance of the first centres of k-means from the class mean, as a share of each of its components."""

Rule = Literal["cosine", "mean"]
Start = Literal["first_batch", "zeros", "kmeans"]


class ClassMemory(nn.Module):
    """``rule`` weighs the pixels of a class: ``cosine`` by 1 - cosine similarity to the vector, so that the
    less a pixel is like the memory the more it counts; ``mean`` equally. Of several vectors, a pixel counts
    for the nearest by cosine.

    ``start`` says how a class that was never seen, whose vectors are 0, gets its first ones. ``first_batch``:
    each batch sets one vector to the class's mean, until all are set. ``zeros``: they move from 0 like any
    other. ``kmeans``: the first batch that has the class sets all of them to centres of its pixels.

    Over several processes an update is that of one process with all their images.

    ``author_exact`` repeats three side effects of the author code: the gradient of a soft read is that of the
    memory after the step's update; of several vectors, those without a pixel shrink when their class is
    updated; each process moves its own vectors, which are then averaged, so that the vectors of a new class
    that some processes' images lack come out too short. It does not repeat a fourth: in the author code the
    consistency loss classifies each process's own vectors, before they are averaged.
    """

    def __init__(
        self,
        num_classes: int,
        width: int,
        *,
        vectors_per_class: int = 1,
        rule: Rule = "cosine",
        start: Start = "first_batch",
        author_exact: bool = False,
    ):
        super().__init__()
        if vectors_per_class < 1:
            raise ValueError(f"vectors_per_class is {vectors_per_class}, must be at least 1")
        if start == "zeros" and vectors_per_class > 1:
            raise ValueError(
                "vectors that start from zeros are equally near to every pixel, so that one would take all; "
                "choose first_batch or kmeans, or set vectors_per_class to 1"
            )
        self.rule, self.start, self.author_exact = rule, start, author_exact
        self.register_buffer("vectors", torch.zeros(num_classes, vectors_per_class, width))

    def read(self, logits: Tensor, *, hard: bool = False) -> list[Tensor]:
        """V maps (B, C, h, w) for ``logits`` (B, K, h, w): at each pixel the vectors of all classes, averaged
        by probability; with ``hard``, those of the likeliest class.
        """
        # The backward pass reads them after this step's update: the copy, or (data) the updated vectors.
        vectors = self.vectors.data.flatten(1) if self.author_exact else self.vectors.flatten(1).clone()
        if hard:
            maps = F.embedding(logits.argmax(1), vectors).permute(0, 3, 1, 2)
        else:
            probabilities = logits.softmax(1).flatten(2)
            maps = (vectors.T @ probabilities).unflatten(2, logits.shape[-2:])
        return list(maps.chunk(self.vectors.shape[1], dim=1))

    @torch.no_grad()
    def update(self, x: Tensor, labels: Tensor, *, momentum: float) -> None:
        """Move each vector by ``momentum`` (0..1) toward the weighted mean of its pixels, if it has any.

        ``x`` (B, C, h, w), taken as upsampled (bilinear, align_corners=False) to the size of ``labels``
        (B, H, W) int64, 255 = ignore. Computed in the precision of the memory.
        """
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.vectors.dtype)
            empty = ~self.vectors.any(2)
            set_now = self._cluster(x, labels, empty) if self.start == "kmeans" else torch.zeros_like(empty)
            means, weights = self._means(x, labels, self.vectors, self.rule)
            moving = weights > 0
            if self.author_exact:  # all vectors of a class, if its pixels set none; towards 0 without pixels
                moving |= moving.any(1, keepdim=True) & ~empty.any(1, keepdim=True)
            step = torch.full_like(weights, momentum)
            if self.start == "first_batch":
                step[empty] = 1
            self.vectors.lerp_(means, step.where(moving & ~set_now, 0)[..., None])
            if self.author_exact and world_size() > 1:
                # Not in place: the backward pass reads the old ones.
                self.vectors = sum_over_processes(self.vectors / world_size())

    def _means(self, x: Tensor, labels: Tensor, vectors: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
        """Weighted means (K, V, C) of the pixels of each vector, 0 without any; sums of weights (K, V)."""
        sums, weights = class_sums(x, labels, vectors, rule)
        if not self.author_exact:
            sum_over_processes(sums)
            sum_over_processes(weights)
        return sums / weights.clamp_min(torch.finfo(weights.dtype).tiny)[..., None], weights

    def _cluster(self, x: Tensor, labels: Tensor, empty: Tensor) -> Tensor:
        """Set the vectors of classes that are new in this batch; returns which were set (K, V)."""
        if not empty.any():
            return empty
        means, weights = self._means(x, labels, torch.zeros_like(self.vectors), "mean")
        new = empty & (weights[:, :1] > 0)
        if new.any():
            # The same on every process and in every step.
            noise = 2 * torch.rand(self.vectors.shape[1:], generator=torch.Generator().manual_seed(0)) - 1
            centres = means[:, :1] * (1 + SPLIT * noise.to(means))
            for _ in range(CLUSTER_STEPS):
                means, weights = self._means(x, labels, centres, "mean")
                centres = torch.where((weights > 0)[..., None], means, centres)
            self.vectors.copy_(torch.where(new[..., None], centres, self.vectors))
        return new


def class_sums(x: Tensor, labels: Tensor, vectors: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    """Weighted sums (K, V, C) of the pixels that count for each of ``vectors`` (K, V, C), and the sums of
    their weights (K, V); ``x`` and ``labels`` as in :meth:`ClassMemory.update`.

    While some of a class's vectors are 0, its pixels count, equally, for the first of these.
    """
    batch, _, height, width = x.shape
    num_classes, count, _ = vectors.shape
    per_feature = num_classes * count
    rows, columns = upsampling(height, labels.shape[1], x), upsampling(width, labels.shape[2], x)
    corners = list(_corners(rows, columns))
    features = x.permute(0, 2, 3, 1).flatten(1, 2)

    # Flat by image, feature, class and vector; ``begin``: where the products of a pixel's class begin.
    products = (features @ F.normalize(vectors, dim=2).flatten(0, 1).T).flatten()
    labelled = labels != IGNORE_INDEX
    classes = labels.where(labelled, 0)
    image = torch.arange(batch, device=x.device).view(-1, 1, 1)
    begin = image * (height * width * per_feature) + classes * count

    dots = torch.stack(
        [
            sum(share * products.take(begin + (feature * per_feature + v)) for feature, share in corners)
            for v in range(count)
        ]
    )
    if count > 1:
        unset = ~vectors.any(2)
        first_unset = unset.int().argmax(1)
        vector = torch.where(unset.any(1)[classes], first_unset[classes], dots.argmax(0))
        dots = dots.gather(0, vector[None])
        begin += vector

    weights = labelled.to(x.dtype)
    if rule == "cosine":
        norms = _squared_norms(x, rows, columns).clamp_min(torch.finfo(x.dtype).tiny).sqrt()
        # Not 0, so that pixels which all equal the vector have a mean.
        weights *= (1 - dots[0] / norms).clamp_min(torch.finfo(x.dtype).eps)
    received = torch.zeros_like(products)
    for feature, share in corners:
        received.index_add_(0, (begin + feature * per_feature).flatten(), (weights * share).flatten())
    received = received.view(batch, height * width, per_feature)
    sums = (received.mT @ features).sum(0)
    return sums.view_as(vectors), received.sum((0, 1)).view(num_classes, count)


def _corners(rows: Tensor, columns: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Index in a map and share, both (H, W), of each of the features that make up a pixel."""
    (row_shares, row), (column_shares, column) = (m.topk(min(2, m.shape[1])) for m in (rows, columns))
    for i, j in product(range(row.shape[1]), range(column.shape[1])):
        yield row[:, i, None] * columns.shape[1] + column[:, j], row_shares[:, i, None] * column_shares[:, j]


def _squared_norms(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Squared norms (B, H, W) of the pixels of ``x`` (B, C, h, w) upsampled by these matrices.

    |a + b|^2 = |a|^2 + 2 a.b + |b|^2, first along columns, then along rows: products of neighbours suffice.
    """
    x = x.permute(0, 2, 3, 1)
    upper, lower = x[:, :-1], x[:, 1:]
    left, right = slice(None, -1), slice(1, None)
    (row_self, row_next), (column_self, column_next) = (
        (m.square(), 2 * m[:, left] * m[:, right]) for m in (rows, columns)
    )

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(3)

    diagonals = dot(upper[:, :, left], lower[:, :, right]) + dot(upper[:, :, right], lower[:, :, left])
    squares = torch.linalg.vector_norm(x, dim=3).square()  # without a temporary of the size of the features
    within = squares @ column_self.T + dot(x[:, :, left], x[:, :, right]) @ column_next.T
    between = dot(upper, lower) @ column_self.T + diagonals @ column_next.T / 2
    return row_self @ within + row_next @ between
