"""Relative claims: "ISNet over FCN, ADE20K val, single scale, R50: +7.26", derived from reported rows.

A difference is derived only where both numbers come from one source and one release, under
conditions that are stated and equal; no paper prints it.
"""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from seglib.claims.claim import Claim

STATED = (
    "num_classes",
    "train_split",
    "eval_split",
    "crop_hw",
    "lr",
    "batch_size",
    "test_scales",
    "test_flip",
)
"""Conditions that a source must state for two of its numbers to be subtracted; so must be its length."""


@dataclass(frozen=True, kw_only=True)
class RelativeClaim:
    """``of`` minus ``over``, in points of their unit."""

    of: Claim
    over: Claim
    provenance: str = "derived"
    unit: str = "points"
    bound: str = ""

    @property
    def sides(self) -> tuple[Claim, ...]:
        return self.of, self.over

    @property
    def value(self) -> Decimal:
        return self.of.value - self.over.value

    @property
    def id(self) -> str:
        return f"{self.of.id}-over-{self.over.id}"

    @property
    def source(self) -> str:
        return f"{self.of.source}, {self.over.source}"

    @property
    def model(self) -> str:
        return f"{self.of.model} over {self.over.method}"

    @property
    def text(self) -> str:
        """In words, e.g. ``isnet over fcn, ade20k, val, ss, resnet50c``."""
        return self.of.text.replace(self.of.model, self.model, 1)

    @property
    def reported(self) -> str:
        """e.g. ``+7.26 points``"""
        return f"{self.value:+} {self.unit}"

    def in_unit(self, measured: float) -> Decimal:
        """A difference of two values of seglib's files in the unit of this claim."""
        return self.of.in_unit(measured)


def derive(claims: Iterable[Claim], pairs: Iterable[tuple[str, str]]) -> tuple[RelativeClaim, ...]:
    """Every difference between a method and its baseline that equal protocols allow.

    ``pairs``: (method, baseline), as the paper cards list them. Several sources that say the same give
    one relative claim.
    """
    claims = [claim for claim in claims if claim.unit == "%" and not claim.bound and _is_stated(claim)]
    derived: dict[tuple, RelativeClaim] = {}
    for method, baseline in pairs:
        for of in (claim for claim in claims if claim.method == method):
            for over in (claim for claim in claims if claim.method == baseline):
                if _origin(of) == _origin(over) and _protocol(of) == _protocol(over):
                    key = (of.paper, method, baseline, _protocol(of), of.value, over.value)
                    derived.setdefault(key, RelativeClaim(of=of, over=over))
    return tuple(derived.values())


def _is_stated(claim: Claim) -> bool:
    stated = claim.conditions
    lasts = stated.epochs or stated.iterations
    return bool(claim.backbone and lasts) and not any(getattr(stated, name) in (None, ()) for name in STATED)


def _protocol(claim: Claim) -> tuple:
    return (
        *(claim.backbone, claim.variant, claim.dataset, claim.metric, claim.provenance, claim.release),
        *dataclasses.astuple(claim.conditions),
    )


def _origin(claim: Claim) -> str:
    """The paper, the repository at its commit, or the page: numbers of two of them were not trained alike."""
    if claim.provenance == "paper":
        return claim.paper
    repository = re.match(r"[\w./-]+@[0-9a-f]{7,40}", claim.source)
    return repository[0] if repository else claim.source.partition(", ")[0]
