"""Claims with their verdicts, as tables."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import get_args

from seglib.claims.evidence import protocol_of
from seglib.claims.relative import RelativeClaim
from seglib.claims.verdicts import Judgement, Verdict
from seglib.core import tables
from seglib.core.tables import Column, Entry, Table
from seglib.results.aggregate import Group

VERDICTS: dict[str, str] = {
    "reproduced": "the whole interval over seeds lies within the tolerance around the reported number",
    "higher": "the whole interval lies above that",
    "lower": "the whole interval lies below it",
    "inconclusive": "the interval straddles an edge of the tolerance",
    "single run": "fewer than three seeds: a distance, no verdict",
    "not comparable": "the protocols differ; the reason names how",
    "failed": "training or test failed",
    "not run": "nothing here measures it",
}
assert set(VERDICTS) == set(get_args(Verdict))
DETAILS = ("bound", "unit", "id", "source", "command")
"""Columns of the files that the page has no room for."""
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
    page: Callable[[str], str | None] = lambda name: None,
) -> Table:
    """One row per claim. ``page``: address of the page behind the measurement of that name."""
    columns = (
        Column(name="method", title="Method"),
        Column(name="backbone", title="Backbone"),
        Column(name="dataset", title="Data set"),
        Column(name="test", title="Test"),
        Column(name="metric", title="Metric", fixed=True),
        Column(name="reported", title="Reported", number=True),
        Column(name="bound", title="Bound"),
        Column(name="unit", title="Unit"),
        Column(name="provenance", title="Reported by"),
        Column(name="measured", title="Measured", number=True),
        Column(name="low", title="95 % from", number=True),
        Column(name="high", title="to", number=True),
        Column(name="seeds", title="Seeds", number=True),
        Column(name="difference", title="Δ", number=True),
        Column(name="verdict", title="Verdict", fixed=True),
        Column(name="reason", title="Why"),
        Column(name="gpu_hours", title="GPU h to run", number=True),
        Column(name="command", title="Command"),
        Column(name="source", title="Source"),
        Column(name="id", title="Claim"),
    )
    rows = tuple(_claim_row(judgement, page) for judgement in judgements)
    return Table(name=name, caption=caption, columns=columns, rows=rows)


def _claim_row(judgement: Judgement, page: Callable[[str], str | None]) -> tuple[Entry, ...]:
    claim = judgement.claim
    one = claim.of if isinstance(claim, RelativeClaim) else claim
    method = f"{one.method} · {one.variant}" if one.variant else one.method
    if relative := isinstance(claim, RelativeClaim):
        method = f"{method} over {claim.over.method}"
    unit, bound = ("points", "") if relative else (one.unit, one.bound)
    reported = f"{claim.value:+}" if relative else f"{bound}{one.value}"
    stated = one.conditions
    stride = f", os {stated.output_stride}" if stated.output_stride else ""
    address = page(judgement.measurement.name) if judgement.measurement else None
    measured = tables.number(judgement.measured, "{:.2f}".format)
    if address and judgement.measured is not None:
        measured = tables.number(judgement.measured, "{:.2f}".format, links=((measured.text, address),))
    low, high = judgement.interval or (None, None)
    seeds = judgement.seeds or None
    provenance = claim.provenance.replace("_", " ")
    source = f"{one.source}, {claim.over.source}" if relative else one.source
    url = source_url(one.source)
    spoken = f"{reported} {unit}"
    why = [judgement.reason, *judgement.caveats]
    if judgement.images is not None:
        images = judgement.images
        why.append(
            f"over images {tables.points(images.low)} to {tables.points(images.high)}, "
            f"probability of improvement {tables.probability(images.probability_of_improvement)}"
        )
    return (
        tables.text(method),
        tables.text(f"{one.backbone}{stride}" if one.backbone else "not stated"),
        tables.text(one.dataset),
        tables.text(protocol_of(one) or "not stated"),
        tables.text(one.metric),
        Entry(text=spoken, value=float(claim.value), links=((spoken, url),) if url else ()),
        tables.text(bound),
        tables.text(unit),
        tables.text(f"{provenance} {one.release}" if one.release else provenance),
        measured,
        *(tables.number(end, "{:.2f}".format) for end in (low, high)),
        tables.number(seeds, str),
        tables.number(judgement.difference, lambda points: f"{points:+.2f}".replace("-", "−")),
        Entry(text=judgement.verdict, value=judgement.verdict),
        tables.text("; ".join(why)),
        tables.number(judgement.gpu_hours, lambda hours: f"{hours:.3g}"),
        tables.text(judgement.command or ""),
        tables.text(source),
        tables.text(claim.id),
    )


def source_url(source: str) -> str | None:
    """Where a source can be read: a file at a commit, or an arXiv page."""
    if paper := re.match(r"arXiv (\d{4}\.\d{5})", source):
        return f"https://arxiv.org/abs/{paper[1]}"
    if file := re.match(r"([\w./-]+)@([0-9a-f]{7,40})(?:\([\d-]+\))?:([\w./-]+)", source):
        repository = REPOSITORIES.get(file[1], file[1])
        return f"https://github.com/{repository}/blob/{file[2]}/{file[3]}" if "/" in repository else None
    return None


def page_of(groups: dict[str, Group], page_name: Callable) -> Callable[[str], str | None]:
    """Name of a measurement -> address of the page of its first cell."""
    return lambda name: f"cells/{page_name(groups[name].cell)}" if name in groups else None
