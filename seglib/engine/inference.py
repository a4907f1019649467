"""Label maps of one split: ``python -m seglib predict --model DIR --data DIR --split val --out DIR``.

An image is seen in one or more views: scales, each also mirrored. Each view's logits are resized to the
label's size (bilinear), turned into probabilities, and averaged; the most probable class is written. So does
mmsegmentation. The ISNet and MCIBI authors' code averages probabilities in some configurations and logits in
others (``use_probs_before_resize``), hence the protocol's ``average``; with one view both are the same. Where
windows of ``slide`` overlap, their logits are averaged. Everything is float32, whatever the training used.

Legend: `B` batch, `K` classes, `H, W` image and label size, `h, w` size of a view.
"""

import itertools
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from seglib import provenance, sources
from seglib.cell import Cell, Protocol
from seglib.engine.devices import choose_device, explain_out_of_memory, peak_memory_gib, set_arithmetic
from seglib.engine.loading import load_ahead, read_image, read_manifest
from seglib.engine.sizes import scaled_size
from seglib.files import atomic_folder, sha256_file, write_json
from seglib.models.segmentor import Segmentor, build_segmentor
from seglib.progress import track
from seglib.seals import seal


def run(
    *, model: Path, data: Path, split: str, protocol: Protocol, out: Path, device: str, workers: int
) -> None:
    """Write the label map of each image of ``split`` as ``out/<id>.png``: palette PNG, class ids, label size.

    ``model``: folder with ``cell.json`` and ``model.safetensors``. ``out`` appears when it is complete, then
    ``prediction.json`` beside it, which says what made it, and ``predict.sha256`` over both. ``workers``:
    threads that load images. Raises ``ValueError`` for a missing or damaged model or image, and when memory
    does not suffice.
    """
    cell = _read_cell(model)
    manifest = read_manifest(data)
    samples = manifest.split(split)
    device = choose_device(device)
    set_arithmetic(threads=cell.recipe.threads, deterministic=cell.recipe.deterministic)
    segmentor = load_segmentor(cell, model / "model.safetensors", manifest.num_classes).to(device)
    images = load_ahead(read_image, samples, workers=workers)
    with atomic_folder(out) as folder:
        for sample, image in zip(
            samples, track(images, total=len(samples), what=f"predict {cell.id} {split}"), strict=True
        ):
            prediction = predict(segmentor, image, protocol=protocol, flip_pairs=manifest.flip_pairs)
            write_label_map(folder / f"{sample.id}.png", prediction, manifest.colors)
    record = {
        **provenance.describe(),
        "cell_id": cell.id,
        "model_sha256": sha256_file(model / "model.safetensors"),
        "split": split,
        "protocol": asdict(protocol),
        "num_images": len(samples),
        "data_digest": manifest.data_digest,
        "code": sources.step_code("predict", method=cell.method),
        "device": device.type,
        "peak_mem_gib": round(peak_memory_gib(device), 3),
        "finished": provenance.now(),
    }
    write_json(out.parent / "prediction.json", record)
    seal(out.parent / "predict.sha256", [*sorted(out.rglob("*.png")), out.parent / "prediction.json"])


def load_segmentor(cell: Cell, weights: Path, num_classes: int) -> Segmentor:
    """The trained model of ``cell``, ready for inference on the CPU."""
    segmentor = build_segmentor(
        method=cell.method,
        method_options=cell.method_options,
        backbone=cell.backbone,
        num_classes=num_classes,
        load_weights=False,
    )
    try:
        segmentor.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise ValueError(f"{weights} does not exist: train the cell first (seglib train)") from None
    except SafetensorError as error:
        raise ValueError(f"{weights} is damaged ({error}): train the cell again") from None
    except RuntimeError as error:
        raise ValueError(f"{weights} does not fit its cell and {num_classes} classes: {error}") from None
    layout = torch.channels_last if cell.recipe.channels_last else torch.contiguous_format
    return segmentor.to(memory_format=layout).eval()


@torch.inference_mode()
def predict(
    segmentor: Segmentor, image: np.ndarray, *, protocol: Protocol, flip_pairs: tuple[tuple[int, int], ...]
) -> np.ndarray:
    """Class ids (H, W) uint8 of an RGB image (H, W, 3) uint8; where two are equally probable, the lower.

    Memory beside the network's own: ``whole``, two maps (K, H, W) float32, whatever the scales; ``slide``,
    two more of the size of the largest view.
    """
    device = next(segmentor.parameters()).device
    pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float()
    height, width = image.shape[:2]
    what = (
        f"image of {height}x{width}, {protocol.mode}, scales {', '.join(f'{s:g}' for s in protocol.scales)}"
    )
    with explain_out_of_memory(device, what, "use mode slide with a smaller crop_hw, or smaller scales"):
        total = average_views(segmentor, pixels, protocol=protocol, flip_pairs=flip_pairs)
        return total[0].argmax(0).to(torch.uint8).cpu().numpy()


def average_views(
    segmentor: Segmentor, images: Tensor, *, protocol: Protocol, flip_pairs: tuple[tuple[int, int], ...]
) -> Tensor:
    """The sum over the views of probabilities (or logits) (B, K, H, W) of images (B, 3, H, W), 0..255."""
    size = images.shape[-2:]
    views = list(itertools.product(protocol.scales, (False, True) if protocol.flip else (False,)))
    total = None
    for scale, mirrored in views:
        view_size = scaled_size(size, protocol.resize_hw, scale=scale, keep_aspect=protocol.keep_aspect)
        view = _resize(images, view_size)
        if mirrored:
            view = view.flip(-1)
        logits = _slide(segmentor, view, protocol) if protocol.mode == "slide" else _logits(segmentor, view)
        if mirrored:
            logits = logits.flip(-1)
            logits = _swap(logits, flip_pairs)  # in two lines, so that one copy at a time lives
        logits = _resize(logits, size)
        if protocol.average == "probabilities" and len(views) > 1:
            # In place: at 150 classes one map of 1024x2048 is 1.3 GB.
            logits.sub_(logits.amax(1, keepdim=True)).exp_().div_(logits.sum(1, keepdim=True))
        total = logits if total is None else total.add_(logits)
    return total


def write_label_map(path: Path, labels: np.ndarray, colors: tuple[tuple[int, int, int], ...]) -> None:
    """Write class ids (H, W) uint8 as a PNG that shows them in their colours."""
    picture = Image.fromarray(labels)
    palette = bytes(itertools.chain.from_iterable(colors))
    picture.putpalette(
        palette.ljust(768, b"\xff")
    )  # with fewer colours, Pillow would pack several ids in a byte
    picture.save(path)


def _logits(segmentor: Segmentor, images: Tensor) -> Tensor:
    """At the method's own resolution, so that they are resized once."""
    return segmentor.method(segmentor.encoder(segmentor.normalise(images))).float()


def _slide(segmentor: Segmentor, view: Tensor, protocol: Protocol) -> Tensor:
    """Logits (B, K, h, w): the mean over the windows that cover a pixel."""
    rows, columns = (
        _windows(length, crop, stride)
        for length, crop, stride in zip(view.shape[-2:], protocol.crop_hw, protocol.stride_hw, strict=True)
    )
    total = None
    count = torch.zeros(view.shape[-2:], device=view.device)
    for row, column in itertools.product(rows, columns):
        window = view[..., row, column]
        logits = _resize(_logits(segmentor, window), window.shape[-2:])
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


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == torch.Size(size):
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _read_cell(folder: Path) -> Cell:
    try:
        return Cell.from_json((folder / "cell.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}/cell.json does not exist: train the cell first (seglib train)") from None
