"""The report without the page: results.json for programs, README.md for a repository's front."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from seglib import __version__
from seglib.claims import table as claim_tables
from seglib.claims.results import Results
from seglib.claims.verdicts import Judgement
from seglib.core import tables
from seglib.core.tables import Table
from seglib.core.typed import plain
from seglib.report import naming, notices
from seglib.results.aggregate import METRICS, Group, Leaderboard
from seglib.results.inventory import TROUBLES, CellResult


def machine_readable(results: Results) -> dict[str, Any]:
    """Every cell with its metrics, cost and provenance, every combination over its seeds, every claim."""
    boards = results.leaderboards
    statuses = [result.status for result in results.cells]
    return {
        "schema": 1,
        "seglib": __version__,
        "title": results.plan.config.title,
        "machinery_check": notices.machinery(results.cells) or None,
        "warnings": notices.warnings(results.plan, results.cells),
        "counts": {status: statuses.count(status) for status in ("done", *TROUBLES)},
        "cells": [_cell(result) for result in results.cells],
        "combinations": [_combination(board, group) for board in boards for group in board.groups],
        "claims": [_claim(judgement) for judgement in results.evidence.judgements],
    }


def summary(results: Results, shown: Mapping[str, Table], figures: Collection[str]) -> str:
    """Markdown: how much is done, what failed and why, the verdicts, and the results of every leaderboard.

    ``shown``: the tables by name; ``figures``: the names of those that there are.
    """
    done = sum(result.status == "done" for result in results.cells)
    lines = [
        f"# {tables.markdown(results.plan.config.title)}",
        "",
        f"{done} of {len(results.cells)} cells done. The whole report: [index.html](index.html).",
        "",
    ]
    for notice in (notices.machinery(results.cells), *notices.warnings(results.plan, results.cells)):
        lines += [f"> {tables.markdown(notice)}", ""] if notice else []
    lines += [verdict_words(results.evidence.judgements), ""]
    if troubled := [result for result in results.cells if result.status not in ("done", "missing")]:
        lines += ["## Not done", ""]
        for result in troubled:
            address, reason = naming.page(result.cell.id), tables.markdown(result.reason)
            lines.append(f"- [{result.cell.id}]({address}), {result.status}: {reason}")
        lines.append("")
    for board in results.leaderboards:
        table = shown[f"results.{board.name}"]
        lines += [f"## {tables.markdown(table.caption)}", "", tables.to_markdown(table)]
        if (figure := f"accuracy-gmacs.{board.name}") in figures:
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
    return {
        "id": claim.id,
        "paper": claim.sides[0].paper,
        "claim": claim.text,
        "metric": claim.sides[0].metric,
        "reported": float(claim.value),
        "bound": claim.bound,
        "unit": claim.unit,
        "provenance": claim.provenance,
        "source": claim.sides[0].source,
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


def _cell(result: CellResult) -> dict[str, Any]:
    tests = {
        test.evaluation.name: {
            "split": test.evaluation.split,
            "protocol": dataclasses.asdict(test.evaluation.protocol),
            "metrics": plain(test.metrics),
        }
        for test in result.tests
    }
    return {
        "id": result.cell.id,
        "status": result.status,
        "reason": result.reason,
        "page": naming.page(result.cell.id),
        "cell": dataclasses.asdict(result.cell),
        "tests": tests,
        **{name: plain(getattr(result, name)) for name in ("cost", "speed", "provenance")},
    }


def _combination(board: Leaderboard, group: Group) -> dict[str, Any]:
    estimates = {name: group.estimate(name) for name in METRICS}
    return {
        "dataset": board.dataset,
        "test": board.evaluation.name,
        "method": group.cell.method,
        "variant": group.cell.variant,
        "backbone": group.cell.backbone_name,
        "recipe": group.cell.recipe_name,
        "changed": list(group.results[0].changed),
        "seeds": [result.cell.seed for result, _ in group.measured],
        **{name: value and dataclasses.asdict(value) for name, value in estimates.items()},
    }
