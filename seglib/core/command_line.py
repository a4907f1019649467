"""The arguments of the steps, as a parser and as the line that runs a step.

Each room declares those of its steps in ``arguments.py``, one function per step, whose docstring is the help.
Nothing heavy is imported for that: the work of a step is in another module, see ``registry.STEPS``.
"""

import argparse
import os
import shlex
from collections.abc import Callable
from typing import Any, TypeVar

from seglib.core import registry

T = TypeVar("T")
LAUNCH = "python -m seglib"


def declare(step: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``step`` to its ``parser``."""
    _declaration(step)(parser)
    parser.add_argument("--code", metavar="DIGEST", help="stop unless this is the digest of the step's code")


def describe(step: str) -> str:
    """What ``step`` does, in one line."""
    return " ".join((_declaration(step).__doc__ or "").split())


def spell(step: str, **options: Any) -> str:
    """The line that runs ``step`` with ``options``, by the names that its function takes.

    ``None``, ``False`` and an empty list are left out. ``ValueError`` for an option that the step lacks.
    """
    parser = argparse.ArgumentParser(add_help=False)
    declare(step, parser)
    known = {action.dest: action for action in parser._actions}
    positional, words = [], []
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"seglib {step} has no option {name!r}")
        if value is None or value is False or value == []:
            continue
        flags = known[name].option_strings
        values = [str(item) for item in (value if isinstance(value, list) else [value])]
        if not flags:
            positional += values
        else:
            words += [flags[0]] if value is True else [flags[0], *values]
    return shlex.join([*LAUNCH.split(), step, *positional, *words])


def count_cpus() -> int:
    """At hand: a cluster's job has fewer than its node."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def add_workers(parser: argparse.ArgumentParser, what: str) -> None:
    """``--workers``: each holds an image or two in memory."""
    cpus = count_cpus()
    parser.add_argument(
        "--workers",
        type=lambda text: min(int(text), cpus),
        default=cpus,
        metavar="N",
        help=f"{what}; at most, and by default, one for each CPU at hand ({cpus})",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s"
    )


def add_loading(parser: argparse.ArgumentParser) -> None:
    """``--device``, and ``--workers`` that load for it."""
    add_device(parser)
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="loading threads (default: %(default)s)"
    )


def size(text: str) -> tuple[int, int]:
    """``512x1024`` as height and width."""
    height, separator, width = text.partition("x")
    if not (separator and height.isdecimal() and width.isdecimal() and int(height) * int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write HEIGHTxWIDTH, e.g. 512x1024")
    return int(height), int(width)


def explained(convert: Callable[[str], T]) -> Callable[[str], T]:
    """``convert`` for argparse, which hides the text of a ``ValueError`` and lets an ``OSError`` through."""

    def converted(text: str) -> T:
        try:
            return convert(text)
        except (ValueError, OSError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return converted


def _declaration(step: str) -> Callable[[argparse.ArgumentParser], None]:
    room = registry.STEPS[step].split(":")[0].rpartition(".")[0]
    return registry.resolve(f"{room}.arguments:{step.replace('-', '_')}")
