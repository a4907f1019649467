"""Label maps of one split: ``python -m seglib predict --model DIR --data DIR --split val --out DIR``.

The most probable class of each pixel is written, at the label's resolution; test_time_augmentation.py says
how scales, flips and windows are averaged. Everything is float32, whatever the training used.

Images of equal size go through the network together as far as :data:`BATCH_BYTES` reach. On a CPU the label
maps are then the same to the bit; on a GPU other kernels may run, and logits differ by rounding.

Legend: `B` batch, `K` classes, `H, W` image and label size.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from seglib.core import code_digest, provenance, registry
from seglib.core.checksums import seal
from seglib.core.files import atomic_folder, sha256_file
from seglib.core.progress import track
from seglib.data.label_formats import IGNORE_INDEX
from seglib.data.manifest import Sample, read_prepared
from seglib.data.samples import load_ahead, read_image
from seglib.evaluation.test_time_augmentation import average_views, view_sizes
from seglib.experiment import records
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Protocol
from seglib.experiment.records import Manifest, Prediction
from seglib.models.segmentor import Segmentor, build_segmentor
from seglib.numerics.devices import choose_device, explain_out_of_memory, peak_memory_gib, set_arithmetic

BATCH_BYTES = 2**28
"""Size of the largest map (B, K, h, w) float32; it limits the images of a batch, which has at least one."""
MAX_BATCH = 8


def run(
    *, model: Path, data: Path, split: str, protocol: Protocol, out: Path, device: str, workers: int
) -> None:
    """Write the label map of each image of ``split`` as ``out/<id>.png``: palette PNG, class ids, label size.

    For a split whose labels the publisher withholds, the PNGs hold the values of the publisher's label files
    instead, as its evaluation server expects.

    ``model``: folder with ``cell.json`` and ``model.safetensors``. ``out`` appears when it is complete, then
    ``prediction.json`` beside it, which records its origin, and ``predict.sha256`` over both. ``workers``:
    threads that load images. Raises ``ValueError`` for a missing or damaged model or image, and when memory
    does not suffice.
    """
    cell = read_cell(model)
    prepared = read_prepared(data).limited(cell.limit, seed=cell.seed)
    manifest, samples = prepared.manifest, prepared.split(split)
    values, colors = np.arange(manifest.num_classes, dtype=np.uint8), manifest.colors
    if any(sample.label is None for sample in samples):
        values, colors = _as_published(manifest)
    device = choose_device(device)
    set_arithmetic(threads=cell.recipe.threads, deterministic=cell.recipe.deterministic)
    segmentor = load_segmentor(cell, model / "model.safetensors", manifest.num_classes).to(device)
    origin = describe_origin(cell, model) | {"code": code_digest.step_code("predict", method=cell.method)}
    read = load_ahead(_read_batch, _batches(samples, manifest.num_classes, protocol), workers=workers)
    with atomic_folder(out) as folder:
        maps = (
            pair
            for batch, images in read
            for pair in zip(
                batch,
                predict_batch(segmentor, images, protocol=protocol, flip_pairs=manifest.flip_pairs),
                strict=True,
            )
        )
        for sample, labels in track(maps, total=len(samples), what=f"predict {cell.id} {split}"):
            write_label_map(folder / f"{sample.id}.png", values[labels], colors)
    record = Prediction(
        **origin,
        split=split,
        protocol=protocol,
        num_images=len(samples),
        data_digest=manifest.data_digest,
        device=device.type,
        peak_mem_gib=round(peak_memory_gib(device), 3),
        finished=provenance.now(),
    )
    records.write(out.parent / "prediction.json", record)
    seal(out.parent / "predict.sha256", [*sorted(out.rglob("*.png")), out.parent / "prediction.json"])


def describe_origin(cell: Cell, model: Path) -> dict[str, Any]:
    """The origin of predictions, for their record, as of now: commit and model may change during a run."""
    return {
        **provenance.describe(),
        "cell_id": cell.id,
        "model_sha256": sha256_file(model / "model.safetensors"),
    }


def read_cell(folder: Path) -> Cell:
    """The cell of a trained model's folder."""
    cell = records.read(Cell, folder / "cell.json")
    if cell is None:
        raise ValueError(f"{folder}/cell.json does not exist: train the cell first (seglib train)")
    return cell


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


def predict(
    segmentor: Segmentor, image: np.ndarray, *, protocol: Protocol, flip_pairs: tuple[tuple[int, int], ...]
) -> np.ndarray:
    """Class ids (H, W) uint8 of an RGB image (H, W, 3) uint8, as :func:`predict_batch`."""
    return predict_batch(segmentor, image[None], protocol=protocol, flip_pairs=flip_pairs)[0]


@torch.inference_mode()
def predict_batch(
    segmentor: Segmentor, images: np.ndarray, *, protocol: Protocol, flip_pairs: tuple[tuple[int, int], ...]
) -> np.ndarray:
    """Class ids (B, H, W) uint8 of RGB images (B, H, W, 3) uint8; where two are equally probable, the lower.

    Memory beside the network's own: ``whole``, two maps (B, K, H, W) float32, whatever the scales; ``slide``,
    two more of the size of the largest view. For 150 classes at 1024x2048 and scales up to 1.75 that is
    2.3 GiB (2.6 GiB measured with the images and a network at 1/8), in windows 7.2 GiB more.
    """
    device = next(segmentor.parameters()).device
    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
    batch, height, width = images.shape[:3]
    scales = ", ".join(f"{scale:g}" for scale in protocol.scales)
    what = f"{batch} image{'s' * (batch > 1)} of {height}x{width}, {protocol.mode}, scales {scales}"
    with explain_out_of_memory(device, what, "use mode slide with a smaller crop_hw, or smaller scales"):
        total = average_views(segmentor, pixels, protocol=protocol, flip_pairs=flip_pairs)
        return total.argmax(1).to(torch.uint8).cpu().numpy()


def write_label_map(path: Path, labels: np.ndarray, colors: tuple[tuple[int, int, int], ...]) -> None:
    """Write class ids (H, W) uint8 as a PNG with the palette ``colors``; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels)
    palette = bytes(itertools.chain.from_iterable(colors))
    picture.putpalette(
        palette.ljust(768, b"\xff")
    )  # with fewer colours, Pillow would pack several ids in a byte
    picture.save(path, format="PNG")


def _as_published(manifest: Manifest) -> tuple[np.ndarray, tuple[tuple[int, int, int], ...]]:
    """The value of each class in the publisher's label files, and the colour of each value."""
    values, colors = np.zeros(manifest.num_classes, np.uint8), [(255, 255, 255)] * 256
    for value, class_id in registry.resolve(registry.DATASETS[manifest.dataset]).LABEL_TABLE.items():
        if class_id != IGNORE_INDEX:
            values[class_id] = value
            colors[value] = manifest.colors[class_id]
    return values, tuple(colors)


def _batches(samples: Iterable[Sample], num_classes: int, protocol: Protocol) -> Iterator[tuple[Sample, ...]]:
    """``samples`` in groups of equal size."""
    for size_hw, group in itertools.groupby(sorted(samples, key=_size_hw), key=_size_hw):
        largest = max(math.prod(size_hw), *(math.prod(size) for size in view_sizes(size_hw, protocol)))
        count = min(max(1, BATCH_BYTES // (4 * num_classes * largest)), MAX_BATCH)
        equal = tuple(group)
        yield from (equal[i : i + count] for i in range(0, len(equal), count))


def _size_hw(sample: Sample) -> tuple[int, int]:
    return sample.height, sample.width


def _read_batch(samples: tuple[Sample, ...]) -> tuple[tuple[Sample, ...], np.ndarray]:
    return samples, np.stack([read_image(sample) for sample in samples])
