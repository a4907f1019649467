"""What the steps leave on disk, each record with one type, read and written here alone.

    training = read(Training, folder / "provenance.json")  # None where there is none
    training.time_s, training.versions["torch"], training.attempts[0].cpu

A record carries its version in ``schema``. A field that is added to one says what its absence means
(:func:`seglib.core.typed.added`), so that a record keeps its meaning whatever later versions have as default.
No field is taken away or given another meaning: the new meaning gets a new field. Units are in the names,
fractions are 0 to 1. No torch import: Snakemake, status and the report read these.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from seglib.core import typed
from seglib.core.files import atomic_path, json_text
from seglib.core.typed import added, plain, renamed
from seglib.experiment.cell import Cell
from seglib.experiment.recipe import PRECISIONS, Backbone, Protocol

R = TypeVar("R")
SCHEMA = 2
"""Of the records that are written. 1: digests of whole files, and precisions as torch names them."""


@dataclass(frozen=True, kw_only=True)
class RawData:
    """``raw/source.json``: where the raw files of a data set came from."""

    schema: Literal[1] = 1
    dataset: str
    source: Literal["data_root", "archives", "generated"]
    data_root: str | None = added(absent_means=None)
    """The folder of the user's own files, which are read in place."""
    archives: tuple[str, ...] | None = added(absent_means=None)
    """Their addresses, or names where they came from a mirror."""
    files: int
    bytes: int
    manifest_sha256: str
    """Of ``files.sha256``."""


@dataclass(frozen=True, kw_only=True)
class LabelClass:
    """A class of a data set and the colour (RGB) in which it is painted."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class ImagePair:
    """An image and its prepared label; without the latter in a split whose labels the publisher keeps.

    Paths are from the folder of the manifest on, sizes in pixels.
    """

    id: str
    image: str
    image_sha256: str
    image_bytes: int
    height: int
    width: int
    label_sha256: str | None = added(absent_means=None)
    """Of the decoded label."""
    label_file_sha256: str | None = added(absent_means=None)
    label_bytes: int | None = added(absent_means=None)
    label: str | None = added(absent_means=None)


@dataclass(frozen=True, kw_only=True)
class About:
    title: str
    evaluation: str
    licence: str
    citation: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``manifest.json``: what ``prepare`` made of a data set."""

    schema: Literal[2] = 2
    dataset: str
    classes: tuple[LabelClass, ...]
    """In label order."""
    flip_pairs: tuple[tuple[int, int], ...]
    """Labels that trade places in a mirrored image."""
    ignore_index: int
    splits: dict[str, tuple[ImagePair, ...]]
    unlabelled: dict[str, tuple[ImagePair, ...]] | None = added(absent_means=None)
    """Splits whose labels the publisher keeps; ``None`` where they were not looked for."""
    label_histogram: dict[str, tuple[int, ...]]
    """Split -> pixels per class; the last count is of ignored ones."""
    data_digest: str
    about: About | None = added(absent_means=None)
    software: dict[str, str]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.classes)

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(entry.color for entry in self.classes)

    @property
    def all_splits(self) -> dict[str, tuple[ImagePair, ...]]:
        """With those without labels."""
        return self.splits | (self.unlabelled or {})


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which process wrote a record: its command, machine, versions and source."""

    command: str
    host: str
    cpu: str
    gpu: str | None
    driver: str | None
    versions: dict[str, str | int | None]
    """Package -> version; of ``torch`` with its build, of ``cudnn`` a number."""
    commit: str | None
    """``None`` where seglib was no part of a git checkout."""
    dirty: bool
    dirty_diff_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A process that worked at a training, as it was when it began."""

    after_iteration: int
    host: str
    cpu: str
    gpu: str | None
    driver: str | None
    versions: dict[str, str | int | None]
    commit: str | None
    dirty: bool
    dirty_diff_sha256: str | None
    device: str
    processes: int
    norm_batch_size: int
    """Images that batch norm saw together."""


@dataclass(frozen=True, kw_only=True)
class Training(Origin):
    """``train/provenance.json``; the origin is the last attempt's."""

    schema: Literal[1, 2] = added(absent_means=1, default=SCHEMA)
    device: str
    processes: int
    norm_batch_size: int
    cell_id: str
    started: str
    finished: str
    time_s: float
    """Of all attempts together."""
    threads: int
    peak_mem_gib: float
    images_per_s: float
    data_digest: str
    code: dict[str, str]
    """Module -> digest of what trained, see :mod:`seglib.core.code_digest`."""
    resumed: int
    attempts: tuple[Attempt, ...] = added(absent_means=())
    """Empty where they were not recorded one by one."""
    encoder_sha256: str | None = added(absent_means=None)
    """Of the encoder's initial weights."""
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """``checkpoints/failed.json``: an error that the same training would meet again."""

    schema: Literal[1, 2] = added(absent_means=1, default=SCHEMA)
    key: str
    """Of the checkpoints of the version that failed."""
    reason: str
    time: str


@dataclass(frozen=True, kw_only=True)
class Prediction(Origin):
    """``prediction.json`` beside the predictions of a split."""

    schema: Literal[1, 2] = added(absent_means=1, default=SCHEMA)
    cell_id: str
    model_sha256: str
    code: dict[str, str]
    split: str
    protocol: Protocol
    num_images: int
    data_digest: str
    device: str
    peak_mem_gib: float
    finished: str


@dataclass(frozen=True, kw_only=True)
class OwnPrediction(Origin):
    """``prediction.json`` beside the predictions of a user's own images."""

    schema: Literal[1, 2] = added(absent_means=1, default=SCHEMA)
    cell_id: str
    model_sha256: str
    protocol: Protocol
    classes: tuple[str, ...]
    num_images: int
    failures: dict[str, str]
    """Image -> why it was left out."""
    device: str
    finished: str


@dataclass(frozen=True, kw_only=True)
class Scoring(Origin):
    """``scoring.json``: which files were scored."""

    schema: Literal[1, 2] = added(absent_means=1, default=SCHEMA)
    predictions_sha256: str
    labels_sha256: str
    finished: str


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    num_classes: int
    ignore_index: int
    boundary_ratio: float
    contour_radii_px: tuple[int, ...]
    ignored_pixels: str
    """This and the next three: policies, in words."""
    absent_classes: str
    boundary_width_px: str
    boundary_f: str


@dataclass(frozen=True, kw_only=True)
class PerClass:
    """In label order; ``None`` where a class is undefined."""

    iou: tuple[float | None, ...]
    boundary_iou: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    boundary_f: dict[str, tuple[float | None, ...]]
    """Radius in pixels -> values."""


@dataclass(frozen=True, kw_only=True)
class ImageComparison:
    """This result minus another, over images; ``low`` and ``high`` bound the difference."""

    difference: float
    low: float
    high: float
    probability_of_improvement: float


@dataclass(frozen=True, kw_only=True)
class Against:
    """``seglib score --against``: a paired bootstrap over images."""

    file: str
    question: str
    method: str
    confidence: float
    metrics: dict[str, ImageComparison]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """``metrics.json``; everything but ``against`` follows from ``counts.npz``."""

    schema: Literal[1] = 1
    settings: MetricSettings
    num_images: int
    num_labels: int
    """Of the whole split; more than ``num_images`` mark a number of a part of it."""
    class_names: tuple[str, ...]
    miou: float | None
    boundary_iou: float | None
    pixel_accuracy: float | None
    mean_accuracy: float | None
    fwiou: float | None
    boundary_f: dict[str, float | None]
    """Radius in pixels -> mean over classes."""
    per_class: PerClass
    category_miou: float | None = added(absent_means=None)
    category_iou: dict[str, float | None] | None = added(absent_means=None)
    """``None`` where the classes have no categories."""
    against: Against | None = added(absent_means=None)


@dataclass(frozen=True, kw_only=True)
class ModuleCost:
    name: str
    depth: int
    params: int
    macs_conv_matmul: int
    macs: int | None
    """``None`` where fvcore did not run."""


@dataclass(frozen=True, kw_only=True)
class CounterRun:
    """One of the two counters of multiply-adds."""

    version: str
    ran: bool
    why_not: str | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """``models/.../HxW.json``: parameters and multiply-adds of a model, for one image.

    Keys with ``gmacs`` are 10⁹ multiply-adds; ``None``: fvcore did not run, which alone knows them.
    """

    schema: Literal[1] = 1
    method: str
    method_options: dict[str, Any]
    backbone: Backbone
    input_hw: tuple[int, int]
    num_classes: int
    params: int
    params_backbone: int
    params_head: int
    params_training_only: int
    gmacs: float | None
    gmacs_conv_matmul: float
    gmacs_backbone: float | None
    gmacs_conv_matmul_backbone: float
    gmacs_head: float | None
    gmacs_conv_matmul_head: float
    elementwise_share: float | None
    gflops: float | None
    gflops_conv_matmul: float
    macs: dict[str, int | None]
    macs_by_operator: dict[str, int]
    modules: tuple[ModuleCost, ...]
    unsupported_ops: dict[str, int] | None
    counters: dict[str, CounterRun]
    mem_gib: float
    conventions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds of one call."""

    median: float
    q25: float
    q75: float
    iqr: float
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Latency and memory of a model."""

    schema: Literal[1, 2] = SCHEMA
    method: str
    method_options: dict[str, Any]
    backbone: Backbone
    input_hw: tuple[int, int]
    num_classes: int
    batch_size: int
    device: str
    precision: str = renamed("fp32", formerly=PRECISIONS)
    memory_format: str
    threads: int
    warmup: int
    repeats: int
    latency_ms: Latency
    latencies_ms: tuple[float, ...]
    images_per_s: float
    peak_mem_gib: float
    peak_mem_of: str


@dataclass(frozen=True, kw_only=True)
class Speed(Origin, Timing):
    """``models/.../HxW.speed.json``: a timing and the machine that it is true of, which stands last."""


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why a method cannot be built on a backbone."""

    rejected: str


@dataclass(frozen=True, kw_only=True)
class AuditIdentity:
    """What an audited cost depends on."""

    configuration: dict[str, Any]
    max_mem_gib: float
    code: dict[str, str]
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The cost of one configuration at the size of a paper's experiments, of ``seglib audit``."""

    identity: AuditIdentity
    cost: Cost | Rejection


def read(kind: type[R], path: Path) -> R | None:
    """The record of that kind in a file; ``None`` where there is no file.

    ``ValueError`` with the file and the field for one that is damaged, foreign or of a newer version.
    """
    values = read_json(path)
    return None if values is None else parse(kind, values, path)


def parse(kind: type[R], values: Any, path: Path) -> R:
    """A record from the content of the file ``path``; errors as in :func:`read`."""
    try:
        return typed.parse(kind, values, kind.__name__.lower(), recorded=True)
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}; delete it and run its step again, or use a newer seglib"
        ) from None


def text(record: Any) -> str:
    """The content of a record's file. A cell's keys are sorted, as in its identity."""
    return json_text(json.loads(record.to_json()) if isinstance(record, Cell) else plain(record))


def write(path: Path, record: Any) -> None:
    """Write the file of a record, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text(record), encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file, ``None`` where there is none; ``ValueError`` where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise ValueError(f"{path}: not valid JSON; delete it and run the workflow again") from None
