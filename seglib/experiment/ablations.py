"""Ablations as targets: every file of ``config/ablations`` beside the configuration that a run is given.

    snakemake --cores all ablation_isnet

A file there is a whole configuration. As a target its cells run in the folders of the current one, and share
the cells that both have, which is possible only where both mean the same by them. Nothing imports torch.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seglib.experiment import config as configuration
from seglib.experiment import paths
from seglib.experiment.changes import changed_values
from seglib.experiment.config import NAME, Config, Plan

FOLDERS = ("data", "results", "logs")
"""Settings that an ablation takes over from the current configuration when it runs as a target."""
OVERRIDES = ("limit", "only", "pictures", "weights")
"""Those that it takes over where the current configuration sets them."""


@dataclass(frozen=True)
class Ablation:
    values: dict[str, Any]
    """Its configuration."""
    plan: Plan
    conflict: str | None
    """Why it cannot run beside the current configuration; ``None``: it can."""


def load_all(folder: Path, current: Plan) -> tuple[Plan, dict[str, Ablation]]:
    """The current plan with the cells of all ablations in ``folder`` that go with it, and the ablations.

    Raises ``ValueError`` naming the file for one that is no valid configuration.
    """
    together, ablations = current, {}
    overrides = _overrides(current.config)
    for file in sorted(folder.glob("*.yaml")):
        if not NAME.fullmatch(file.stem):
            raise ValueError(f"{file}: use lower case letters, digits, '_' and '.' only in the name")
        try:
            values = configuration.read(file) | {name: getattr(current.config, name) for name in FOLDERS}
            plan = configuration.load(values)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
        conflict = None
        if overrides:
            values |= overrides
            try:
                plan = configuration.load(values)
            except ValueError as error:  # e.g. no cell of it is among those that ``only`` names
                conflict = str(error)
        conflict = conflict or find_conflict(together, plan)
        if conflict is None:
            together = _join(together, plan)
        else:
            conflict = f"{conflict}; run it by itself: snakemake --cores all --configfile {file}"
        ablations[file.stem] = Ablation(values, plan, conflict)
    return together, ablations


def _overrides(config: Config) -> dict[str, Any]:
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    settings = {name: getattr(config, name) for name in OVERRIDES}
    return {name: value for name, value in settings.items() if value != defaults[name]}


def find_conflict(current: Plan, other: Plan) -> str | None:
    """The first thing that two plans name alike and mean otherwise, as a sentence; ``None``: nothing."""
    if current.config.boundary_ratio != other.config.boundary_ratio:
        return "boundary_ratio is not that of the current configuration"
    cells = {cell.id: cell for cell in current.cells}
    models = {paths.complexity_file(Path(), cell): cell for cell in current.cells}
    for cell in other.cells:
        like = models.get(paths.complexity_file(Path(), cell), cell)
        if (like.method_options, like.backbone) != (cell.method_options, cell.backbone):
            return f"its model {cell.model_name} is not that of the current configuration"
        known = cells.get(cell.id)
        if known is None:
            continue
        if known != cell:
            differing = changed_values(known.to_json(), cell.to_json())
            return f"its cell {cell.id} is not that of the current configuration ({'; '.join(differing)})"
        tests = {test.name: test for test in current.evaluations(known)}
        for test in other.evaluations(cell):
            if tests.get(test.name, test) != test:
                return f"its protocol {test.protocol_name} is not that of the current configuration"
    return None


def _join(current: Plan, other: Plan) -> Plan:
    """All cells and tests of both; the settings of ``current``, and how it trains a cell that both have."""
    planned = dict(current.planned)
    for id, each in other.planned.items():
        if id in planned:
            each = dataclasses.replace(planned[id], tests=planned[id].also(each).tests)
        planned[id] = each
    return dataclasses.replace(current, planned=planned)
