"""Random seeds from names, so that no draw depends on earlier draws.

A training's draws depend on its data set, recipe and seed alone: a new method, variant or backbone
never reshuffles another's images, and all methods of a comparison see the same crops in the same
order. Each sample and each step has a seed of its own, so that a resumed training needs no saved
random state.
"""

import hashlib
import json

from seglib.experiment.cell import Cell


def derive_seed(*names: str | int) -> int:
    """A whole number in 0..2^63-1 for a sequence of names, equal on every machine and version."""
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def training_seed(cell: Cell) -> int:
    """The seed from which all seeds of a training are derived."""
    return derive_seed(cell.dataset, cell.recipe_name, cell.seed)
