"""The pages for readers: every command in them runs, every link and name in them leads somewhere.

A command is a line of an indented block or of a block fenced as ``sh``. Those that would train, fetch or
submit are planned (``snakemake --dry-run``, ``make --dry-run``) or parsed. What can be neither stands in
:data:`UNTRIED` with its reason.
"""

import argparse
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seglib.core import command_line
from tests.workflow.project import copy_code

ROOT = Path(__file__).parents[2]
NAMES = ["README.md", "CONTRIBUTING.md", "config/README.md"]
PAGES = [*(ROOT / name for name in NAMES), *sorted(ROOT.glob("docs/*.md"))]
MAX_README_WORDS = 1000
PUBLISHED = "results/published/camvid"
CELL = "cells/camvid/fcn/mobilenetv2/camvid_cpu/seed0"

READ_ONLY = ("plan", "status", "trace", "verify-results")
"""Steps that run as they stand: they read the configuration, or the published results. Others are parsed."""

UNTRIED = {
    "git clone": "needs a network",
    "cd seglib": "enters what git cloned",
    "pip install": "needs a network",
    "conda create": "needs a network",
    "conda list": "needs what conda created",
    "sinfo": "needs a cluster",
    ". .venv/bin/activate": "changes the shell",
    "snakemake --cores all --use-conda": "needs conda; tests/workflow/test_conda.py has a double of it",
    "snakemake --cores all --sdm apptainer": "needs apptainer",
    "snakemake --report report.zip": "needs a finished run",
    "python -c": "needs a network",
    "python benchmarks/": "measures for minutes; tests/repository/test_benchmarks.py runs it reduced",
}
"""How commands begin that are not tried, and why."""

# Importing Snakemake and reading the digests of the code takes longer than a plan. One process does it once,
# and a fork of it makes each plan. Garbage collection and an orderly end of the interpreter would copy most
# of the memory that the forks share: without them a plan takes a third of the time.
PLAN = """
import gc, os, shlex, sys, tempfile, traceback
from snakemake import cli as snakemake
from seglib import cli as seglib
from seglib.core import code_digest, registry
from seglib.experiment import config

gc.disable()
snakemake.get_argument_parser()
config.timm_models()
for step in ("train", "predict", "score", "complexity", "speed", "compare", "report"):
    for method in registry.METHODS:
        code_digest.step_code(step, method=method)
for step in ("download", "prepare"):
    for dataset in registry.DATASETS:
        code_digest.step_code(step, dataset=dataset)
for line in sys.stdin.read().splitlines():
    program, *arguments = shlex.split(line)
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            code = 1
            try:
                if program == "snakemake":
                    snakemake.main([*arguments, "--dry-run", "--quiet"])
                else:
                    seglib.main(arguments)
                code = 0
            except SystemExit as stop:
                code = 0 if stop.code in (None, 0) else 1
            except Exception:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        if os.waitpid(child, 0)[1]:
            output.seek(0)
            print(f"failed: {line}\\n{output.read().decode()[-1500:]}", flush=True)
"""


def blocks(text: str, language: str) -> list[str]:
    """The blocks of a page that are fenced with that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    indented = re.findall(r"^    (\S.*)$", without_blocks(text), re.MULTILINE)
    fenced = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines = [re.sub(r"(^|\s+)#.*", "", line) for line in (*indented, *fenced)]
    return [command for line in lines for command in line.split(" && ") if command]


def is_untried(command: str) -> bool:
    return command.startswith(tuple(UNTRIED))


def seglib_arguments(command: str) -> list[str] | None:
    """What follows `seglib`, `python -m seglib` or `torchrun ... -m seglib`; None for other programs."""
    words = shlex.split(command)
    if words[0] == "seglib":
        return words[1:]
    if words[0] in ("python", "torchrun") and "seglib" in words:
        return words[words.index("seglib") + 1 :]
    return None


def is_planned(command: str) -> bool:
    arguments = seglib_arguments(command)
    return command.startswith("snakemake ") or (arguments is not None and arguments[0] in READ_ONLY)


COMMANDS = sorted({command for page in PAGES for command in commands(page.read_text())})
TRIED = [command for command in COMMANDS if not is_untried(command)]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture
def checkout(tmp_path):
    """The code, the published results, and the YAML files that the pages show under a name."""
    copy_code(tmp_path)
    (tmp_path / PUBLISHED).parent.mkdir(parents=True)
    (tmp_path / PUBLISHED).symlink_to(ROOT / PUBLISHED)
    for page in PAGES:
        for block in blocks(page.read_text(), "yaml"):
            if name := re.match(r"# (\S+\.yaml)\n", block):
                (tmp_path / name[1]).write_text(block)
    return tmp_path


def test_runs_can_be_planned_and_published_results_read(checkout):
    lines = [command.removeprefix("python -m ") for command in TRIED if is_planned(command)]
    assert len(lines) >= 20
    done = subprocess.run(
        [sys.executable, "-c", PLAN],
        input="\n".join(lines),
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr[-3000:]


@pytest.mark.parametrize("command", [command for command in TRIED if not is_planned(command)])
def test_other_commands_are_understood(command, tmp_path, monkeypatch):
    program, *words = shlex.split(command)
    if (arguments := seglib_arguments(command)) is not None:
        shutil.copy(ROOT / PUBLISHED / CELL / "train/cell.json", tmp_path)
        monkeypatch.chdir(tmp_path)
        parser = argparse.ArgumentParser(prog=arguments[0])
        command_line.declare(arguments[0], parser)
        parser.parse_args(arguments[1:])  # SystemExit where they are none
    elif program == "make":
        done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        pytest.fail(f"no rule says how to try it: {command}")


def test_every_reason_not_to_try_a_command_is_needed():
    assert [start for start in UNTRIED if not any(one.startswith(start) for one in COMMANDS)] == []


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page.read_text())):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


def anchors(text: str) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_files_and_modules_that_are_named_exist(page):
    text = re.sub(r"\S*\bmine\b\S*|\S*/test_mine\.py", "", page.read_text())  # the reader's own
    folders = "seglib|tests|docs|config|profiles|workflow|benchmarks|tools"
    for path in re.findall(rf"(?<![\w/.])(?:{folders})/[\w./*-]*\w", text):
        assert list(ROOT.glob(path)), path
    rooms = "|".join(path.name for path in (ROOT / "seglib").iterdir() if path.is_dir())
    for name in re.findall(rf"\bseglib\.(?:{rooms})\.[\w.]*\w", text):
        pkgutil.resolve_name(name)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= MAX_README_WORDS


def test_the_columns_of_the_summary_are_explained():
    header = (ROOT / PUBLISHED / "summary.csv").read_text().splitlines()[0]
    page = (ROOT / "docs/results.md").read_text()
    assert [name for name in header.split(",") if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", ["docs/metrics.md", "docs/results.md"])
def test_python_in_a_page_runs(page, tmp_path, monkeypatch):
    (tmp_path / PUBLISHED).parent.mkdir(parents=True)
    (tmp_path / PUBLISHED).symlink_to(ROOT / PUBLISHED)
    shutil.copy(ROOT / PUBLISHED / CELL / "test-ss/counts.npz", tmp_path)
    monkeypatch.chdir(tmp_path)
    label = np.zeros((8, 8), np.uint8)
    for block in blocks((ROOT / page).read_text(), "python"):
        exec(block, {"label": label, "prediction": label})
