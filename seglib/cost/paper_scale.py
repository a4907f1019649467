"""Models at the size of their papers' experiments, and the committed table of their costs.

``paper_scale.csv`` is made by ``seglib audit`` (:mod:`seglib.cost.audit`); a test recomputes a part of it.
Nothing here imports torch, since the report reads the table.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seglib.core import registry
from seglib.experiment.recipe import Backbone

TABLE = Path(__file__).parent / "paper_scale.csv"
BACKBONES = {
    "ResNet-50": "resnet50c",
    "ResNet-101": "resnet101c",
    "ResNeSt-101": "resnest101e",
    "HRNet-W48": "hrnet_w48",
    "Swin-L": "swin_large_patch4_window12_384",
    "ViT-L": "vit_large_patch16_384",
    "ConvNeXt-T": "convnext_tiny",
    "MobileNetV2": "mobilenetv2_100",
}
"""Name in papers -> timm's. ResNets have the deep stem (``c``), as in the ISNet and MCIBI authors' code."""
OWN_STRIDES = ("hrnet_w48", "swin_large_patch4_window12_384", "vit_large_patch16_384")
"""Backbones that cannot be dilated."""
PYRAMID = ("ddsm", "deeplabv3plus", "semantic_fpn", "sfnet", "srm_crm", "upernet")
"""Methods that need maps from fine to coarse; the others get HRNet's maps concatenated."""
DILATED_PYRAMID = ("deeplabv3plus", "upernet")
"""Methods of ``PYRAMID`` that the ISNet and MCIBI authors' code dilates to output stride 8, as all others."""
CROPS = {
    "ade20k": ((512, 512), 150),
    "camvid": ((360, 480), 11),
    "cityscapes": ((512, 1024), 19),
    "coco_stuff_10k": ((512, 512), 182),
    "lip": ((473, 473), 20),
}
"""Data set -> crop and classes, of the ISNet and MCIBI authors' configurations; CamVid: its whole image."""
PAPER_DATASETS = {
    "ddsm": ("cityscapes", "camvid"),
    "sfnet": ("cityscapes",),
    "srm_crm": ("ade20k", "cityscapes"),
}
"""Data sets of methods without all of ``COMMON_DATASETS``. BDD100K is left out: no crop for it is known."""
COMMON_DATASETS = ("ade20k", "cityscapes", "coco_stuff_10k", "lip")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    method: str
    backbone: Backbone
    dataset: str
    input_hw: tuple[int, int]
    num_classes: int

    @property
    def name(self) -> str:
        """e.g. ``ade20k/isnet/resnet50c``."""
        return f"{self.dataset}/{self.method}/{self.backbone.model}"


@dataclass(frozen=True, kw_only=True)
class PaperScaleCost:
    """One row of the table; giga-MACs of one image of the crop's size."""

    method: str
    backbone: str
    output_stride: int | None
    """``None``: the backbone's own."""
    dataset: str
    input_hw: tuple[int, int]
    num_classes: int
    params: int | None = None
    """This and all below are ``None`` where method and backbone do not go together."""
    params_head: int | None = None
    gmacs_conv_matmul: float | None = None
    """Torch's count; equal to fvcore's wherever that ran, or there would be no row."""
    gmacs_conv_matmul_head: float | None = None
    gmacs: float | None = None
    """fvcore's count, with all elementwise work; ``None`` where it did not run."""
    mem_gib: float | None = None
    """Memory of a forward pass."""
    rejected: str = ""
    """Why method and backbone do not go together."""


def configurations() -> Iterator[Configuration]:
    """Every method on every backbone at the crop of each data set of its papers."""
    for method in registry.METHODS:
        for model in BACKBONES.values():
            dilated = method not in PYRAMID or method in DILATED_PYRAMID
            concatenated = model == "hrnet_w48" and method not in PYRAMID
            backbone = Backbone(
                model=model,
                output_stride=8 if dilated and model not in OWN_STRIDES else None,
                options={"concatenate": True} if concatenated else {},
            )
            for dataset in PAPER_DATASETS.get(method, COMMON_DATASETS):
                input_hw, num_classes = CROPS[dataset]
                yield Configuration(
                    method=method,
                    backbone=backbone,
                    dataset=dataset,
                    input_hw=input_hw,
                    num_classes=num_classes,
                )


def read(table: Path = TABLE) -> tuple[PaperScaleCost, ...]:
    with open(table, encoding="utf-8", newline="") as file:
        return tuple(_cost(row) for row in csv.DictReader(file))


def _cost(row: dict[str, str]) -> PaperScaleCost:
    height, width = row["input_hw"].split("x")
    numbers = {
        name: kind(row[name]) if row[name] else None
        for kind, names in ((int, COUNTS), (float, MEASURES))
        for name in names
    }
    texts = {name: row[name] for name in ("method", "backbone", "dataset", "rejected")}
    return PaperScaleCost(**texts, input_hw=(int(height), int(width)), **numbers)


COUNTS = ("output_stride", "num_classes", "params", "params_head")
MEASURES = ("gmacs_conv_matmul", "gmacs_conv_matmul_head", "gmacs", "mem_gib")
