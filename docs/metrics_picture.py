"""Draw docs/metrics.svg, the picture of docs/metrics.md: python docs/metrics_picture.py"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from scipy import ndimage

WIDTH, RADIUS = 4, 3
GROUND, OBJECT, IGNORED = "#e9e4d8", "#8aa1b8", "#ffffff"
BOTH, LABEL, PREDICTION = "#2b2b2b", "#3b7dd8", "#e08a1e"


def main() -> None:
    y, x = np.mgrid[:48, :64]
    ignored = (x - 50) ** 2 + (y - 14) ** 2 < 36
    label = ((x - 34) / 19) ** 2 + ((y - 22) / 13) ** 2 < 1
    prediction = (((x - 31) / 20) ** 2 + ((y - 25) / 12) ** 2 < 1) | ((x > 8) & (x < 14) & (y > 36))
    label, prediction = label & ~ignored, prediction & ~ignored

    figure, axes = plt.subplots(1, 5, figsize=(13, 2.75), layout="constrained")
    for axis, mask, title in ((axes[0], label, "label"), (axes[1], prediction, "prediction")):
        show(axis, np.where(ignored, 2, mask), [GROUND, OBJECT, IGNORED], title)
    overlap(axes[2], label, prediction, ignored, "region of the class")
    near = [mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), WIDTH) for mask in (label, prediction)]
    overlap(axes[3], *near, ignored, f"boundary regions, d = {WIDTH} px")

    square = np.ones((3, 3))
    contours = [
        mask & ~ndimage.binary_erosion(mask | ignored, square, border_value=1) for mask in (label, prediction)
    ]
    picture = np.zeros(label.shape, int)
    for own, other, color in ((*contours, 1), (*contours[::-1], 2)):
        far = ndimage.distance_transform_edt(~other) > RADIUS
        picture[own & far] = color
        picture[own & ~far] = 3
    picture[ignored] = 4
    show(
        axes[4],
        picture,
        [GROUND, LABEL, PREDICTION, BOTH, IGNORED],
        f"contours, matched at r = {RADIUS} px",
    )
    handles = [
        Patch(facecolor=color, edgecolor="#888888", label=text)
        for color, text in (
            (BOTH, "in both / matched"),
            (LABEL, "label only"),
            (PREDICTION, "prediction only"),
            (OBJECT, "the class"),
            (GROUND, "elsewhere"),
            (IGNORED, "ignored"),
        )
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    plt.rcParams["svg.hashsalt"] = "metrics"
    figure.savefig(Path(__file__).with_name("metrics.svg"), metadata={"Date": None})


def overlap(
    axis: plt.Axes, label: np.ndarray, prediction: np.ndarray, ignored: np.ndarray, title: str
) -> None:
    picture = label + 2 * prediction
    picture[ignored] = 4
    show(axis, picture, [GROUND, LABEL, PREDICTION, BOTH, IGNORED], title)


def show(axis: plt.Axes, picture: np.ndarray, colors: list[str], title: str) -> None:
    axis.pcolormesh(picture, cmap=ListedColormap(colors), vmin=0, vmax=len(colors) - 1, rasterized=True)
    axis.set(aspect="equal", xticks=[], yticks=[])
    axis.invert_yaxis()
    axis.set_title(title, fontsize=10)


if __name__ == "__main__":
    main()
