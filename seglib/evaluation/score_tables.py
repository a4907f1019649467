"""The content of ``metrics.json`` as a table: one row per class, the mean last."""

from seglib.core.tables import UNKNOWN, Column, Table, percent, to_csv, to_latex, to_text
from seglib.experiment.records import Metrics

MEANS = {
    "miou": "mIoU",
    "boundary_iou": "Boundary IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "fwiou": "frequency-weighted IoU",
    "category_miou": "category mIoU",
}


def text_table(metrics: Metrics) -> str:
    """A table in percent, for the terminal."""
    settings = metrics.settings
    lines = [to_text(_table(metrics))]
    for name, iou in (metrics.category_iou or {}).items():
        lines.append(f"category {name}: IoU {_percent(iou)}")
    names = [name for name in MEANS if name != "category_miou" or metrics.category_iou is not None]
    lines.append("  ".join(f"{MEANS[name]} {_percent(getattr(metrics, name))}" for name in names))
    lines.append(
        f"{_images(metrics)}, values in percent; boundary width {settings.boundary_ratio:g} "
        f"of the diagonal, ignored value {settings.ignore_index}, '{UNKNOWN}': undefined (not in the mean)"
    )
    return "\n".join(lines + _against(metrics))


def csv_table(metrics: Metrics) -> str:
    """Fractions at full precision; undefined values are empty."""
    return to_csv(_table(metrics), digits=None)


def latex_table(metrics: Metrics) -> str:
    """In percent."""
    return to_latex(_table(metrics))


def _table(metrics: Metrics) -> Table:
    per_class, names = metrics.per_class, metrics.class_names
    columns = {
        ("iou", "IoU"): [*per_class.iou, metrics.miou],
        ("boundary_iou", "Boundary IoU"): [*per_class.boundary_iou, metrics.boundary_iou],
        ("accuracy", "Accuracy"): [*per_class.accuracy, metrics.mean_accuracy],
    }
    for radius, values in per_class.boundary_f.items():
        columns[f"boundary_f_{radius}px", f"F {radius} px"] = [*values, metrics.boundary_f[radius]]
    return Table(
        "classes",
        _images(metrics),
        [
            Column("class", "Class", [*names, "mean"].__getitem__),
            *(Column(name, title, values.__getitem__, percent) for (name, title), values in columns.items()),
        ],
        range(len(names) + 1),
        foot=1,
    )


def _images(metrics: Metrics) -> str:
    if metrics.num_images == metrics.num_labels:
        return f"{metrics.num_images} images"
    return f"{metrics.num_images} of {metrics.num_labels} images (not comparable with numbers of all)"


def _against(metrics: Metrics) -> list[str]:
    against = metrics.against
    if against is None:
        return []
    lines = [
        f"minus {against.file}, in points; {100 * against.confidence:g} % of a {against.method}, "
        "given these two trainings"
    ]
    for name, compared in against.metrics.items():
        difference, low, high = (100 * end for end in (compared.difference, compared.low, compared.high))
        lines.append(
            f"  {MEANS.get(name, name):<22}  {difference:+6.2f}  [{low:+.2f}, {high:+.2f}]  "
            f"probability of improvement {compared.probability_of_improvement:.3f}"
        )
    return lines


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else percent(value)
