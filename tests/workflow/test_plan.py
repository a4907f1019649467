"""`seglib plan` says what `snakemake` with the same arguments does, and why."""

import copy
import json

import pytest

from tests.workflow.project import CONFIG, FCN, FCN_FAST, ISNET, Project, copy_code


def plan(project, *arguments, check=True):
    return project.python_m("seglib", "plan", "--config", "run.yaml", *arguments, check=check)


def plan_jobs(project, *arguments):
    output = json.loads(plan(project, "--json", *arguments).stdout)
    jobs = {(job["rule"], job["cell"] or ""): job["reasons"] for job in output["jobs"]}
    assert set(jobs) == project.planned(*arguments[1:])  # without the "--"
    return jobs, output


def test_a_fresh_project_imports_no_torch_and_invents_no_numbers(tmp_path):
    copy_code(tmp_path)
    fresh = Project(tmp_path)
    fresh.configure(CONFIG)
    trap = tmp_path / "trap" / "torch"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise ImportError('torch was imported while planning')")
    fresh.environment["PYTHONPATH"] = str(trap.parent)
    jobs, output = plan_jobs(fresh)
    assert {("download", ""), ("prepare", ""), ("train", ISNET), ("report", "")} <= set(jobs)
    assert jobs["train", ISNET] == ["has not run"]
    assert output["trainings"] == 3
    assert output["hours"] == []
    assert output["disk_bytes"] == 0
    assert output["disk_unknown"] == ["3 models", "predictions of 3 tests"]


def test_a_finished_project_has_nothing_to_do(project):
    assert plan(project).stdout == "Nothing to be done.\n"


def test_changes_are_named_and_timed(project):
    """A value of one recipe, a module of one method and one more seed."""
    config = copy.deepcopy(CONFIG)
    config["recipes"]["fast"]["weight_decay"] = 0.1
    config["matrix"][0] |= {"seeds": [0, 7]}
    project.configure(config)
    project.edit_code("seglib/models/isnet.py")
    jobs, output = plan_jobs(project)
    assert jobs["train", FCN_FAST] == ["recipe.weight_decay: 0.0 -> 0.1"]
    assert jobs["train", ISNET] == ["code of seglib.models.isnet:ISNet changed"]
    assert jobs["train", FCN.replace("seed0", "seed7")] == ["has not run"]
    assert ("train", FCN) not in jobs
    [hours] = output["hours"]
    assert hours["timed"] == output["trainings"] == 4
    records = [
        json.loads((project.folder / f"results/cells/{cell}/train/provenance.json").read_text())
        for cell in (FCN, FCN_FAST, ISNET)
    ]
    slow, fast, isnet = (4 / record["images_per_s"] for record in records)  # 2 steps of 2 images
    assert hours["hours"] == pytest.approx((3 * (slow + fast) / 2 + isnet) / 3600, rel=0.5)
    assert hours["hardware"] == records[0]["cpu"]
    model = (project.folder / f"results/cells/{FCN}/train/model.safetensors").stat().st_size
    assert output["disk_bytes"] > 2 * model  # two new models, their predictions
    assert output["disk_unknown"] == []


def test_targets_and_options_of_snakemake_hold(project):
    model = f"results/cells/{FCN}/train/model.safetensors"
    jobs, _ = plan_jobs(project, "--", model, "--forcerun", "train")
    assert jobs == {("train", FCN): ["forced"]}


def test_what_snakemake_refuses_is_shown_in_its_words(project):
    project.configure(CONFIG | {"device": "tpu"})
    result = plan(project, check=False)
    assert result.returncode == 2
    assert "config.device: 'tpu' is not one of auto, cpu, cuda" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("seglib plan: error: Snakemake cannot plan this run")
