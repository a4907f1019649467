"""One reported number: :class:`Claim`, with the conditions under which it holds.

``docs/claims.md`` explains every field. ``None`` means "the source does not say": nothing is filled in
that no source states.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class ClaimedMetric:
    units: dict[str, Decimal | None]
    """Unit of a source -> what one of it is in seglib's; ``None``: the source does not define its unit."""
    deterministic: bool = False
    """Whether two runs of the same model give the same value, so that no seeds are needed."""


# seglib's units are those of metrics.json (fractions) and of the complexity files (counts, giga-MACs).
_FRACTION = ClaimedMetric({"%": Decimal("0.01")})
_COUNT = ClaimedMetric({"M": Decimal(10**6), "1": Decimal(1)}, deterministic=True)
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
    "gmacs": ClaimedMetric(
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

    @property
    def test(self) -> str:
        """How images are tested: ``ss``, ``ms+flip``, ``scale 0.75``, ...; without what is not known."""
        words = [] if self.test_scales is None else [spell_scales(self.test_scales)]
        return "+".join(words + ["flip"] * bool(self.test_flip))


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
    def sides(self) -> tuple["Claim", ...]:
        """The reported numbers that it stands for: itself, as :class:`RelativeClaim` stands for two."""
        return (self,)

    @property
    def model(self) -> str:
        """e.g. ``isnet · no_image_context``"""
        return f"{self.method} · {self.variant}" if self.variant else self.method

    @property
    def protocol(self) -> str:
        """e.g. ``val, ms+flip`` or, of a cost, ``512×512``; empty where the source states nothing."""
        stated = self.conditions
        if METRICS[self.metric].deterministic:
            return "×".join(map(str, stated.input_hw or ()))
        return ", ".join(filter(None, (stated.eval_split, stated.test)))

    @property
    def text(self) -> str:
        """In words, e.g. ``isnet, ade20k, val, ss, resnet50c``."""
        return ", ".join(filter(None, (self.model, self.dataset, self.protocol, self.backbone)))

    @property
    def reported(self) -> str:
        """e.g. ``44.22 %`` or ``>80 GFLOPs``"""
        return f"{self.bound}{self.value} {self.unit}"

    @property
    def key(self) -> tuple[Any, ...]:
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
    def scale(self) -> Decimal | None:
        """One of ``unit`` in the unit of seglib's files; ``None`` when the source leaves it undefined."""
        return METRICS[self.metric].units[self.unit]

    def in_unit(self, measured: float) -> Decimal:
        """A value of seglib's files in the unit of this claim: the only place that converts.

        Rounded to 12 significant digits, so that no binary rounding decides at the edge of a tolerance.
        """
        assert self.scale is not None, f"{self.where}: the unit {self.unit} is not defined"
        return Decimal(f"{measured:.12g}") / self.scale


def spell_scales(scales: tuple[float, ...]) -> str:
    """``ss`` (one scale, the image's own), ``ms`` (several) or ``scale 0.75``"""
    if len(scales) != 1:
        return "ms"
    return "ss" if scales == (1.0,) else f"scale {scales[0]:g}"
