"""Region and memory steps against the loops that they replace, and whole heads with either, on 2 threads.

    python benchmarks/heads.py [--methods isnet mcibi_fcn]

Batch 4, 512 channels at 64x64, labels at 512x512, 150 classes of which 30 are in each image, or all.

1. ISNet's region step, forward and backward, against a loop over the images and the classes in each.
2. MCIBI's update against a loop over the classes in the batch, on features at the size of the labels.
3. Forward and backward of each head, and the same with the loop in the place of the step, where it has one.
4. What MCIBI's update adds to the memory of a process, for 16 crops.

The loops write in place, as the authors' code has it (sssegmentation), but visit only classes that are
present. Results must agree before they are timed. Wall-clock, the best of several runs that alternate.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

THREADS = 2
os.environ |= {"OMP_NUM_THREADS": str(THREADS), "OMP_WAIT_POLICY": "passive"}
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from seglib.core import registry  # noqa: E402
from seglib.data.label_formats import IGNORE_INDEX  # noqa: E402
from seglib.experiment.recipe import Loss  # noqa: E402
from seglib.models import isnet  # noqa: E402
from seglib.models.class_memory import ClassMemory  # noqa: E402
from seglib.models.segmentor import TrainingPosition  # noqa: E402
from seglib.training.losses import build_criterion  # noqa: E402

CLASSES, CHANNELS, BATCH = 150, 512, 4
FEATURES_HW, LABELS_HW = (64, 64), (512, 512)
TARGETS = {30: 5, 150: 20}
"""Present classes -> how many times faster than the loop."""
ENCODER = {"channels": (64, 128, 256, 512), "strides": (4, 8, 8, 8)}
MOMENTUM = 0.9
TOLERANCE = 1e-5
"""Of a difference's norm, relative: sums of thousands of float32 in another order."""


def region_loop(x: Tensor, logits: Tensor) -> Tensor:
    """ISNet's region representations, as :func:`isnet.region_representations`."""
    result = torch.zeros(len(x), x[0, 0].numel(), x.shape[1])
    for b, (pixels, scores) in enumerate(zip(x.flatten(2).mT, logits.flatten(2), strict=True)):
        region_means_in_place(result[b], pixels, scores)
    return result.mT.unflatten(2, x.shape[-2:])


def region_loop_apart(x: Tensor, logits: Tensor) -> Tensor:
    """The same, kinder: for each class the backward pass copies what was written into, here just an image."""
    images = [torch.zeros_like(pixels) for pixels in x.flatten(2).mT]
    for image, pixels, scores in zip(images, x.flatten(2).mT, logits.flatten(2), strict=True):
        region_means_in_place(image, pixels, scores)
    return torch.stack(images).mT.unflatten(2, x.shape[-2:])


def region_means_in_place(result: Tensor, pixels: Tensor, scores: Tensor) -> None:
    classes = scores.argmax(0)
    for c in classes.unique():
        mask = classes == c
        result[mask] = (pixels[mask] * scores[c][mask].softmax(0)[:, None]).sum(0)


@torch.no_grad()
def update_loop(memory: ClassMemory, x: Tensor, labels: Tensor, *, momentum: float) -> None:
    """MCIBI's update with one vector per class, as :meth:`ClassMemory.update`."""
    x = F.interpolate(x, labels.shape[1:], mode="bilinear", align_corners=False)
    pixels, labels = x.permute(0, 2, 3, 1).contiguous().flatten(0, 2), labels.flatten()
    for c in labels.unique():
        if c == IGNORE_INDEX:
            continue
        members, stored = pixels[labels == c], memory.vectors[c]
        if not stored.any():
            stored.copy_(members.mean(0))
            continue
        weights = 1 - F.cosine_similarity(members, stored.expand_as(members))
        mean = (members * (weights / weights.sum())[:, None]).sum(0)
        stored.copy_((1 - momentum) * stored + momentum * mean)


def regions(present: int, size_hw: tuple[int, int], batch: int) -> Tensor:
    """Labels (B, *size_hw), ``present`` classes in each image, of random regions."""
    height, width = size_hw
    grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), dim=-1)
    grid = grid.flatten(0, 1).float()
    images = []
    for _ in range(batch):
        points = grid[torch.randperm(len(grid))[:present]]
        classes = torch.randperm(CLASSES)[:present]
        images.append(classes[torch.cdist(grid, points).argmin(1)].view(height, width))
    return torch.stack(images)


def region_step() -> None:
    functions = {"": isnet.region_representations, "loop": region_loop, "kinder loop": region_loop_apart}
    for present, target in TARGETS.items():
        sides = {side: RegionStep(function, present) for side, function in functions.items()}
        expected = sides["loop"]()
        for side in sides.values():
            for ours, plain in zip(side(), expected, strict=True):
                assert (ours - plain).norm() <= TOLERANCE * plain.norm()
        print(f"isnet regions, {present:3} classes an image (target {target}x): {against(sides, repeats=3)}")


class RegionStep:
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], present: int):
        torch.manual_seed(0)
        self.function = function
        classes = regions(present, FEATURES_HW, BATCH)
        logits = torch.randn(BATCH, CLASSES, *FEATURES_HW).scatter_(1, classes[:, None], 9.0)
        x = torch.rand(BATCH, CHANNELS, *FEATURES_HW)
        self.inputs = x.requires_grad_(), logits.requires_grad_()
        self.upstream = torch.rand_like(x)

    def __call__(self) -> list[Tensor]:
        result = self.function(*self.inputs)
        return [result, *torch.autograd.grad(result, self.inputs, self.upstream)]


def memory_step() -> None:
    updates = {"": ClassMemory.update, "loop": update_loop}
    for present, target in TARGETS.items():
        sides = {side: MemoryStep(update, present, BATCH) for side, update in updates.items()}
        for _ in range(2):  # the first one fills the memory
            ours, plain = (side() for side in sides.values())
        assert (ours - plain).norm() <= TOLERANCE * plain.norm()
        print(f"mcibi update,  {present:3} classes an image (target {target}x): {against(sides, repeats=3)}")


class MemoryStep:
    def __init__(self, update: Callable[..., None], present: int, batch: int):
        torch.manual_seed(0)
        self.update = update
        self.memory = ClassMemory(CLASSES, CHANNELS)
        self.x = torch.rand(batch, *FEATURES_HW, CHANNELS).permute(0, 3, 1, 2)  # as in trainings
        self.labels = regions(present, LABELS_HW, batch)

    def __call__(self) -> Tensor:
        self.update(self.memory, self.x, self.labels, momentum=MOMENTUM)
        return self.memory.vectors


def heads(methods: list[str]) -> None:
    for name in methods:
        sides = {"": HeadStep(name, loops=False)}
        if name.startswith(("isnet", "mcibi")):
            sides["with its loop"] = HeadStep(name, loops=True)
        print(f"{name:<15}  {against(sides, repeats=2)}", flush=True)


class HeadStep:
    """Forward and backward of a head with its losses."""

    def __init__(self, name: str, *, loops: bool):
        torch.manual_seed(0)
        self.loops = loops
        self.method = registry.resolve(registry.METHODS[name])(**ENCODER, num_classes=CLASSES)
        self.method.to(memory_format=torch.channels_last).train()
        self.features = [
            torch.rand(BATCH, LABELS_HW[0] // stride, LABELS_HW[1] // stride, channels).permute(0, 3, 1, 2)
            for channels, stride in zip(*ENCODER.values(), strict=True)
        ]
        for feature in self.features:
            feature.requires_grad_()
        self.labels, self.criterion = regions(30, LABELS_HW, BATCH), build_criterion(Loss())
        self.progress = TrainingPosition(iteration=0, iterations=100, epoch=0)

    def __call__(self) -> None:
        with contextlib.ExitStack() as stack:
            if self.loops:
                stack.enter_context(mock.patch.object(isnet, "region_representations", region_loop))
                stack.enter_context(mock.patch.object(ClassMemory, "update", update_loop))
            losses = self.method.losses(self.features, self.labels, self.criterion, self.progress)
        sum(losses.values()).backward()


def against(sides: dict[str, Callable[[], object]], *, repeats: int) -> str:
    """Best time of the first side; of each other its name, best time and ratio to the first."""
    times = [[_time_s(side) for side in sides.values()] for _ in range(repeats)]
    ours, *others = (min(column) for column in zip(*times, strict=True))
    ratios = zip([*sides][1:], others, strict=True)
    return f"{ours:.3f} s" + "".join(
        f", {side} {other:.2f} s = {other / ours:.1f}x" for side, other in ratios
    )


def _time_s(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def added_memory(crops: int) -> None:
    """In a process of its own, whose peak is that of the update."""
    step = MemoryStep(ClassMemory.update, 30, crops)
    before_gib = _resident_gib("VmRSS")
    for _ in range(2):
        step()
    added_gib = _resident_gib("VmHWM") - before_gib
    upsampled_gib = 4 * crops * CHANNELS * LABELS_HW[0] * LABELS_HW[1] / 2**30
    print(
        f"mcibi update of {crops} crops: {added_gib:.2f} GiB more than the features (target 1 GiB); "
        f"features at label size alone would take {upsampled_gib:.0f} GiB"
    )


def _resident_gib(name: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s*(\d+) kB", status)[1]) / 2**20


def reduce_sizes() -> None:
    global CHANNELS, BATCH, FEATURES_HW, LABELS_HW
    CHANNELS, BATCH, FEATURES_HW, LABELS_HW = 32, 2, (16, 16), (64, 64)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--methods", nargs="*", default=list(registry.METHODS), choices=registry.METHODS)
    parser.add_argument("--reduced", action="store_true", help="smallest sizes and counts: does it run?")
    parser.add_argument("--memory", type=int, metavar="CROPS", help="only measure the memory of an update")
    arguments = parser.parse_args()
    if arguments.reduced:
        reduce_sizes()
        arguments.methods = ["isnet"]
    torch.set_num_threads(THREADS)
    if arguments.memory:
        added_memory(arguments.memory)
        return
    print(f"torch {torch.__version__}, {THREADS} threads on {os.cpu_count()} cores")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    region_step()
    memory_step()
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--memory", "16"], check=True)
    print("forward and backward of heads:")
    heads(arguments.methods)


if __name__ == "__main__":
    main()
