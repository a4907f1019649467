"""Which backbones bring `srm_crm` near the 137.9 GFLOPs that its paper (2412.08671) states for Cityscapes?

    python benchmarks/srm_crm_cost.py        one table, half a minute on one core

The abstract names neither backbone nor input size, nor whether a FLOP is a multiply-add (MAC) or half of one.
So both readings are set against the figure, at 1024x2048 pixels. A total within 5 % is tagged `fitted`: a
guess at the authors' network by its cost, and no reproduction of it. Widths, places and formulas of the head
are ours (seglib/models/srm_crm.py). Counted are convolutions and matrix products of one image, 19 classes.
timm lacks MSCAN and MiT; PVTv2 has their channels.
"""

import argparse

from seglib.cost.counters import count_meta
from seglib.experiment.recipe import Backbone
from seglib.models.segmentor import Segmentor, build_segmentor

PUBLISHED_GFLOPS = 137.9
FITTED_WITHIN = 0.05
INPUT_HW = (1024, 2048)
WIDTHS = (64, 128, 256)
BACKBONES = (
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "pvt_v2_b0",
    "pvt_v2_b1",
    "pvt_v2_b2",
    "resnet18",
    "resnet34",
    "resnet50",
    "convnext_atto",
    "convnext_pico",
    "convnext_nano",
    "convnext_tiny",
    "hrnet_w18_small_v2",
    "swin_tiny_patch4_window7_224",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reduced", action="store_true", help="smallest sizes and counts: does it run?")
    count = 1 if parser.parse_args().reduced else None
    print(f"srm_crm at {INPUT_HW[0]}x{INPUT_HW[1]}, 19 classes, against {PUBLISHED_GFLOPS} GFLOPs")
    print(f"{'':<45}{'GMACs':>10}{'':>16}{'if a FLOP':>15}{'GFLOPs =':>10}")
    print(f"{'backbone':<30}{'width':>6}{'params M':>9}", end="")
    print(f"{'backbone':>10}{'head':>8}{'all':>8}{'is a MAC':>15}{'2 x GMACs':>10}")
    for backbone in BACKBONES[:count]:
        for width in WIDTHS[:count]:
            counts = count_meta(lambda b=backbone, w=width: build(b, w), INPUT_HW)
            encoder, head, total = (counts.total(part) / 1e9 for part in ("encoder", "method", ""))
            params_m = sum(counts.parameters.values()) / 1e6
            print(
                f"{backbone:<30}{width:>6}{params_m:>9.2f}{encoder:>10.1f}{head:>8.1f}{total:>8.1f}"
                f"{against(total):>15}{2 * total:>10.1f}{against(2 * total):>15}",
                flush=True,
            )


def build(backbone: str, width: int) -> Segmentor:
    return build_segmentor(
        method="srm_crm",
        method_options={"width": width},
        backbone=Backbone(model=backbone),
        num_classes=19,
        load_weights=False,
    )


def against(giga: float) -> str:
    """The difference to the published figure, tagged where it is small."""
    difference = giga / PUBLISHED_GFLOPS - 1
    return f"{difference:+.1%}" + (" fitted" if abs(difference) <= FITTED_WITHIN else "")


if __name__ == "__main__":
    main()
