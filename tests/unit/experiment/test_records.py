"""Records keep their meaning, whatever later versions add or have as default."""

import json
import re
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from seglib.core import typed
from seglib.core.typed import added, renamed
from seglib.experiment import config, records
from seglib.experiment.cell import Cell
from seglib.experiment.records import (
    Cost,
    Failure,
    Manifest,
    Metrics,
    Prediction,
    Scoring,
    Speed,
    Training,
)
from tests.unit import fabricated
from tests.unit.experiment import identities

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "results" / "published"
KINDS = {
    "cell.json": Cell,
    "manifest.json": Manifest,
    "metrics.json": Metrics,
    "prediction.json": Prediction,
    "provenance.json": Training,
    "scoring.json": Scoring,
    "*x*.speed.json": Speed,
    "*x*[0-9].json": Cost,
}


@pytest.fixture(scope="module")
def cell(tmp_path_factory) -> Cell:
    return config.load(fabricated.make_config(tmp_path_factory.mktemp("run"))).cells[0]


def test_every_published_file_is_a_known_record():
    known = {file for pattern in KINDS for file in PUBLISHED.rglob(pattern)}
    assert known == set(PUBLISHED.rglob("*.json"))


@pytest.mark.parametrize("pattern", KINDS)
def test_published_records_come_out_as_they_went_in(pattern):
    """But for precisions, which have other names now. The newest files have the order of what is written."""
    read = [(file, records.read(KINDS[pattern], file)) for file in PUBLISHED.rglob(pattern)]
    orders = []
    for file, record in read:
        values = json.loads(file.read_text("utf-8"))
        assert typed.find_respelled(values, record, file.name) is None
        if "schema" not in values and hasattr(record, "schema"):
            assert record.schema == 1
        orders.append(list(json.loads(records.text(record))) == list(values))
    assert any(orders)


def test_what_is_written_is_read(tmp_path, cell):
    attempt = fabricated.attempt()
    written = (
        fabricated.training(cell, attempts=(attempt, replace(attempt, after_iteration=7))),
        fabricated.cost(cell),
        fabricated.speed(cell),
        Failure(key="0" * 16, reason="the loss is nan", time="2026-01-01T00:00:00+00:00"),
        cell,
    )
    for record in written:
        records.write(tmp_path / "record.json", record)
        assert records.read(type(record), tmp_path / "record.json") == record
    assert (tmp_path / "record.json").read_text() == json.dumps(json.loads(cell.to_json()), indent=1) + "\n"


@dataclass(frozen=True, kw_only=True)
class Later(Cell):
    """A cell of a later version, which can pad."""

    pad: str = added(absent_means="none", default="stride")


class TestAddedFields:
    def test_records_without_it_mean_what_they_meant(self, cell):
        read = typed.parse(Later, json.loads(cell.to_json()), "cell", recorded=True)
        assert read.pad == "none"
        for file in PUBLISHED.rglob("cell.json"):
            assert records.read(Later, file).pad == "none"

    def test_it_is_a_part_of_the_identity_only_where_it_is_another(self, cell):
        settings = {f.name: getattr(cell, f.name) for f in fields(cell)}
        assert Later(**settings, pad="none").to_json() == cell.to_json()
        padded = json.loads(Later(**settings, pad="stride").to_json())
        assert padded.pop("pad") == "stride"
        assert padded == json.loads(cell.to_json())

    def test_configurations_get_its_default(self, cell):
        settings = {f.name: getattr(cell, f.name) for f in fields(cell)}
        assert Later(**settings).pad == "stride"
        assert typed.parse(Later, typed.plain(cell), "cell").pad == "stride"

    @pytest.mark.parametrize("default", ["none", "stride", "another"])
    def test_no_default_that_is_changed_later_changes_what_is_recorded(self, cell, default):
        """Neither of records that lack the field, nor of those that have it."""
        changed = make_dataclass(
            "Changed",
            [("pad", str, added(absent_means="none", default=default))],
            bases=(Cell,),
            frozen=True,
            kw_only=True,
        )
        for pad in ("none", "stride"):
            text = Later(**vars(cell), pad=pad).to_json()
            read = typed.parse(changed, json.loads(text), "cell", recorded=True)
            assert read.pad == pad
            assert typed.canonical_json(read) == text


def test_names_of_values_may_change_and_names_of_fields_may_not():
    @dataclass(frozen=True)
    class Record:
        precision: str = renamed("fp32", formerly={"float32": "fp32"})

    assert typed.parse(Record, {"precision": "float32"}, "r", recorded=True) == Record("fp32")
    assert typed.parse(Record, {"precision": "float32"}, "r") == Record("float32"), (
        "a configuration's is its own"
    )
    with pytest.raises(ValueError, match=r"r\.precisoin: unknown setting; did you mean 'precision'\?"):
        typed.parse(Record, {"precisoin": "fp32"}, "r", recorded=True)


def test_a_field_that_a_record_lacks_is_not_guessed():
    @dataclass(frozen=True)
    class Record:
        blur: float = 0.5

    with pytest.raises(ValueError, match=r"r\.blur: not recorded"):
        typed.parse(Record, {}, "r", recorded=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"key": "0", "reason": "r", "time": "t", "schema": 3}', "failure.schema: 3 is not one of 1, 2"),
        ('{"key": "0", "reason": "r", "time": "t", "gone": 1}', "failure.gone: unknown setting"),
        ('{"key": "0", "reason": "r"}', "failure.time: not recorded"),
        ('{"key": 0, "reason": "r", "time": "t"}', "failure.key: expected text, got 0"),
        ('{"key": ', "not valid JSON"),
        ("[]", "failure: expected settings"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_says_what_to_do(tmp_path, content, said):
    file = tmp_path / "failed.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(f'{file}: {said}')}.*; delete it and run"):
        records.read(Failure, file)


def test_of_many_alike_each_is_read_as_if_alone():
    @dataclass(frozen=True)
    class Pair:
        id: str
        size: int
        label: str | None = added(absent_means=None)

    @dataclass(frozen=True)
    class Pairs:
        pairs: tuple[Pair, ...]

    values = [{"id": "a", "size": 1}, {"id": "b", "size": 2}, {"size": 3, "id": "c", "label": "l"}] * 2
    read = typed.parse(Pairs, {"pairs": values}, "m", recorded=True).pairs
    assert read == tuple(typed.parse(Pair, value, "m", recorded=True) for value in values)
    for harm in ({"size": "3"}, {"size": True}, {"size": None}, {"sice": 3}, 7):
        harmed = [*values, {"id": "d"} | harm if isinstance(harm, dict) else harm]
        with pytest.raises(ValueError, match=r"^m\.pairs\[6\]"):
            typed.parse(Pairs, {"pairs": harmed}, "m", recorded=True)


def test_of_many_alike_values_are_converted():
    @dataclass(frozen=True)
    class Colour:
        rgb: tuple[int, int, int]
        weight: float
        options: dict[str, Any] = field(default_factory=dict)
        kind: Literal["a", "b"] = "a"

    @dataclass(frozen=True)
    class Colours:
        colours: tuple[Colour, ...]

    values = [{"rgb": [i, i, i], "weight": 1} for i in range(3)]
    read = typed.parse(Colours, {"colours": values}, "c").colours
    assert read == tuple(Colour((i, i, i), 1.0) for i in range(3))
    assert all(isinstance(colour.weight, float) for colour in read)
    assert read[0].options is not read[1].options
    with pytest.raises(ValueError, match=r"c\.colours\[3\]\.kind: 'c' is not one of a, b"):
        typed.parse(Colours, {"colours": [*values, values[0] | {"kind": "c"}]}, "c")


class TestWhatTrainsIsWhatWasAskedFor:
    def test_a_cell_comes_out_as_it_went_in(self, cell):
        assert Cell.from_json(cell.to_json()) == cell

    def test_sealed_cells_still_train(self):
        for file in PUBLISHED.rglob("cell.json"):
            text = file.read_text("utf-8")
            assert '"bfloat16"' in text or '"float32"' in text
            assert Cell.from_json(text).recipe.precision in ("bf16", "fp32")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda values: values["recipe"].pop("blur"), "cell.recipe.blur: not recorded"),
            (lambda values: values["recipe"].update(gone=1), "cell.recipe.gone: unknown setting"),
            (lambda values: values["recipe"].update(lr=1), "cell.recipe.lr: this version of seglib"),
            (
                lambda values: values["recipe"].update(precision="single"),
                "cell.recipe.precision: 'single' is",
            ),
            (lambda values: values["backbone"].update(mean=[0, 0, 0]), "cell.backbone.mean: this version"),
        ],
    )
    def test_one_that_does_not_is_refused_and_the_setting_named(self, cell, change, said):
        values = json.loads(cell.to_json())
        change(values)
        with pytest.raises(ValueError, match=rf"^{re.escape(said)}[^\n]*$"):
            Cell.from_json(json.dumps(values))

    def test_a_setting_spelled_out_at_its_frozen_value_is_another_text(self, cell):
        values = json.loads(cell.to_json())
        later = typed.parse(Later, values | {"pad": "none"}, "cell", recorded=True)
        assert typed.find_respelled(values, later, "cell") is None
        assert typed.find_respelled(values | {"pad": "none"}, later, "cell") == "cell.pad"


def test_the_identities_of_the_committed_configurations_stay():
    """Whoever changes one retrains its cells; ``identities.py`` says how to do so on purpose."""
    assert identities.identities() == identities.golden()
