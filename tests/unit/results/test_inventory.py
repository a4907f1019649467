import json

import pytest

from seglib.core import checksums
from seglib.experiment import config as configuration
from seglib.experiment import paths
from seglib.experiment.recipe import Protocol
from seglib.results.inventory import collect, describe_protocol


def test_a_finished_cell_has_everything(finished):
    record = collect(finished.plan, finished.results)[0]
    assert (record.status, record.reason, record.log_tail) == ("done", None, ())
    assert record.provenance.cell_id == record.cell.id
    assert record.tests[0].metrics.num_images == 4
    assert record.cost.gmacs > 0


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


def test_a_test_of_another_model_is_from_the_run_before(ran):
    """Whenever that was: an equal training of another machine may have ended later."""
    cell = ran.plan.cells[0]
    train = paths.train_folder(ran.results, cell)
    (train / "model.safetensors").write_bytes(b"this model")
    checksums.seal(train / "train.sha256", [train / "model.safetensors"])
    digest = checksums.digest_of(train / "model.safetensors")
    for name in ("val-ss", "val-ms_flip"):
        prediction = paths.evaluation_folder(ran.results, cell, name) / "prediction.json"
        edit_json(prediction, lambda values: values.update(model_sha256=digest, finished="1999-01-01"))
    assert collect(ran.plan, ran.results)[0].status == "done"
    edit_json(prediction, lambda values: values.update(model_sha256="0" * 64))
    record = collect(ran.plan, ran.results)[0]
    assert (record.status, record.reason) == ("missing", "score val-ms_flip: has not run")


@pytest.mark.parametrize("step", ["complexity", "speed"])
def test_a_cost_that_failed_is_a_failure_of_its_cells(ran, step):
    cell = ran.plan.cells[0]
    file = getattr(paths, f"{step}_file")(ran.results, cell)
    file.unlink(missing_ok=True)
    assert collect(ran.plan, ran.results)[0].status == "done", "left out on purpose"
    log = paths.model_log_file(ran.logs, ran.results, file)
    ran.write_log(log, f"seglib {step}: error: out of memory\n")
    record = collect(ran.plan, ran.results)[0]
    assert (record.status, record.log) == ("failed", log)
    assert record.reason == f"{step} fcn/small: out of memory"
    assert {test.status for test in record.tests} == {"done"}


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
    path = paths.evaluation_folder(made.results, made.plan.cells[1], "val-ss") / "counts.npz"
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path}: not a file of counts" in collect(made.plan, made.results)[1].reason


def edit_json(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def collect_with(made, **changes):
    """The first record of a run, under a configuration that has changed since."""
    return collect(configuration.load(made.config | changes), made.results)[0]


@pytest.fixture
def ran(fabricate):
    """One cell, tested twice."""
    block = {"datasets": ["scenes"], "methods": ["fcn"], "backbones": ["small"], "recipes": ["quick"]}
    return fabricate(matrix=[block | {"seeds": [0], "protocols": ["ss", "ms_flip"]}]).run_all()


def frozen(made):
    return [made.config["matrix"][0] | {"freeze": True}]


def faster(made, lr=0.1):
    return {"recipes": {"quick": made.config["recipes"]["quick"] | {"lr": lr}}}


def test_a_training_with_other_values_is_no_result(ran):
    record = collect_with(ran, **faster(ran))
    assert (record.status, record.provenance) == ("outdated", None)
    assert record.reason == "train: result has other values: recipe.lr: 0.05 -> 0.1"
    assert [(test.metrics, test.status) for test in record.tests] == [(None, "outdated")] * 2
    assert record.cell.recipe.lr == 0.1


def test_a_frozen_cell_is_what_ran(ran):
    record = collect_with(ran, matrix=frozen(ran), **faster(ran))
    assert (record.status, record.changed) == ("done", ("recipe.lr: 0.05 -> 0.1",))
    assert record.cell == ran.plan.cells[0]
    assert None not in [test.metrics for test in record.tests]
    unchanged = collect_with(ran, matrix=frozen(ran))
    assert (unchanged.status, unchanged.changed) == ("done", ())


def test_a_frozen_cell_of_another_seed_is_no_result(ran):
    edit_json(
        paths.train_folder(ran.results, ran.plan.cells[0]) / "cell.json", lambda cell: cell.update(seed=5)
    )
    record = collect_with(ran, matrix=frozen(ran))
    assert (record.status, record.reason) == ("outdated", "train: result has other values: seed: 5 -> 0")


def test_a_test_with_another_protocol_or_split_costs_that_test_only(ran):
    protocols = ran.config["protocols"] | {"ms_flip": {"scales": [0.5, 1.0]}}
    record = collect_with(ran, protocols=protocols)
    single, several = record.tests
    assert record.provenance is not None
    assert (single.status, single.reason) == ("done", None)
    assert (several.status, several.metrics) == ("outdated", None)
    assert several.reason == "predict val-ms_flip: result has other values: protocol.flip: true -> false"
    assert (record.status, record.reason) == (several.status, several.reason)
    edit_json(single.folder / "prediction.json", lambda values: values.update(split="test"))
    single = collect_with(ran).tests[0]
    assert single.reason == 'predict val-ss: result has other values: split: "test" -> "val"'


def test_another_boundary_width_is_no_result(ran):
    record = collect_with(ran, boundary_ratio=0.01)
    assert record.reason == "score val-ss: result has other values: boundary_ratio: 0.02 -> 0.01"


def test_metrics_of_earlier_predictions_are_no_result(ran):
    test = collect_with(ran).tests[0]
    checksums.seal(test.folder / "predict.sha256", (test.folder / "predictions").iterdir())
    assert collect_with(ran).tests[0].status == "done"
    next((test.folder / "predictions").iterdir()).write_bytes(b"predicted again")
    checksums.seal(test.folder / "predict.sha256", (test.folder / "predictions").iterdir())
    again = collect_with(ran).tests[0]
    assert (again.status, again.reason, again.metrics) == ("missing", "score val-ss: has not run", None)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("train/cell.json", {"gone": 1}, "cell.gone: unknown setting"),
        ("train/provenance.json", {"schema": 3}, "training.schema: 3 is not one of 1, 2"),
        ("train/provenance.json", {"gone": 1}, "training.gone: unknown setting"),
        ("val-ss/prediction.json", {"gone": 1}, "prediction.gone: unknown setting"),
        ("val-ss/metrics.json", {"schema": 2}, "metrics.schema: 2 is not one of 1"),
    ],
)
def test_a_record_of_a_newer_version_costs_its_cell_and_is_named(ran, file, change, said):
    """Frozen cells too: what the version did with the value is not known."""
    path = paths.cell_folder(ran.results, ran.plan.cells[0]) / file
    edit_json(path, lambda values: values.update(change))
    for record in (collect_with(ran), collect_with(ran, matrix=frozen(ran))):
        assert record.status == "failed"
        assert record.reason.startswith(f"{path}: {said}")


def test_a_setting_that_a_record_lacks_is_not_guessed(ran):
    """Today's default says nothing of what ran."""
    path = paths.train_folder(ran.results, ran.plan.cells[0]) / "cell.json"
    edit_json(path, lambda cell: cell["recipe"].pop("blur"))
    assert collect_with(ran).reason.startswith(f"{path}: cell.recipe.blur: not recorded")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("train/cell.json", "{folder}/train/cell.json: gone, so what ran is not known; delete "),
        ("val-ss/prediction.json", "score val-ss: has not run"),
    ],
)
def test_without_a_record_of_what_ran_there_is_no_result(ran, file, reason):
    folder = paths.cell_folder(ran.results, ran.plan.cells[0])
    (folder / file).unlink()
    record = collect_with(ran)
    assert record.status != "done"
    assert record.reason.startswith(reason.format(folder=folder))
    assert record.tests[0].metrics is None


def test_the_cost_of_another_model_is_not_shown(ran):
    assert collect_with(ran).cost.params > 0
    wider = collect_with(ran, matrix=frozen(ran), methods={"fcn": {"width": 64}})
    assert wider.cost.params > 0, "the file is of the model that ran"
    edit_json(
        paths.complexity_file(ran.results, ran.plan.cells[0]),
        lambda cost: cost.update(method_options={"width": 64}, backbone=cost["backbone"] | {"weights": "w"}),
    )
    assert collect_with(ran).cost is None
    assert collect_with(ran, matrix=frozen(ran), methods={"fcn": {"width": 64}}).cost is None


def test_each_test_has_its_own_state(ran):
    failed = collect_with(ran).tests[1].folder
    (failed / "metrics.json").unlink()
    ran.write_log(
        paths.log_file(ran.logs, ran.plan.cells[0], "val-ms_flip/score"), "seglib score: error: no space\n"
    )
    record = collect_with(ran)
    assert [(test.status, test.reason) for test in record.tests] == [
        ("done", None),
        ("failed", "score val-ms_flip: no space"),
    ]
    assert record.status == "failed"


def test_protocols_are_told_in_words():
    assert describe_protocol(Protocol()) == "whole image, scale 1, no flip"
    slide = Protocol(mode="slide", crop_hw=(512, 1024), stride_hw=(341, 341), scales=(0.5, 1.0), flip=True)
    expected = "sliding window 512×1024, stride 341×341, scales 0.5, 1, flip, probabilities averaged"
    assert describe_protocol(slide) == expected
