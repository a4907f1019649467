"""The command line: one subcommand per step, each the same call that the workflow makes.

The rooms declare the arguments of their steps (``arguments.py``), ``registry.STEPS`` says where the work is
done: ``seglib STEP --help`` imports neither torch nor any step.
"""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from signal import SIGINT
from typing import Any

from seglib import __version__
from seglib.core import code_digest, command_line, registry
from seglib.core.signals import Terminated, terminated_as_interrupted
from seglib.experiment.cell import Cell


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one step. A user's mistake ends in one line on stderr and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = vars(_parser().parse_args(arguments))
    step, code = options.pop("step"), options.pop("code")
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun starts, one says it for all
        print(f"$ python -m seglib {_hide_accounts(shlex.join(arguments))}", file=sys.stderr, flush=True)
    try:
        if code is not None:
            _require_code(step, options, code)
        # A training stops at a point of its own choosing, and torchrun counts on that.
        with nullcontext() if step == "train" else terminated_as_interrupted():
            registry.resolve(_target(step, options))(**options)
    except (ValueError, OSError) as error:
        if os.environ.get("SEGLIB_TRACEBACK"):
            raise
        print(f"seglib {step}: error: {_one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"seglib {step}: stopped; the next run goes on from here", file=sys.stderr)
        sys.exit(128 + (stop.signal if isinstance(stop, Terminated) else SIGINT))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seglib", description="Reproducible benchmarks of semantic segmentation."
    )
    parser.add_argument("--version", action="version", version=f"seglib {__version__}")
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for name in registry.STEPS:
        what = command_line.describe(name)
        step = steps.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        command_line.declare(name, step)
    return parser


def _require_code(step: str, options: dict[str, Any], digest: str) -> None:
    """``ValueError`` where this is not the code for which the workflow planned the job."""
    names = {"dataset": options["dataset"]} if "dataset" in options else {}
    if step == "train":
        names["method"] = options["cell"].method
    elif step == "predict":
        cell = Path(options["model"], "cell.json").read_text("utf-8")
        names["method"] = Cell.from_json(cell).method
    elif "method" in options:
        names["method"] = options["method"]
    if code_digest.summary_digest(code_digest.step_code(step, **names)) != digest:
        raise ValueError(
            f"{code_digest.PACKAGE} is not the code that the workflow planned this job for: it is another "
            "checkout or installation, or was edited since; start the workflow again"
        )


def _target(step: str, options: dict[str, Any]) -> str:
    """Where the step's work is done; ``options`` are then its arguments."""
    if step != "predict":
        return registry.STEPS[step]
    if options["data"] is not None:
        del options["images"]
        options["split"] = options["split"] or "val"
        return registry.STEPS[step]
    if options["split"] is not None:
        raise ValueError("--split names a part of --data; --images are predicted all")
    del options["data"], options["split"]
    return registry.PREDICT_IMAGES


def _hide_accounts(text: str) -> str:
    """Without the ``user:password@`` of addresses: what is printed here ends up in logs."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror and not error.filename2:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
