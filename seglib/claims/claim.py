"""One reported number: :class:`Claim`, with the conditions under which it holds.

``docs/claims.md`` explains every field. ``None`` means "the source does not say": nothing is filled in
that no source states.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Metric:
    units: dict[str, Decimal | None]
    """What one of the source's unit is in ours; ``None``: the source does not define its unit."""
    deterministic: bool = False
    """Whether two runs of the same model give the same value, so that no seeds are needed."""


# Ours are the units of metrics.json (fractions) and of the complexity files (counts, giga-MACs).
_FRACTION = Metric({"%": Decimal("0.01")})
_COUNT = Metric({"M": Decimal(10**6), "1": Decimal(1)}, deterministic=True)
METRICS = {
    "miou": _FRACTION,
    "boundary_iou": _FRACTION,
    "pixel_accuracy": _FRACTION,
    "mean_accuracy": _FRACTION,
    "fwiou": _FRACTION,
    "boundary_f.3": _FRACTION,
    "boundary_f.5": _FRACTION,
    "boundary_f.9": _FRACTION,
    "boundary_f.12": _FRACTION,
    "params": _COUNT,
    "params_head": _COUNT,
    "params_backbone": _COUNT,
    # Papers write GFLOPs for one and for two operations per multiply-add (MAC).
    "gmacs": Metric(
        {"GMACs": Decimal(1), "GFLOPs at 2 per MAC": Decimal("0.5"), "GFLOPs": None}, deterministic=True
    ),
}


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a number depends on beside method, backbone and data set; ``None``: not known."""

    output_stride: int | None = None
    num_classes: int | None = None
    train_split: str | None = None
    eval_split: str | None = None
    crop_hw: tuple[int, int] | None = None
    epochs: float | None = None
    iterations: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    pretraining: str | None = None
    test_mode: str | None = None
    """``whole`` or ``slide``."""
    test_crop_hw: tuple[int, int] | None = None
    """Window of ``slide``."""
    test_scales: tuple[float, ...] | None = None
    """Empty: several scales, the source does not say which."""
    test_flip: bool | None = None
    test_size: str | None = None
    """``native``, ``HxW``, or ``fit HxW``: resized with its aspect kept, shorter side H, longer at most W."""
    input_hw: tuple[int, int] | None = None
    """Input size of a cost."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One reported number. ``value`` is in ``unit``, with the digits that the source prints."""

    paper: str
    method: str
    variant: str | None
    backbone: str | None
    """timm name; ``None``: the source does not say."""
    dataset: str
    conditions: Conditions
    metric: str
    bound: str
    """``""``, or ``>`` / ``<`` where the source gives a bound only."""
    value: Decimal
    unit: str
    provenance: str
    release: str | None
    """Which of several publications of the same number: ``2021``, ``current``, ..."""
    source: str
    protocol_source: str | None
    """Where the test and training settings were read, when not in ``source``."""
    note: str | None
    where: str
    """File and line."""

    @property
    def key(self) -> tuple:
        """Everything but the value: two rows of equal key contradict or repeat each other."""
        return (
            *(self.paper, self.method, self.variant, self.backbone, self.dataset),
            *(self.conditions, self.metric, self.release, self.source),
        )

    @property
    def id(self) -> str:
        """Readable, unique, and the same as long as the row says the same: ``isnet.ade20k.miou.1b2c3d4e``."""
        text = json.dumps([*self.key, str(self.value)], default=dataclasses.asdict)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{self.method}.{self.dataset}.{self.metric}.{digest}"

    @property
    def unit_in_ours(self) -> Decimal | None:
        """One of ``unit`` in the unit of our files; ``None`` when the source leaves it undefined."""
        return METRICS[self.metric].units[self.unit]

    def in_unit(self, measured: float) -> Decimal:
        """A value of our files in the unit of this claim: the only place that converts.

        Rounded to 12 significant digits, so that no binary rounding decides at the edge of a tolerance.
        """
        return Decimal(f"{measured:.12g}") / self.unit_in_ours
