"""The main page: its tables, its figures, and what its template shows beside them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from seglib.claims import evidence, verdicts
from seglib.claims import table as claim_tables
from seglib.claims.results import Results
from seglib.core import tables
from seglib.core.tables import Table
from seglib.report import (
    claim_figures,
    cost_tables,
    figures,
    naming,
    notices,
    pair_tables,
    papers,
    results_tables,
)
from seglib.report.figures import Drawing
from seglib.results.inventory import TROUBLES, CellResult, devices, method_label

FACTS = {"Data sets": "dataset", "Methods": "method", "Variants": "variant", "Backbones": "backbone"}
"""Title -> column of the tests."""


def all_tables(results: Results) -> dict[str, Table]:
    """By name, in the order of the page."""
    boards = results.leaderboards
    found = [results_tables.scope(results.tests), *map(results_tables.results, boards)]
    found += [pair_tables.gains(board, results.gains[board.name]) for board in boards]
    found += [pair_tables.variants(board, results.variants[board.name]) for board in boards]
    for board in filter(lambda board: board.measured, boards):
        manifest = results.manifests[board.dataset]
        found += [
            results_tables.per_class(board, "iou", "IoU", manifest),
            results_tables.per_class(board, "boundary_iou", "Boundary IoU", manifest),
        ]
    found += [cost_tables.costs(results.cells), cost_tables.speeds(results.cells)]
    found.append(results_tables.cells(results.tests))
    for paper in papers.sections(results.evidence, results.cells):
        found.append(papers.claims(paper, _measured_page(results)))
    audited = [judgement.claim for judgement in results.evidence.claims]
    found += [cost_tables.audit(audited, results.costs), cost_tables.paper_scale_costs(results.costs)]
    needed = ("gains.", "ablations.", "claims.")  # the others are there without rows too
    return {table.name: table for table in found if table.rows or not table.name.startswith(needed)}


def all_drawings(results: Results) -> dict[str, Drawing]:
    """By name."""
    found = []
    for board in results.leaderboards:
        found += [
            figures.accuracy_against_cost(board),
            figures.region_against_boundary(board),
            figures.per_class(board),
            figures.ablations(board, results.variants[board.name]),
        ]
    found.append(
        claim_figures.reported_against_measured(
            results.evidence.claims,
            tolerance_points=results.plan.config.tolerance_points,
            page=_measured_page(results),
        )
    )
    return {drawing.name: drawing for drawing in found if drawing is not None}


def context(results: Results, shown: dict[str, Table], drawings: dict[str, Drawing]) -> dict[str, Any]:
    """What the template ``index.html`` shows. ``shown``, ``drawings``: all tables and figures by name."""
    cells, judgements = results.cells, results.evidence.judgements
    sections = papers.sections(results.evidence, cells)
    of_papers = {method for paper in sections for method in paper.methods}
    others = dict.fromkeys(result.cell.method for result in cells if result.cell.method not in of_papers)
    counts = Counter(result.status for result in cells)
    commits = {result.provenance.commit for result in cells if result.provenance} - {None}
    on_page = {name: tables.on_page(table) for name, table in shown.items()}
    return {
        "results": results,
        "done": counts["done"],
        "not_done": [(counts[status], naming.status(status)) for status in TROUBLES if counts[status]],
        "facts": facts(results.tests, cells),
        "machinery": notices.machinery(cells),
        "warnings": notices.warnings(results.plan, cells),
        "troubles": troubles(cells),
        "tables": on_page,
        **{
            kind.replace("-", "_"): [table for name, table in on_page.items() if name.startswith(kind)]
            for kind in ("gains", "ablations", "per-class")
        },
        "drawings": drawings,
        "datasets": [name for name, manifest in results.manifests.items() if manifest is not None],
        "overview": papers.overview(sections),
        "papers": sections,
        "methods": [papers.fidelity(method) for method in others],
        "fidelity_of": papers.fidelity,
        "tally": claim_tables.tally(judgements),
        "numbers": claim_tables.count_words(judgements),
        "answered": results.evidence.answered,
        "min_seeds": verdicts.MIN_SEEDS,
        "sustained": f"{evidence.SUSTAINED_FLOPS / 1e12:g}",
        "boundary_words": naming.boundary(results.plan.config.boundary_ratio),
        "several_seeds": any(len(group.measured) > 1 for b in results.leaderboards for group in b.groups),
        "commits": ", ".join(sorted(commit[:10] for commit in commits)),
    }


def facts(tests: pd.DataFrame, cells: Sequence[CellResult]) -> list[tuple[str, str, str]]:
    """(name, value, detail) of what ran, for the head of the page."""
    lines = []
    for title, column in FACTS.items():
        names = list(tests[column].dropna().unique())
        if column == "variant":
            names = list(dict.fromkeys(method_label(r.cell) for r in cells if r.cell.variant))
        if names or column != "variant":
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            lines.append((title, str(len(names)), ", ".join(names[:4]) + more))
    seeds = {int(seed) for seed in tests["seed"]}
    lines.append(("Seeds", str(len(seeds)), naming.ranges(seeds)))
    if trained := [result for result in cells if result.provenance is not None]:
        time_s = sum(result.provenance.time_s for result in trained)
        lines.append(("Training time", naming.duration(time_s), ", ".join(devices(trained))))
    return lines


def troubles(cells: Sequence[CellResult]) -> list[list[CellResult]]:
    """Cells without a complete result, those of equal status and reason together."""
    groups: dict[tuple[str, str | None], list[CellResult]] = {}
    for result in cells:
        if result.status != "done":
            groups.setdefault((result.status, result.reason), []).append(result)
    return sorted(groups.values(), key=lambda group: TROUBLES.index(group[0].status))


def _measured_page(results: Results):
    """Name of a measurement -> address of the page of its first cell."""
    groups = results.evidence.groups
    return lambda name: naming.page(groups[name].cell.id) if name in groups else ""
