"""Names of files, and numbers in words, as the pages have them."""

import hashlib
from collections.abc import Iterable

from seglib.results.inventory import Status


def page(cell: str) -> str:
    """Address of the page of a cell, from the index on. ``cell``: its id."""
    return f"cells/{file_stem(cell)}.html"


def file_stem(id: str) -> str:
    """An id as a name that every file system takes: without slashes, and of 100 characters at most."""
    stem = id.replace("/", "--")
    return stem if len(stem) <= 100 else f"{stem[:87]}-{hashlib.sha256(id.encode()).hexdigest()[:12]}"


def status(word: Status) -> str:
    return "not run" if word == "missing" else word


def duration(time_s: float) -> str:
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def ranges(numbers: Iterable[int]) -> str:
    """``0–2, 5`` for 0, 1, 2 and 5."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def boundary(ratio: float) -> str:
    """Where pixels count for Boundary IoU."""
    return f"within {100 * ratio:g} % of the image's diagonal (at least 1 px) of a region's edge"
