import errno
import json
import os
import tempfile
import time
from types import SimpleNamespace

import pytest

from seglib.claims.reasons import explain
from seglib.experiment.changes import changes

CODE = ["seglib.data.samples=0123456789ab", "seglib.models.isnet=0123456789ab"]


def reason(**known):
    """With the fields of ``snakemake.jobs.Reason``; a test below compares."""
    nothing = dict.fromkeys(
        ("forced", "params_changed", "code_changed", "input_changed", "software_stack_changed"), False
    )
    files = {
        name: set() for name in ("missing_output", "incomplete_output", "updated_input", "updated_input_run")
    }
    return SimpleNamespace(**nothing | files | known)


def test_the_reasons_of_snakemake_have_the_fields_that_are_read():
    from snakemake.jobs import Reason
    from snakemake.persistence import NO_PARAMS_CHANGE

    real = Reason()
    assert set(vars(reason())) <= set(dir(real))
    assert {"only_old", "only_new"} <= set(vars(NO_PARAMS_CHANGE))
    assert explain(real) == ["wanted"]


def test_a_changed_setting_is_named_with_both_values():
    old = {"method": "fcn", "recipe": {"lr": 0.1, "loss": {"name": "ohem"}, "crop_hw": [64, 64]}}
    new = {"method": "fcn", "recipe": {"lr": 0.2, "loss": {"name": "ohem"}, "crop_hw": [64, 96]}}
    assert changes([repr(json.dumps(old))], [repr(json.dumps(new))]) == [
        "recipe.crop_hw: [64, 64] -> [64, 96]",
        "recipe.lr: 0.1 -> 0.2",
    ]


def test_a_setting_that_came_or_went_is_told_from_null():
    lines = changes([repr('{"a":null,"b":1}')], [repr('{"b":1,"c":2}')])
    assert lines == ["a: null -> (none)", "c: (none) -> 2"]


def test_an_empty_group_of_settings_is_no_setting():
    assert changes([repr('{"options":{}}')], [repr('{"options":{"width":64}}')]) == [
        "options.width: (none) -> 64"
    ]


def test_changed_code_is_named_by_module():
    new = [CODE[0], "seglib.models.isnet=ba9876543210", "seglib.models.fresh=0123456789ab"]
    assert changes([repr(CODE)], [repr(new)]) == [
        "code of seglib.models.fresh is new",
        "code of seglib.models.isnet changed",
    ]


def test_single_values_and_arguments_are_shown():
    assert changes(["0.02"], ["0.01"]) == ["0.02 -> 0.01"]
    assert changes(["['--method=fcn', '--input=1x1']"], ["['--method=fcn', '--input=2x2']"]) == [
        'input: "1x1" -> "2x2"'
    ]


@pytest.mark.parametrize(
    ("known", "lines"),
    [
        ({"missing_output": {"a"}}, ["has not run"]),
        ({"incomplete_output": {"a"}}, ["was interrupted"]),
        ({"forced": True}, ["forced"]),
        ({"updated_input": {"a", "b"}, "updated_input_run": {"a", "b"}}, ["what it reads is made again"]),
    ],
)
def test_other_reasons_have_words(known, lines):
    assert explain(reason(**known)) == lines


def test_a_time_in_the_future_is_called_a_wrong_clock(tmp_path):
    path = tmp_path / "model.safetensors"
    path.touch()
    assert explain(reason(updated_input={str(path)})) == [f"newer input: {path}"]
    os.utime(path, (time.time() + 3600,) * 2)
    _, line = explain(reason(updated_input={str(path)}))
    assert line.endswith(f"in the future, so a clock was wrong: touch {path}")


def test_a_folder_that_may_only_be_read_costs_the_hint_and_no_plan(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.touch()
    os.utime(path, (time.time() + 3600,) * 2)

    def refuse(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert explain(reason(updated_input={str(path)})) == [f"newer input: {path}"]
