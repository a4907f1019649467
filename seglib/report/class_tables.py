"""What one test says of each class: its metrics, and what it is taken for."""

from collections.abc import Sequence

import numpy as np

from seglib.core.tables import Column, Entry, Table, percent
from seglib.results.inventory import Test

MOST_MATRIX_CLASSES, MOST_CONFUSIONS = 40, 12


def classes(
    test: Test,
    name: str,
    colours: Sequence[str] | None,
    shares: Sequence[float] | None,
    confusion: np.ndarray | None,
) -> Table:
    """One row per class: its share of the labelled pixels and of the predictions for them, and its metrics.

    ``colours`` (CSS), ``shares``, ``confusion`` (K, K): ``None`` where data or counts are not at hand.
    """
    names, values = test.metrics.class_names, test.metrics.per_class
    unknown = [None] * len(names)
    predicted = unknown if confusion is None else confusion.sum(axis=0) / max(1, confusion.sum())
    if confusion is not None:
        predicted = predicted.tolist()

    def entry(index: int) -> Entry:
        return Entry(text=names[index], value=names[index], colour=colours[index] if colours else "")

    columns = [
        Column("class", "Class", entry),
        Column("pixel_share", "Pixels, %", (shares or unknown).__getitem__, percent),
        Column("predicted_share", "Predicted, %", predicted.__getitem__, percent),
        Column("iou", "IoU, %", values.iou.__getitem__, percent, shade="bar first"),
        Column(
            "boundary_iou", "Boundary IoU, %", values.boundary_iou.__getitem__, percent, shade="bar second"
        ),
        Column("accuracy", "Accuracy, %", values.accuracy.__getitem__, percent),
    ]
    for radius, of_radius in values.boundary_f.items():
        columns.append(
            Column(f"boundary_f_{radius}px", f"F at {radius} px, %", of_radius.__getitem__, percent)
        )
    return Table(name, "Per class", columns, range(len(names)))


def confusions(confusion: np.ndarray, names: Sequence[str], name: str) -> Table:
    """The largest shares of a label's pixels that went to one other class; ``confusion`` (K, K) pixels."""
    pixels = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, pixels, out=np.zeros(confusion.shape), where=pixels > 0)
    np.fill_diagonal(share, 0)
    order = np.argsort(-share, axis=None, kind="stable")[:MOST_CONFUSIONS]
    columns = (
        Column("label", "Label", lambda pair: names[pair[0]]),
        Column("predicted", "predicted as", lambda pair: names[pair[1]]),
        Column("share", "of the label's pixels, %", lambda pair: float(share[pair]), percent),
        Column("pixels", "Pixels", lambda pair: int(confusion[pair]), "{:,}".format),
    )
    pairs = [divmod(int(i), len(names)) for i in order if share.flat[i] > 0]
    return Table(name, "Largest confusions", columns, pairs)


def matrix(confusion: np.ndarray, names: Sequence[str], name: str) -> Table | None:
    """The whole confusion matrix, each row in percent of its label's pixels; ``None`` above 40 classes."""
    if len(names) > MOST_MATRIX_CLASSES:
        return None
    totals = confusion.sum(axis=1).tolist()

    def share(predicted: int):
        return lambda label: int(confusion[label, predicted]) / totals[label] if totals[label] else None

    columns = [
        Column("label", "Label", names.__getitem__),
        *(Column(title, title, share(k), _whole_percent, shade="heat") for k, title in enumerate(names)),
    ]
    return Table(name, "Confusion matrix", columns, range(len(names)))


def _whole_percent(share: float) -> str:
    """Nothing for a share of 0."""
    return f"{100 * share:.0f}" if share >= 0.005 else "·" if share else ""
