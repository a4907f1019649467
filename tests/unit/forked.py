"""Processes forked from one that has imported torch and the training code, which takes longer than a test.

A function that they run must be importable, and so must be what it takes and returns.
"""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["seglib.cli", "tests.unit.training.test_trainer"])


def start(function: Callable[..., Any], *arguments: Any, stderr: Path) -> BaseProcess:
    """A process that calls ``function`` and writes its errors to the end of a file."""
    process = CONTEXT.Process(target=_call, args=(stderr, function, *arguments))
    process.start()
    return process


def _call(stderr: Path, function: Callable[..., Any], *arguments: Any) -> None:
    file = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 2)
    function(*arguments)


def result(function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns in a process of its own."""
    with CONTEXT.Pool(1) as pool:
        return pool.apply(function, arguments)
