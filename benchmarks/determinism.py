"""Which methods train to the same bytes twice on a GPU? Those that do not are named, with the reason.

    python benchmarks/determinism.py                  # exit code 1 if one fails, or there is no GPU
    python benchmarks/determinism.py --device cpu     # the same on the CPU, a minute

Each trains two times for a few steps from one seed, with ``deterministic: true`` as in a recipe (which is
``torch.use_deterministic_algorithms(True)`` without TF32), in float32 and under bfloat16 autocast. `pass`:
losses, parameters and buffers are equal bit for bit. `differs`: where they are not. `raises`: torch has no
deterministic kernel for what the line names. Heads have a quarter of their width: no kernel depends on it.
"""

import argparse
import inspect
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from seglib.core import registry
from seglib.experiment.recipe import Backbone, Loss
from seglib.models.segmentor import TrainingPosition, build_segmentor
from seglib.numerics.devices import choose_device, set_arithmetic
from seglib.training.losses import build_criterion

SWITCHES = (
    ("isnet", {"lip_shortcut": True, "leaky_relu": True}),
    ("mcibi_deeplabv3", {"hard_aggregation": True, "update_rule": "mean"}),
    ("mcibi_deeplabv3", {"vectors_per_class": 2, "memory_init": "kmeans"}),
    ("mcibi_deeplabv3", {"author_exact": True, "downsample": True}),
    ("semantic_fpn", {"paper_norms": True}),
    ("sfnet", {"deep_supervision_weight": 1.0}),
    ("sfnet", {"alignment": False}),
)
"""Beside every method as it is: options that run other code."""
CRITERIA = [build_criterion(loss) for loss in (Loss(), Loss(name="ohem", ohem_min_kept=1000))]
"""By turns."""
NUM_CLASSES, BATCH, IMAGE_HW, STEPS = 19, 2, (97, 131), 3


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--reduced", action="store_true", help="smallest sizes and counts: does it run?")
    arguments = parser.parse_args()
    try:
        device = choose_device(arguments.device)
    except ValueError as error:
        print(f"nothing was checked: {error}")
        return 1
    set_arithmetic(threads=1 if arguments.reduced else 2, deterministic=True)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "CPU"
    print(f"torch {torch.__version__}, {name}, deterministic algorithms")

    failures = 0
    cases = [(method, {}) for method in registry.METHODS] + list(SWITCHES)
    if arguments.reduced:
        cases = cases[:: len(cases) - 1]
    for method, options in cases:
        for precision in ("float32", "bfloat16"):
            verdict = compare(method, options, precision, device)
            failures += verdict != "pass"
            switches = " ".join(f"{key}={value}" for key, value in options.items())
            print(f"{method:<16} {precision:<9} {verdict:<5} {switches}".rstrip(), flush=True)
    print(f"{failures} of {2 * len(cases)} fail" if failures else f"all {2 * len(cases)} pass")
    return int(failures > 0)


def compare(method: str, options: dict, precision: str, device: torch.device) -> str:
    try:
        first, second = (train(method, options, precision, device) for _ in range(2))
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        return f"raises {str(error).splitlines()[0]}"
    different = [name for name, tensor in first.items() if not torch.equal(tensor, second[name])]
    return f"differs in {len(different)} of {len(first)}, {different[0]} ..." if different else "pass"


def narrow(method: str) -> dict[str, int]:
    parameters = inspect.signature(registry.resolve(registry.METHODS[method])).parameters
    return {name: p.default // 4 for name, p in parameters.items() if name.endswith("width")}


def train(method: str, options: dict, precision: str, device: torch.device) -> dict[str, torch.Tensor]:
    """The state dict after a few steps, and every loss term of every step."""
    torch.manual_seed(0)
    segmentor = build_segmentor(
        method=method,
        method_options=narrow(method) | options,
        backbone=Backbone(model="resnet10t", output_stride=16),
        num_classes=NUM_CLASSES,
    )
    images = torch.randint(256, (BATCH, 3, *IMAGE_HW), dtype=torch.uint8).to(device)
    labels = torch.randint(NUM_CLASSES, (BATCH, *IMAGE_HW))
    labels[:, :10] = 255
    labels = labels.to(device)
    segmentor = segmentor.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(segmentor.parameters(), lr=0.01, momentum=0.9)
    record = {}
    for step in range(STEPS):
        progress = TrainingPosition(iteration=step, iterations=STEPS, epoch=step)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            losses = segmentor.losses(images, labels, CRITERIA[step % 2], progress)
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        record |= {f"loss {name} of step {step}": loss.detach() for name, loss in losses.items()}
    return record | segmentor.state_dict()


if __name__ == "__main__":
    sys.exit(main())
