"""Entries of tables: numbers over seeds and over images, spelled as a reader sees them."""

from seglib.core import tables
from seglib.core.tables import UNKNOWN, Entry
from seglib.metrics.statistics import Interval


def measured(estimate: Interval | None, *, bold: bool = False) -> Entry:
    """A fraction over seeds: the mean with its interval, or with the word that there is none."""
    if estimate is None:
        return Entry(text=UNKNOWN)
    if estimate.half_width is None:
        return tables.percent(estimate.mean, note="1 run")
    note = f"±{100 * estimate.half_width:.2f}"
    return tables.percent(estimate.mean, note=note, half_width=estimate.half_width, bold=bold)
