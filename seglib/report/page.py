"""The report: index.html, a page per cell, tables, figures, README.md and results.json.

    seglib report --config config/default.yaml --results results --out reports [--partial] [--archive]

Reads result files only, so that any number on a page can be followed to its file. ``cells/`` and
``datasets/`` are replaced as wholes; ``index.html`` is written last: where it lies, the rest is complete.
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jinja2

from seglib import __version__
from seglib.claims import results as claim_results
from seglib.claims.results import Results
from seglib.core import files, tables
from seglib.experiment.config import Plan
from seglib.report import datasheets, details, exports, index, naming, notices
from seglib.results.inventory import describe_protocol

ARCHIVE = "details.zip"
MARKER = ".seglib-report"
"""Lies in the folders that a report replaces, so that nobody else's folder is ever deleted."""
WORKERS = 2
Render = Callable[..., str]


def run(
    *,
    config: dict[str, Any],
    results: Path,
    out: Path,
    partial: bool,
    archive: bool = False,
    data: Path | None = None,
) -> None:
    """Build the report of a configuration in the folder ``out``.

    ``data`` holds the manifests of the data sets, if not the configuration's own folder.
    With ``partial`` it is built from what exists and says what is missing and why; otherwise a cell
    without a complete result raises ``ValueError``. With ``archive``, tables and pages of cells and data sets
    lie in ``details.zip``, which completes the folder where it is unpacked; ``index.html`` does without.
    """
    everything = claim_results.read(config, results, data)
    undone = [result for result in everything.cells if result.status != "done"]
    if undone and not partial:
        raise ValueError(
            f"{len(undone)} of {len(everything.cells)} cells are not done, first {undone[0].cell.id}: "
            f"{undone[0].reason}; run the workflow (it keeps outdated results that were copied here: delete "
            "their folders), or give --partial to show what there is"
        )
    render = _renderer(title=everything.plan.config.title, version=__version__)
    shown, drawings = index.all_tables(everything), index.all_drawings(everything)
    context = index.context(everything, shown, drawings)
    with _archived(out / ARCHIVE) if archive else nullcontext(out) as folder:
        _write_cells(everything, folder / "cells", render)
        _write_datasets(everything, folder / "datasets", render)
        for name, table in shown.items():
            _write(folder / "tables" / f"{name}.csv", tables.to_csv(table))
            _write(folder / "tables" / f"{name}.md", tables.to_markdown(table))
            _write(folder / "tables" / f"{name}.tex", tables.to_latex(table))
        if archive:
            _write(folder / "index.html", render("index.html", **context))
    for name, drawing in drawings.items():
        _write(out / "figures" / f"{name}.svg", drawing.svg)
        _write(out / "figures" / f"{name}.png", drawing.png)
    files.write_json(out / "results.json", exports.machine_readable(everything))
    _write(out / "results.schema.json", Path(__file__).with_name("results.schema.json").read_bytes())
    _write(out / "README.md", exports.summary(everything, shown, drawings))
    _write(out / "index.html", render("index.html", archive=archive and ARCHIVE, **context))


def _write_cells(results: Results, out: Path, render: Render) -> None:
    with _replaced(out) as folder:
        pictures = _pictures(results.plan, folder)

        def context(result):
            manifest = results.manifests[result.cell.dataset]
            return details.context(result, results.cells, results.plan, manifest, pictures)

        with ThreadPoolExecutor(WORKERS) as pool:  # decoding and encoding of pictures run beside Python
            for result, values in zip(results.cells, pool.map(context, results.cells), strict=True):
                page = render("cell.html", machinery=notices.machinery([result]), **values)
                (folder / f"{naming.file_stem(result.cell.id)}.html").write_text(page, encoding="utf-8")


def _write_datasets(results: Results, out: Path, render: Render) -> None:
    with _replaced(out) as folder:
        pictures = _pictures(results.plan, folder)
        for name, manifest in results.manifests.items():
            if manifest is not None:
                used = {"train", *results.tests.query("dataset == @name")["split"]}
                data = Path(results.plan.config.data, name)
                page = render("dataset.html", **datasheets.context(manifest, data, used, pictures))
                (folder / f"{name}.html").write_text(page, encoding="utf-8")


def _renderer(**shared: Any) -> Render:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        shared,
        archive=None,
        plain=tables.plain,
        page=naming.page,
        status_word=naming.status,
        describe_protocol=describe_protocol,
    )
    return lambda template, **values: environment.get_template(template).render(values)


@contextmanager
def _archived(path: Path) -> Iterator[Path]:
    """An empty folder that becomes the archive ``path``."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        files.zip_folder(folder, path)


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
