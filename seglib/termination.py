"""A cluster's SIGTERM ends a step in order: Python's own way leaves what is half written where it is."""

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
