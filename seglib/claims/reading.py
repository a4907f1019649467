"""Claims from CSV files: one row, one claim. What cannot be right ends the load with its file and line."""

import csv
import dataclasses
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from seglib.claims.claim import METRICS, Claim, Conditions
from seglib.core import registry, typed
from seglib.experiment.config import timm_models

DATA = Path(__file__).parent / "data"
ELSEWHERE = "elsewhere.toml"
"""Beside the CSV files: names of methods, data sets and backbones that claims use and seglib lacks."""
PROVENANCES = ("paper", "author_release", "quoted")
SPLITS = ("train", "val", "test", "trainval")
PRETRAINING = ("none", "imagenet", "mapillary")


def load_claims(paths: Iterable[Path] = (DATA,)) -> tuple[Claim, ...]:
    """All claims of the given CSV files and folders of them, in order of file name and line.

    Raises ``ValueError`` naming file, line and column for a missing column or value, a value that is
    impossible or unreadable, an unknown name, and a claim that another row makes already.
    """
    tables = [file for path in map(Path, paths) for file in _csv_files(path)]
    names = _known_names({file.parent for file in tables})
    claims: dict[tuple, Claim] = {}
    for file in tables:
        for claim in _read(file, names):
            # A source that states no backbone may well list several models.
            key = claim.key if claim.backbone else (claim.key, claim.value)
            if key in claims:
                other = claims[key]
                relation = "repeats" if other.value == claim.value else f"contradicts ({other.value} there)"
                raise ValueError(
                    f"{claim.where}: {relation} the claim of {other.where}; remove one, or say what differs"
                )
            claims[key] = claim
    return tuple(claims.values())


def files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Every file that claims and cards of these CSV files and folders are read from, the TOML files too.

    Raises ``ValueError`` for a path that is not there, or holds none.
    """
    paths = [Path(path) for path in paths]
    tables = [file for path in paths for file in _csv_files(path)]
    return (*tables, *dict.fromkeys(file for path in paths for file in toml_files(path)))


def toml_files(path: Path) -> list[Path]:
    """Cards and :data:`ELSEWHERE`: of a folder all, of a CSV file its own card and the list beside it.

    What else lies beside a CSV file, e.g. a ``pyproject.toml``, is not ours.
    """
    if path.is_dir():
        return sorted(path.glob("*.toml"))
    return [file for file in (path.with_name(ELSEWHERE), path.with_suffix(".toml")) if file.is_file()]


def _csv_files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(path.glob("*.csv"))
        if not found:
            raise ValueError(f"{path}: no claims (*.csv) in this folder")
        return found
    if not path.is_file():
        raise ValueError(f"{path}: no such file or folder of claims")
    return [path]


def _known_names(folders: Collection[Path]) -> dict[str, set[str]]:
    names = {
        "method": set(registry.METHODS),
        "dataset": set(registry.DATASETS),
        "backbone": set(timm_models()),
    }
    for file in (folder / ELSEWHERE for folder in sorted(folders | {DATA})):
        if not file.is_file():
            continue
        try:
            listed = tomllib.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: not valid TOML: {error}") from None
        for kind, extra in listed.items():
            if kind not in names:
                raise ValueError(f"{file}: unknown list {kind!r}{typed.suggest(kind, names)}")
            names[kind].update(typed.convert(tuple[str, ...], extra, f"{file}.{kind}"))
    return names


def _read(file: Path, names: dict[str, set[str]]) -> Iterator[Claim]:
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            _check_header(file, reader.fieldnames or [])
            for row in reader:
                yield _claim(row, f"{file}:{reader.line_num}", names)
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not UTF-8 text; save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"{file}:{reader.reader.line_num}: not valid CSV: {error}") from None


def _check_header(file: Path, header: Collection[str]) -> None:
    for column in header:
        if column not in COLUMNS:
            raise ValueError(f"{file}:1: unknown column {column!r}{typed.suggest(column, COLUMNS)}")
    for column in REQUIRED:
        if column not in header:
            raise ValueError(f"{file}:1: the column {column!r} is missing")
    if len(set(header)) < len(header):
        raise ValueError(f"{file}:1: a column is there twice")


def _claim(row: dict[str | None, Any], where: str, names: dict[str, set[str]]) -> Claim:
    if None in row or None in row.values():
        raise ValueError(f"{where}: this row has more or fewer cells than the header")
    cells = {column: text.strip() for column, text in row.items()}
    values: dict[str, Any] = {}
    for column, parse in COLUMNS.items():
        text = cells.get(column, "")
        if not text:
            if column in REQUIRED:
                raise ValueError(f"{where}: {column}: must not be empty")
            values[column] = "" if column == "bound" else None
            continue
        try:
            values[column] = parse(text)
        except ValueError as error:
            raise ValueError(f"{where}: {column}: {error}") from None
    for kind, known in names.items():
        if values[kind] is not None and values[kind] not in known:
            near = typed.suggest(values[kind].lower(), known)
            if kind == "backbone" and "did you mean" not in near:
                near = " to timm"  # which has too many names to list
            raise ValueError(
                f"{where}: {kind}: {values[kind]!r} is unknown{near}; "
                f"a {kind} that seglib does not have is listed in {ELSEWHERE} beside the CSV file"
            )
    _check_value(values, where)
    conditions = {field.name: values.pop(field.name) for field in dataclasses.fields(Conditions)}
    return Claim(conditions=Conditions(**conditions), where=where, **values)


def _check_value(values: dict[str, Any], where: str) -> None:
    metric, unit, value = METRICS[values["metric"]], values["unit"], values["value"]
    if unit not in metric.units:
        raise ValueError(
            f"{where}: unit: {unit!r} is no unit of {values['metric']}; valid: {', '.join(metric.units)}"
        )
    if unit == "%" and value > 100:
        raise ValueError(f"{where}: value: {value} % is impossible")
    if metric.deterministic and value == 0:
        raise ValueError(f"{where}: value: {values['metric']} of 0 is impossible")


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text == "derived":
            raise ValueError("derived claims are computed from rows of equal protocol, not written down")
        if text not in choices:
            raise ValueError(f"{text!r} is unknown{typed.suggest(text.lower(), choices)}")
        return text

    return parse


def _number(text: str) -> Decimal:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise ValueError(f"{text!r} is not a number (digits and a point only)")
    return Decimal(text)


def _positive(text: str) -> float:
    if not (number := float(_number(text))):
        raise ValueError("must be larger than 0")
    return number


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", text):
        raise ValueError(f"{text!r} is not a whole number above 0")
    return int(text)


def _height_width(text: str) -> tuple[int, int]:
    if not (match := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)):
        raise ValueError(f"{text!r} is not HEIGHTxWIDTH, e.g. 512x1024")
    return int(match[1]), int(match[2])


def _scales(text: str) -> tuple[float, ...]:
    return () if text == "multi" else tuple(_positive(scale) for scale in text.split())


def _test_size(text: str) -> str:
    if text != "native":
        _height_width(text.removeprefix("fit "))
    return text


COLUMNS: dict[str, Callable[[str], Any]] = {
    "paper": str,
    "method": str,
    "variant": str,
    "backbone": str,
    "output_stride": _count,
    "dataset": str,
    "num_classes": _count,
    "train_split": _one_of(*SPLITS),
    "eval_split": _one_of(*SPLITS),
    "crop_hw": _height_width,
    "epochs": _positive,
    "iterations": _count,
    "lr": _positive,
    "batch_size": _count,
    "pretraining": _one_of(*PRETRAINING),
    "test_mode": _one_of("whole", "slide"),
    "test_crop_hw": _height_width,
    "test_scales": _scales,
    "test_flip": lambda text: _one_of("yes", "no")(text) == "yes",
    "test_size": _test_size,
    "input_hw": _height_width,
    "metric": _one_of(*METRICS),
    "bound": _one_of(">", "<"),
    "value": _number,
    "unit": str,
    "provenance": _one_of(*PROVENANCES),
    "release": str,
    "source": str,
    "protocol_source": str,
    "note": str,
}
REQUIRED = ("paper", "method", "dataset", "metric", "value", "unit", "provenance", "source")
