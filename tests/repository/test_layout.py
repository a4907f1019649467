"""tests/unit has the folders of seglib/; a test file is named after the module or folder that it tests."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests" / "unit"
TESTS = sorted(UNIT.rglob("test_*.py"))
SEVERAL = {"models/test_methods.py"}
"""Of several modules: what every method of the registry promises."""


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(UNIT)))
def test_a_test_file_lies_where_its_module_lies(path):
    place = path.relative_to(UNIT)
    module = ROOT / "seglib" / place.with_name(place.stem.removeprefix("test_"))
    assert module.is_dir() or module.with_suffix(".py").is_file() or str(place) in SEVERAL
