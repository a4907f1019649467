"""The README's example of a new method does what is demanded of a method."""

import re
import sys
import types
from pathlib import Path

import pytest

from seglib.core import registry

README = (Path(__file__).parents[2] / "README.md").read_text()
METHOD, TEST = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
(LINE,) = re.findall(r'`("mine": "[^`]+")`', README)

exec(TEST)  # defines TestMine, which pytest collects here


@pytest.fixture(autouse=True)
def mine(monkeypatch):
    module = types.ModuleType("seglib.models.mine")
    exec(METHOD, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "METHODS", registry.METHODS | eval(f"{{{LINE}}}"))


def test_it_opens_with_the_table_of_its_sources():
    table = METHOD.split('"""')[1]
    assert re.search(r"^ +part +\| source$", table, re.MULTILINE)
    rows = re.findall(r"^ +(\w+) +\| own choice: (.+)$", table, re.MULTILINE)
    assert (
        tuple((part, "own choice", note) for part, note in rows)
        == sys.modules["seglib.models.mine"].Mine.FIDELITY
    )
