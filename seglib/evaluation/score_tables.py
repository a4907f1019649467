"""The content of ``metrics.json`` as a text, CSV or LaTeX table: one row per class, the mean last."""

import csv
import io
from collections.abc import Sequence

from seglib.experiment.records import Metrics

MEANS = {
    "miou": "mIoU",
    "boundary_iou": "Boundary IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "fwiou": "frequency-weighted IoU",
    "category_miou": "category mIoU",
}
LATEX_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def text_table(metrics: Metrics) -> str:
    """In percent, for the terminal."""
    settings = metrics.settings
    columns = _columns(metrics)
    names = [*metrics.class_names, "mean"]
    left = max(map(len, ("class", *names)))
    titles = [title.rjust(len("100.00")) for title, _ in columns]
    lines = ["  ".join(["class".ljust(left), *titles])]
    for i, name in enumerate(names):
        cells = [
            _percent(values[i]).rjust(len(title)) for title, (_, values) in zip(titles, columns, strict=True)
        ]
        lines.append("  ".join([name.ljust(left), *cells]))
    for name, iou in (metrics.category_iou or {}).items():
        lines.append(f"category {name}: IoU {_percent(iou)}")
    shown = (
        MEANS if metrics.category_iou is not None else {k: MEANS[k] for k in MEANS if k != "category_miou"}
    )
    lines.append("  ".join(f"{title} {_percent(getattr(metrics, name))}" for name, title in shown.items()))
    lines.append(
        f"{_images(metrics)}, values in percent; boundary width {settings.boundary_ratio:g} "
        f"of the diagonal, ignored value {settings.ignore_index}, '-': undefined (not in the mean)"
    )
    return "\n".join(lines + _against(metrics))


def csv_table(metrics: Metrics) -> str:
    """Fractions at full precision; undefined values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    radii = metrics.boundary_f
    writer.writerow(
        ["class", "iou", "boundary_iou", "accuracy", *(f"boundary_f_{radius}px" for radius in radii)]
    )
    values = [column for _, column in _columns(metrics)]
    writer.writerows(zip([*metrics.class_names, "mean"], *values, strict=True))
    return text.getvalue()


def latex_table(metrics: Metrics) -> str:
    """A ``tabular`` in percent; needs the package booktabs."""
    columns = _columns(metrics)
    lines = [
        f"% {_images(metrics)}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join(["Class", *(title for title, _ in columns)]) + r" \\",
        r"\midrule",
    ]
    for i, name in enumerate([*metrics.class_names, "Mean"]):
        if i == len(metrics.class_names):
            lines.append(r"\midrule")
        cells = (_percent(values[i], undefined="--") for _, values in columns)
        lines.append(" & ".join([name.translate(LATEX_ESCAPES), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _images(metrics: Metrics) -> str:
    if metrics.num_images == metrics.num_labels:
        return f"{metrics.num_images} images"
    return f"{metrics.num_images} of {metrics.num_labels} images (not comparable with numbers of all)"


def _columns(metrics: Metrics) -> list[tuple[str, Sequence[float | None]]]:
    """Title and values, the mean last."""
    per_class = metrics.per_class
    return [
        ("IoU", [*per_class.iou, metrics.miou]),
        ("Boundary IoU", [*per_class.boundary_iou, metrics.boundary_iou]),
        ("Accuracy", [*per_class.accuracy, metrics.mean_accuracy]),
        *(
            (f"F {radius} px", [*values, metrics.boundary_f[radius]])
            for radius, values in per_class.boundary_f.items()
        ),
    ]


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


def _percent(value: float | None, undefined: str = "-") -> str:
    return undefined if value is None else f"{100 * value:.2f}"
