"""Results as data frames."""

import subprocess
import sys

import pandas as pd
import pytest

import seglib
from seglib.experiment import paths
from seglib.results import tables
from seglib.results.tables import FIELDS, SUMMARY


def test_a_results_folder_is_read_whatever_made_it(fabricate):
    made = fabricate(protocols={"ss": {}, "ms_flip": {"scales": [0.5, 1.0], "flip": True}})
    made.config["matrix"][0]["protocols"] = ["ss", "ms_flip"]
    made = type(made)(made.config | {"data": f"{made.data} again"}).run_all()
    tests = seglib.read_results(made.results)
    planned = made.read().tests
    assert len(tests) == len(planned) == 12
    order = ["cell", "test"]
    known = [name for name in planned.columns if name not in ("train_images", "test_images")]
    pd.testing.assert_frame_equal(
        tests.sort_values(order, ignore_index=True)[known],
        planned.sort_values(order, ignore_index=True)[known],
    )


def test_a_training_without_a_test_has_no_row_and_no_other_model_answers_for_it(fabricate):
    made = fabricate()
    first, second, third = made.plan.cells[:3]
    made.run(first)
    made.train(second)
    made.run(third)
    folder = paths.evaluation_folder(made.results, third, "val-ss")
    seal = paths.train_folder(made.results, third) / "train.sha256"
    seal.write_text(f"{'1' * 64}  model.safetensors\n")
    assert (folder / "metrics.json").is_file()
    assert list(seglib.read_results(made.results).cell) == [first.id]


def test_a_folder_without_results_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no trained cell below"):
        seglib.read_results(tmp_path)


def test_columns_keep_their_types_where_values_are_missing(fabricate):
    made = fabricate()
    made.run(made.plan.cells[0])
    tests = made.read().tests
    assert {name: str(dtype) for name, dtype in tests.dtypes.items()} == {f.name: f.dtype for f in FIELDS}
    done, missing = list(tables.rows(tests))[:2]
    assert (type(done.params), type(done.miou), done.variant) == (int, float, None)
    assert (missing.params is None, missing.miou, missing.status) == (False, None, "missing")
    summary = tables.summary_csv(tests).splitlines()
    assert summary[0].split(",") == SUMMARY
    assert f",{done.miou:.6f}," in summary[1]
    assert ",,," in summary[2], "unknown is empty"


def test_importing_seglib_imports_no_pandas():
    code = "import sys, seglib; assert 'pandas' not in sys.modules; seglib.read_results"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'read_result'"):
        seglib.read_result  # noqa: B018
