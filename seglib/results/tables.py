"""Results as data frames: one row per cell and test.

    tests = seglib.read_results("results")
    tests.groupby(["dataset", "test", "method", "backbone", "recipe"]).miou.agg(["mean", "std", "count"])

:data:`FIELDS` says what each column is. Units are in the names, fractions are 0 to 1; what is not known is
missing (``NaN``, ``<NA>``). ``summary.csv`` and the tables of the page are made of these rows.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from seglib.core import tables
from seglib.core.tables import Column, Table
from seglib.experiment.records import Manifest
from seglib.results import inventory
from seglib.results.inventory import CellResult, Test

TEXT, INTEGER, REAL = "string", "Int64", "float64"


@dataclass(frozen=True)
class Tested:
    """What a row is of."""

    result: CellResult
    test: Test
    manifest: Manifest | None

    @property
    def combination(self) -> str:
        """The id of the cell without its seed, and what a frozen one would have otherwise today."""
        return self.result.cell.id.rpartition("/")[0] + self.result.part

    @property
    def crop_hw(self) -> str:
        return tables.size(self.result.cell.recipe.crop_hw)

    @property
    def weights(self) -> str:
        return Path(self.result.cell.backbone.weights or "random").stem

    @property
    def protocol_words(self) -> str:
        return inventory.describe_protocol(self.test.evaluation.protocol)

    @property
    def not_comparable(self) -> str | None:
        return "; ".join(inventory.not_comparable(self.result.cell)) or None

    @property
    def hardware(self) -> str | None:
        return "; ".join(inventory.devices([self.result])) or None

    @property
    def train_images(self) -> int | None:
        return self._images("train")

    @property
    def test_images(self) -> int | None:
        return self._images(self.test.evaluation.split) or getattr(self.test.metrics, "num_images", None)

    def _images(self, split: str) -> int | None:
        return self.manifest and inventory.num_images(self.result.cell, self.manifest, split)


@dataclass(frozen=True)
class Field:
    """A column of the frame. ``path``: from :class:`Tested` on; what is not there is missing."""

    name: str
    dtype: str
    meaning: str
    path: str

    def get(self, row: Any) -> Any:
        for name in self.path.split("."):
            row = row.get(name) if isinstance(row, dict) else getattr(row, name)
            if row is None:
                return None
        return row


FIELDS = (
    Field("dataset", TEXT, "data set", "result.cell.dataset"),
    Field("split", TEXT, "tested split", "test.evaluation.split"),
    Field("protocol", TEXT, "name of the test protocol", "test.evaluation.protocol_name"),
    Field("method", TEXT, "method", "result.cell.method"),
    Field("variant", TEXT, "named change to the cell; missing: none", "result.cell.variant"),
    Field("backbone", TEXT, "name of the backbone", "result.cell.backbone_name"),
    Field("recipe", TEXT, "name of the recipe", "result.cell.recipe_name"),
    Field("seed", INTEGER, "seed", "result.cell.seed"),
    Field("not_comparable", TEXT, "why the numbers are no evidence for published ones", "not_comparable"),
    Field("miou", REAL, "mean IoU over classes", "test.metrics.miou"),
    Field("boundary_iou", REAL, "mean Boundary IoU over classes", "test.metrics.boundary_iou"),
    Field("pixel_accuracy", REAL, "share of the judged pixels that are right", "test.metrics.pixel_accuracy"),
    Field("params", INTEGER, "parameters of the model", "result.cost.params"),
    Field("gmacs", REAL, "10⁹ multiply-adds for one image of the training crop", "result.cost.gmacs"),
    Field("train_time_s", REAL, "time of the training", "result.provenance.time_s"),
    Field("train_images", INTEGER, "images of the split `train` that were used", "train_images"),
    Field("commit", TEXT, "commit that trained", "result.provenance.commit"),
    Field("cell", TEXT, "id of the cell, its folder below cells/", "result.cell.id"),
    Field("status", TEXT, "done, failed, unfinished, outdated or missing", "test.status"),
    Field("reason", TEXT, "why it is not done", "test.reason"),
    # Here ends a row of summary.csv.
    Field("test", TEXT, "split and protocol, the test's folder", "test.evaluation.name"),
    Field("combination", TEXT, "id of the cell without its seed: what seeds are summed over", "combination"),
    Field("mean_accuracy", REAL, "mean over classes of the share found", "test.metrics.mean_accuracy"),
    Field("fwiou", REAL, "IoU weighted by the frequency of the class", "test.metrics.fwiou"),
    Field("category_miou", REAL, "mean IoU over categories", "test.metrics.category_miou"),
    *(
        Field(f"boundary_f_{r}px", REAL, f"mean boundary F within {r} px", f"test.metrics.boundary_f.{r}")
        for r in (3, 5, 9, 12)
    ),
    Field("test_images", INTEGER, "images of the tested split that were used", "test_images"),
    Field("limit", INTEGER, "at most so many images of each split", "result.cell.limit"),
    Field("iterations", INTEGER, "length of the schedule in steps", "result.cell.recipe.iterations"),
    Field("epochs", REAL, "length of the schedule in epochs", "result.cell.recipe.epochs"),
    Field("batch_size", INTEGER, "images of a step", "result.cell.recipe.batch_size"),
    Field("crop_hw", TEXT, "training crop, height × width in pixels", "crop_hw"),
    Field("weights", TEXT, "initial weights", "weights"),
    Field("protocol_words", TEXT, "the test protocol in words", "protocol_words"),
    Field("params_head", INTEGER, "parameters of the head", "result.cost.params_head"),
    Field("gmacs_conv_matmul", REAL, "of convolutions and matrix products", "result.cost.gmacs_conv_matmul"),
    Field("latency_ms", REAL, "median time of one batch", "result.speed.latency_ms.median"),
    Field("images_per_s", REAL, "throughput of inference", "result.speed.images_per_s"),
    Field("inference_mem_gib", REAL, "peak memory of inference", "result.speed.peak_mem_gib"),
    Field("train_images_per_s", REAL, "throughput of the training", "result.provenance.images_per_s"),
    Field("train_mem_gib", REAL, "peak memory of the training", "result.provenance.peak_mem_gib"),
    Field("hardware", TEXT, "GPU, or CPU where there was none, of the training", "hardware"),
    Field("torch", TEXT, "version of torch that trained", "result.provenance.versions.torch"),
)
SUMMARY = [field.name for field in FIELDS[: [field.name for field in FIELDS].index("reason") + 1]]
"""The columns of ``summary.csv``."""


def read_results(folder: str | os.PathLike[str] = "results") -> pd.DataFrame:
    """All tests that lie in a results folder, whatever configuration made them.

    One row per cell and test, in the order of their names; columns as :data:`FIELDS` says. ``train_images``
    is missing, since it stands in the manifests of the data sets. ``ValueError`` for a folder without
    results, and for a record that is damaged.
    """
    results = list(inventory.find(Path(folder)))
    if not results:
        raise ValueError(f"{folder}: no trained cell below {Path(folder) / 'cells'}; give a results folder")
    return frame(results)


def frame(results: Sequence[CellResult], manifests: Mapping[str, Manifest | None] = {}) -> pd.DataFrame:
    """One row per cell and test, in their order. ``manifests``: of the data sets, by name."""
    rows = [
        Tested(result, test, manifests.get(result.cell.dataset))
        for result in results
        for test in result.tests
    ]
    columns = {field.name: pd.array([field.get(row) for row in rows], dtype=field.dtype) for field in FIELDS}
    return pd.DataFrame(columns)


def rows(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples, with ``None`` for what is missing."""
    return frame.astype(object).where(frame.notna(), None).itertuples(name="Row")


def summary_csv(frame: pd.DataFrame) -> str:
    """The text of ``summary.csv``."""
    columns = [Column(name, name, attrgetter(name)) for name in SUMMARY]
    return tables.to_csv(Table("summary", "", columns, list(rows(frame))))
