"""What a reader must know before the numbers: what they are no evidence for, and what is uneven."""

from collections.abc import Callable, Sequence
from typing import Any

from seglib.core import code_digest
from seglib.experiment.config import Plan
from seglib.results.inventory import CellResult, devices, not_comparable

ENVIRONMENT = ("python", "torch", "timm", "cuda")
"""Versions that can change what a training computes."""


def machinery(records: Sequence[CellResult]) -> str:
    """Says that toy data, a quick recipe or a part of the images prove nothing about published numbers; empty
    where none is.
    """
    checks = [record for record in records if not_comparable(record.cell)]
    if not checks:
        return ""
    reasons = dict.fromkeys(reason for record in checks for reason in not_comparable(record.cell))
    which = "These numbers" if len(checks) == len(records) else f"{len(checks)} of {len(records)} cells"
    kinds = sorted({f"data set {r.cell.dataset}, recipe {r.cell.recipe_name}" for r in checks})
    return (
        f"{which} come from {', '.join(reasons)} ({'; '.join(kinds)}) and are not comparable with others. "
        "They show that every step works; they are no evidence for or against any published number."
    )


def warnings(plan: Plan, records: Sequence[CellResult]) -> list[str]:
    """Where the cells of one report did not run under equal conditions."""
    trained = [record for record in records if record.provenance is not None]
    found = []
    if dirty := [record for record in trained if any(attempt.dirty for attempt in record.attempts)]:
        found.append(f"{_cells(dirty)} trained from a source tree with uncommitted changes.")
    attempts = [attempt for record in trained for attempt in record.attempts]
    commits = _distinct(attempts, lambda values: (values.commit or "unknown")[:10])
    if len(commits) > 1:
        found.append(f"Trained from {len(commits)} commits: {', '.join(commits)}. Their pages say which.")
    environments = _distinct(
        attempts,
        lambda values: ", ".join(f"{n} {values.versions[n]}" for n in ENVIRONMENT if values.versions.get(n)),
    )
    if len(environments) > 1:
        found.append(f"Trained in {len(environments)} environments: {'; '.join(environments)}.")
    machines = sorted(devices(trained))
    if len(machines) > 1:
        found.append(f"Trained on {len(machines)} kinds of device: {'; '.join(machines)}.")
    for dataset in dict.fromkeys(record.cell.dataset for record in trained):
        of_it = [record.provenance for record in trained if record.cell.dataset == dataset]
        if len(_distinct(of_it, lambda values: values.data_digest)) > 1:
            found.append(f"The cells of {dataset} were trained on different versions of its data.")
    changed = [record for record in trained if record.cell.id in plan.frozen and changed_code(record)]
    if changed:
        whose = "its" if len(changed) == 1 else "their"
        found.append(f"{_cells(changed)} kept as frozen; the code of {whose} training has changed since.")
    if other := [record for record in records if record.changed]:
        values = "; ".join(dict.fromkeys(value for record in other for value in record.changed))
        found.append(
            f"{_cells(other)} kept as frozen with other values than the configuration has today: {values}."
        )
    return found


def changed_code(record: CellResult) -> list[str]:
    """The modules in which a training of this cell would run other code today than it did."""
    then, now = record.provenance.code, code_digest.step_code("train", method=record.cell.method)
    return sorted(module for module in then.keys() | now.keys() if then.get(module) != now.get(module))


def _distinct(records: Sequence[Any], value: Callable) -> list[str]:
    return sorted({value(record) for record in records})


def _cells(records: Sequence[CellResult]) -> str:
    return "1 cell was" if len(records) == 1 else f"{len(records)} cells were"
