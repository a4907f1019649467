"""What one test says of each class: its metrics, and what it is taken for."""

from collections.abc import Sequence

import numpy as np

from seglib.core import tables
from seglib.core.tables import Column, Entry, Table
from seglib.results.inventory import Test

MOST_MATRIX_CLASSES, MOST_CONFUSIONS = 40, 12


def classes(
    test: Test,
    name: str,
    css_colours: Sequence[str] | None,
    shares: Sequence[float] | None,
    confusion: np.ndarray | None,
) -> Table:
    """One row per class: its share of the labelled pixels and of the predictions for them, and its metrics.

    ``shares``, ``confusion`` (K, K): ``None`` where data or counts are not at hand.
    """
    predicted = None if confusion is None else confusion.sum(axis=0) / max(1, confusion.sum())
    values = test.metrics.per_class
    radii = list(values.boundary_f)
    columns = [
        Column(name="class", title="Class"),
        Column(name="pixel_share", title="Pixels, %", number=True),
        Column(name="predicted_share", title="Predicted, %", number=True),
        Column(name="iou", title="IoU, %", number=True, bar="first"),
        Column(name="boundary_iou", title="Boundary IoU, %", number=True, bar="second"),
        Column(name="accuracy", title="Accuracy, %", number=True),
        *(Column(name=f"boundary_f_{r}px", title=f"F at {r} px, %", number=True) for r in radii),
    ]
    rows = []
    for index, label in enumerate(test.metrics.class_names):
        iou, boundary = values.iou[index], values.boundary_iou[index]
        rows.append(
            (
                tables.text(label, colour=css_colours[index] if css_colours else ""),
                tables.percent(shares[index] if shares else None),
                tables.percent(None if predicted is None else float(predicted[index])),
                tables.percent(iou, heat=iou),
                tables.percent(boundary, heat=boundary),
                tables.percent(values.accuracy[index]),
                *(tables.percent(values.boundary_f[radius][index]) for radius in radii),
            )
        )
    return Table(name=name, caption="Per class", columns=tuple(columns), rows=tuple(rows))


def confusions(confusion: np.ndarray, names: Sequence[str], name: str) -> Table:
    """The largest shares of a label's pixels that went to one other class; ``confusion`` (K, K) pixels."""
    pixels = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, pixels, out=np.zeros(confusion.shape), where=pixels > 0)
    np.fill_diagonal(share, 0)
    order = np.argsort(-share, axis=None, kind="stable")[:MOST_CONFUSIONS]
    found = [divmod(int(i), len(names)) for i in order if share.flat[i] > 0]
    return Table(
        name=name,
        caption="Largest confusions",
        columns=(
            Column(name="label", title="Label"),
            Column(name="predicted", title="predicted as"),
            Column(name="share", title="of the label's pixels, %", number=True),
            Column(name="pixels", title="Pixels", number=True),
        ),
        rows=tuple(
            (
                tables.text(names[label]),
                tables.text(names[predicted]),
                tables.percent(float(share[label, predicted])),
                tables.number(int(confusion[label, predicted]), "{:,}".format),
            )
            for label, predicted in found
        ),
    )


def matrix(confusion: np.ndarray, names: Sequence[str], name: str) -> Table | None:
    """The whole confusion matrix, each row in percent of its label's pixels; ``None`` above 40 classes."""
    if len(names) > MOST_MATRIX_CLASSES:
        return None
    rows = []
    for label, counts in zip(names, confusion, strict=True):
        total = counts.sum()
        shares = [None if total == 0 else int(count) / int(total) for count in counts]
        rows.append((tables.text(label), *(_share(share) for share in shares)))
    columns = (
        Column(name="label", title="Label"),
        *(Column(name=label, title=label, number=True) for label in names),
    )
    return Table(name=name, caption="Confusion matrix", columns=columns, rows=tuple(rows))


def _share(share: float | None) -> Entry:
    """Whole percents, the shades of a matrix; nothing for a share of 0."""
    if not share:
        return Entry(text="", value=share)
    return Entry(text=f"{100 * share:.0f}" if share >= 0.005 else "·", value=share, heat=share)
