"""Arguments of the commands that look after results."""

from argparse import ArgumentParser
from pathlib import Path

from seglib.experiment import arguments


def status(step: ArgumentParser) -> None:
    """say which cells are done, running, failed or missing"""
    step.add_argument("--config", type=arguments.config, default="config/default.yaml", metavar="FILE|JSON")
    step.add_argument("--all", action="store_true", dest="show_all", help="also name the cells that are done")


def trace(step: ArgumentParser) -> None:
    """walk a number back to its inputs and check every hash on the way"""
    step.add_argument(
        "result", metavar="RESULT", help="a metrics.json, results/summary.csv:LINE, or the id of a cell"
    )
    step.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    step.add_argument("--data", type=Path, default=Path("data"), metavar="DIR")


def verify_results(step: ArgumentParser) -> None:
    """find every file that changed after it was written"""
    step.add_argument("folder", type=Path, metavar="DIR", help="a results folder or a part of one")
    step.add_argument(
        "--ignore-missing",
        action="store_true",
        help="files that are gone are no fault, as in published results",
    )


def merge(step: ArgumentParser) -> None:
    """join the results of two machines; nothing is overwritten"""
    step.add_argument("sources", type=Path, nargs="+", metavar="DIR", help="results folders")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="may be one of them, or new")
