"""The report: index.html, a page per cell, tables, figures, README.md and results.json.

    seglib report --config config/default.yaml --results results --out reports [--partial]

Reads result files only, so that any number on a page can be followed to its file. ``cells/`` and
``datasets/`` are replaced as wholes; ``index.html`` is written last: where it lies, the rest is complete.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2

from seglib import __version__
from seglib.claims import evidence, outlook, verdicts
from seglib.claims import table as claim_tables
from seglib.core import files, tables
from seglib.core.tables import Table
from seglib.cost import paper_scale
from seglib.experiment import config as configuration
from seglib.experiment.config import Plan
from seglib.experiment.records import Manifest
from seglib.report import (
    ablations,
    audit_tables,
    claim_figures,
    cost_tables,
    datasheets,
    details,
    exports,
    figures,
    notices,
    papers,
    summaries,
)
from seglib.report.summaries import STATUS_WORDS
from seglib.results import aggregate
from seglib.results import pairs as pairing
from seglib.results.aggregate import Leaderboard
from seglib.results.inventory import (
    TROUBLES,
    CellResult,
    collect,
    describe_protocol,
    devices,
    method_label,
    read_manifests,
)
from seglib.results.pairs import Pair

MARKER = ".seglib-report"
"""Lies in the folders that a report replaces, so that nobody else's folder is ever deleted."""
WORKERS = 2
CONDITIONS = (
    *("dataset", "backbone", "recipe", "seed", "test", "input_hw", "commit"),
    *("batch_size", "precision", "hardware"),
)
"""Columns that a table on the page has only where they differ from row to row."""


def run(*, config: dict[str, Any], results: Path, out: Path, partial: bool, data: Path | None = None) -> None:
    """Build the report of a configuration in the folder ``out``.

    ``data`` holds the manifests of the data sets, if not the configuration's own folder.
    With ``partial`` it is built from what exists and says what is missing and why; otherwise a cell
    without a complete result raises ``ValueError``.
    """
    plan = configuration.load(config)
    records = collect(plan, results)
    undone = [record for record in records if record.status != "done"]
    if undone and not partial:
        raise ValueError(
            f"{len(undone)} of {len(records)} cells are not done, first {undone[0].cell.id}: "
            f"{undone[0].reason}; run the workflow (it keeps outdated results that were copied here: delete "
            "their folders), or give --partial to show what there is"
        )
    manifests = read_manifests(data or plan.config.data, records)
    blocks = aggregate.blocks(records)
    costs = paper_scale.read()
    found = outlook.judge(plan, records, manifests)
    render = _renderer(title=plan.config.title, version=__version__)

    with _replaced(out / "cells") as folder:
        pictures = _pictures(plan, folder)
        with ThreadPoolExecutor(WORKERS) as pool:  # decoding and encoding of pictures run beside Python
            contexts = pool.map(
                lambda record: details.context(
                    record, records, plan, manifests[record.cell.dataset], pictures
                ),
                records,
            )
            for record, context in zip(records, contexts, strict=True):
                page = render("cell.html", machinery=notices.machinery([record]), **context)
                (folder / summaries.page_name(record.cell)).write_text(page, encoding="utf-8")

    with _replaced(out / "datasets") as folder:
        pictures = _pictures(plan, folder)
        for name, manifest in manifests.items():
            if manifest is not None:
                used = {"train", *(block.evaluation.split for block in blocks if block.dataset == name)}
                context = datasheets.context(manifest, Path(plan.config.data) / name, used, pictures)
                (folder / f"{name}.html").write_text(render("dataset.html", **context), encoding="utf-8")

    pairs = {block.name: pairing.pairs(block) for block in blocks}
    gains = {block.name: pairing.gains(block, found.baselines) for block in blocks}
    page_of = claim_tables.page_of(found.groups, summaries.page_name)
    shown = _tables(records, blocks, pairs, gains, manifests)
    shown |= papers.claim_tables_of(found, page_of)
    audited = [judgement.claim for judgement in found.claims]
    for table in (audit_tables.audit(audited, costs), audit_tables.paper_scale_costs(costs)):
        shown[table.name] = table
    drawings = {block.name: _drawings(block, pairs[block.name]) for block in blocks}
    compared = claim_figures.reported_against_measured(
        found.claims, tolerance_points=plan.config.tolerance_points, page=page_of
    )
    drawings["claims"] = [compared] if compared else []
    for table in shown.values():
        _write(out / "tables" / f"{table.name}.csv", tables.to_csv(table))
        _write(out / "tables" / f"{table.name}.md", tables.to_markdown(table))
        _write(out / "tables" / f"{table.name}.tex", tables.to_latex(table))
    for drawing in (drawing for found in drawings.values() for drawing in found):
        _write(out / "figures" / f"{drawing.name}.svg", drawing.svg)
        _write(out / "figures" / f"{drawing.name}.png", drawing.png)
    files.write_json(out / "results.json", exports.machine_readable(plan, records, blocks, found.all))
    _write(out / "results.schema.json", Path(__file__).with_name("results.schema.json").read_bytes())
    drawn = {drawing.name for found in drawings.values() for drawing in found}
    _write(out / "README.md", exports.summary(plan, records, blocks, found.all, shown, drawn))
    index = _index(plan, records, blocks, shown, drawings, manifests)
    _write(out / "index.html", render("index.html", **index, **papers.context(found, records, shown)))


def _tables(
    records: Sequence[CellResult],
    blocks: Sequence[Leaderboard],
    pairs: dict[str, Sequence[Pair]],
    gains: dict[str, Sequence[Pair]],
    manifests: dict[str, Manifest | None],
) -> dict[str, Table]:
    """All tables by name, in the order of the page."""
    found = [summaries.scope(records, manifests), *map(summaries.results, blocks)]
    found += [ablations.gains_table(block, gains[block.name]) for block in blocks if gains[block.name]]
    found += [ablations.table(block, pairs[block.name]) for block in blocks if pairs[block.name]]
    for block in filter(lambda block: block.measured, blocks):
        shares = summaries.class_shares(manifests[block.dataset], block.evaluation.split)
        found += [
            summaries.per_class(block, "iou", "IoU", shares),
            summaries.per_class(block, "boundary_iou", "Boundary IoU", shares),
        ]
    found += [cost_tables.cost(records), cost_tables.speed(records), summaries.runs(records)]
    return {table.name: table for table in found}


def _drawings(block: Leaderboard, pairs: Sequence[Pair]) -> list[figures.Drawing]:
    def link(group: aggregate.Group) -> str:
        return f"cells/{summaries.page_name(group.cell)}"

    drawn = [
        figures.accuracy_against_cost(block, link),
        figures.region_against_boundary(block, link),
        figures.per_class(block),
        figures.ablations(block, pairs, link),
    ]
    return [drawing for drawing in drawn if drawing is not None]


def _index(
    plan: Plan,
    records: Sequence[CellResult],
    blocks: Sequence[Leaderboard],
    shown: dict[str, Table],
    drawings: dict[str, list[figures.Drawing]],
    manifests: dict[str, Manifest | None],
) -> dict[str, Any]:
    counts = Counter(record.status for record in records)
    cost, cost_constants = tables.without_constants(shown["cost"], CONDITIONS)
    speed, speed_constants = tables.without_constants(shown["speed"], CONDITIONS)
    runs, runs_constants = tables.without_constants(shown["cells"], CONDITIONS)
    return {
        "records": records,
        "done": counts["done"],
        "not_done": [(counts[status], STATUS_WORDS[status]) for status in TROUBLES if counts[status]],
        "facts": _facts(records),
        "machinery": notices.machinery(records),
        "warnings": notices.warnings(plan, records),
        "troubles": _troubles(records),
        "scope": shown["scope"],
        "pictures": plan.config.pictures,
        "datasets": [name for name, manifest in manifests.items() if manifest],
        "blocks": [_shown_block(block, shown, drawings) for block in blocks],
        "gains": _shown_pairs("gains", blocks, shown, drawings),
        "ablations": _shown_pairs("ablations", blocks, shown, drawings),
        "per_class": [table for name, table in shown.items() if name.startswith("per-class-")],
        "cost": cost,
        "cost_constants": cost_constants,
        "speed": speed,
        "speed_constants": speed_constants,
        "audit": tables.without(shown["complexity-audit"], {"source"}),
        "paper_scale": shown["paper-scale-costs"],
        "compared": drawings["claims"],
        "min_seeds": verdicts.MIN_SEEDS,
        "sustained": f"{evidence.SUSTAINED_FLOPS / 1e12:g}",
        "runs": runs,
        "runs_constants": runs_constants,
        "run_statuses": [test.status for record in records for test in record.tests],
        "boundary_words": summaries.boundary_words(plan.config.boundary_ratio),
        "several_seeds": any(len(group.measured) > 1 for block in blocks for group in block.groups),
        "commits": ", ".join(
            sorted({r.provenance.commit[:10] for r in records if r.provenance and r.provenance.commit})
        ),
        "files": list(shown),
    }


def _troubles(records: Sequence[CellResult]) -> list[list[CellResult]]:
    """Cells without a complete result, those of equal status and reason together."""
    found: dict[tuple, list[CellResult]] = {}
    for record in records:
        if record.status != "done":
            found.setdefault((record.status, record.reason), []).append(record)
    return sorted(found.values(), key=lambda group: TROUBLES.index(group[0].status))


def _shown_block(
    block: Leaderboard, shown: dict[str, Table], drawings: dict[str, list[figures.Drawing]]
) -> dict[str, Any]:
    table, constants = tables.without_constants(shown[f"results.{block.name}"], CONDITIONS)
    name, protocol = block.evaluation.protocol_name, block.evaluation.protocol
    return {
        "title": f"{block.dataset}, {block.evaluation.split}, {name}{block.part}",
        "protocol": f"{name}: {describe_protocol(protocol)}",
        "table": table,
        "constants": constants,
        "drawings": [d for d in drawings[block.name] if d.name.startswith(("accuracy", "miou"))],
    }


def _shown_pairs(
    kind: str,
    blocks: Sequence[Leaderboard],
    shown: dict[str, Table],
    drawings: dict[str, list[figures.Drawing]],
) -> list[tuple[Table, str, list[figures.Drawing]]]:
    """Table, what is the same in all its rows, and figure of every block that has such pairs."""
    return [
        (
            *tables.without_constants(shown[f"{kind}.{block.name}"], CONDITIONS),
            [drawing for drawing in drawings[block.name] if drawing.name.startswith(kind)],
        )
        for block in blocks
        if f"{kind}.{block.name}" in shown
    ]


def _facts(records: Sequence[CellResult]) -> list[tuple[str, str, str]]:
    """(name, value, detail) of what ran, for the head of the page."""
    cells = [record.cell for record in records]
    facts = []
    for name, field in (("Data sets", "dataset"), ("Methods", "method"), ("Backbones", "backbone_name")):
        distinct = list(dict.fromkeys(getattr(cell, field) for cell in cells))
        more = f" and {len(distinct) - 4} more" if len(distinct) > 4 else ""
        facts.append((name, str(len(distinct)), ", ".join(distinct[:4]) + more))
    if variants := list(dict.fromkeys(method_label(cell) for cell in cells if cell.variant)):
        facts.insert(2, ("Variants", str(len(variants)), ", ".join(variants[:4])))
    seeds = {cell.seed for cell in cells}
    facts.append(("Seeds", str(len(seeds)), summaries.ranges(seeds)))
    trained = [record for record in records if record.provenance is not None]
    if trained:
        time_s = sum(record.provenance.time_s for record in trained)
        facts.append(("Training time", summaries.duration(time_s), ", ".join(devices(trained))))
    return facts


def _renderer(**shared: Any) -> Any:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        shared,
        plain=tables.plain,
        page=lambda record: f"cells/{summaries.page_name(record.cell)}",
        status_words=STATUS_WORDS,
    )
    return lambda template, **values: environment.get_template(template).render(values)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``folder`` when everything in it is written."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise ValueError(f"{folder}: not made by a report; choose another --out, or move this folder away")
    with files.atomic_folder(folder) as temporary:
        (temporary / MARKER).touch()
        yield temporary


def _pictures(plan: Plan, folder: Path) -> Path | None:
    """Where the images of the data sets go, if they are wanted."""
    if not plan.config.pictures:
        return None
    (folder / "pictures").mkdir()
    return folder / "pictures"


def _write(path: Path, content: str | bytes) -> None:
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
