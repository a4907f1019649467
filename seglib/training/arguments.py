"""Arguments of the training."""

from argparse import ArgumentParser
from pathlib import Path

from seglib.core.command_line import add_loading
from seglib.experiment import arguments


def train(step: ArgumentParser) -> None:
    """train one cell; goes on where an earlier run stopped"""
    step.add_argument(
        "--cell", type=arguments.cell, required=True, metavar="JSON|FILE", help="the cell, e.g. a cell.json"
    )
    step.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set")
    step.add_argument("--out", type=Path, required=True, metavar="DIR")
    step.add_argument("--checkpoints", type=Path, required=True, metavar="DIR", help="kept between attempts")
    step.add_argument("--weights", type=Path, metavar="FILE", help="the initial weights that the cell names")
    step.add_argument(
        "--checkpoint-interval-s", type=float, default=60.0, metavar="S", help="default: %(default)s"
    )
    step.add_argument(
        "--cache", choices=("uint8",), help="keep decoded pixels in the folder cache of the data set"
    )
    add_loading(step)
