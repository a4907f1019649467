"""Every script of benchmarks/ still runs: with ``--reduced``, whose numbers mean nothing."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from seglib.experiment.cell import Cell
from seglib.experiment.recipe import Backbone, Recipe

pytestmark = pytest.mark.slow  # each starts torch, some of them several times

ROOT = Path(__file__).parents[2]
SCRIPTS = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()}
RATIOS = {
    "allocation": r"[\d.]+ times as fast \(",
    "determinism": "all 4 pass",
    "heads": r"\nisnet +[\d.]+ s, with its loop [\d.]+ s = [\d.]+x",
    "loading": r"ours, cached +.* x torchvision",
    "metrics": r"loop, present +[\d.]+ ms = [\d.]+x",
    "planning": r"2 cells, everything has run, seglib plan: [\d.]+ s",
    "srm_crm_cost": r"mobilenetv2_100 .*%",
    "training": r"ratio [\d.]+ \(wanted",
    "training_smp": r"ratio ours / SMP, same network: [\d.]+",
}
"""What each script is run for: the line with its result."""
CELL = Cell(
    dataset="miniature",
    method="fcn",
    backbone_name="small",
    backbone=Backbone(model="mobilenetv3_small_050"),
    recipe_name="short",
    recipe=Recipe(iterations=10, batch_size=2, crop_hw=(32, 32), lr=0.01, threads=1),
    seed=0,
)


def test_every_script_is_run_here():
    assert set(RATIOS) == SCRIPTS


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_the_script_comes_to_its_result(script, miniature, tmp_path):
    arguments = []
    if script == "determinism":
        arguments = ["--device", "cpu"]
    if script.startswith("training"):
        arguments = ["--data", miniature]
    if script == "training":
        (tmp_path / "cell.json").write_text(CELL.to_json())
        arguments += ["--cell", tmp_path / "cell.json"]
    if script == "training_smp" and importlib.util.find_spec("segmentation_models_pytorch") is None:
        pytest.skip("its peer is not installed: pip install -e '.[benchmark]'")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{script}.py", "--reduced", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(RATIOS[script], done.stdout), done.stdout
