"""Our training against segmentation_models_pytorch (SMP) in the loop that its users write, on CamVid.

    pip install -c constraints.txt -e ".[benchmark]"    # the peer, which seglib itself does not need
    python benchmarks/training_smp.py --data data/camvid --weights FILE

Both train one network, SMP's DeepLabV3+ on MobileNetV2 at output stride 16, from equal weights, with the
crops, batch, precision, memory format and optimiser of the recipe. SMP: the model, torch's cross entropy, and
``DataLoader`` with as many processes as ours has loading threads. Ours: timm's encoder with SMP's decoder as
a method, in seglib's loop. Logits must agree before anything is timed. Rounds of all take turns; printed are
the ratio of the times per step (median over rounds), and that of seglib's own DeepLabV3+ head, as in the
paper: it is heavier, with both separable convolutions of the decoder at the size of the first stage.

``--miou-iterations N`` then trains all N steps with each seed and tests them on val and test, whole images;
``--arms`` only some of them.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # threads that wait for another leave the core to the loaders

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from seglib.core import registry
from seglib.data.manifest import PreparedData, read_prepared
from seglib.data.samples import load_ahead, read_image, read_label
from seglib.experiment import config
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Recipe
from seglib.models.segmentor import DecodeHead, TrainingPosition
from seglib.numerics.devices import choose_device, set_arithmetic
from seglib.numerics.precision import autocast
from seglib.training.optimisers import learning_rate
from seglib.training.train_step import Stepper
from seglib.training.training_set import TrainSet

ROOT = Path(__file__).parents[1]
ARMS = {"smp": "SMP", "same": "same network", "own": "seglib's head"}
DILATIONS = (6, 12, 18)
WIDTH = 256
REDUCED = {"crop": (64, 64), "steps": 1, "rounds": 1}


def build_smp(num_classes: int) -> nn.Module:
    import segmentation_models_pytorch as smp  # here, since seglib.models mends torchvision first

    return smp.DeepLabV3Plus(
        "tu-mobilenetv2_100",
        encoder_weights=None,
        encoder_output_stride=16,
        decoder_channels=WIDTH,
        decoder_atrous_rates=DILATIONS,
        classes=num_classes,
        pad_type="same",
    )


class SMPHead(DecodeHead):
    """SMP's decoder and classifier on the features of seglib's encoder."""

    def __init__(self, *, channels: tuple[int, ...], strides: tuple[int, ...], num_classes: int):
        super().__init__()
        model = build_smp(num_classes)
        self.decoder, self.classifier = model.decoder, model.segmentation_head[0]

    def forward(self, features: list[Tensor]) -> Tensor:
        # SMP counts features from the image itself, and has one of stride 2 before ours.
        return self.classifier(self.decoder([None, None, *features]))

    def losses(self, features, labels, criterion, progress):
        return {"main": criterion(self(features), labels)}


class Ours:
    """``method`` trained by seglib. ``step`` runs one optimiser step on the next batch."""

    def __init__(self, cell: Cell, prepared: PreparedData, weights: Path | None, workers: int):
        device = choose_device("auto")
        num_classes = prepared.manifest.num_classes
        self.stepper = Stepper(cell=cell, num_classes=num_classes, weights=weights, device=device)
        self.data = TrainSet(
            data=prepared, recipe=cell.recipe, seed=cell.seed, fill=self.stepper.padding_color
        )
        self.batches = load_ahead(self.data.batch, count(), workers=workers)
        self.iteration = 0

    def step(self) -> None:
        batch = next(self.batches)
        progress = TrainingPosition(self.iteration, self.data.iterations, batch.epoch)
        self.stepper.step(batch, progress)
        self.iteration += 1

    def logits(self, images: Tensor) -> Tensor:
        """Of normalised ``images`` (B, 3, H, W), at their size."""
        model = self.stepper.model.eval()
        coarse = model.method(model.encoder(images))
        return F.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)


class Theirs:
    """SMP's model in a plain loop, from the weights of ``ours`` and on the same images."""

    def __init__(self, ours: Ours, num_classes: int, workers: int):
        self.recipe, self.data = ours.stepper.recipe, ours.data
        self.device = ours.stepper.device
        self.model = build_smp(num_classes)
        own = ours.stepper.model
        self.model.encoder.model.load_state_dict(own.encoder.network.state_dict())
        self.model.decoder.load_state_dict(own.method.decoder.state_dict())
        self.model.segmentation_head[0].load_state_dict(own.method.classifier.state_dict())
        self.mean, self.std = own.mean_255.clone(), own.std_255.clone()
        self.layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        self.model.to(device=self.device, memory_format=self.layout).train()
        settings = {"lr": self.recipe.lr, "momentum": 0.9, "weight_decay": self.recipe.weight_decay}
        self.optimizer = torch.optim.SGD(self.model.parameters(), **settings)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda i: learning_rate(self.recipe, i, self.data.iterations) / self.recipe.lr
        )
        self.batches = self._batches(workers)

    def _batches(self, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        for epoch in count():
            loader = torch.utils.data.DataLoader(
                Crops(self.data, epoch),
                batch_size=self.recipe.batch_size,
                shuffle=True,
                drop_last=True,
                num_workers=workers,
            )
            yield from loader

    def step(self) -> None:
        images, labels = next(self.batches)
        images = images.to(self.device, memory_format=self.layout)
        with autocast(self.recipe, self.device):
            logits = self.model((images - self.mean) / self.std)
            loss = F.cross_entropy(logits.float(), labels.to(self.device).long(), ignore_index=255)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()

    def logits(self, images: Tensor) -> Tensor:
        return self.model.eval()(images)


class Crops(torch.utils.data.Dataset):
    """The crops of one epoch, as ``Ours`` makes them."""

    def __init__(self, data: TrainSet, epoch: int):
        self.data, self.epoch = data, epoch

    def __len__(self) -> int:
        return len(self.data.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.data.sample(index, self.epoch)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(label)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="prepared CamVid")
    parser.add_argument("--weights", type=Path, help="of mobilenetv2_100; else both start at random")
    parser.add_argument("--recipe", default="camvid", metavar="NAME", help="of config/recipes")
    parser.add_argument("--crop", type=int, nargs=2, metavar=("H", "W"), help="instead of the recipe's")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="per round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--miou-iterations", type=int, default=0, metavar="N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of --miou-iterations")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="of --miou-iterations")
    parser.add_argument("--reduced", action="store_true", help="smallest sizes and counts: does it run?")
    arguments = parser.parse_args()
    if arguments.reduced:
        vars(arguments).update(REDUCED)

    cell = camvid_cell(arguments.recipe)
    if arguments.weights:
        cell = replace(cell, backbone=replace(cell.backbone, weights=str(arguments.weights)))
    recipe = replace(cell.recipe, crop_hw=tuple(arguments.crop or cell.recipe.crop_hw), deterministic=False)
    set_arithmetic(threads=recipe.threads, deterministic=False)
    prepared = read_prepared(arguments.data)
    registry.METHODS["smp"] = f"{__name__}:SMPHead"

    def build_arms(recipe: Recipe, seed: int) -> tuple[Theirs, Ours, Ours]:
        """SMP, its network in our loop, our method in our loop."""
        options = {"width": WIDTH, "bottleneck_kernel": 1, "auxiliary_weight": 0.0}
        same, own_head = (
            Ours(
                replace(cell, method=method, method_options=given, recipe=recipe, seed=seed),
                prepared,
                arguments.weights,
                arguments.workers,
            )
            for method, given in (("smp", {}), ("deeplabv3plus", options))
        )
        return Theirs(same, prepared.manifest.num_classes, arguments.workers), same, own_head

    theirs, ours, _ = arms = build_arms(recipe, 0)
    check_same_network(ours, theirs)
    for arm in arms:
        time_s(arm, 2)
    rounds = [[time_s(arm, arguments.steps) for arm in arms] for _ in range(arguments.rounds)]
    smp_s, ours_s, own_s = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"{recipe.batch_size} crops of {recipe.crop_hw}, {recipe.precision}, {recipe.threads} threads")
    print(f"per step: SMP {smp_s:.3f} s, ours {ours_s:.3f} s, ours with seglib's head {own_s:.3f} s")
    for place, name in enumerate(list(ARMS.values())[1:], start=1):
        ratio = statistics.median(times[place] / times[0] for times in rounds)
        print(f"ratio ours / SMP, {name}: {ratio:.3f}" + " (wanted: at most 1)" * (place == 1))

    if arguments.miou_iterations:
        recipe = replace(recipe, iterations=arguments.miou_iterations)
        for seed in arguments.seeds:
            for name, arm in zip(ARMS, build_arms(recipe, seed), strict=True):
                if name not in arguments.arms:
                    continue
                torch.manual_seed(seed)
                for _ in range(recipe.iterations):
                    arm.step()
                scores = (
                    f"{split} {miou(arm, prepared, split, theirs.mean, theirs.std):.4f}"
                    for split in ("val", "test")
                )
                print(
                    f"mIoU after {recipe.iterations} steps, seed {seed}, {ARMS[name]}:", *scores, flush=True
                )


def camvid_cell(recipe: str) -> Cell:
    """Of config/camvid.yaml, with another recipe."""
    values = config.read(ROOT / "config" / "camvid.yaml")
    [block] = values["matrix"]
    [cell] = config.load(values | {"matrix": [block | {"recipes": [recipe]}]}).cells
    return cell


def time_s(arm: Ours | Theirs, steps: int) -> float:
    """Seconds per step."""
    started_s = time.perf_counter()
    for _ in range(steps):
        arm.step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started_s) / steps


@torch.no_grad()
def check_same_network(ours: Ours, theirs: Theirs) -> None:
    image = torch.rand(2, 3, 64, 96, device=theirs.device)
    own, other = ours.stepper.model.eval(), theirs.model.eval()
    logits = own.method(own.encoder(image))
    expected = other.segmentation_head[0](other.decoder(other.encoder(image)))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    own.train(), other.train()


@torch.inference_mode()
def miou(arm: Ours | Theirs, prepared: PreparedData, split: str, mean: Tensor, std: Tensor) -> float:
    """Of the classes that the split holds. Images are padded: SMP wants multiples of the output stride."""
    num_classes = prepared.manifest.num_classes
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for sample in prepared.split(split):
        label = read_label(sample)
        height, width = label.shape
        image = (torch.from_numpy(read_image(sample)).permute(2, 0, 1)[None].to(mean.device) - mean) / std
        logits = arm.logits(F.pad(image, (0, -width % 16, 0, -height % 16)))
        found = logits[0, :, :height, :width].argmax(0).cpu().numpy()
        valid = label != prepared.manifest.ignore_index
        pairs = num_classes * label[valid].astype(np.int64) + found[valid]
        confusion += np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    hits = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - hits
    return float((hits / np.maximum(union, 1))[union > 0].mean())


if __name__ == "__main__":
    main()
