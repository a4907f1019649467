"""The papers of a report: card, claims with verdicts, and what of their methods comes from where."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seglib.claims import table as claim_tables
from seglib.claims.evidence import Evidence
from seglib.claims.papers import Paper
from seglib.claims.verdicts import Judgement
from seglib.core import registry
from seglib.core.tables import UNKNOWN, Column, Table
from seglib.experiment import method_options
from seglib.results.inventory import CellResult, method_label


@dataclass(frozen=True)
class Section:
    """A paper with its claims and with the cells of its methods."""

    key: str
    card: Paper
    judgements: Sequence[Judgement]
    """Those that a run answers come first, and of these the relative ones: they compare equal trainings."""
    methods: Sequence[str]
    """seglib's methods that are this paper's; of a collection of others' numbers, those that it reports."""
    cells: Sequence[CellResult]
    """Of its methods."""

    @property
    def counts(self) -> list[tuple[str, int]]:
        return [(verdict, n) for verdict, n, _ in claim_tables.tally(self.judgements) if n]

    @property
    def ran(self) -> bool:
        return any(judgement.verdict != "not run" for judgement in self.judgements)

    @property
    def done(self) -> int:
        return sum(result.status == "done" for result in self.cells)

    @property
    def variants(self) -> list[str]:
        """Those of its methods."""
        return list(dict.fromkeys(method_label(r.cell) for r in self.cells if r.cell.variant))

    @property
    def highest(self) -> str:
        """The highest mIoU that it reports."""
        claims = (j.claim for j in self.judgements if j.claim.provenance != "derived")
        best = max((c for c in claims if c.metric == "miou"), key=lambda claim: claim.value, default=None)
        return UNKNOWN if best is None else f"{best.value} {best.unit}: {best.text}"


OVERVIEW = (
    Column("paper", "Paper", lambda paper: paper.card.title, link=lambda paper: f"#paper-{paper.key}"),
    Column("methods", "Its methods here", lambda paper: ", ".join(paper.methods) or "none"),
    Column("cells", "Cells of this run", lambda paper: paper.done, str),
    Column("claims", "Claims", lambda paper: len(paper.judgements), str),
    Column("highest", "e.g., the highest mIoU", lambda paper: paper.highest),
    Column("verdicts", "Verdicts", lambda paper: _counts(paper)),
)


def sections(evidence: Evidence, cells: Sequence[CellResult]) -> list[Section]:
    """Papers that have methods here first, the newest on top; collections of others' numbers last."""
    by_paper: dict[str, list[Judgement]] = {paper: [] for paper in evidence.papers}
    relative_first = sorted(evidence.judgements, key=lambda judgement: len(judgement.claim.sides) == 1)
    for judgement in sorted(relative_first, key=lambda judgement: judgement.verdict == "not run"):
        by_paper.setdefault(judgement.claim.sides[0].paper, []).append(judgement)
    papers = []
    for paper, judgements in by_paper.items():
        card = evidence.papers.get(paper, Paper(title=paper))
        methods = _methods(paper, card, judgements)
        own = [result for result in cells if result.cell.method in methods]
        papers.append(Section(paper, card, judgements, methods, own))
    return sorted(papers, key=lambda section: -(section.card.year or 0))


def overview(papers: Sequence[Section]) -> Table:
    """One row per paper: what it claims, what of it ran here, and the verdicts."""
    return Table("papers", "Papers and verdicts", OVERVIEW, papers)


def claims(paper: Section, page: Callable[[str], str]) -> Table:
    return claim_tables.claims(f"claims.{paper.key}", f"Claims of {paper.card.title}", paper.judgements, page)


def fidelity(method: str) -> dict[str, Any]:
    """The fidelity tags of a method, read from its source."""
    parts = method_options.class_literal(method, "FIDELITY") or ()
    counts = Counter(source for _, source, _ in parts)
    tally = ", ".join(f"{count} {source}" for source, count in counts.items()) or "not stated"
    return {"name": method, "tally": tally, "fidelity": parts}


def _methods(paper: str, card: Paper, judgements: Sequence[Judgement]) -> list[str]:
    own = {method for method, _ in card.relative}
    if card.year is None:
        own |= {judgement.claim.sides[0].method for judgement in judgements}
    return [m for m in registry.METHODS if m == paper or m.startswith(f"{paper}_") or m in own]


def _counts(paper: Section) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in paper.counts) or "no number of it is known"
