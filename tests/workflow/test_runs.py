"""How a run starts and ends: mistakes stop it before any job, failures are reported."""

import copy

import pytest

from seglib.experiment import config as configuration
from tests.workflow.project import CONFIG, FCN, ROOT, Project, copy_code


@pytest.fixture
def fresh(tmp_path):
    """A checkout in which nothing has run."""
    copy_code(tmp_path)
    project = Project(tmp_path)
    project.configure(CONFIG)
    return project


def test_a_mistake_in_the_configuration_stops_before_any_job(fresh):
    config = copy.deepcopy(CONFIG)
    config["recipes"]["slow"]["lr"] = "1e-3"
    fresh.configure(config)
    result = fresh.snakemake(check=False)
    assert result.returncode != 0
    assert "config.recipes.slow.lr: '1e-3' is text, not a number" in result.output
    assert not (fresh.folder / "data").exists()


def test_planning_imports_no_torch(fresh):
    """A torch that cannot be imported stands before the real one."""
    trap = fresh.folder / "trap" / "torch"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise ImportError('torch was imported while planning')")
    result = fresh.snakemake("-n", PYTHONPATH=str(trap.parent))
    assert "train" in result.output


def test_the_default_run_is_planned_without_a_configfile(fresh):
    result = fresh.snakemake("-n", "--configfile", "config/default.yaml")
    assert "train" in result.output


def test_a_single_file_is_a_target(fresh):
    planned = fresh.planned(f"results/cells/{FCN}/train/model.safetensors")
    assert {rule for rule, _ in planned} == {"download", "prepare", "train"}


@pytest.mark.parametrize(("name", "only"), [("mcibi", None), ("isnet", "ade20k,resnet50c,seed0")])
def test_a_paper_is_planned_whole_or_as_far_as_one_device_gets(fresh, name, only):
    plan = configuration.load(configuration.read(ROOT / "config" / f"{name}.yaml") | {"only": only})
    choice = [] if only is None else ["--config", f"only={only}"]
    planned = fresh.planned("--configfile", f"config/{name}.yaml", *choice)
    assert {cell for rule, cell in planned if rule == "train"} == {cell.id for cell in plan.cells}
    assert len(plan.cells) == 2 if only else len(plan.cells) > 90


@pytest.mark.parametrize(
    ("folder", "target", "rule"), [("", [], "report"), ("ablations/isnet", ["ablation_isnet"], "ablation")]
)
def test_the_page_of_a_failed_first_run_is_not_taken_for_a_finished_one(fresh, folder, target, rule):
    page = fresh.folder / "reports" / folder / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("what a failed run had")
    assert {"train", rule} <= {planned for planned, _ in fresh.planned(*target)}


def test_a_run_that_fails_on_a_single_file_leaves_the_page_alone(fresh):
    """That of another configuration, perhaps."""
    page = fresh.folder / "reports" / "index.html"
    page.parent.mkdir()
    page.write_text("finished")
    fresh.configure(CONFIG | {"datasets": {"scenes": {"data_root": "nowhere"}}})
    result = fresh.snakemake("data/scenes/manifest.json", check=False)
    assert "data_root must hold the unpacked files" in result.output
    assert page.read_text() == "finished"
    assert fresh.snakemake(check=False).returncode != 0
    assert "data_root must hold the unpacked files" in page.read_text()


def test_a_failed_cell_is_reported_and_stops_no_other(project):
    """The learning rate of one recipe is made absurd, so that its loss is not finite."""
    config = copy.deepcopy(CONFIG)
    config["recipes"]["fast"] |= {"lr": 1.0e30, "iterations": 6}
    config["matrix"][1]["seeds"] = [0, 1]
    project.configure(config)
    result = project.snakemake(check=False)
    assert result.returncode != 0
    assert "not finite" in result.output  # the failed log is shown
    assert (project.folder / "results/cells/scenes/isnet/small/slow/seed1/val-ss/metrics.json").exists()
    page = (project.folder / "reports" / "index.html").read_text()
    assert "not finite" in page

    config["matrix"][0]["recipes"] = ["slow"]
    project.configure(config)
    assert project.planned() == {("compare", ""), ("report", "")}
