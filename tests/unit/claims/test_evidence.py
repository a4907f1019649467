"""Runs against claims: from result files to verdicts, on CamVid with a paper of the test's own."""

import csv
import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest

from seglib.claims import committed, compare, outlook, reading, results, verdicts
from seglib.claims.relative import RelativeClaim
from seglib.cost import paper_scale
from seglib.cost.paper_scale import PaperScaleCost
from seglib.data.sets.camvid import CamVid
from seglib.experiment import paths
from seglib.report import page, papers
from tests.unit.fabricated import Fabricated, make_config
from tests.unit.report.test_page import check_links

PROTOCOL = {
    "paper": "mine",
    "dataset": "camvid",
    "num_classes": 11,
    "train_split": "train",
    "eval_split": "val",
    "crop_hw": "48x64",
    "epochs": 600,
    "lr": 0.05,
    "batch_size": 8,
    "pretraining": "none",
    "test_mode": "whole",
    "test_scales": "1",
    "test_flip": "no",
    "test_size": "native",
    "metric": "miou",
    "unit": "%",
    "provenance": "paper",
    "source": "Table 1",
}
ISNET = {"method": "isnet", "backbone": "resnet50", "value": 50}
CARD = 'title = "My paper"\nyear = 2030\nrelative = [["isnet", "fcn"]]\n'


def write_claims(folder, *rows):
    folder.mkdir(exist_ok=True)
    rows = [PROTOCOL | row for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(folder / "mine.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "mine.toml").write_text(CARD)


@pytest.fixture(scope="module")
def camvid():
    """CamVid whose splits are said to have four images."""
    sizes = {name: dataclasses.replace(split, size=4) for name, split in CamVid.SPLITS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CamVid, "SPLITS", sizes)
        yield


def make(folder) -> Fabricated:
    """Two methods, three seeds each, nothing run."""
    recipe = {"iterations": 300, "batch_size": 8, "crop_hw": [48, 64], "lr": 0.05}
    block = {"datasets": ["camvid"], "methods": ["fcn", "isnet"], "backbones": ["large"], "recipes": ["full"]}
    config = make_config(
        folder,
        recipes={"full": recipe},
        matrix=[block | {"seeds": [0, 1, 2]}],
        claims=[str(folder / "claims")],
        tolerance_points=40.0,
    )
    write_claims(folder / "claims", ISNET)
    return Fabricated(config, class_names=CamVid.CLASSES)


@pytest.fixture
def made(tmp_path, camvid):
    return make(tmp_path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory, camvid):
    return make(tmp_path_factory.mktemp("ran")).run_all()


def judged(made):
    """Judgements of the test's own paper, by metric or, for relative claims, by ``relative``."""
    mine = [j for j in made.read().evidence.judgements if j.claim.sides[0].paper == "mine"]
    relative = [j for j in mine if isinstance(j.claim, RelativeClaim)]
    return [j for j in mine if j not in relative], relative


def test_equal_protocols_give_a_verdict_over_seeds(ran):
    write_claims(Path(ran.config["claims"][0]), ISNET)
    ((judgement,), _) = judged(ran)
    values = [
        json.loads((paths.evaluation_folder(ran.results, cell, "val-ss") / "metrics.json").read_text())[
            "miou"
        ]
        for cell in ran.plan.cells
        if cell.method == "isnet"
    ]
    assert judgement.verdict == "reproduced"
    assert judgement.measured == pytest.approx(100 * sum(values) / 3)
    assert judgement.seeds == 3
    assert judgement.interval[0] < judgement.measured < judgement.interval[1]


def test_what_differs_is_named(ran):
    write_claims(Path(ran.config["claims"][0]), ISNET | {"test_scales": "0.5 1", "test_flip": "yes"})
    ((judgement,), _) = judged(ran)
    assert (judgement.verdict, judgement.reason) == ("not comparable", "ms+flip vs ss")
    write_claims(Path(ran.config["claims"][0]), ISNET | {"test_size": "fit 360x480"})
    ((judgement,), _) = judged(ran)
    assert judgement.reason == "test size fit 360x480 vs native"


def test_a_part_of_the_images_is_no_evidence(ran, monkeypatch):
    write_claims(Path(ran.config["claims"][0]), ISNET)
    sizes = {name: dataclasses.replace(split, size=5) for name, split in CamVid.SPLITS.items()}
    monkeypatch.setattr(CamVid, "SPLITS", sizes)
    ((judgement,), _) = judged(ran)
    assert judgement.verdict == "not comparable"
    assert judgement.reason.startswith("subset of the images")


def test_a_gain_has_its_interval_over_images(ran):
    methods = [
        {"method": name, "backbone": "resnet50", "value": value}
        for name, value in (("isnet", 50), ("fcn", 45))
    ]
    write_claims(Path(ran.config["claims"][0]), *methods)
    _, (judgement,) = judged(ran)
    assert float(judgement.claim.value) == 5
    assert judgement.images.low <= judgement.images.difference <= judgement.images.high
    assert judgement.measured == pytest.approx(100 * judgement.images.difference)


def test_a_gain_needs_equal_recipes(made, tmp_path):
    """The claims know nothing of augmentation; whether both trainings had the same is known here."""
    recipes = made.config["recipes"] | {"plain": {"extends": "full", "photometric": False}}
    isnet, fcn = (
        made.config["matrix"][0] | {"methods": [method], "recipes": [recipe]}
        for method, recipe in (("isnet", "full"), ("fcn", "plain"))
    )
    folders = {"data": str(tmp_path / "again"), "results": str(tmp_path / "results again")}
    config = made.config | folders | {"recipes": recipes, "matrix": [isnet, fcn]}
    made = Fabricated(config, class_names=CamVid.CLASSES).run_all()
    write_claims(tmp_path / "claims", ISNET, ISNET | {"method": "fcn", "value": 45})
    absolute, (relative,) = judged(made)
    assert [judgement.verdict for judgement in absolute] == ["reproduced", "reproduced"]
    assert relative.verdict == "not comparable"
    assert relative.reason == (
        "between our two runs: recipe full vs plain; recipe.photometric: true vs false"
    )


def test_open_claims_say_what_would_run_them(made):
    last = made.plan.cells[-1]
    for cell in made.plan.cells:
        made.cost(cell)
    ((judgement,), _) = judged(made)
    assert (judgement.verdict, judgement.reason) == ("not run", "planned, not run yet")
    assert f"{paths.evaluation_folder(made.results, last, 'val-ss')}/metrics.json" in judgement.command
    cost = json.loads(paths.complexity_file(made.results, last).read_text())
    images = 300 * 8
    expected = 3 * images * cost["gmacs_conv_matmul"] * 6e9 / 20e12 / 3600
    assert judgement.gpu_hours == pytest.approx(expected)


def test_an_open_gain_says_what_would_run_its_sides(made, tmp_path, monkeypatch):
    """Of both while none has run; then of the other one, also where another configuration plans it."""
    write_claims(tmp_path / "claims", ISNET, ISNET | {"method": "fcn", "value": 45})
    for cell in made.plan.cells:
        made.cost(cell)
    fcn, isnet = ([cell for cell in made.plan.cells if cell.method == method] for method in ("fcn", "isnet"))
    (of, over), (relative,) = judged(made)
    assert relative.command == f"{of.command}; {over.command}"
    assert relative.gpu_hours == pytest.approx(of.gpu_hours + over.gpu_hours)
    for cell in isnet:
        made.run(cell)
    (of, over), (relative,) = judged(made)
    assert (of.verdict, relative.verdict) == ("reproduced", "not run")
    assert (relative.command, relative.gpu_hours) == (over.command, over.gpu_hours)
    assert all(str(paths.cell_folder(made.results, cell)) in relative.command for cell in fcn)

    file = tmp_path / "config" / "both.yaml"
    file.parent.mkdir()
    file.write_text(json.dumps(made.config))
    monkeypatch.setattr(committed, "CONFIGS", file.parent)
    made.config |= {"matrix": [made.config["matrix"][0] | {"methods": ["isnet"]}]}
    (_, over), (relative,) = judged(made)
    assert over.reason == "planned in another configuration"
    assert relative.reason == "fcn: no run of this model in this configuration"
    assert (relative.command, relative.gpu_hours) == (over.command, over.gpu_hours)


def test_a_failed_training_is_a_verdict_with_its_log(made):
    for cell in made.plan.cells:
        made.fail(cell, "loss is not finite", "the last line")
    ((judgement,), _) = judged(made)
    assert judgement.verdict == "failed"
    assert "loss is not finite" in judgement.reason
    assert "train.log" in judgement.reason


def test_a_failed_test_is_no_failure_of_another(made, tmp_path):
    """The first seed has its single-scale number, though its test at several scales failed."""
    block = made.config["matrix"][0] | {"protocols": ["ss", "ms_flip"]}
    made = Fabricated(
        made.config | {"matrix": [block], "data": str(tmp_path / "again")}, class_names=CamVid.CLASSES
    )
    for cell in made.plan.cells:
        made.train(cell)
        for evaluation in made.plan.evaluations(cell):
            if (cell.seed, evaluation.protocol_name) != (0, "ms_flip"):
                made.test(cell, evaluation)
        log = paths.log_file(made.logs, cell, "val-ms_flip/predict")
        if cell.seed == 0:
            made.write_log(log, "seglib predict: error: out of memory\n")
    several = {"test_scales": "0.5 1", "test_flip": "yes"}
    write_claims(tmp_path / "claims", ISNET, ISNET | several)
    (single, multi), _ = judged(made)
    assert single.seeds == 3
    assert not any("failed" in caveat for caveat in single.caveats)
    assert multi.seeds == 2
    (caveat,) = [caveat for caveat in multi.caveats if "failed" in caveat]
    assert caveat.startswith("seed 0 failed: predict val-ms_flip: out of memory (log: ")


def test_a_result_with_other_values_answers_nothing_unless_it_is_frozen(ran):
    write_claims(Path(ran.config["claims"][0]), ISNET)
    recipes = {"full": ran.config["recipes"]["full"] | {"lr": 0.1}}
    frozen = [ran.config["matrix"][0] | {"freeze": True}]
    for matrix, claimed_lr, verdict, reason in (
        (ran.config["matrix"], 0.1, "not run", "planned, not run yet"),
        (frozen, 0.1, "not comparable", "lr 0.1 vs 0.05"),
        (frozen, 0.05, "reproduced", None),
    ):
        write_claims(Path(ran.config["claims"][0]), ISNET | {"lr": claimed_lr})
        found = results.read(ran.config | {"recipes": recipes, "matrix": matrix}, ran.results).evidence
        (judgement,) = [j for j in found.claims if j.claim.paper == "mine"]
        assert judgement.verdict == verdict
        assert reason in (None, judgement.reason)


def test_what_is_not_comparable_is_no_answer(ran):
    answered = []
    for claim in (ISNET, ISNET | {"lr": 0.1}):
        write_claims(Path(ran.config["claims"][0]), claim)
        answered.append(ran.read().evidence.answered)
    assert answered == [1, 0]


def test_claims_of_costs_are_judged_without_seeds(made, tmp_path):
    (cell,) = [cell for cell in made.plan.cells if (cell.method, cell.seed) == ("isnet", 0)]
    made.cost(cell)
    cost = json.loads(paths.complexity_file(made.results, cell).read_text())
    claim = {
        "method": "isnet",
        "backbone": "resnet50",
        "input_hw": "48x64",
        "metric": "gmacs",
        "unit": "GMACs",
    }
    write_claims(tmp_path / "claims", claim | {"value": f"{cost['gmacs_conv_matmul']:.3f}"})
    ((judgement,), _) = judged(made)
    assert judgement.verdict == "reproduced"


def test_a_committed_configuration_is_named_where_it_would_answer(made, tmp_path, monkeypatch):
    """The claim is one of config/camvid.yaml's own setting; that a run of it failed here once is past."""
    stale = tmp_path / "logs/cells/camvid/fcn/mobilenetv2/camvid/seed0/train.log"
    stale.parent.mkdir(parents=True)
    stale.write_text("seglib train: error: out of memory\n")
    monkeypatch.chdir(tmp_path)
    claim = {"method": "fcn", "backbone": "mobilenetv2_100", "output_stride": 16, "value": 60}
    claim |= {"crop_hw": "288x384", "batch_size": 8, "lr": 0.02, "epochs": "", "iterations": 1150}
    write_claims(tmp_path / "claims", claim)
    ((judgement,), _) = judged(made)
    assert judgement.verdict == "not run"
    assert judgement.command.startswith(
        "snakemake --cores all --configfile config/camvid.yaml results/cells/camvid"
    )


def test_gpu_hours_of_a_claim_by_hand(made):
    cost = PaperScaleCost(
        method="isnet",
        backbone="resnet50c",
        output_stride=8,
        dataset="camvid",
        input_hw=(48, 64),
        num_classes=11,
        gmacs_conv_matmul=10.0,
    )
    ((judgement,), _) = judged(made)
    images = 4  # in the training split that `made` declares
    hours = 3 * 600 * images * 10e9 * 6 / 20e12 / 3600
    assert outlook.estimate(judgement.claim, [cost]) == pytest.approx(hours)
    assert outlook.estimate(judgement.claim, []) is None

    def estimated(**conditions):
        stated = dataclasses.replace(judgement.claim.conditions, **conditions)
        return outlook.estimate(dataclasses.replace(judgement.claim, conditions=stated), [cost])

    assert estimated(output_stride=8) == pytest.approx(hours)
    assert estimated(output_stride=16) is None
    assert estimated(train_split="trainval") == pytest.approx(2 * hours)  # of `val` as many


def test_gpu_hours_are_unknown_under_options_that_the_table_does_not_count(made):
    """config/mcibi.yaml halves HRNet's maps on two of its data sets, and on two it does not."""
    planned = list(outlook.planned_elsewhere(made.plan))
    halved = {
        one.dataset: "downsample=true" in one.options
        for one in planned
        if (one.method, one.backbone) == ("mcibi_deeplabv3", "hrnet_w48")
    }
    assert halved == {"ade20k": False, "coco_stuff_10k": False, "cityscapes": True, "lip": True}
    for claim in reading.load_claims():
        if (claim.method, claim.backbone, claim.metric) != ("mcibi_deeplabv3", "hrnet_w48", "miou"):
            continue
        (judgement,) = verdicts.judge([claim], [])
        found = outlook.add(judgement, planned, paper_scale.read())
        if found.command is not None:
            assert (found.gpu_hours is None) == halved[claim.dataset]


def test_each_paper_is_shown_with_its_methods_and_a_collection_with_those_it_reports(made):
    everything = made.read()
    overview = papers.overview(papers.sections(everything.evidence, everything.cells))
    methods = {row[0].text: row[1].text.split(", ") for row in overview.entries}
    assert methods["My paper"] == ["isnet"]
    collection = next(names for title, names in methods.items() if title.startswith("Baselines"))
    assert {"fcn", "pspnet", "upernet"} < set(collection)
    assert "danet" not in collection


def test_embedded_data_answer_no_claim(finished):
    measurements = finished.read().evidence.measurements
    assert measurements
    assert all(measurement.embedded_data for measurement in measurements)


def test_page_and_files_show_the_verdicts(ran):
    write_claims(Path(ran.config["claims"][0]), ISNET)
    page.run(config=ran.config, results=ran.results, out=ran.out, partial=False)
    index = (ran.out / "index.html").read_text(encoding="utf-8")
    assert "My paper" in index
    assert '<span class="verdict reproduced">1 reproduced</span>' in index
    assert check_links(ran.out) > 100
    assert (ran.out / "figures" / "reported-measured.svg").is_file()
    assert "1 reproduced" in (ran.out / "README.md").read_text(encoding="utf-8")
    results = json.loads((ran.out / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(results, json.loads((ran.out / "results.schema.json").read_text(encoding="utf-8")))
    (claim,) = [claim for claim in results["claims"] if claim["paper"] == "mine"]
    assert (claim["verdict"], claim["reported"]) == ("reproduced", 50)
    compare.run(config=ran.config, out=ran.results)
    with open(ran.results / "verdicts.csv", encoding="utf-8", newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["id"] == claim["id"]]
    assert row["verdict"] == "reproduced"
    assert float(row["measured"]) == pytest.approx(claim["measured"], abs=1e-5)
