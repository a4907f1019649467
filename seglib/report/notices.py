"""What a reader must know before the numbers: what they are no evidence for, and what is uneven."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from seglib.core import code_digest
from seglib.experiment import records
from seglib.experiment.config import Plan
from seglib.results.inventory import CellResult, devices, not_comparable

T = TypeVar("T")
ENVIRONMENT = ("python", "torch", "timm", "cuda")
"""Versions that can change what a training computes."""


def machinery(results: Sequence[CellResult]) -> str:
    """Says that toy data, a quick recipe or a part of the images prove nothing about published numbers; empty
    where none is.
    """
    checks = [result for result in results if not_comparable(result.cell)]
    if not checks:
        return ""
    reasons = dict.fromkeys(reason for result in checks for reason in not_comparable(result.cell))
    which = "These numbers" if len(checks) == len(results) else f"{len(checks)} of {len(results)} cells"
    kinds = sorted({f"data set {r.cell.dataset}, recipe {r.cell.recipe_name}" for r in checks})
    return (
        f"{which} come from {', '.join(reasons)} ({'; '.join(kinds)}) and are not comparable with others. "
        "They show that every step works; they are no evidence for or against any published number."
    )


def warnings(plan: Plan, results: Sequence[CellResult]) -> list[str]:
    """Where the cells of one report did not run under equal conditions."""
    trained = [result for result in results if result.provenance is not None]
    attempts = [attempt for result in trained for attempt in result.attempts]
    lines = []
    if dirty := [result for result in trained if any(attempt.dirty for attempt in result.attempts)]:
        lines.append(f"{_cells(dirty)} trained from a source tree with uncommitted changes.")
    commits = _distinct(attempts, lambda attempt: (attempt.commit or "unknown")[:10])
    if len(commits) > 1:
        lines.append(f"Trained from {len(commits)} commits: {', '.join(commits)}. Their pages say which.")
    environments = _distinct(attempts, lambda attempt: _environment(attempt.versions))
    if len(environments) > 1:
        lines.append(f"Trained in {len(environments)} environments: {'; '.join(environments)}.")
    machines = sorted(devices(trained))
    if len(machines) > 1:
        lines.append(f"Trained on {len(machines)} kinds of device: {'; '.join(machines)}.")
    for dataset in dict.fromkeys(result.cell.dataset for result in trained):
        of_it = [result.provenance for result in trained if result.cell.dataset == dataset]
        if len(_distinct(of_it, lambda training: training.data_digest)) > 1:
            lines.append(f"The cells of {dataset} were trained on different versions of its data.")
    frozen = [result for result in trained if result.cell.id in plan.frozen]
    if changed := [result for result in frozen if changed_code(result)]:
        whose = "its" if len(changed) == 1 else "their"
        lines.append(f"{_cells(changed)} kept as frozen; the code of {whose} training has changed since.")
    if unknown := [result for result in frozen if changed_code(result) is None]:
        whose = "its" if len(unknown) == 1 else "their"
        lines.append(f"{_cells(unknown)} kept as frozen; {whose} code was recorded under another scheme.")
    if other := [result for result in results if result.changed]:
        values = "; ".join(dict.fromkeys(value for result in other for value in result.changed))
        lines.append(
            f"{_cells(other)} kept as frozen with other values than the configuration has today: {values}."
        )
    return lines


def changed_code(result: CellResult) -> list[str] | None:
    """The modules in which a training of this cell would run other code today than it did.

    ``None``: not known, since its code was recorded under another scheme.
    """
    if result.provenance.schema != records.SCHEMA:
        return None
    then, now = result.provenance.code, code_digest.step_code("train", method=result.cell.method)
    return sorted(module for module in then.keys() | now.keys() if then.get(module) != now.get(module))


def _environment(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in ENVIRONMENT if versions.get(name))


def _distinct(items: Iterable[T], value: Callable[[T], str]) -> list[str]:
    return sorted({value(item) for item in items})


def _cells(results: Sequence[CellResult]) -> str:
    return "1 cell was" if len(results) == 1 else f"{len(results)} cells were"
