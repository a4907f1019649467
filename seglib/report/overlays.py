"""Pictures of predictions, chosen by rule and never by hand.

Per test: the image with the best, the median and the worst IoU, and the one with the largest
boundary error. Each is shown as input, label, prediction and wrong pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from seglib.data.painting import blend
from seglib.experiment.records import Manifest
from seglib.metrics import scores
from seglib.metrics.counts import Counts
from seglib.results.inventory import Test

MAX_SIDE_PX = 480
WRONG_BGR, UNJUDGED_BGR = np.array((0, 94, 213), np.float32), np.array((255, 255, 255), np.float32)
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 85]


@dataclass(frozen=True)
class Choice:
    rule: str
    index: int
    """Position of the image in the test's order."""
    iou: float
    boundary_iou: float


@dataclass(frozen=True)
class Painter:
    """Draws the label maps of a data set over its images, (h, w, 3) uint8 BGR, at the size of a page."""

    palette: np.ndarray
    """(K, 3) uint8 RGB"""
    ignore: int

    @staticmethod
    def of(manifest: Manifest) -> "Painter":
        return Painter(np.array(manifest.colors, np.uint8), manifest.ignore_index)

    def show_label(self, image_file: Path, label_file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Input, label laid over the input, and the label's ids, (H, W) uint8."""
        label = read_map(label_file)
        image = _fit(_read_image(image_file), label.shape)
        return image, self._lay_over(image, label), label

    def draw_label(
        self, image_file: Path, label_file: Path, out: Sequence[Path]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Write input and label as JPEGs, unless they are there already; return input and ids."""
        image, labelled, label = self.show_label(image_file, label_file)
        if not out[1].exists():
            _write(out[0], image)
            _write(out[1], labelled)
        return image, label

    def draw_prediction(
        self, image: np.ndarray, label: np.ndarray, prediction_file: Path, out: Sequence[Path]
    ) -> None:
        """Write the prediction (laid over the input) and the wrong pixels; see :meth:`draw_label`."""
        prediction = read_map(prediction_file)
        if prediction.shape != label.shape:
            raise ValueError(f"{prediction_file}: {prediction.shape} pixels, but its label has {label.shape}")
        _write(out[0], self._lay_over(image, prediction))
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        judged = label != self.ignore
        canvas = _tint(0.55 * grey.astype(np.float32), judged & (label != prediction), WRONG_BGR, 1.0)
        _write(out[1], _tint(canvas, ~judged, UNJUDGED_BGR, 0.6).astype(np.uint8))

    def _lay_over(self, image: np.ndarray, ids: np.ndarray) -> np.ndarray:
        small = cv2.resize(ids, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        painted = blend(image, small, self.palette[:, ::-1])
        return np.where((small == self.ignore)[..., None], image, painted)


def choose(iou: np.ndarray, boundary_iou: np.ndarray) -> tuple[Choice, ...]:
    """Pick images by rule from their mean IoU and mean Boundary IoU, (N,) each, NaN: nothing to judge.

    Ties go to the earlier image. One image may answer several rules.
    """
    order = np.argsort(-iou, kind="stable")[: np.isfinite(iou).sum()]
    if not len(order):
        return ()
    picks = {"best IoU": order[0], "median IoU": order[len(order) // 2], "worst IoU": order[-1]}
    if np.isfinite(boundary_iou).any():
        picks["largest boundary error"] = np.nanargmin(boundary_iou)
    return tuple(Choice(rule, int(i), float(iou[i]), float(boundary_iou[i])) for rule, i in picks.items())


def examples(
    counts: Counts, manifest: Manifest | None, data: Path, test: Test, out: Path | None, stem: str
) -> tuple[list[dict[str, Any]], str]:
    """The chosen images of a test with their pictures, written into ``out``; or none, and why not.

    Prediction and wrong pixels are named by ``stem``; input and label are shared by all cells that
    show the image. ``out``: ``None`` where the configuration wants none.
    """
    if out is None:
        return [], "No pictures: the configuration leaves them out (pictures: false)."
    if manifest is None:
        return [], f"No pictures: {data} is not prepared here."
    split, painter = test.evaluation.split, Painter.of(manifest)
    places = {image.id: (place, image) for place, image in enumerate(manifest.splits[split])}
    means = scores.means(counts.per_image()[:, :8], ())
    chosen: dict[int, dict[str, Any]] = {}
    for choice in choose(means["miou"], means["boundary_iou"]):
        if choice.index in chosen:
            chosen[choice.index]["rules"] += f", {choice.rule}"
            continue
        id = counts.images[choice.index]
        prediction = test.folder / "predictions" / f"{id}.png"
        if id not in places or not prediction.is_file():
            return [], f"No pictures: {prediction} is not there."
        place, image = places[id]  # of the image in its split: the test may be of a part of it
        image_file, label_file = data / image.image, data / image.label
        if not (image_file.is_file() and label_file.is_file()):
            return [], f"No pictures: the images of {data} are not there."
        names = [
            *(f"{data.name}.{split}.{place}.{kind}.jpg" for kind in ("input", "label")),
            *(f"{stem}.{place}.{kind}.jpg" for kind in ("prediction", "wrong")),
        ]
        files = [out / name for name in names]
        try:
            drawn, label = painter.draw_label(image_file, label_file, files[:2])
            painter.draw_prediction(drawn, label, prediction, files[2:])
        except (ValueError, OSError) as error:  # a damaged picture costs the pictures, not the report
            return [], f"No pictures: {error}"
        titles, addresses = (
            ("Input", "Label", "Prediction", "Wrong pixels"),
            [f"{out.name}/{n}" for n in names],
        )
        chosen[choice.index] = {
            "rules": choice.rule,
            "id": id,
            "iou": f"{100 * choice.iou:.1f}",
            "boundary_iou": f"{100 * choice.boundary_iou:.1f}",
            "pictures": list(zip(titles, addresses, strict=True)),
            "height": drawn.shape[0],
            "width": drawn.shape[1],
        }
    return list(chosen.values()), "No pictures: no image has a labelled pixel."


def read_map(path: Path) -> np.ndarray:
    """A label map's ids, (H, W) uint8: of a palette PNG the indices, not the colours."""
    with Image.open(path) as file:
        return np.asarray(file)


def legend(manifest: Manifest) -> list[tuple[str, str]]:
    """(class name, CSS colour), in label order."""
    return [(entry.name, "#{:02x}{:02x}{:02x}".format(*entry.color)) for entry in manifest.classes]


def _read_image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)  # as it was trained on
    if image is None:
        raise ValueError(f"{path}: not a readable image; prepare the data set again")
    return image


def _fit(image: np.ndarray, shape_hw: tuple[int, int]) -> np.ndarray:
    """The image at the size at which it is shown."""
    scale = min(1.0, MAX_SIDE_PX / max(shape_hw))
    height, width = (max(1, round(side * scale)) for side in shape_hw)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _tint(canvas: np.ndarray, mask: np.ndarray, colour: np.ndarray, opacity: float) -> np.ndarray:
    """``canvas`` with the share of each pixel that ``mask`` covers painted: thin errors stay visible."""
    share = cv2.resize(mask.astype(np.float32), canvas.shape[1::-1], interpolation=cv2.INTER_AREA)
    share = opacity * share[..., None]
    return canvas * (1 - share) + colour * share


def _write(path: Path, image: np.ndarray) -> None:
    _, data = cv2.imencode(".jpg", image, JPEG)
    path.write_bytes(data)
