"""ProgressBar of long steps: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
LOG_INTERVAL_S = 15.0


def track(items: Iterable[T], *, total: int, what: str, start: int = 0) -> Iterator[T]:
    """Yield ``items``, showing count, rate and time left.

    ``start``: items already done in an earlier run; they count as done but not toward the rate.
    """
    with ProgressBar(total=total, what=what, start=start) as progress:
        for item in items:
            yield item
            progress.advance()


class ProgressBar:
    """A bar on a terminal; otherwise one line every ``LOG_INTERVAL_S`` seconds and one at the end.

    Nothing at all unless ``shown``.
    """

    def __init__(self, *, total: int, what: str, start: int = 0, shown: bool = True):
        self.total, self.what, self.start, self.shown = total, what, start, shown
        self.done = start
        self.note = ""
        self.started_s = self.shown_s = time.monotonic()
        self.bar = (
            tqdm(total=total, initial=start, desc=what, dynamic_ncols=True)
            if shown and sys.stderr.isatty()
            else None
        )

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count ``count`` items as done; ``note`` is shown behind the numbers (loss, lr, ...)."""
        self.done += count
        self.note = note or self.note
        if self.bar is not None:
            self.bar.set_postfix_str(self.note, refresh=False)
            self.bar.update(count)
        elif self.shown and time.monotonic() - self.shown_s >= LOG_INTERVAL_S:
            self._print()

    def _print(self) -> None:
        self.shown_s = time.monotonic()
        elapsed_s = self.shown_s - self.started_s
        rate = (self.done - self.start) / max(elapsed_s, 1e-9)
        left = tqdm.format_interval((self.total - self.done) / rate) if rate > 0 else "?"
        line = f"{self.what}: {self.done}/{self.total}, {rate:.3g}/s, {left} left"
        print(f"{line}, {self.note}" if self.note else line, file=sys.stderr, flush=True)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()
        elif self.shown:
            self._print()
