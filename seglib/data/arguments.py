"""Arguments of the steps that make data."""

from argparse import ArgumentParser
from pathlib import Path

from seglib.core import registry
from seglib.core.command_line import add_workers


def download(step: ArgumentParser) -> None:
    """fetch a data set and check every file"""
    _add_dataset(step)
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="e.g. data/camvid/raw")
    step.add_argument(
        "--mirror", metavar="DIR|URL", help="where the archives lie, instead of their public address"
    )
    step.add_argument("--data-root", metavar="DIR", help="your own copy, read in place")


def prepare(step: ArgumentParser) -> None:
    """convert labels to train ids and write the manifest"""
    _add_dataset(step)
    step.add_argument("--raw", type=Path, required=True, metavar="DIR", help="what download made")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="e.g. data/camvid")
    add_workers(step, "threads")


def verify(step: ArgumentParser) -> None:
    """check every file of a prepared data set against what was recorded"""
    _add_dataset(step)
    step.add_argument("--data", type=Path, metavar="DIR", help="default: data/DATASET")
    step.add_argument("--raw", type=Path, metavar="DIR", help="what download made (default: raw in --data)")
    add_workers(step, "threads")


def _add_dataset(step: ArgumentParser) -> None:
    step.add_argument("dataset", choices=sorted(registry.DATASETS))
