"""The published benchmarks are what the committed counts give, to the byte: `make published`."""

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from seglib.claims import compare
from seglib.experiment import config
from seglib.report import page
from tests.unit.report.test_page import check_links

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted((ROOT / "config" / "published").glob("*.yaml"))
UNCOMMITTED = shutil.ignore_patterns("checkpoints", "predictions", "raw", "labels", "*.safetensors")
each_benchmark = pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)


@each_benchmark
def test_tables_figures_and_page_follow_from_the_committed_counts(path, tmp_path, monkeypatch):
    values = config.read(path)
    results, reports = Path(values["results"]), Path(values["reports"])
    monkeypatch.chdir(tmp_path)  # where the configuration's folders are found
    shutil.copytree(ROOT / results, results, ignore=UNCOMMITTED)
    compare.run(config=values, out=results, data=results / "data")
    page.run(config=values, results=results, out=reports, partial=False, archive=True, data=results / "data")
    assert contents(reports) == contents(ROOT / reports)
    for name in ("summary.csv", "verdicts.csv", "compare.sha256"):
        assert (results / name).read_bytes() == (ROOT / results / name).read_bytes(), name


@each_benchmark
def test_every_link_leads_to_a_committed_file_and_with_the_archive_to_a_whole_report(path, tmp_path):
    reports = ROOT / config.read(path)["reports"]
    folder = tmp_path / "report"
    shutil.copytree(reports, folder, ignore=shutil.ignore_patterns("cells", "datasets", "tables"))
    brief = check_links(folder)
    for address in re.findall(r"\]\(([^)#]+)\)", (folder / "README.md").read_text("utf-8")):
        assert (folder / address).is_file(), address
    zipfile.ZipFile(folder / page.ARCHIVE).extractall(folder)
    assert check_links(folder) > brief


def test_few_files_are_published():
    git = ["git", "-C", str(ROOT), "ls-files", "reports/published"]
    files = subprocess.run(git, capture_output=True, text=True, check=True).stdout.split()
    assert 0 < len(files) <= 40 * len(BENCHMARKS)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
