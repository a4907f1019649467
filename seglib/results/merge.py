"""Join the results of several machines: ``seglib merge A/results B/results --out results``.

A unit is copied whole or not at all: a training, a test of a training, the cost of a model. Where two
folders hold the same unit with the same content, one is taken; where they differ, that is a conflict: the
first stays, nothing is overwritten, and every conflict is shown. Models and predictions may be missing, as in
published results: what their seals say of them is compared, and the rest is taken. Times of files are kept,
since Snakemake compares them, but for tests that are older than the equal training that stays. Tables and
pages are made anew by the next run.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from seglib.core import checksums
from seglib.core.files import atomic_folder, atomic_path, naming_full_disk
from seglib.core.typed import canonical_json
from seglib.experiment import paths, records
from seglib.experiment.changes import changed_values
from seglib.experiment.recipe import NO_WEIGHTS
from seglib.experiment.records import Cost, Speed

IDENTITY = {
    "train": ("cell.json", "model.safetensors"),
    "test": ("metrics.json", "counts.npz"),
}
"""What makes a unit the same; its other files say when and where it was made."""


@dataclass
class Outcome:
    copied: int = 0
    equal: int = 0
    conflicts: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gone: Counter[str] = field(default_factory=Counter)
    """Files of :data:`seglib.core.checksums.LARGE` that lack in what was copied."""
    lacking: Counter[str] = field(default_factory=Counter)
    """Units that lack them in ``out``, but not in a source."""

    def lines(self) -> Iterator[str]:
        yield from (*self.conflicts, *self.skipped, *self.notes)
        for part, count in self.gone.items():
            yield f"{part}: {count} files were not there to be copied"
        for part, count in self.lacking.items():
            yield f"{part}: {count} units stay without, though a source has it: merge anew, that source first"


def run(*, sources: list[Path], out: Path) -> None:
    """Merge ``sources`` into ``out``, which may be one of them. What ``out`` holds already stays.

    Raises ``ValueError`` (exit code 2) when there were conflicts or damaged units, after everything else was
    copied; the same command can be given again.
    """
    for source in sources:
        if not (source / "cells").is_dir():
            raise ValueError(f"{source}: no results folder (it has no folder `cells`)")
    outcome = Outcome()
    for source in sources:
        if source.resolve() != out.resolve():
            _merge(source, out, outcome)
    print(
        f"{outcome.copied} copied, {outcome.equal} in both and equal, {len(outcome.conflicts)} conflicts, "
        f"{len(outcome.skipped)} not whole"
    )
    for line in outcome.lines():
        print(f"    {line}")
    if outcome.conflicts or outcome.skipped:
        raise ValueError(
            f"{len(outcome.conflicts)} conflicts and {len(outcome.skipped)} damaged units stay where they "
            f"are, the rest is in {out}; move the one that you do not want away, and merge again"
        )


def _merge(source: Path, out: Path, outcome: Outcome) -> None:
    for cell in _cells(source):
        name = cell.relative_to(source)
        if not _take(cell / "train", out / name / "train", "train", outcome):
            continue  # its tests are of another model than the one in `out`
        for test in sorted(path for path in cell.iterdir() if (path / "metrics.json").is_file()):
            _take(test, out / name / test.name, "test", outcome)
    for file in sorted((source / "models").rglob("*.json")):
        _take_cost(file, out / file.relative_to(source), outcome)


def _cells(source: Path) -> Iterator[Path]:
    """Folders of trainings that ended, whatever is left of what they wrote."""
    for train in paths.find_trainings(source):
        if any((train / name).is_file() for name in IDENTITY["train"]):
            yield train.parent


def _take(source: Path, target: Path, kind: str, outcome: Outcome) -> bool:
    """Whether ``target`` now holds what ``source`` holds."""
    faults, gone = [], Counter()
    for fault in (fault for seal in sorted(source.glob("*.sha256")) for fault in checksums.faults(seal)):
        part = fault.path.relative_to(source).parts[0]
        if part in checksums.LARGE and not _holds_files(source / part):
            gone[part] += 1
        else:
            faults.append(str(fault))
    faults += [
        f"{source / name}: gone" for name in IDENTITY[kind] if not faults and _digest(source, name) is None
    ]
    if faults:
        outcome.skipped.append(faults[0])
        return False
    if not _holds_files(target):
        with naming_full_disk(target), atomic_folder(target) as temporary:
            shutil.copytree(source, temporary, dirs_exist_ok=True, ignore=_leftovers)
            shutil.copystat(source, temporary)
            if kind == "test":
                _count_as_newer(temporary, target.parent / "train")
        outcome.copied += 1
        outcome.gone += gone
        return True
    differing = [name for name in IDENTITY[kind] if _digest(source, name) != _digest(target, name)]
    if not differing:
        outcome.equal += 1
        outcome.lacking.update(
            part
            for part in checksums.LARGE
            if _holds_files(source / part) and not _holds_files(target / part)
        )
        return True
    outcome.conflicts.append(f"{source} and {target} differ in {_explain(source, target, differing)}")
    return False


def _count_as_newer(test: Path, train: Path) -> None:
    """Where the equal training that stays is newer, Snakemake would test it again."""
    trained_ns = max(path.stat().st_mtime_ns for path in train.iterdir())
    for path in (*test.rglob("*"), test):
        if path.stat().st_mtime_ns < trained_ns:
            os.utime(path, ns=(trained_ns, trained_ns))


def _holds_files(path: Path) -> bool:
    """Whether a file, or any file below a folder, is there. Snakemake makes folders before a job has run."""
    if path.is_dir():
        return any(_holds_files(child) for child in path.iterdir() if not child.name.startswith("."))
    return path.is_file()


def _digest(folder: Path, name: str) -> str | None:
    """SHA-256 of a file of :data:`IDENTITY`; of a model that was left behind, what its seal says."""
    if name in checksums.LARGE:
        return checksums.digest_written(folder / name, folder / "train.sha256")
    return checksums.digest_of(folder / name)


def _leftovers(_: str, names: list[str]) -> set[str]:
    """What a killed writer left, which is hidden; the time that Snakemake keeps of a folder is none of it."""
    return {name for name in names if name.startswith(".")} - {".snakemake_timestamp"}


def _explain(source: Path, target: Path, differing: list[str]) -> str:
    if differing[0] == "cell.json" and (target / "cell.json").is_file():
        old, new = (canonical_json(records.read_json(folder / "cell.json")) for folder in (target, source))
        return "; ".join(changed_values(old, new)) or "cell.json"
    return ", ".join(differing)


def _take_cost(source: Path, target: Path, outcome: Outcome) -> None:
    seal = source.with_suffix(".sha256")
    fault = next(checksums.faults(seal), None) if seal.is_file() else None
    if fault is not None:
        outcome.skipped.append(str(fault))
        return
    try:
        is_equal = target.exists() and _cost(source) == _cost(target)
    except ValueError as error:
        outcome.skipped.append(str(error))
        return
    if not target.exists():
        for file in (seal, source):  # in this order, so that after a kill between them both are copied again
            if file.is_file():
                with atomic_path(target.with_suffix(file.suffix)) as temporary:
                    shutil.copy2(file, temporary)
        outcome.copied += 1
    elif is_equal:
        outcome.equal += 1
    elif source.name.endswith(".speed.json"):  # true of its machine only, so no contradiction
        outcome.notes.append(f"{source} was measured on another machine than {target}, which stays")
    else:
        outcome.conflicts.append(f"{source} and {target} differ")


def _cost(path: Path) -> Cost | Speed | None:
    """The numbers, without the versions of what counted them and the weights, which change none."""
    if path.name.endswith(".speed.json"):
        return records.read(Speed, path)
    cost = records.read(Cost, path)
    return cost and replace(cost, counters={}, backbone=replace(cost.backbone, **NO_WEIGHTS))
