"""Stop at a point of our choosing when the user or a cluster asks to stop."""

import signal
from types import FrameType


class StopRequest:
    """Within this context SIGTERM and SIGINT are noted; a second one acts at once, as always.

    ``signal`` is ``None`` until then. For the main thread.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self.__exit__()
