import pytest

from seglib import paths
from seglib.cell import Protocol
from seglib.reporting.collect import collect, describe_protocol


def test_a_finished_cell_has_everything(finished):
    record = collect(finished.plan, finished.results)[0]
    assert (record.status, record.reason, record.log_tail) == ("done", None, ())
    assert record.provenance["cell_id"] == record.cell.id
    assert record.tests[0].metrics["num_images"] == 4
    assert record.cost["gmacs"] > 0


def test_what_never_ran_is_missing(fabricate):
    made = fabricate()
    records = collect(made.plan, made.results)
    assert len(records) == len(made.plan.cells)
    assert {record.status for record in records} == {"missing"}


def test_a_recorded_failure_gives_its_reason_and_the_log(fabricate):
    made = fabricate()
    made.fail(made.plan.cells[0], "the loss is nan\nat iteration 7", "$ python -m seglib train\nstep 7\n")
    record = collect(made.plan, made.results)[0]
    assert record.status == "failed"
    assert record.reason == "train: the loss is nan at iteration 7"
    assert record.log_tail == ("$ python -m seglib train", "step 7")


@pytest.mark.parametrize(
    ("log", "status", "reason"),
    [
        ("train: 3/10\nseglib train: error: disk is full\n", "failed", "train: disk is full"),
        ("Traceback ...\ntorch.OutOfMemoryError: CUDA\n", "failed", "train: torch.OutOfMemoryError: CUDA"),
        ("train: 3/10\n", "unfinished", "train: started and left no result (stopped, or still running)"),
        ("", "unfinished", "train: started and left no result (stopped, or still running)"),
    ],
)
def test_a_log_without_a_result_tells_how_it_ended(fabricate, log, status, reason):
    made = fabricate()
    made.write_log(paths.log_file(made.logs, made.plan.cells[0], "train"), log)
    record = collect(made.plan, made.results)[0]
    assert (record.status, record.reason) == (status, reason)


def test_a_failed_preparation_is_the_reason_of_all_its_cells(fabricate):
    made = fabricate()
    (made.data / "scenes" / "manifest.json").unlink()
    made.write_log(made.logs / "data" / "scenes" / "prepare.log", "seglib prepare: error: bad image a.png\n")
    reasons = {record.reason for record in collect(made.plan, made.results)}
    assert reasons == {"prepare scenes: bad image a.png"}


@pytest.mark.parametrize(("predicted", "step"), [(False, "predict"), (True, "score")])
def test_a_trained_cell_without_metrics_names_the_step(fabricate, predicted, step):
    made = fabricate()
    cell = made.plan.cells[0]
    made.train(cell)
    if predicted:
        (paths.evaluation_folder(made.results, cell, "val-ss") / "predictions").mkdir(parents=True)
    made.write_log(paths.log_file(made.logs, cell, f"val-ss/{step}"), f"seglib {step}: error: no space\n")
    record = collect(made.plan, made.results)[0]
    assert (record.status, record.reason) == ("failed", f"{step} val-ss: no space")


def test_log_tails_are_short_and_plain(fabricate):
    made = fabricate()
    lines = [f"line {i}" for i in range(100_000)] + ["10%\r50%\r\x1b[31m99%\x1b[0m", "windows\r", ""]
    made.write_log(paths.log_file(made.logs, made.plan.cells[0], "train"), "\n".join(lines))
    tail = collect(made.plan, made.results)[0].log_tail
    assert tail[-3:] == ("line 99999", "99%", "windows")
    assert len(tail) == 20


def test_a_damaged_file_costs_its_cell_and_is_named(fabricate):
    made = fabricate()
    made.run_all()
    path = paths.evaluation_folder(made.results, made.plan.cells[0], "val-ss") / "metrics.json"
    path.write_text('{"miou": 0.')
    damaged, *others = collect(made.plan, made.results)
    assert damaged.status == "failed"
    assert damaged.reason == f"{path}: not valid JSON; delete it and run the workflow again"
    assert {record.status for record in others} == {"done"}


def test_protocols_are_told_in_words():
    assert describe_protocol(Protocol()) == "whole image, scale 1, no flip"
    slide = Protocol(mode="slide", crop_hw=(512, 1024), stride_hw=(341, 341), scales=(0.5, 1.0), flip=True)
    expected = "sliding window 512×1024, stride 341×341, scales 0.5, 1, flip, probabilities averaged"
    assert describe_protocol(slide) == expected
