"""Cost of the training loop over a bare forward, backward and update of the same model on data in memory.

    python benchmarks/training.py --cell results/cells/.../train/cell.json --data data/scenes

Both loops take turns, so that other work on the machine burdens them alike. Prints the ratio of their times
per step (median over rounds) and the share of ours spent waiting for data.
"""

import argparse
import statistics
import time
from itertools import count
from pathlib import Path

import torch

from seglib.data.manifest import read_prepared
from seglib.data.samples import load_ahead
from seglib.experiment.cell import Cell
from seglib.models.segmentor import TrainingPosition
from seglib.numerics.devices import choose_device, set_arithmetic
from seglib.numerics.precision import autocast
from seglib.numerics.seeds import training_seed
from seglib.training.train_step import Stepper
from seglib.training.training_set import TrainSet


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cell", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="per round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--reduced", action="store_true", help="smallest sizes and counts: does it run?")
    arguments = parser.parse_args()
    if arguments.reduced:
        arguments.steps = arguments.rounds = 1

    cell = Cell.from_json(arguments.cell.read_text("utf-8"))
    device = choose_device(arguments.device)
    set_arithmetic(threads=cell.recipe.threads, deterministic=cell.recipe.deterministic)
    data = read_prepared(arguments.data)
    stepper = Stepper(
        cell=cell, num_classes=data.manifest.num_classes, weights=arguments.weights, device=device
    )
    train_set = TrainSet(data=data, recipe=cell.recipe, seed=training_seed(cell), fill=stepper.padding_color)
    batches = load_ahead(train_set.batch, count(), workers=arguments.workers)
    progress = TrainingPosition(iteration=0, iterations=train_set.iterations, epoch=0)
    first = next(batches)
    images, labels = first.images.to(device), first.labels.to(device).long()
    model, optimizer, waited_s = stepper.model, stepper.optimizer, 0.0

    def bare_step() -> None:
        with autocast(cell.recipe, device):
            loss = sum(model.losses(images, labels, stepper.criterion, progress).values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def our_step() -> None:
        nonlocal waited_s
        asked_s = time.perf_counter()
        batch = next(batches)
        waited_s += time.perf_counter() - asked_s
        stepper.step(batch, progress)

    def time_s(step) -> float:
        started_s = time.perf_counter()
        for _ in range(arguments.steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started_s) / arguments.steps

    for step in (bare_step, our_step):
        time_s(step)
    waited_s = 0.0
    rounds = [(time_s(bare_step), time_s(our_step)) for _ in range(arguments.rounds)]
    bare_s, ours_s = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(ours / bare for bare, ours in rounds)
    share = waited_s / (arguments.steps * sum(ours for _, ours in rounds))
    print(
        f"{cell.id}, {device.type}, {cell.recipe.threads} threads, {cell.recipe.batch_size} images per step"
    )
    print(f"bare {1e3 * bare_s:.1f} ms, ours {1e3 * ours_s:.1f} ms, {share:.1%} of it waiting for data")
    print(f"ratio {ratio:.3f} (wanted: at most 1.05)")


if __name__ == "__main__":
    main()
