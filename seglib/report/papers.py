"""The papers of a report: card, claims with verdicts, and what of their methods comes from where."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from seglib.claims import table as claim_tables
from seglib.claims.claim import Claim
from seglib.claims.evidence import Evidence, text_of
from seglib.claims.papers import Paper
from seglib.claims.relative import RelativeClaim
from seglib.claims.verdicts import ANSWERS, Judgement
from seglib.core import registry, tables
from seglib.core.tables import Column, Table
from seglib.experiment import method_options
from seglib.results.inventory import CellResult, method_label

CONDITIONS = ("metric", "measured", "low", "high", "seeds", "difference", "gpu_hours")
"""Columns that the page has only where they say something."""


def claim_tables_of(found: Evidence, page: Callable[[str], str | None]) -> dict[str, Table]:
    """One table per paper that claims something, by name."""
    shown = {}
    for paper in _order(found):
        if judgements := _of(paper, found):
            name = f"claims.{paper}"
            shown[name] = claim_tables.claims(name, f"Claims of {_title(paper, found)}", judgements, page)
    return shown


def context(found: Evidence, records: Sequence[CellResult], shown: dict[str, Table]) -> dict[str, Any]:
    """What the template ``index.html`` shows of claims and methods."""
    sections = [_section(paper, found, shown, records) for paper in _order(found)]
    told = {method["name"] for section in sections for method in section["methods"]}
    others = dict.fromkeys(r.cell.method for r in records if r.cell.method not in told)
    return {
        "tally": claim_tables.tally(found.all),
        "numbers": claim_tables.count_words(found.all),
        "overview": overview(found, records),
        "num_papers": sum(bool(section["judgements"]) for section in sections),
        "answered": sum(judgement.verdict in ANSWERS for judgement in found.all),
        "papers": sections,
        "methods": [fidelity(method) for method in others],
    }


def overview(found: Evidence, records: Sequence[CellResult]) -> Table:
    """One row per paper: what it claims, what of it ran here, and the verdicts."""
    columns = (
        Column(name="paper", title="Paper"),
        Column(name="methods", title="Its methods here"),
        Column(name="cells", title="Cells of this run", number=True),
        Column(name="claims", title="Claims", number=True),
        Column(name="highest", title="e.g., the highest mIoU"),
        Column(name="verdicts", title="Verdicts"),
    )
    rows = []
    for paper in _order(found):
        card, judgements = found.papers.get(paper, Paper(title=paper)), _of(paper, found)
        methods = methods_of(paper, card, judgements)
        cells = sum(record.cell.method in methods and record.status == "done" for record in records)
        counts = [f"{n} {verdict}" for verdict, n, _ in claim_tables.tally(judgements) if n]
        rows.append(
            (
                tables.text(card.title, links=((card.title, f"#paper-{paper}"),)),
                tables.text(", ".join(methods) or "none"),
                tables.number(cells, str),
                tables.number(len(judgements), str),
                tables.text(_highest(judgements)),
                tables.text(", ".join(counts) or "no number of it is known"),
            )
        )
    return Table(name="papers", caption="Papers and verdicts", columns=columns, rows=tuple(rows))


def _highest(judgements: Sequence[Judgement]) -> str:
    claims = [j.claim for j in judgements if j.claim.provenance != "derived" and j.claim.metric == "miou"]
    if not claims:
        return tables.UNKNOWN
    best = max(claims, key=lambda claim: claim.value)
    return f"{best.value} {best.unit}: {text_of(best)}"


def fidelity(method: str) -> dict[str, Any]:
    """The fidelity tags of a method, read from its source."""
    parts = method_options.class_literal(method, "FIDELITY") or ()
    counts = Counter(source for _, source, _ in parts)
    tally = ", ".join(f"{count} {source}" for source, count in counts.items()) or "not stated"
    return {"name": method, "tally": tally, "fidelity": parts}


def methods_of(paper: str, card: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """seglib's methods that are this paper's; of a collection of others' numbers, those that it reports."""
    own = {method for method, _ in card.relative}
    if card.year is None:
        own |= {_reported(judgement).method for judgement in judgements}
    return [m for m in registry.METHODS if m == paper or m.startswith(f"{paper}_") or m in own]


def _section(
    paper: str, found: Evidence, shown: dict[str, Table], records: Sequence[CellResult]
) -> dict[str, Any]:
    card, judgements = found.papers.get(paper, Paper(title=paper)), _of(paper, found)
    counts = [(verdict, n) for verdict, n, _ in claim_tables.tally(judgements) if n]
    table, said = None, ""
    if judgements:
        table = tables.without(shown[f"claims.{paper}"], claim_tables.DETAILS)
        table, said = tables.without_constants(table, CONDITIONS)
    methods = methods_of(paper, card, judgements)
    variants = [r.cell for r in records if r.cell.variant and r.cell.method in methods]
    return {
        "ablated": list(dict.fromkeys(map(method_label, variants))),
        "key": paper,
        "card": card,
        "judgements": judgements,
        "counts": counts,
        "ran": any(verdict != "not run" for verdict, _ in counts),
        "table": table,
        "constants": said,
        "verdicts": [judgement.verdict for judgement in judgements],
        "methods": [fidelity(method) for method in methods],
    }


def _of(paper: str, found: Evidence) -> list[Judgement]:
    """Relative claims first: they compare models trained alike."""
    mine = [j for j in found.relative + found.claims if _paper_of(j) == paper]
    return sorted(mine, key=lambda judgement: judgement.verdict == "not run")


def _order(found: Evidence) -> list[str]:
    """Papers that have methods here first, the newest on top; collections of others' numbers last."""
    names = dict.fromkeys([*found.papers, *map(_paper_of, found.claims)])
    return sorted(names, key=lambda name: -(found.papers[name].year or 0) if name in found.papers else 0)


def _paper_of(judgement: Judgement) -> str:
    return _reported(judgement).paper


def _reported(judgement: Judgement) -> Claim:
    claim = judgement.claim
    return claim.of if isinstance(claim, RelativeClaim) else claim


def _title(paper: str, found: Evidence) -> str:
    return found.papers[paper].title if paper in found.papers else paper
