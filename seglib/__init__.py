"""seglib: reproducible benchmarks of semantic segmentation."""

import importlib
from typing import Any

__version__ = "0.1.0"
FACE = {"read_results": "seglib.results.tables"}
"""Public name -> its module, imported when it is asked for: ``import seglib`` costs nothing."""


def __getattr__(name: str) -> Any:
    if name in FACE:
        return getattr(importlib.import_module(FACE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
