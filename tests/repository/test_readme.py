"""The README's commands run as they stand there; those that would train are asked for their plan only."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.project import copy_code

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## One rule, one cell, one ablation\n(.*?)^## ", re.MULTILINE | re.DOTALL)

# One process imports Snakemake, and a fork of it runs each command: the import takes longer than the command.
RUN = """
import os, shlex, sys
from snakemake import cli
import seglib.cli
for line in sys.stdin.read().splitlines():
    program, *arguments = shlex.split(line)
    child = os.fork()
    if child == 0:
        try:
            if program == "snakemake":
                cli.main([*arguments, "--dry-run", "--quiet"])
            seglib.cli.main(arguments)
        except SystemExit as stop:
            os._exit(0 if stop.code in (None, 0) else 1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"failed: {line}")
"""


def commands():
    [section] = SECTION.findall((ROOT / "README.md").read_text())
    lines = re.findall(r"^    (\S.*?)(?:  +#.*)?$", section, re.MULTILINE)
    return [line for line in lines if line.split()[0] in ("snakemake", "seglib")]


@pytest.fixture
def checkout(tmp_path):
    copy_code(tmp_path)
    return tmp_path


def test_the_commands_of_the_section_run(checkout):
    found = commands()
    assert len(found) >= 8
    (checkout / "narrow.yaml").write_text("methods: {isnet: {width: 64}}\n")  # the README says so
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\n".join(found),
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
