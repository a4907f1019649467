"""Arguments of the steps that judge and plan."""

from argparse import ArgumentParser
from pathlib import Path

from seglib.experiment import arguments


def compare(step: ArgumentParser) -> None:
    """collect all cells into results/summary.csv"""
    step.add_argument("--config", type=arguments.config, required=True, metavar="FILE|JSON")
    step.add_argument("--out", type=Path, required=True, metavar="DIR", help="the results folder")
    arguments.add_manifests(step)


def plan(step: ArgumentParser) -> None:
    """say what a run would do, why, and what it costs"""
    step.add_argument("--config", type=Path, metavar="FILE", help="default: config/default.yaml")
    step.add_argument("--all", action="store_true", dest="show_all", help="name every cell")
    step.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    step.add_argument(
        "arguments", nargs="*", metavar="-- SNAKEMAKE ARGUMENT", help="of that run, e.g. -- --forcerun train"
    )
