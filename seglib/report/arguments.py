"""Arguments of the steps that draw."""

from argparse import ArgumentParser
from pathlib import Path

from seglib.core import registry
from seglib.experiment import arguments


def report(step: ArgumentParser) -> None:
    """tables, figures and the page"""
    step.add_argument("--config", type=arguments.config, required=True, metavar="FILE|JSON")
    step.add_argument("--results", type=Path, required=True, metavar="DIR")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="the reports folder")
    arguments.add_manifests(step)
    step.add_argument("--partial", action="store_true", help="from what exists; the rest is shown as missing")
    step.add_argument(
        "--archive",
        action="store_true",
        help="tables and pages of cells and data sets in one file, details.zip, to publish few files",
    )


def inspect(step: ArgumentParser) -> None:
    """statistics, class frequencies and a contact sheet of a prepared data set"""
    step.add_argument("dataset", choices=sorted(registry.DATASETS))
    step.add_argument("--data", type=Path, metavar="DIR", help="default: data/DATASET")
    step.add_argument(
        "--out", type=Path, metavar="FILE", help="PNG of the contact sheet (default: DATASET.png)"
    )
