"""Why Snakemake repeats a job, in the user's words."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from seglib.core.files import disk_time_s
from seglib.experiment.changes import changes

CLOCK_TOLERANCE_S = 5.0
FOLLOWS = "what it reads is made again"


def explain(reason: Any) -> list[str]:
    """Lines for a ``snakemake.jobs.Reason``."""
    lines = []
    if reason.forced:
        lines.append("forced")
    if reason.missing_output:
        lines.append("has not run")
    if reason.incomplete_output:
        lines.append("was interrupted")
    if reason.params_changed:
        lines += changes(reason.params_changed.only_old, reason.params_changed.only_new)
    if reason.code_changed:
        lines.append("the rule's command changed")
    if reason.input_changed:
        lines.append("reads other files than before")
    if reason.software_stack_changed:
        lines.append("its software environment changed")
    newer = sorted(map(str, reason.updated_input - reason.updated_input_run))
    if newer:
        lines.append(f"newer input: {newer[0]}" + (f" and {len(newer) - 1} more" if newer[1:] else ""))
        lines += _wrong_clock(newer)
    if reason.updated_input_run and not lines:
        lines.append(FOLLOWS)
    # Whatever else Snakemake knows (pipes, services) is not used here; it would be shown in its own words.
    return lines or [" ".join(str(reason).split()) or "wanted"]


def _wrong_clock(paths: Iterable[str]) -> Iterator[str]:
    """A machine whose clock is ahead writes files that stay newer than what is made from them."""
    for path in map(Path, paths):
        try:
            ahead_s = path.stat().st_mtime - disk_time_s(path.parent)
        except (OSError, ValueError):  # gone, or the folder may only be read: a hint less, and still a plan
            continue
        if ahead_s > CLOCK_TOLERANCE_S:
            yield f"but its time lies {ahead_s:.0f} s in the future, so a clock was wrong: touch {path}"
            return
