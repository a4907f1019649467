"""Arguments that name a cell, or a part of one, as JSON or as a file."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from seglib.core import typed
from seglib.core.command_line import explained
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Protocol


@explained
def cell(text: str) -> Cell:
    """The JSON of a cell, or a file that holds it."""
    return Cell.from_json(text if text.lstrip().startswith("{") else Path(text).read_text("utf-8"))


@explained
def protocol(text: str) -> Protocol:
    """A test protocol; what the JSON leaves out has its default."""
    return typed.parse(Protocol, json.loads(text), "protocol")


@explained
def backbone(text: str) -> Backbone:
    """A timm name, or the JSON of a backbone's settings."""
    values = json.loads(text) if text.lstrip().startswith("{") else {"model": text}
    return typed.parse(Backbone, values, "backbone")


@explained
def config(text: str) -> dict[str, Any]:
    """A configuration file, or its values as JSON."""
    from seglib.experiment import config as configuration  # reads YAML: other steps need none

    return json.loads(text) if text.lstrip().startswith("{") else configuration.read(text)


def add_manifests(parser: ArgumentParser) -> None:
    """``--data`` of the steps that read manifests only."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="prepared data sets, of which the manifests are read (default: the configuration's folder)",
    )


def trained(text: str) -> Path:
    """The folder with ``cell.json``: of a whole cell it is ``train``."""
    folder = Path(text)
    return folder / "train" if (folder / "train" / "cell.json").is_file() else folder
