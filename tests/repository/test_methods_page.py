"""The example of a new method in docs/methods.md does what is demanded of a method."""

import re
import sys
import types
from pathlib import Path

import pytest

from seglib.core import registry

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
METHOD, TEST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(LINE,) = re.findall(r'`("mine": "[^`]+")`', PAGE)

exec(TEST)  # defines TestMine, which pytest collects here


@pytest.fixture(autouse=True)
def mine(monkeypatch):
    module = types.ModuleType("seglib.models.mine")
    exec(METHOD, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "METHODS", registry.METHODS | eval(f"{{{LINE}}}"))


def test_its_parts_say_where_they_come_from():
    fidelity = registry.resolve(registry.METHODS["mine"]).FIDELITY
    assert {source for _, source, _ in fidelity} <= {"paper", "author code", "second-hand", "own choice"}
    assert "Sources of each part: `FIDELITY`." in METHOD
