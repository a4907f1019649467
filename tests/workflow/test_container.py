"""The image's pins, and rules that run in it; with a test double of apptainer, since none is here."""

import re

from tests.workflow.project import ROOT


def test_the_image_has_no_pins_of_its_own():
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)
    [install] = re.findall(r"pip install (.*)", text)
    assert install.split() == ["--no-cache-dir", "-c", "constraints.txt", "."]
    python = re.search(r"^FROM docker.io/library/python:(\S+)-slim$", text, re.MULTILINE)[1]
    assert f"python={python}" in (ROOT / "environment.yml").read_text()


def test_rules_run_in_the_image(project, tmp_path):
    double = tmp_path / "bin" / "apptainer"
    double.parent.mkdir()
    double.write_text(
        f'#!/bin/sh\ncase "$1" in\n--version) echo apptainer version 1.3.0; exit;;\nesac\n'
        f'echo "$@" >> {tmp_path}/asked\nwhile [ "$1" != seglib.sif ]; do shift; done\nshift; exec "$@"\n'
    )
    double.chmod(0o755)
    (project.folder / "seglib.sif").touch()
    arguments = ("--sdm", "apptainer", "--forcerun", "compare", "--", "results/summary.csv")
    project.snakemake(*arguments, PATH=f"{double.parent}:{project.environment['PATH']}")
    asked = (tmp_path / "asked").read_text()
    assert "exec" in asked
    assert "python -m seglib compare" in asked
