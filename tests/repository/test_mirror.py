"""A test lies where what it tests lies: tests/unit mirrors seglib/, folder by folder and name by name."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = sorted(path.relative_to(ROOT / "tests/unit") for path in (ROOT / "tests/unit").rglob("test_*.py"))


@pytest.mark.parametrize("test", TESTS, ids=str)
def test_a_test_is_named_after_a_module_or_a_whole_folder(test):
    folder, name = ROOT / "seglib" / test.parent, test.stem.removeprefix("test_")
    assert (folder / f"{name}.py").is_file() or (folder / name).is_dir() or folder.name == name
