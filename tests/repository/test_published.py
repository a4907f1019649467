"""The published benchmarks are what the committed counts give, to the byte: `make published`."""

import shutil
from pathlib import Path

import pytest

from seglib.claims import compare
from seglib.experiment import config
from seglib.report import page

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted((ROOT / "config" / "published").glob("*.yaml"))
UNCOMMITTED = shutil.ignore_patterns("checkpoints", "predictions", "raw", "labels", "*.safetensors")


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_tables_figures_and_page_follow_from_the_committed_counts(path, tmp_path, monkeypatch):
    values = config.read(path)
    results, reports = Path(values["results"]), Path(values["reports"])
    monkeypatch.chdir(tmp_path)  # where the configuration's folders are found
    shutil.copytree(ROOT / results, results, ignore=UNCOMMITTED)
    compare.run(config=values, out=results, data=results / "data")
    page.run(config=values, results=results, out=reports, partial=False, data=results / "data")
    assert contents(reports) == contents(ROOT / reports)
    for name in ("summary.csv", "verdicts.csv", "compare.sha256"):
        assert (results / name).read_bytes() == (ROOT / results / name).read_bytes(), name


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
