"""The report without the page: results.json for programs, README.md for a repository's front."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from seglib import __version__
from seglib.claims import table as claim_tables
from seglib.claims.evidence import text_of
from seglib.claims.relative import RelativeClaim
from seglib.claims.verdicts import Judgement
from seglib.core import tables
from seglib.core.tables import Table
from seglib.core.typed import plain
from seglib.experiment.config import Plan
from seglib.report import notices
from seglib.report.summaries import STATUS_WORDS, page_name
from seglib.results.aggregate import METRICS, Group, Leaderboard
from seglib.results.inventory import CellResult


def machine_readable(
    plan: Plan, records: Sequence[CellResult], blocks: Sequence[Leaderboard], judgements: Sequence[Judgement]
) -> dict[str, Any]:
    """Every cell with its metrics, cost and provenance, every combination over its seeds, every claim."""
    return {
        "schema": 1,
        "seglib": __version__,
        "title": plan.config.title,
        "machinery_check": notices.machinery(records) or None,
        "warnings": notices.warnings(plan, records),
        "counts": {status: sum(r.status == status for r in records) for status in STATUS_WORDS},
        "cells": [_cell(record) for record in records],
        "combinations": [_combination(block, group) for block in blocks for group in block.groups],
        "claims": [_claim(judgement) for judgement in judgements],
    }


def summary(
    plan: Plan,
    records: Sequence[CellResult],
    blocks: Sequence[Leaderboard],
    judgements: Sequence[Judgement],
    shown: dict[str, Table],
    drawn: Collection[str],
) -> str:
    """Markdown: how much is done, what failed and why, the verdicts, and the results of every block.

    ``drawn``: names of the figures that there are.
    """
    counts = Counter(record.status for record in records)
    lines = [f"# {tables.markdown(plan.config.title)}", ""]
    lines += [
        f"{counts['done']} of {len(records)} cells done. The whole report: [index.html](index.html).",
        "",
    ]
    for notice in filter(None, [notices.machinery(records), *notices.warnings(plan, records)]):
        lines += [f"> {tables.markdown(notice)}", ""]
    lines += [verdict_words(judgements), ""]
    troubled = [record for record in records if record.status not in ("done", "missing")]
    if troubled:
        lines += ["## Not done", ""]
        for record in troubled:
            reason = tables.markdown(record.reason)
            lines.append(f"- [{record.cell.id}](cells/{page_name(record.cell)}), {record.status}: {reason}")
        lines.append("")
    for block in blocks:
        table = shown[f"results.{block.name}"]
        lines += [f"## {tables.markdown(table.caption)}", "", tables.to_markdown(table)]
        if (figure := f"accuracy-gmacs.{block.name}") in drawn:
            lines += [f"![mIoU against multiply-adds](figures/{figure}.svg)", ""]
    lines.append("± is half the width of the 95 % t-interval over seeds; one run has none.")
    return "\n".join(lines) + "\n"


def verdict_words(judgements: Sequence[Judgement]) -> str:
    """e.g. ``344 reported numbers and 2 differences between two of them: 2 reproduced, 346 not run.``"""
    counts = [f"{count} {verdict}" for verdict, count, _ in claim_tables.tally(judgements) if count]
    words = claim_tables.count_words(judgements)
    return f"{words}: {', '.join(counts)}." if counts else "No reported numbers."


def _claim(judgement: Judgement) -> dict[str, Any]:
    claim = judgement.claim
    one = claim.of if isinstance(claim, RelativeClaim) else claim
    return {
        "id": claim.id,
        "paper": one.paper,
        "claim": text_of(claim),
        "metric": one.metric,
        "reported": float(claim.value),
        "bound": "" if isinstance(claim, RelativeClaim) else one.bound,
        "unit": "points" if isinstance(claim, RelativeClaim) else one.unit,
        "provenance": claim.provenance,
        "source": one.source,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "caveats": list(judgement.caveats),
        "measurement": judgement.measurement and judgement.measurement.name,
        "measured": judgement.measured,
        "difference": judgement.difference,
        "interval_95": judgement.interval and list(judgement.interval),
        "seeds": judgement.seeds,
        "over_images": judgement.images and dataclasses.asdict(judgement.images),
        "command": judgement.command,
        "gpu_hours": judgement.gpu_hours,
    }


def _cell(record: CellResult) -> dict[str, Any]:
    return {
        "id": record.cell.id,
        "status": record.status,
        "reason": record.reason,
        "page": f"cells/{page_name(record.cell)}",
        "cell": dataclasses.asdict(record.cell),
        "tests": {
            test.evaluation.name: {
                "split": test.evaluation.split,
                "protocol": dataclasses.asdict(test.evaluation.protocol),
                "metrics": plain(test.metrics),
            }
            for test in record.tests
        },
        "cost": plain(record.cost),
        "speed": plain(record.speed),
        "provenance": plain(record.provenance),
    }


def _combination(block: Leaderboard, group: Group) -> dict[str, Any]:
    estimates = {name: group.estimate(name) for name in METRICS}
    return {
        "dataset": block.dataset,
        "test": block.evaluation.name,
        "method": group.cell.method,
        "variant": group.cell.variant,
        "backbone": group.cell.backbone_name,
        "recipe": group.cell.recipe_name,
        "changed": list(group.changed),
        "seeds": [record.cell.seed for record, _ in group.measured],
        **{name: value and dataclasses.asdict(value) for name, value in estimates.items()},
    }
