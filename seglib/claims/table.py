"""Claims with their verdicts, as tables."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import get_args

from seglib.claims.claim import Claim
from seglib.claims.relative import RelativeClaim
from seglib.claims.verdicts import Judgement, Verdict
from seglib.core import tables
from seglib.core.tables import Column, Entry, Table

VERDICTS: dict[str, str] = {
    "reproduced": "the whole interval over seeds lies within the tolerance around the reported number",
    "higher": "the whole interval lies above that",
    "lower": "the whole interval lies below it",
    "inconclusive": "the interval straddles an edge of the tolerance",
    "single run": "fewer than three seeds: a distance, no verdict",
    "not comparable": "the protocols differ; the reason names how",
    "failed": "training or test failed",
    "not run": "no run measures it",
}
assert set(VERDICTS) == set(get_args(Verdict))
REPOSITORIES = {"sssegmentation": "SegmentationBLWX/sssegmentation"}
"""Short name in a source -> repository."""


def tally(judgements: Sequence[Judgement]) -> list[tuple[str, int, str]]:
    """(verdict, how many, what it means), also of those that none has."""
    counts = Counter(judgement.verdict for judgement in judgements)
    return [(verdict, counts[verdict], meaning) for verdict, meaning in VERDICTS.items()]


def count_words(judgements: Sequence[Judgement]) -> str:
    """e.g. ``344 reported numbers and 2 differences between two of them``"""
    derived = sum(isinstance(judgement.claim, RelativeClaim) for judgement in judgements)
    words = f"{len(judgements) - derived} reported numbers"
    return f"{words} and {derived} differences between two of them" if derived else words


def claims(
    name: str,
    caption: str,
    judgements: Sequence[Judgement],
    page: Callable[[str], str] = lambda name: "",
) -> Table:
    """One row per claim. ``page``: address of the page behind the measurement of that name."""

    def measured_page(row: Judgement) -> str:
        return page(row.measurement.name) if row.measurement else ""

    digits = "{:.2f}".format
    columns = (
        Column("method", "Method", lambda row: row.claim.model),
        Column("backbone", "Backbone", lambda row: _backbone(row.claim.sides[0])),
        Column("dataset", "Data set", lambda row: row.claim.sides[0].dataset),
        Column("test", "Test", lambda row: row.claim.sides[0].protocol or "not stated"),
        Column("metric", "Metric", lambda row: row.claim.sides[0].metric, fixed=True, on_page="varies"),
        Column("reported", "Reported", lambda row: reported(row.claim), str),
        Column("bound", "Bound", lambda row: row.claim.bound, on_page="no"),
        Column("unit", "Unit", lambda row: row.claim.unit, on_page="no"),
        Column("provenance", "Reported by", lambda row: _reported_by(row.claim)),
        Column(
            "measured", "Measured", lambda row: row.measured, digits, link=measured_page, on_page="varies"
        ),
        Column("low", "95 % from", lambda row: row.interval and row.interval[0], digits, on_page="varies"),
        Column("high", "to", lambda row: row.interval and row.interval[1], digits, on_page="varies"),
        Column("seeds", "Seeds", lambda row: row.seeds or None, str, on_page="varies"),
        Column("difference", "Δ", lambda row: row.difference, _signed, on_page="varies"),
        Column("verdict", "Verdict", lambda row: row.verdict, fixed=True),
        Column("reason", "Why", _reason),
        Column("gpu_hours", "GPU h to run", lambda row: row.gpu_hours, "{:.3g}".format, on_page="varies"),
        Column("command", "Command", lambda row: row.command or "", on_page="no"),
        Column("source", "Source", lambda row: row.claim.source, on_page="no"),
        Column("id", "Claim", lambda row: row.claim.id, on_page="no"),
    )
    return Table(name, caption, columns, judgements, status=lambda row: row.verdict)


def reported(claim: Claim | RelativeClaim) -> Entry:
    """The number with its unit and a link to its source."""
    url = source_url(claim.sides[0].source)
    return Entry(text=claim.reported, value=float(claim.value), link=url or "")


def source_url(source: str) -> str | None:
    """Where a source can be read: a file at a commit, or an arXiv page."""
    if paper := re.match(r"arXiv (\d{4}\.\d{5})", source):
        return f"https://arxiv.org/abs/{paper[1]}"
    if file := re.match(r"([\w./-]+)@([0-9a-f]{7,40})(?:\([\d-]+\))?:([\w./-]+)", source):
        repository = REPOSITORIES.get(file[1], file[1])
        return f"https://github.com/{repository}/blob/{file[2]}/{file[3]}" if "/" in repository else None
    return None


def _backbone(claim: Claim) -> str:
    stride = claim.conditions.output_stride
    return f"{claim.backbone}, os {stride}" if claim.backbone and stride else claim.backbone or "not stated"


def _reported_by(claim: Claim | RelativeClaim) -> str:
    provenance, release = claim.provenance.replace("_", " "), claim.sides[0].release
    return f"{provenance} {release}" if release else provenance


def _reason(judgement: Judgement) -> str:
    reasons = [judgement.reason, *judgement.caveats]
    if (images := judgement.images) is not None:
        reasons.append(
            f"over images {tables.points(images.low)} to {tables.points(images.high)}, probability of "
            f"improvement {tables.probability(images.probability_of_improvement)}"
        )
    return "; ".join(reasons)


def _signed(points: float) -> str:
    return f"{points:+.2f}".replace("-", "−")
