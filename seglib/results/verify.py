"""Find every file that changed after it was written: ``seglib verify-results results``.

Each step leaves a seal (:mod:`seglib.core.checksums`) over its files. Files without a seal are listed too:
the work of an older seglib, or of someone's hand.
"""

from collections.abc import Iterator
from pathlib import Path

from seglib.core import checksums
from seglib.core.progress import track

TEMPORARY = "checkpoints"
"""Folder of a training that is running or was stopped."""


def run(*, folder: Path, ignore_missing: bool = False) -> None:
    """Print what is wrong; ``ValueError`` (exit code 2) when anything is or when nothing can be checked.

    ``ignore_missing``: files that are gone are counted and no fault, as where results were published without
    models and predictions.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    found = sorted(folder.rglob("*.sha256"))
    if not found:
        raise ValueError(f"{folder}: holds no seal (*.sha256), so nothing in it can be checked")
    faults = [
        fault for path in track(found, total=len(found), what="verify") for fault in checksums.faults(path)
    ]
    gone = {fault for fault in faults if ignore_missing and fault.what == checksums.GONE}
    wrong = [fault for fault in faults if fault not in gone]
    for fault in wrong:
        print(fault)
    unsealed = sorted(unsealed_files(folder))
    if unsealed:
        print(f"{len(unsealed)} files have no seal, so that nothing is known of them:")
        print("\n".join(f"    {path}" for path in unsealed[:20]))
        if unsealed[20:]:
            print(f"    ... and {len(unsealed) - 20} more")
    if wrong:
        raise ValueError(
            f"{len(wrong)} files are not what their step wrote, first {wrong[0]}; "
            "restore them, or delete them and run the workflow again"
        )
    count = sum(len(checksums.sealed_files(path)) for path in found) - len(gone)
    missing = f"; {len(gone)} more are not here" if gone else ""
    print(f"{count} files are as their steps wrote them ({len(found)} seals){missing}")


def unsealed_files(folder: Path) -> Iterator[Path]:
    """Files below ``folder`` that no seal names; hidden ones and those of running steps aside."""
    sealed = set()
    for path in folder.rglob("*.sha256"):
        try:
            sealed |= checksums.sealed_files(path).keys() | {path}
        except ValueError:
            sealed.add(path)  # damaged: `run` says so
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if (
            path.is_file()
            and path not in sealed
            and not any(part.startswith(".") or part == TEMPORARY for part in parts)
        ):
            yield path
