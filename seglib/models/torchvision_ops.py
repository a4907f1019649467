"""Make torchvision importable beside a torch build that its compiled operators do not fit.

torchvision's wheels are linked against a CUDA torch. Beside a CPU-only torch their library does not load,
and ``import torchvision`` (hence ``import timm``) dies with ``operator torchvision::nms does not exist``,
since the package registers fake kernels for operators that were never declared. Declaring them is enough for
all that seglib uses; calling them stays an error.
"""

import importlib
import sys

import torch

_OPERATORS = ("nms", "qnms")
_library = None


def ensure() -> None:
    """Declare the missing operators; do nothing with a complete torchvision. Call before importing timm."""
    global _library  # the declarations live as long as this object
    try:
        importlib.import_module("torchvision")
        return
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    importlib.import_module("torchvision")
