"""Kill trainings of every method at random moments, again and again, and compare the bits at the end.

    python -m tests.soak.kill_and_resume --kills 5

Not collected by pytest, which kills once per method: this takes minutes, and more with more kills. A cell is
trained once without a stop, and once by processes that get SIGKILL, SIGTERM, SIGINT or SIGUSR1 at random, on
one core or on all, until one comes to the end. Model and log must be equal, or the exit code is 1. A line for
each method tells the signals, and the iterations after which the next process went on.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

from seglib.core import registry
from seglib.experiment.cell import Cell
from tests.conftest import write_miniature
from tests.unit.models.method_tester import small_options
from tests.unit.training.test_trainer import assert_same, make_cell, newest, read_log, train

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
RECIPES = (
    {"threads": 2},
    {"threads": 2, "optimizer": "adamw", "lr": 0.001, "precision": "bf16", "accumulate": 2},
    {"threads": 1, "class_uniform": 0.5, "clip_grad_norm": 1.0, "color_jitter": 0.25, "blur": 0.5},
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=registry.METHODS, default=list(registry.METHODS))
    parser.add_argument("--kills", type=int, default=5, help="per method (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and signals")
    arguments = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        data = write_miniature(Path(folder) / "data")
        for i, method in enumerate(arguments.methods):
            recipe = RECIPES[i % len(RECIPES)]
            cell = make_cell(method, small_options(method), iterations=arguments.iterations, **recipe)
            draws = random.Random(f"{arguments.seed} {method}")
            try:
                history = check(cell, data, Path(folder) / method, kills=arguments.kills, draws=draws)
            except AssertionError as error:
                failed.append(method)
                history = f"FAILED: {error}"
            print(f"{method:18} {history}", flush=True)
    sys.exit(f"not the same bits: {', '.join(failed)}" if failed else 0)


def check(cell: Cell, data: Path, folder: Path, *, kills: int, draws: random.Random) -> str:
    """Train ``cell`` with and without ``kills`` stops; what happened. ``AssertionError`` if bits differ."""
    whole, stopped = folder / "whole", folder / "stopped"
    started_s = time.monotonic()
    assert attempt(cell, data, whole, interval_s=1e9) == 0
    whole_s = time.monotonic() - started_s
    history = []
    for _ in range(kills):
        number = draws.choice(SIGNALS)
        left = 1 - newest(stopped) / cell.recipe.iterations
        kill = (number, draws.uniform(0, whole_s * left))
        cores = draws.choice([1, os.cpu_count()])
        code = attempt(cell, data, stopped, interval_s=draws.choice([0, 0.2]), kill=kill, cores=cores)
        if code == 0:
            break
        # Before it listens, a training ends as any process does.
        assert code in (-number, 128 + number, 1), f"exit code {code} after {number.name}"
        history.append(f"{number.name} at {newest(stopped)}")
    else:
        assert attempt(cell, data, stopped, interval_s=1e9) == 0
    models = [load_file(path / "train" / "model.safetensors") for path in (whole, stopped)]
    assert_same(*models)
    assert read_log(whole) == read_log(stopped), "logs differ"
    return "equal after " + (", ".join(history) or "no kill that came in time")


def attempt(
    cell: Cell,
    data: Path,
    folder: Path,
    *,
    interval_s: float,
    kill: tuple[signal.Signals, float] | None = None,
    cores: int | None = None,
) -> int:
    """The exit code of one process that trains, with ``kill`` (signal, after how many seconds)."""
    processes = multiprocessing.get_context("forkserver")  # torch is loaded once for all
    processes.set_forkserver_preload(["tests.unit.training.test_trainer"])
    process = processes.Process(target=_train, args=(cell, data, folder, interval_s, cores))
    process.start()
    if kill is not None:
        number, after_s = kill
        process.join(after_s)
        if process.is_alive():
            os.kill(process.pid, number)
    process.join()
    return process.exitcode


def _train(cell: Cell, data: Path, folder: Path, interval_s: float, cores: int | None) -> None:
    if cores is not None:
        os.sched_setaffinity(0, range(cores))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        train(cell, data, folder, workers=2, interval_s=interval_s)


if __name__ == "__main__":
    main()
