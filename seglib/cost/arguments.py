"""Arguments of the steps that say what a model costs."""

import json
from argparse import ArgumentParser
from pathlib import Path

from seglib.core import command_line, registry
from seglib.experiment import arguments
from seglib.experiment.recipe import PRECISIONS


def complexity(step: ArgumentParser) -> None:
    """parameters and multiply-adds of a model, from two counters"""
    _add_model(step)
    step.add_argument("--out", type=Path, metavar="FILE", help="write JSON here")
    step.add_argument("--json", action="store_true", dest="as_json", help="print JSON")


def speed(step: ArgumentParser) -> None:
    """latency, throughput and peak memory of a model on this machine"""
    _add_model(step)
    step.add_argument("--batch-size", type=int, default=1, metavar="B", help="default: %(default)s")
    command_line.add_device(step)
    step.add_argument("--precision", choices=tuple(PRECISIONS.values()), default="fp32")
    step.add_argument(
        "--threads", type=int, default=command_line.count_cpus(), metavar="N", help="of the CPU arithmetic"
    )
    step.add_argument(
        "--warmup", type=int, default=5, metavar="N", help="untimed batches (default: %(default)s)"
    )
    step.add_argument(
        "--repeats", type=int, default=20, metavar="N", help="timed batches (default: %(default)s)"
    )
    step.add_argument("--out", type=Path, metavar="FILE", help="write JSON here")


def audit(step: ArgumentParser) -> None:
    """cost of every method at the size of its papers' experiments"""
    step.add_argument(
        "--records", type=Path, required=True, metavar="DIR", help="kept; only what changed is measured again"
    )
    step.add_argument("--out", type=Path, required=True, metavar="FILE", help="the table, CSV")
    step.add_argument(
        "--datasets", nargs="*", default=[], metavar="NAME", help="only the crops of these, in the table too"
    )
    step.add_argument(
        "--max-mem-gib",
        type=float,
        default=8.0,
        metavar="GIB",
        help="of a forward pass for fvcore; 0: torch only, minutes (default: %(default)s)",
    )
    step.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: %(default)s)")


def _add_model(step: ArgumentParser) -> None:
    step.add_argument("--method", choices=sorted(registry.METHODS), required=True)
    step.add_argument("--method-options", type=json.loads, default={}, metavar="JSON")
    step.add_argument(
        "--backbone",
        type=arguments.backbone,
        required=True,
        metavar="NAME|JSON",
        help="a timm name or its settings",
    )
    step.add_argument(
        "--input",
        type=command_line.size,
        required=True,
        metavar="HxW",
        dest="input_hw",
        help="e.g. 512x1024",
    )
    step.add_argument("--num-classes", type=int, required=True, metavar="K")
