"""Class scores of pixels, averaged over views of an image: scales, each also mirrored, whole or in windows.

Each view's logits are resized to the image's size (bilinear), turned into probabilities, and averaged, as in
mmsegmentation. The ISNet and MCIBI authors' code averages logits in some configurations, in others
probabilities taken before any resizing (``use_probs_before_resize``): hence the protocol's ``average``.
Where windows of ``slide`` overlap, their logits (or early probabilities) are averaged, so that each pixel
counts once. Two known differences to that code, both small: it rounds the image to 8 bits after the first
resizing, and resizes a second time for every scale but 1.

Legend: `B` batch, `K` classes, `H, W` image size, `h, w` size of a view.
"""

import itertools

import torch
from torch import Tensor

from seglib.experiment.recipe import Protocol
from seglib.models.layers import resize
from seglib.models.segmentor import Segmentor
from seglib.numerics.sizes import scaled_size


def average_views(
    segmentor: Segmentor, images: Tensor, *, protocol: Protocol, flip_pairs: tuple[tuple[int, int], ...]
) -> Tensor:
    """The sum over the views of probabilities (or logits) (B, K, H, W) of images (B, 3, H, W), 0..255."""
    size = images.shape[-2:]
    mirrors = (False, True) if protocol.flip else (False,)
    views = list(itertools.product(view_sizes(size, protocol), mirrors))
    total = None
    for view_size, mirrored in views:
        view = resize(images, view_size)
        if mirrored:
            view = view.flip(-1)
        if protocol.mode == "slide":
            logits = _slide(segmentor, view, protocol)
        else:
            logits = _early(_logits(segmentor, view), protocol)
        if mirrored:
            logits = logits.flip(-1)
            logits = _swap(logits, flip_pairs)  # in two steps, so that only one copy exists at a time
        logits = resize(logits, size)
        if protocol.average == "probabilities" and len(views) > 1:
            # In place: at 150 classes one map of 1024x2048 is 1.3 GB.
            logits.sub_(logits.amax(1, keepdim=True)).exp_().div_(logits.sum(1, keepdim=True))
        total = logits if total is None else total.add_(logits)
    return total


def view_sizes(size_hw: tuple[int, int], protocol: Protocol) -> list[tuple[int, int]]:
    """The size of each scale of an image."""
    return [
        scaled_size(size_hw, protocol.resize_hw, scale=scale, keep_aspect=protocol.keep_aspect)
        for scale in protocol.scales
    ]


def _logits(segmentor: Segmentor, images: Tensor) -> Tensor:
    """Logits at the method's own resolution, so that they are resized once."""
    return segmentor.method(segmentor.encoder(segmentor.normalise(images))).float()


def _early(logits: Tensor, protocol: Protocol) -> Tensor:
    """Early probabilities (author code, ``use_probs_before_resize``) if the protocol says so, else logits."""
    return logits.softmax(1) if protocol.average == "early_probabilities" else logits


def _slide(segmentor: Segmentor, view: Tensor, protocol: Protocol) -> Tensor:
    """Logits, or early probabilities (B, K, h, w): the mean over the windows that cover a pixel."""
    rows, columns = (
        _windows(length, crop, stride)
        for length, crop, stride in zip(view.shape[-2:], protocol.crop_hw, protocol.stride_hw, strict=True)
    )
    total = None
    count = torch.zeros(view.shape[-2:], device=view.device)
    for row, column in itertools.product(rows, columns):
        window = view[..., row, column]
        logits = _early(resize(_logits(segmentor, window), window.shape[-2:]), protocol)
        if total is None:
            total = logits.new_zeros(*logits.shape[:2], *view.shape[-2:])
        total[..., row, column] += logits
        count[row, column] += 1
    return total.div_(count)


def _windows(length: int, crop: int, stride: int) -> list[slice]:
    """Windows of ``crop`` (or all) of ``length`` pixels, ``stride`` apart, the last one moved back to fit."""
    crop = min(crop, length)
    starts = [min(start, length - crop) for start in range(0, length - crop + stride, stride)]
    return [slice(start, start + crop) for start in dict.fromkeys(starts)]


def _swap(logits: Tensor, flip_pairs: tuple[tuple[int, int], ...]) -> Tensor:
    if not flip_pairs:
        return logits
    order = list(range(logits.shape[1]))
    for a, b in flip_pairs:
        order[a], order[b] = b, a
    return logits[:, order]
