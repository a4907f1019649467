"""All cells of a configuration side by side, and the verdict on every claim: two files in ``results/``.

    seglib compare --config config/default.yaml --out results

``summary.csv`` has one row per cell and test, ``verdicts.csv`` one per reported number, in its unit, and
one per difference that is derived from two of them. Fractions are 0 to 1, times in seconds; what is not
known is empty. A cell that failed or never ran has a row too: its ``status`` and ``reason`` say so.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seglib.claims import outlook
from seglib.claims import table as claim_tables
from seglib.core import tables
from seglib.core.checksums import seal
from seglib.core.files import atomic_path
from seglib.experiment import config as configuration
from seglib.experiment.records import Manifest
from seglib.results.inventory import CellResult, Test, collect, not_comparable, num_images, read_manifests

COLUMNS = (
    "dataset",
    "split",
    "protocol",
    "method",
    "variant",
    "backbone",
    "recipe",
    "seed",
    "not_comparable",
    "miou",
    "boundary_iou",
    "pixel_accuracy",
    "params",
    "gmacs",
    "train_time_s",
    "train_images",
    "commit",
    "cell",
    "status",
    "reason",
)
"""``not_comparable``: why the numbers are no evidence for published ones, where that is known.
``train_images``: of the split ``train``. ``gmacs``: of one image of the training crop's size."""


def run(*, config: dict[str, Any], out: Path, data: Path | None = None) -> None:
    """Write ``summary.csv`` and ``verdicts.csv`` into the results folder ``out``, from what lies there.

    ``data`` holds the manifests of the data sets, if not the configuration's own folder.
    """
    plan = configuration.load(config)
    records = collect(plan, out)
    manifests = read_manifests(data or plan.config.data, records)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(summary_rows(records, manifests))
    verdicts = claim_tables.claims("verdicts", "", outlook.judge(plan, records, manifests).all)
    written = {"verdicts.csv": tables.to_csv(verdicts), "summary.csv": text.getvalue()}
    for name, content in written.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    seal(out / "compare.sha256", [out / name for name in written])


def summary_rows(
    records: tuple[CellResult, ...], manifests: dict[str, Manifest | None]
) -> Iterator[dict[str, str]]:
    """In the order of the plan; every value as it is written."""
    for record in records:
        manifest = manifests[record.cell.dataset]
        train_images = None if manifest is None else num_images(record.cell, manifest, "train")
        for test in record.tests:
            row = _row(record, test) | {"train_images": train_images}
            yield {name: _spell(value) for name, value in row.items()}


def _row(record: CellResult, test: Test) -> dict[str, Any]:
    cell, evaluation = record.cell, test.evaluation
    cost, training = record.cost, record.provenance
    return {
        "dataset": cell.dataset,
        "split": evaluation.split,
        "protocol": evaluation.protocol_name,
        "method": cell.method,
        "variant": cell.variant,
        "backbone": cell.backbone_name,
        "recipe": cell.recipe_name,
        "seed": cell.seed,
        "not_comparable": "; ".join(not_comparable(cell)) or None,
        **{name: getattr(test.metrics, name, None) for name in ("miou", "boundary_iou", "pixel_accuracy")},
        "params": cost and cost.params,
        "gmacs": cost and cost.gmacs,
        "train_time_s": training and training.time_s,
        "commit": training and training.commit,
        "cell": cell.id,
        "status": test.status,
        "reason": test.reason,
    }


def _spell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)
