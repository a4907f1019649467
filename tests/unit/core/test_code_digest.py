import json
import subprocess
import sys
from pathlib import Path

import pytest

from seglib.core import code_digest, registry

ROOT = Path(__file__).parents[3]
BASE = {
    "seglib.training.trainer",
    "seglib.data.samples",
    "seglib.training.losses",
    "seglib.models.layers",
    "seglib.models.segmentor",
}


def test_a_training_depends_on_its_own_method_only():
    isnet = set(code_digest.step_code("train", method="isnet"))
    assert isnet >= BASE | {"seglib.models.isnet"}
    assert "seglib.models.pspnet" not in isnet


@pytest.mark.parametrize("method", sorted(registry.METHODS))
def test_a_training_depends_on_no_later_step(method):
    parts = (
        "metrics",
        "scoring",
        "inference",
        "datasets",
        "download",
        "prepare",
        "reporting",
        "claims",
        "config",
    )
    for module in code_digest.step_code("train", method=method):
        assert not module.startswith(tuple(f"seglib.{part}" for part in parts)), module


def test_scoring_and_reporting_depend_on_no_model():
    for step in ("score", "compare", "report"):
        assert not any(module.startswith("seglib.models") for module in code_digest.step_code(step))


def test_data_files_that_a_module_names_are_part_of_its_digest(tmp_path, monkeypatch):
    package = tmp_path / "seglib"
    (package / "pages").mkdir(parents=True)
    (package / "page.py").write_text('FOLDER = __file__ + "pages"\n')
    (package / "pages" / "a.html").write_text("one")
    monkeypatch.setattr(code_digest, "PACKAGE", package)
    before = code_digest._digest.__wrapped__("seglib.page")
    (package / "pages" / "a.html").write_text("two")
    code_digest.syntax_tree.cache_clear()
    assert code_digest._digest.__wrapped__("seglib.page") != before


def test_closures_leave_out_what_computes_nothing():
    for step in registry.STEPS:
        modules = set(code_digest.step_code(step))
        assert not modules & code_digest.RECORDERS
        assert not any(code_digest._is_package(module) for module in modules)


LOADED = """
import importlib, json, sys
result = {}
for module in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "seglib"]:
        del sys.modules[name]
    importlib.import_module(module)
    result[module] = [name for name in sys.modules if name.split(".")[0] == "seglib"]
print(json.dumps(result))
"""


def test_the_closures_hold_what_imports_load():
    """Nothing that Python really loads escapes the digests."""
    targets = [*registry.STEPS.values(), *registry.METHODS.values(), *registry.DATASETS.values()]
    modules = [target.split(":")[0] for target in targets]
    output = subprocess.run(
        [sys.executable, "-c", LOADED, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for module, loaded in json.loads(output.stdout).items():
        relevant = {m for m in loaded if m not in code_digest.RECORDERS and not code_digest._is_package(m)}
        assert relevant <= code_digest.closure(module), module
