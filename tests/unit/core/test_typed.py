import re
from dataclasses import dataclass, field
from typing import Literal

import pytest

from seglib.core import typed


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    count: int
    rate: float = 1.0
    size_hw: tuple[int, int] | None = None
    names: tuple[str, ...] = ()
    on: bool = True
    kind: Literal["a", "b"] = "a"
    inner: Inner = Inner()
    table: dict[str, Inner] = field(default_factory=dict)


def test_values_become_typed():
    outer = typed.parse(
        Outer, {"count": 2, "rate": 1, "size_hw": [3, 4], "inner": {"rate": 2}, "table": {"x": {}}}, "c"
    )
    assert outer == Outer(count=2, rate=1.0, size_hw=(3, 4), inner=Inner(2.0), table={"x": Inner()})
    assert isinstance(outer.rate, float)  # 1 and 1.0 must give one canonical JSON


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 1}, "c.cuont: unknown setting; did you mean 'count'?"),
        ({"count": 1, "zzzz": 1}, "c.zzzz: unknown setting; valid: count, rate"),
        ({}, "c.count: this setting is required"),
        (
            {"count": 1, "rate": "1e-3"},
            "c.rate: '1e-3' is text, not a number (YAML reads 1e-3 as text: write 0.001)",
        ),
        ({"count": "many"}, "c.count: expected a whole number, got 'many'"),
        ({"count": True}, "c.count: expected a whole number, got True"),
        ({"count": 1.5}, "c.count: expected a whole number, got 1.5"),
        ({"count": 1, "on": 1}, "c.on: expected true or false, got 1"),
        ({"count": 1, "size_hw": [1]}, "c.size_hw: expected 2 values, got 1"),
        ({"count": 1, "size_hw": 7}, "c.size_hw: expected a list, got 7"),
        ({"count": 1, "names": ["a", 2]}, "c.names[1]: expected text, got 2"),
        ({"count": 1, "kind": "c"}, "c.kind: 'c' is not one of a, b"),
        ({"count": 1, "inner": {"rat": 1}}, "c.inner.rat: unknown setting; did you mean 'rate'?"),
        ({"count": 1, "table": {"x": 3}}, "c.table.x: expected settings (key: value), got 3"),
        ([1], "c: expected settings (key: value), got [1]"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        typed.parse(Outer, values, "c")
