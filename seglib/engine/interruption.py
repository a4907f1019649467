"""Stop at a point of our choosing when the user or a cluster asks to stop."""

import signal
from types import FrameType


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
