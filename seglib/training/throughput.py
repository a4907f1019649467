"""The throughput of a training, and its share of waiting for data."""

import time
from collections.abc import Iterator

from seglib.training.training_set import Batch


class Meter:
    """Times the loop: images per second, and the share of it spent waiting for data."""

    def __init__(self, *, batch_size: int, earlier_s: float):
        self.batch_size, self.earlier_s = batch_size, earlier_s
        self.started_s = time.monotonic()
        self._restart()

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            asked_s = time.monotonic()
            batch = next(batches, None)
            self.waited_s += time.monotonic() - asked_s
            if batch is None:
                return
            self.count += 1
            yield batch

    def time_s(self) -> float:
        """Seconds in the loop, over all attempts."""
        return self.earlier_s + time.monotonic() - self.started_s

    def take(self) -> dict[str, float]:
        """Speed since the last call."""
        speed = self._speed()
        self._restart()
        return speed

    def __str__(self) -> str:
        speed = self._speed()
        return f"{speed['images_per_s']:.3g} images/s, {speed['data_wait_share']:.0%} waiting for data"

    def _restart(self) -> None:
        self.since_s, self.waited_s, self.count = time.monotonic(), 0.0, 0

    def _speed(self) -> dict[str, float]:
        elapsed_s = time.monotonic() - self.since_s
        return {
            "images_per_s": round(self.count * self.batch_size / elapsed_s, 3),
            "data_wait_share": round(self.waited_s / elapsed_s, 4),
        }
