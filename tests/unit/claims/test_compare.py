import csv
import json

import pytest

from seglib.claims import compare
from seglib.experiment import paths
from tests.unit.fabricated import Fabricated, make_config


@pytest.fixture
def made(tmp_path) -> Fabricated:
    """Two tests per cell; the first cell failed, the last never ran, the rest is done."""
    config = make_config(tmp_path)
    config["matrix"][0]["protocols"] = ["ss", "ms_flip"]
    made = Fabricated(config)
    made.fail(made.plan.cells[0], "the loss is nan\nat iteration 7", "")
    for cell in made.plan.cells[1:-1]:
        made.run(cell)
    return made


def rows(made: Fabricated) -> list[dict[str, str]]:
    compare.run(config=made.config, out=made.results)
    with open(made.results / "summary.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_cell_and_test_has_a_row_in_the_order_of_the_plan(made):
    expected = [(cell.id, protocol) for cell in made.plan.cells for protocol in ("ss", "ms_flip")]
    assert [(row["cell"], row["protocol"]) for row in rows(made)] == expected


def test_a_row_holds_what_the_files_say(made):
    cell = made.plan.cells[2]
    row = rows(made)[4]
    folder = paths.evaluation_folder(made.results, cell, "val-ss")
    metrics = json.loads((folder / "metrics.json").read_text())
    cost = json.loads(paths.complexity_file(made.results, cell).read_text())
    assert row == {
        "dataset": "scenes",
        "split": "val",
        "protocol": "ss",
        "method": "isnet",
        "variant": cell.variant or "",
        "backbone": "small",
        "recipe": "quick",
        "seed": str(cell.seed),
        "not_comparable": "embedded toy data; a quick recipe",
        "miou": f"{metrics['miou']:.6f}",
        "boundary_iou": f"{metrics['boundary_iou']:.6f}",
        "pixel_accuracy": f"{metrics['pixel_accuracy']:.6f}",
        "params": str(cost["params"]),
        "gmacs": f"{cost['gmacs']:.6f}",
        "train_time_s": "75.400000",
        "train_images": "4",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "cell": cell.id,
        "status": "done",
        "reason": "",
    }


def test_what_is_not_done_says_why_and_holds_no_number(made):
    found = rows(made)
    failed, missing = found[0], found[-1]
    assert (failed["status"], failed["reason"]) == ("failed", "train: the loss is nan at iteration 7")
    assert (missing["status"], missing["reason"]) == ("missing", "train: has not run")
    assert all(row["miou"] == row["commit"] == "" for row in (failed, missing))


def test_a_test_that_is_done_stays_done_when_another_failed(made):
    cell = made.plan.cells[1]
    (paths.evaluation_folder(made.results, cell, "val-ms_flip") / "metrics.json").unlink()
    made.write_log(paths.log_file(made.logs, cell, "val-ms_flip/score"), "seglib score: error: no space\n")
    done, failed = rows(made)[2:4]
    assert (done["status"], done["reason"], done["miou"] != "") == ("done", "", True)
    assert (failed["status"], failed["reason"]) == ("failed", "score val-ms_flip: no space")


def test_equal_results_give_equal_bytes(made):
    rows(made)
    before = (made.results / "summary.csv").read_bytes()
    rows(made)
    assert (made.results / "summary.csv").read_bytes() == before
