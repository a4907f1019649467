"""How far a run is: every cell done, running, failed or missing, and where its log lies.

    seglib status [--config config/default.yaml]

Files only are read, so that it works from any machine that sees the folder, while a run goes on. A step
counts as running while its log or its checkpoints grow. Their times are compared with the time of the disk
they lie on, which a file without a name tells that is made there for a moment. This machine's clock may be
wrong; it has to do where no file may be made.
"""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seglib.core import progress
from seglib.core.files import disk_time_s
from seglib.experiment import config as configuration
from seglib.experiment import paths
from seglib.experiment.config import Plan
from seglib.results.inventory import CellResult, collect

QUIET_S = 8 * progress.LOG_INTERVAL_S
"""A step says something every ``LOG_INTERVAL_S``; one that was silent for longer than this has stopped."""
ORDER = ("running", "failed", "stopped", "missing", "outdated", "done")
WORDS = {
    "stopped": "started, left no result and is silent; the next run goes on from its last checkpoint",
    "outdated": "done with other values than the configuration has now",
}


def run(*, config: dict[str, Any], show_all: bool) -> None:
    """Print the state of every cell of a configuration that is not done; with ``show_all`` of each."""
    plan = configuration.load(config)
    states = list(cell_states(plan))
    counts = Counter(state for state, _, _ in states)
    print(f"{len(states)} cells: {', '.join(f'{counts[state]} {state}' for state in ORDER if counts[state])}")
    for state in ORDER:
        if state == "done" and not show_all:
            continue
        shown = [(record, note) for found, record, note in states if found == state]
        if shown:
            print(f"\n{state}" + (f" ({WORDS[state]})" if state in WORDS else ""))
        for record, note in shown:
            print(f"    {record.cell.id}" + (f": {note}" if note else ""))
            if record.log is not None:
                print(f"        {record.log}")


def cell_states(plan: Plan) -> Iterator[tuple[str, CellResult, str]]:
    """State (one of ``ORDER``), record and a note, in the order of the plan."""
    results = Path(plan.config.results)
    try:
        now_s = disk_time_s(results if results.exists() else Path.cwd())
    except ValueError:
        now_s = time.time()
    for record in collect(plan, results):
        if record.status == "unfinished":
            checkpoints = paths.cell_folder(results, record.cell) / "checkpoints"
            age_s = now_s - max(_written_s(record.log), *map(_written_s, checkpoints.glob("*/*")), 0.0)
            last = f"{record.log_tail[-1]}" if record.log_tail else ""
            yield ("running" if age_s < QUIET_S else "stopped"), record, last
        else:
            yield record.status, record, record.reason or ""


def _written_s(path: Path | None) -> float:
    try:
        return path.stat().st_mtime if path is not None else 0.0
    except FileNotFoundError:  # a checkpoint that was replaced meanwhile
        return 0.0
