"""Arguments of the steps that test."""

from argparse import ArgumentParser
from pathlib import Path

from seglib.core.command_line import add_loading, add_workers
from seglib.experiment import arguments
from seglib.experiment.recipe import Protocol


def predict(step: ArgumentParser) -> None:
    """write label maps of one split, or of your own images"""
    step.add_argument(
        "--model",
        "--cell",
        type=arguments.trained,
        required=True,
        metavar="DIR",
        help="a trained cell's folder",
    )
    source = step.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="DIR", help="prepared data set")
    source.add_argument("--images", type=Path, metavar="DIR|FILE", help="your own; writes overlays too")
    step.add_argument("--split", help="of the data set (default: val)")
    step.add_argument(
        "--protocol",
        type=arguments.protocol,
        default=Protocol(),
        metavar="JSON",
        help="e.g. '{\"flip\": true}'",
    )
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the label maps")
    add_loading(step)


def score(step: ArgumentParser) -> None:
    """compare two folders of label PNGs: IoU, Boundary IoU, boundary F"""
    step.add_argument("--predictions", type=Path, required=True, metavar="DIR")
    step.add_argument("--labels", type=Path, required=True, metavar="DIR")
    step.add_argument("--num-classes", type=int, required=True, metavar="K")
    step.add_argument("--ignore-index", type=int, default=255, metavar="VALUE", help="default: %(default)s")
    step.add_argument(
        "--boundary-ratio",
        type=float,
        default=0.02,
        metavar="R",
        help="of the diagonal (default: %(default)s)",
    )
    step.add_argument("--class-names", type=Path, metavar="FILE", help="one name a line, in label order")
    step.add_argument(
        "--out", type=Path, default=Path("metrics.json"), metavar="FILE", help="default: %(default)s"
    )
    step.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="another result's metrics.json: paired bootstrap over images",
    )
    step.add_argument(
        "--subset", action="store_true", help="leave out labels without a prediction; the result says so"
    )
    step.add_argument("--csv", action="store_true", help="also write the per-class table as CSV")
    step.add_argument("--latex", action="store_true", help="also write it as LaTeX")
    add_workers(step, "processes")
