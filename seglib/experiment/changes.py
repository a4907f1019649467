"""What differs between two recorded identities, in the user's words: which setting, module or file.

Snakemake records a job's ``params`` as a set of Python literals without names. Ours are canonical JSON
(cells, protocols, configurations), lists of ``module=digest`` (code) and single values, so that two sets
can be told apart down to the setting.
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

CODE = re.compile(r"(seglib[\w.:]*)=([0-9a-f]+)")


def changes(old: Iterable[str], new: Iterable[str]) -> list[str]:
    """What differs between two sets of recorded params, each a Python literal, of which both lack the
    common ones."""
    before, after = _Params(old), _Params(new)
    lines = [f"code of {name} {what}" for name, what in _differences(before.code, after.code)]
    lines += [f"{name}: {what}" for name, what in _differences(before.settings, after.settings)]
    if before.values or after.values:
        lines.append(f"{_join(before.values)} -> {_join(after.values)}")
    return lines


def changed_values(old: str, new: str) -> list[str]:
    """What differs between two settings in canonical JSON, e.g. ``recipe.lr: 0.1 -> 0.2``."""
    return changes([repr(old)], [repr(new)])


class _Params:
    def __init__(self, literals: Iterable[str]):
        self.code: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self.values: set[str] = set()
        for literal in literals:
            value = ast.literal_eval(literal)
            if isinstance(value, str) and value.startswith("{"):
                self.settings |= _flatten(json.loads(value))
                continue
            for item in value if isinstance(value, (list, tuple)) else [value]:
                code = CODE.fullmatch(str(item))
                if code:
                    self.code[code[1]] = code[2]
                elif str(item).startswith("--") and "=" in str(item):  # the arguments of `seglib complexity`
                    name, _, text = str(item)[2:].partition("=")
                    self.settings |= _flatten({name: json.loads(text) if text.startswith("{") else text})
                else:
                    self.values.add(str(item))


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and what became of it. One that only one side holds differs from ``null`` on the other."""
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name) and (name in old) == (name in new):
            continue
        if CODE.fullmatch(f"{name}={new.get(name, old.get(name))}"):
            yield name, "changed" if name in old and name in new else "is new" if name in new else "is gone"
        else:
            yield name, f"{_spell(old, name)} -> {_spell(new, name)}"


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """``{"recipe": {"lr": 1}}`` as ``{"recipe.lr": 1}``; lists of settings by position.

    Nothing is left of an empty group.
    """
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {prefix: value}
    flat = {}
    for key, item in value.items():
        flat |= _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _spell(values: dict[str, Any], name: str) -> str:
    return json.dumps(values[name], ensure_ascii=False) if name in values else "(none)"


def _join(values: set[str]) -> str:
    return ", ".join(sorted(values)) or "(none)"
