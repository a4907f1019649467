"""Cityscapes training crops per second on one core, against the same pipeline in torchvision v2.

    python benchmarks/loading.py [--formats png jpeg] [--images 8] [--rounds 9]

Images of 2048x1024 that are painted and compress like Cityscapes' (PNG of 2.3 MB); scale 0.5 to 2, crop
512x1024, no class above 75 % of it, flip, colours. Both decode with the same functions (OpenCV for images,
Pillow for labels), draw from the same laws and hand out uint8; torchvision resizes without antialiasing, as
we do, which is no slower than with it. Ours also checks the SHA-256 of each file. The sides take turns;
printed is the median over rounds of the ratio of their CPU times, for files and for the cache of decoded
pixels (``cache: uint8``); then where the time goes, what a second loading thread gives, and memory.

Where decoding is most of the time (PNG), no transform can make the whole twice as fast: there the cache does.
"""

import argparse
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
import torch
from PIL import Image

from benchmarks import label_maps
from seglib.data import cache
from seglib.data.manifest import read_prepared
from seglib.data.samples import load_ahead, read_image, read_label
from seglib.experiment import records
from seglib.experiment.recipe import Recipe
from seglib.experiment.records import ImagePair, LabelClass, Manifest
from seglib.models import torchvision_ops
from seglib.training.augment import CROP_ATTEMPTS, resize_crop, resize_crop_label
from seglib.training.training_set import TrainSet

torchvision_ops.ensure()
import torchvision  # noqa: E402
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402
from torchvision.transforms.v2 import functional as F  # noqa: E402

RECIPE = Recipe(iterations=1000, batch_size=4, crop_hw=(512, 1024), lr=0.01)
IGNORE, CLASSES = label_maps.IGNORE, 19
REDUCED = {"formats": ["jpeg"], "images": RECIPE.batch_size, "rounds": 1}
NOISE = ((1, 3.0), (4, 6.0), (16, 12.0))
"""Grain in pixels and standard deviation in grey levels: chosen so that a PNG takes 2.3 MB."""


def paint(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (1024, 2048, 3), RGB: objects with soft edges, light from one side, and grain; its label."""
    size = label_maps.SIZES["cityscapes"]
    label, _ = label_maps.make_pair(size, seed=seed, ignore_share=0.08)
    rng = np.random.default_rng(seed)
    image = rng.integers(30, 200, (256, 3)).astype(np.float32)[label]
    y, x = np.mgrid[: size.height, : size.width].astype(np.float32)
    image += (20 * np.sin(x / 300 + seed) + 20 * np.cos(y / 200))[..., None]
    image = cv2.GaussianBlur(image, (0, 0), 1.2)
    for grain, deviation in NOISE:
        noise = rng.normal(0, deviation, (size.height // grain, size.width // grain)).astype(np.float32)
        image += cv2.resize(noise, (size.width, size.height), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8), label


def write_data(folder: Path, kind: str, count: int) -> None:
    """A prepared data set of ``count`` training images."""
    pairs = []
    for i in range(count):
        image, label = paint(i)
        contents = {f"images/{i}.{kind}": _encode(image, kind), f"labels/{i}.png": _palette_png(label)}
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        (image_path, image_content), (label_path, label_content) = contents.items()
        pair = ImagePair(
            id=f"{i:04d}",
            image=image_path,
            image_sha256=hashlib.sha256(image_content).hexdigest(),
            image_bytes=len(image_content),
            height=label.shape[0],
            width=label.shape[1],
            label_file_sha256=hashlib.sha256(label_content).hexdigest(),
            label=label_path,
        )
        pairs.append(pair)
    manifest = Manifest(
        dataset="painted",
        classes=tuple(LabelClass(name=str(i), color=(i, i, i)) for i in range(CLASSES)),
        flip_pairs=(),
        ignore_index=IGNORE,
        splits={"train": tuple(pairs)},
        label_histogram={},
        data_digest="none",
        software={},
    )
    records.write(folder / "manifest.json", manifest)


def _encode(image: np.ndarray, kind: str) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, kind, **({"quality": 95} if kind == "jpeg" else {}))
    return buffer.getvalue()


def _palette_png(label: np.ndarray) -> bytes:
    """As prepare writes it."""
    picture, buffer = Image.fromarray(label), BytesIO()
    picture.putpalette(bytes(range(256)) * 3)
    picture.save(buffer, "PNG")
    return buffer.getvalue()


class LimitedCrop(v2.Transform):
    """A random crop, redrawn while one class fills too much of it; torchvision has none such."""

    def make_params(self, inputs):
        mask = next(value for value in inputs if isinstance(value, tv_tensors.Mask))
        height, width = (min(a, b) for a, b in zip(mask.shape[-2:], RECIPE.crop_hw, strict=True))
        for _ in range(CROP_ATTEMPTS):
            top = int(torch.randint(0, mask.shape[-2] - height + 1, ()))
            left = int(torch.randint(0, mask.shape[-1] - width + 1, ()))
            crop = mask[..., top : top + height, left : left + width]
            counts = torch.bincount(crop.flatten(), minlength=256)
            counts[IGNORE] = 0
            if counts.max() < RECIPE.max_class_share * counts.sum():
                break
        return {"top": top, "left": left, "height": height, "width": width}

    def transform(self, value, params):
        return self._call_kernel(F.crop, value, **params)


class Distort(v2.RandomPhotometricDistort):
    """Its ranges are ours; without the exchange of channels, which we have not."""

    def make_params(self, inputs):
        return super().make_params(inputs) | {"channel_permutation": None}


THEIRS = v2.Compose(
    [
        v2.ScaleJitter(
            (2048, 1024), RECIPE.scale_range, antialias=False
        ),  # width and height, as it reads them
        LimitedCrop(),
        v2.RandomHorizontalFlip(RECIPE.flip),
        Distort(),
    ]
)


def transform(image: np.ndarray, label: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    # Channels last in memory, as decoded, is the faster way for torchvision too.
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    return THEIRS(tv_tensors.Image(tensor), tv_tensors.Mask(torch.from_numpy(label)))


def their_batch(data: TrainSet, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = []
    for index in indices:
        sample = data.samples[index]
        image = cv2.imdecode(np.frombuffer(sample.image.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
        with Image.open(sample.label) as file:
            label = np.array(file)
        pairs.append(transform(image, label))
    images, labels = zip(*pairs, strict=True)
    return torch.stack(images), torch.stack(labels)


def agree() -> None:
    """Both resize the same pixels to the same place, up to rounding."""
    image, label = paint(0)
    size_hw, offset_yx = (1400, 2800), (301, 702)
    window = np.s_[..., offset_yx[0] : offset_yx[0] + 512, offset_yx[1] : offset_yx[1] + 1024]
    theirs = F.resize_image(torch.from_numpy(image).permute(2, 0, 1), size_hw, antialias=False)[window]
    ours = torch.from_numpy(resize_crop(image, size_hw, offset_yx, RECIPE.crop_hw)).permute(2, 0, 1)
    assert (theirs.int() - ours.int()).abs().max() <= 8
    their_ids = F.resize_mask(torch.from_numpy(label), size_hw)[window].numpy()
    our_ids = resize_crop_label(label, size_hw, offset_yx, RECIPE.crop_hw)
    assert (their_ids != our_ids).mean() < 0.02  # they take the pixel to the upper left, we the nearest


def train_set(folder: Path, *, cache: bool = False) -> TrainSet:
    return TrainSet(
        data=read_prepared(folder),
        recipe=RECIPE,
        seed=0,
        fill=(0, 0, 0),
        cache=folder / "cache" if cache else None,
    )


def sides(folder: Path) -> dict[str, Callable[[int], object]]:
    """What makes batch ``i``, by name."""
    plain, cached = train_set(folder), train_set(folder, cache=True)

    def theirs(i: int) -> object:
        epoch, place = divmod(i, plain.batches_per_epoch)
        return their_batch(plain, plain.order(epoch)[place * RECIPE.batch_size :, 0][: RECIPE.batch_size])

    return {"torchvision": theirs, "ours": plain.batch, "ours, cached": cached.batch}


def compare(folder: Path, rounds: int) -> None:
    """CPU time of the three sides, on one thread that of one core whatever else runs on the machine."""
    files = list((folder / "images").iterdir())
    size_mb = statistics.mean(path.stat().st_size for path in files) / 1e6
    makers, per_round = sides(folder), len(files) // RECIPE.batch_size
    times: dict[str, list[float]] = {name: [] for name in makers}
    for i in range(-2, rounds):
        for name, make in makers.items():
            started_s = time.process_time()
            for b in range(per_round):
                make((i + 2) * per_round + b)
            if i >= 0:  # the first round fills the cache, the second checks it
                spent_s = time.process_time() - started_s
                times[name].append(spent_s / per_round / RECIPE.batch_size)
    print(f"{files[0].suffix[1:]} of {size_mb:.2f} MB, CPU time of one core, medians of {rounds} rounds")
    for name, ours in times.items():
        ratio = statistics.median(b / a for a, b in zip(ours, times["torchvision"], strict=True))
        time_ms = 1e3 * statistics.median(ours)
        print(
            f"  {name:<13} {1e3 / time_ms:6.1f} images/s ({time_ms:5.1f} ms each), {ratio:5.2f} x torchvision"
        )


def parts(folder: Path, rounds: int) -> None:
    """Where the time goes, per image: what both sides share, and what each does with the pixels."""
    data = train_set(folder)
    samples = data.samples[: RECIPE.batch_size]
    pairs = [(read_image(sample), read_label(sample)) for sample in samples]

    def their_transforms() -> None:
        for image, label in pairs:
            transform(image, label)

    def our_transforms() -> None:
        for i, pair in enumerate(pairs):
            data.augment(*pair, np.random.default_rng(rng.integers(2**60) + i))

    rng = np.random.default_rng(0)
    work = {
        "read, check, decode image": lambda: [read_image(sample) for sample in samples],
        "read, check, decode label": lambda: [read_label(sample) for sample in samples],
        "transforms, torchvision": their_transforms,
        "transforms, ours": our_transforms,
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(2 * rounds):
        for name, do in work.items():
            started_s = time.process_time()
            do()
            times[name].append((time.process_time() - started_s) / len(samples))
    said = ", ".join(f"{name} {1e3 * statistics.median(values):.1f} ms" for name, values in times.items())
    print(f"  {said}")


def scaling(folder: Path, rounds: int, workers: int) -> None:
    """Wall-clock time of batches from several loading threads against one, in turns."""
    data, ratios = train_set(folder), []
    indices = range(max(4, 2 * data.batches_per_epoch))
    for _ in range(rounds):
        times_s = []
        for count in (1, workers):
            started_s = time.perf_counter()
            for _ in load_ahead(data.batch, indices, workers=count):
                pass
            times_s.append(time.perf_counter() - started_s)
        ratios.append(times_s[0] / times_s[1])
    print(f"  {workers} loading threads: {statistics.median(ratios):.2f} times the images of one, wall-clock")


def memory(folder: Path, side: str) -> None:
    """What making batches adds to the memory of a process of its own, one image after the other."""
    make = sides(folder)[side]
    batch_mib = RECIPE.batch_size * 4 * RECIPE.crop_hw[0] * RECIPE.crop_hw[1] / 2**20
    before_mib = _resident_mib("VmRSS")
    for i in range(4):
        make(i)
    added_mib = _resident_mib("VmHWM") - before_mib
    print(f"  memory, {side}: {added_mib:.0f} MiB at most, for batches of {batch_mib:.0f} MiB")


def _resident_mib(name: str) -> float:
    return int(re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--formats", nargs="*", default=["png", "jpeg"], choices=["png", "jpeg"])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reduced", action="store_true", help="smallest sizes and counts: does it run?")
    parser.add_argument("--memory", nargs=2, metavar=("FOLDER", "SIDE"), help="only measure memory")
    arguments = parser.parse_args()
    if arguments.reduced:
        vars(arguments).update(REDUCED)
    torch.set_num_threads(1)
    cache.MEMORY_BYTES = 0  # these few images are to stand for thousands
    if arguments.memory:
        memory(Path(arguments.memory[0]), arguments.memory[1])
        return
    agree()
    print(f"OpenCV {cv2.__version__}, torchvision {torchvision.__version__}, torch {torch.__version__}")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for kind in arguments.formats:
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder), kind, arguments.images)
            compare(Path(folder), arguments.rounds)
            parts(Path(folder), arguments.rounds)
            scaling(Path(folder), arguments.rounds, arguments.workers)
            for side in sides(Path(folder)):
                subprocess.run([sys.executable, __file__, "--memory", folder, side], check=True)


if __name__ == "__main__":
    main()
