"""Training steps on a CPU with glibc keeping freed memory, over steps with its defaults.

    python benchmarks/allocation.py [--method deeplabv3plus] [--crop 352 480] [--batch 8] [--threads 2]

Every measurement is a process of its own, since a setting of glibc cannot be taken back, and the sides take
turns. Prints each side's median time per step, the kernel's share of the CPU time and the largest memory, and
the median over rounds of the ratio of the times per step. Both sides end with the same loss, bit for bit.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Recipe
from seglib.models.segmentor import TrainingPosition
from seglib.numerics import devices
from seglib.training.train_step import Stepper
from seglib.training.training_set import Batch

CLASSES = 19
REDUCED = {"crop": (64, 64), "batch": 2, "threads": 1, "steps": 1, "rounds": 1}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", default="deeplabv3plus")
    parser.add_argument("--crop", type=int, nargs=2, default=(352, 480), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=8, help="images per step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help="per round, after one to warm up")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reduced", action="store_true", help="smallest sizes and counts: does it run?")
    parser.add_argument("--side", choices=("kept", "default"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reduced:
        vars(arguments).update(REDUCED)
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return

    rounds = []
    for _ in range(arguments.rounds):
        sides = {}
        for side in ("kept", "default"):
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            sides[side] = json.loads(output.splitlines()[-1])
        if sides["kept"]["loss"] != sides["default"]["loss"]:
            raise SystemExit(f"the losses differ: {sides}")
        rounds.append(sides)
    size = "x".join(map(str, arguments.crop))
    print(f"{arguments.method}, {arguments.batch} crops of {size}, {arguments.threads} threads")
    for side in ("default", "kept"):
        median = {
            key: statistics.median(sides[side][key] for sides in rounds)
            for key in ("step_s", "kernel", "peak_gib")
        }
        print(
            f"{side:>7}: {median['step_s']:.2f} s per step, {median['kernel']:.0%} of CPU time in the kernel,"
            f" {median['peak_gib']:.1f} GiB"
        )
    ratios = sorted(sides["default"]["step_s"] / sides["kept"]["step_s"] for sides in rounds)
    print(f"{statistics.median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    cell = Cell(
        dataset="camvid",
        method=arguments.method,
        backbone_name="mobilenetv2",
        backbone=Backbone(model="mobilenetv2_100", output_stride=16),
        recipe_name="benchmark",
        recipe=Recipe(
            iterations=1000,
            batch_size=arguments.batch,
            crop_hw=tuple(arguments.crop),
            lr=0.02,
            precision="float32",
        ),
        seed=0,
    )
    if arguments.side == "default":
        devices._keep_freed_memory = lambda: None
    devices.set_arithmetic(threads=arguments.threads, deterministic=True)
    device = torch.device("cpu")
    stepper = Stepper(cell=cell, num_classes=CLASSES, weights=None, device=device)
    torch.manual_seed(0)
    shape = (arguments.batch, *arguments.crop)
    batch = Batch(
        images=torch.randint(0, 256, (shape[0], 3, *shape[1:]), dtype=torch.uint8),
        labels=torch.randint(0, CLASSES, shape, dtype=torch.uint8),
        ids=tuple(map(str, range(arguments.batch))),
        epoch=0,
    )
    stepper.step(batch, TrainingPosition(iteration=0, iterations=1000, epoch=0))
    before, started_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for iteration in range(1, arguments.steps + 1):
        losses = stepper.step(batch, TrainingPosition(iteration=iteration, iterations=1000, epoch=0))
    step_s = (time.perf_counter() - started_s) / arguments.steps
    after = resource.getrusage(resource.RUSAGE_SELF)
    user_s, kernel_s = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {
        "step_s": step_s,
        "kernel": kernel_s / (user_s + kernel_s),
        "peak_gib": devices.peak_memory_gib(device),
        "loss": losses["loss"],
    }


if __name__ == "__main__":
    main()
