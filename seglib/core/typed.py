"""Turn plain YAML or JSON values into typed dataclasses and back, with errors that a user can act on.

``parse(Recipe, {"lr": "1e-3"}, "recipes.quick")`` raises::

    ValueError: recipes.quick.lr: '1e-3' is text, not a number (YAML reads 1e-3 as text: write 0.001)

A configuration takes the default of a setting that it leaves out. A record may not: an older version wrote
it, and what an absent field meant then must not follow today's default. So a field that is added to a record
says what its absence means (:func:`added`), and is left out of what is written at that value: records and
identities that knew nothing of the field stay as they are.
"""

import dataclasses
import difflib
import functools
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")
ABSENT_MEANS, FORMERLY = "absent_means", "formerly"


def added(*, absent_means: Any, default: Any = dataclasses.MISSING) -> Any:
    """A field that older records lack: it is ``absent_means`` there, ``default`` (or the same) elsewhere."""
    default = absent_means if default is dataclasses.MISSING else default
    return dataclasses.field(default=default, metadata={ABSENT_MEANS: absent_means})


def renamed(default: Any, formerly: Mapping[Any, Any]) -> Any:
    """A field whose values have other names in older records: ``formerly`` maps those to today's."""
    return dataclasses.field(default=default, metadata={FORMERLY: formerly})


def parse(cls: type[T], values: Any, where: str, *, recorded: bool = False) -> T:
    """Build the dataclass ``cls`` from ``values``.

    Unknown keys, missing keys and values of another type raise ``ValueError``; the message starts
    with the dotted path of the setting (``where`` is its root). Integers are accepted for floats,
    nothing else is converted. ``recorded``: the values are a record's, so that a field that they lack has
    the value that :func:`added` froze for it, and no other may lack.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected settings (key: value), got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise ValueError(f"{where}.{key}: unknown setting{suggest(key, fields)}")
    hints = _type_hints(cls)
    arguments = {}
    for name, field in fields.items():
        if name in values:
            value = _current(field, values[name]) if recorded else values[name]
            arguments[name] = convert(hints[name], value, f"{where}.{name}", recorded=recorded)
        elif recorded and ABSENT_MEANS in field.metadata:
            arguments[name] = field.metadata[ABSENT_MEANS]
        elif recorded:
            raise ValueError(f"{where}.{name}: not recorded")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}.{name}: this setting is required")
    try:
        return cls(**arguments)
    except ValueError as error:  # from __post_init__, which knows the rule but not the place
        raise ValueError(f"{where}: {error}") from None


def plain(value: Any) -> Any:
    """A dataclass, with whatever it holds, as JSON values; without what :func:`added` leaves out."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: plain(item)
            for field in dataclasses.fields(value)
            if (item := getattr(value, field.name)) != field.metadata.get(ABSENT_MEANS, dataclasses.MISSING)
        }
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def find_respelled(values: Any, record: Any, where: str) -> str | None:
    """The first setting of ``values`` that ``record``, parsed from them, leaves out or spells otherwise.

    Its dotted path begins with ``where``; ``None``: there is none. Former names of values are no difference.
    """
    if not dataclasses.is_dataclass(record):
        return None if canonical_json(values) == canonical_json(record) else where
    written = plain(record)
    for field in dataclasses.fields(record):
        name = f"{where}.{field.name}"
        if (field.name in values) != (field.name in written):
            return name
        if field.name in written:
            value = _current(field, values[field.name])
            if found := find_respelled(value, getattr(record, field.name), name):
                return found
    return None


def canonical_json(value: Any) -> str:
    """One spelling per value: sorted keys, no spaces. Accepts dataclasses, see :func:`plain`."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def convert(hint: Any, value: Any, where: str, *, recorded: bool = False) -> Any:
    """``value`` as the type ``hint``, or ``ValueError`` naming the setting ``where``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return parse(hint, value, where, recorded=recorded)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [choice for choice in arguments if choice is not type(None)]
        if len(choices) == 1:
            return convert(choices[0], value, where, recorded=recorded)
        for choice in choices:
            try:
                return convert(choice, value, where, recorded=recorded)
            except ValueError as error:
                reason = error
        raise reason
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where}: expected a list, got {value!r}")
        if arguments[-1] is Ellipsis and dataclasses.is_dataclass(arguments[0]):
            return _parse_each(arguments[0], value, where, recorded=recorded)
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        if len(value) != len(arguments):
            raise ValueError(f"{where}: expected {len(arguments)} values, got {len(value)}")
        return tuple(
            convert(item_hint, item, f"{where}[{i}]", recorded=recorded)
            for i, (item_hint, item) in enumerate(zip(arguments, value, strict=True))
        )
    if hint is dict or origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: expected settings (key: value), got {value!r}")
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{where}: the name {key!r} is not text; put it in quotes")
        value_hint = arguments[1] if arguments else Any
        return {
            key: convert(value_hint, item, f"{where}.{key}", recorded=recorded) for key, item in value.items()
        }
    return _scalar(hint, value, where)


def check_range(
    settings: Any, names: str, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> None:
    """Raise ``ValueError`` if one of the fields ``names`` (separated by blanks) is out of range.

    Of a list every number is checked; ``None`` is none.
    """
    for name in names.split():
        value = getattr(settings, name)
        for number in value if isinstance(value, tuple) else () if value is None else (value,):
            if not (least <= number <= most and number > above):
                low = f"above {above:g}" if above > -math.inf else f"at least {least:g}"
                high = "" if most == math.inf else f" and at most {most:g}"
                raise ValueError(f"{name}: {number!r} must be {low}{high}")


def suggest(key: str, valid: Iterable[str]) -> str:
    """``; did you mean 'lr'?`` when something is near, else the list of valid names."""
    valid = list(valid)
    near = difflib.get_close_matches(str(key), valid, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; valid: {', '.join(map(str, valid))}"


def _current(field: dataclasses.Field[Any], value: Any) -> Any:
    """Today's name of a recorded value."""
    return field.metadata.get(FORMERLY, {}).get(value, value) if isinstance(value, str) else value


def _parse_each(cls: type[T], values: Sequence[Any], where: str, *, recorded: bool) -> tuple[T, ...]:
    """:func:`parse` of each value. A data set has 100,000 pairs, so those that are like one before, with its
    keys and types, are not looked at again.
    """
    found: list[T] = []
    alike: dict[Any, T] = {}
    for i, value in enumerate(values):
        shape = (*value, *map(type, value.values())) if isinstance(value, dict) else None
        if (first := alike.get(shape)) is None:
            found.append(parse(cls, value, f"{where}[{i}]", recorded=recorded))
            if shape is not None and _is_flat(cls):
                alike[shape] = found[-1]
        else:
            found.append(object.__new__(cls))
            vars(found[-1]).update(vars(first) | value)  # as the constructor does, in a fifth of its time
    return tuple(found)


@functools.cache
def _is_flat(cls: type) -> bool:
    """Whether any values of the right types make a ``cls``, and stay as they are."""
    choices = [_choices(hint) for hint in _type_hints(cls).values()]
    checked = hasattr(cls, "__post_init__")
    renamed = any(FORMERLY in field.metadata for field in dataclasses.fields(cls))
    return set().union(*choices) <= {str, int, bool, type(None)} and not checked and not renamed


def _choices(hint: Any) -> tuple[Any, ...]:
    """The types that ``hint`` allows."""
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


@functools.cache
def _type_hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int in Python, but "true" is never a count.
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    if hint in (int, float) and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            pass
        else:
            raise ValueError(
                f"{where}: {value!r} is text, not a number (YAML reads {value} as text: write {number!r})"
            )
    kind = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[hint]
    raise ValueError(f"{where}: expected {kind}, got {value!r}")
