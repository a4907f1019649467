import dataclasses
import json
import shlex

import numpy as np
import pytest

from seglib import cli
from seglib.core.typed import plain
from seglib.experiment import paths
from seglib.experiment.cell import Cell
from seglib.experiment.records import Attempt
from seglib.report import class_tables, curves, details
from seglib.results.inventory import collect
from tests.unit import fabricated

CONFUSION = np.array([[90, 10, 0], [30, 70, 0], [0, 0, 0]])
NAMES = ("road", "car", "<b>bus</b>")


def test_the_largest_confusions_come_first():
    table = class_tables.confusions(CONFUSION, NAMES, "c")
    assert [[entry.text for entry in row] for row in table.entries] == [
        ["car", "road", "30.00", "30"],
        ["road", "car", "10.00", "10"],
    ]


def test_the_matrix_is_in_shares_of_each_label():
    rows = class_tables.matrix(CONFUSION, NAMES, "m").entries
    assert [entry.text for entry in rows[0]] == ["road", "90", "10", ""]
    assert [entry.value for entry in rows[2]] == ["<b>bus</b>", None, None, None], "no pixels, no shares"
    assert class_tables.matrix(np.eye(41), ["c"] * 41, "m") is None


def test_a_class_that_is_never_predicted_shows(finished):
    test = collect(finished.plan, finished.results)[0].tests[0]
    num_classes = len(test.metrics.class_names)
    confusion = np.eye(num_classes, dtype=np.int64)
    confusion[:, 1] += confusion[:, 0]  # what is of class 0 goes to class 1
    confusion[:, 0] = 0
    table = class_tables.classes(test, "c", None, None, confusion)
    column = [column.name for column in table.columns].index("predicted_share")
    shares = [row[column].value for row in table.entries]
    assert shares == [0, *np.array([2] + [1] * (num_classes - 2)) / num_classes]
    assert class_tables.classes(test, "c", None, None, None).entries[0][column].value is None


def test_charts_span_their_axes(finished):
    train = paths.train_folder(finished.results, finished.plan.cells[0])
    losses, rate = curves.charts(train)
    assert [series.name for series in losses.series] == ["loss", "main", "auxiliary"]
    points = np.array([[float(v) for v in point.split(",")] for point in losses.series[0].points.split()])
    log = [json.loads(line) for line in (train / "train_log.jsonl").read_text().splitlines()]
    assert len(points) == len(log)
    assert points[-1, 0] == 100
    assert points.min() >= 0
    assert points.max() <= 100
    (low, low_label), *_, (high, high_label) = losses.y_ticks
    assert (low, high) == (0, 100)
    expected = [
        100 - 100 * (entry["loss"] - float(low_label)) / (float(high_label) - float(low_label))
        for entry in log
    ]
    assert points[:, 1] == pytest.approx(expected, abs=0.02)
    assert rate.x_ticks[-1][1] == "300"


def test_a_term_that_sets_in_late_is_drawn_from_there_on(tmp_path):
    common = {"epoch": 0, "lr": 0.1, "images_per_s": 1.0, "data_wait_share": 0.0}
    lines = [
        {"iteration": 1, "loss": 1.0, "main": 0.5, "auxiliary": 0.5},
        {"iteration": 2, "loss": 2.0, "main": 0.5, "auxiliary": 0.5, "consistency": 1.0},
        {"iteration": 4, "loss": 1.5, "main": 0.5, "auxiliary": 0.5, "consistency": 0.5},
    ]
    (tmp_path / "train_log.jsonl").write_text("".join(json.dumps(common | line) + "\n" for line in lines))
    series = {line.name: line.points.split() for line in curves.charts(tmp_path)[0].series}
    assert list(series) == ["loss", "main", "auxiliary", "consistency"]
    assert [point.split(",")[0] for point in series["consistency"]] == ["50.0", "100.0"]


def test_there_is_no_chart_of_a_missing_or_single_line_log(tmp_path):
    assert curves.charts(tmp_path) == ()
    (tmp_path / "train_log.jsonl").write_text('{"iteration": 1, "loss": 1.0}\n')
    assert curves.charts(tmp_path) == ()


def test_the_commands_are_ones_that_the_command_line_accepts(finished):
    record = collect(finished.plan, finished.results)[1]
    lines = list(details.commands(record, finished.plan))
    parsed = [vars(cli._parser().parse_args(shlex.split(line)[3:])) for line in lines]
    assert [options["step"] for options in parsed] == ["train", "predict", "score"]
    assert parsed[0]["cell"] == record.cell
    assert parsed[1]["protocol"] == record.tests[0].evaluation.protocol
    assert parsed[2]["num_classes"] == 5


def test_the_command_names_the_weights_file_of_this_run(fabricate, tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    made = fabricate(weights=str(weights))
    record = collect(made.plan, made.results)[0]
    assert f"--weights {weights}" in next(details.commands(record, made.plan))


def test_a_cell_that_never_ran_has_its_command_too(fabricate):
    made = fabricate()
    record = collect(made.plan, made.results)[0]
    line = next(details.commands(record, made.plan))
    described = shlex.split(line)[shlex.split(line).index("--cell") + 1]
    assert Cell.from_json(described) == record.cell


def test_provenance_hides_nothing_that_was_written(finished):
    record = collect(finished.plan, finished.results)[0]
    training = record.provenance
    said = dict(details.provenance(record))
    assert said["commit"] == training.commit
    told = " ".join([*said, *said.values()])
    for name, value in plain(training).items():
        assert name in ("schema", "code", "dirty", "time_s", "versions") or str(value or "") in told, name
    attempt = {name: getattr(training, name) for name in fabricated.ORIGIN if name != "command"}
    attempt |= {"gpu": "A Card", "commit": None, "device": "cuda", "processes": 4, "norm_batch_size": 8}
    attempts = tuple(Attempt(**attempt, after_iteration=n) for n in (0, 90))
    changed = dataclasses.replace(training, attempts=attempts, dirty=True, dirty_diff_sha256="abc")
    said = dict(details.provenance(dataclasses.replace(record, provenance=changed)))
    assert said["attempt 2"] == (
        "after iteration 90: 4 x cuda; node1, Some CPU x 2, A Card; commit unknown; torch 2.13.0+cpu"
    )
    assert "uncommitted changes (sha256 abc)" in said["commit"]
