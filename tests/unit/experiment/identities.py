"""The identities of all cells of the committed configurations, which ``identities.json`` holds.

    python -m tests.unit.experiment.identities

A digest that changes retrains its cell: write the file anew only where that is what the change is for.
"""

import hashlib
import json
from pathlib import Path

from seglib.claims import committed
from seglib.core.files import write_json
from seglib.experiment import config

FILE = Path(__file__).with_suffix(".json")


def golden() -> dict[str, dict[str, str]]:
    return json.loads(FILE.read_text("utf-8"))


def identities() -> dict[str, dict[str, str]]:
    """Configuration -> id of each of its cells -> start of the SHA-256 of its canonical JSON."""
    return {
        file.relative_to(committed.CONFIGS).as_posix(): {
            cell.id: hashlib.sha256(cell.to_json().encode()).hexdigest()[:16]
            for cell in config.load(config.read(file)).cells
        }
        for file in committed.plans()
    }


if __name__ == "__main__":
    write_json(FILE, identities())
