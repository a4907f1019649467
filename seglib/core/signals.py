"""Signals that end a step in order, where Python's own way would leave what is half written.

A training stops at a point of its own choosing (:class:`StopRequest`); any other step ends as after Ctrl-C
(:func:`terminated_as_interrupted`).
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""

    signal = signal.SIGTERM


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within this context SIGTERM, a cluster's, ends a step as Ctrl-C does: what is half written is removed.

    But not where the caller handles or ignores it, nor outside the main thread, where Python cannot.
    """
    process = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != process:  # a worker, which would hand the exception on as a result, and live
            os._exit(128 + number)
        signal.signal(number, signal.SIG_IGN)  # clusters repeat it, which must not cut the removal short
        for worker in multiprocessing.active_children():  # a pool would first finish what it has begun
            worker.terminate()
        raise Terminated

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class StopRequest:
    """Within this context SIGTERM, SIGINT and SIGUSR1 (Slurm's, ahead of a time limit) are noted.

    A second SIGINT acts at once, as always: a user lost patience. Clusters and torchrun may send the others
    several times, to several processes, and each mean one stop. ``signal``: the first of them, or ``None``.
    Who changes within the context what a signal does keeps the last word. For the main thread.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
