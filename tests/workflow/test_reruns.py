"""What runs again after a change, and what does not: on a run that really happened."""

import copy
import json
import os
import re
import shlex
import stat
from collections import Counter

import pytest
import yaml

from seglib import cli
from tests.workflow.project import CONFIG, FCN, FCN_FAST, ISNET, jobs

AFTER_SCORE = {("compare", ""), ("report", "")}
ALL = (FCN, FCN_FAST, ISNET)


def rerun(*cells, since="train"):
    """The jobs of `cells` from one step on, and those that read all cells."""
    steps = ("train", "predict", "score")
    steps = steps[steps.index(since) :]
    return {(step, cell) for step in steps for cell in cells} | AFTER_SCORE


def changed(*path, value):
    config = copy.deepcopy(CONFIG)
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return config


def test_a_finished_run_has_nothing_to_do(project):
    assert "Nothing to be done" in project.snakemake().output


def test_every_job_shows_the_command_that_repeats_it(finished):
    """The line of each rule is one that the step's own parser reads."""
    ablation = finished.snakemake("-n", "-p", "ablation_isnet", "--forcerun", "ablation").output
    lines = re.findall(r"python -m seglib (.*?) > ", finished.first_output + ablation)
    steps = Counter(vars(cli._parser().parse_args(shlex.split(line)))["step"] for line in lines)
    assert set(steps) == {
        *("download", "prepare", "train", "predict", "score", "complexity", "speed", "compare", "report")
    }
    assert all("--code " in line for line in lines)


@pytest.mark.parametrize(
    "path", ["seglib/models/isnet.py", "data/scenes/manifest.json", "data/scenes/raw/source.json"]
)
def test_touching_a_file_reruns_nothing(project, path):
    os.utime(project.folder / path)
    assert project.planned() == set()


def test_prose_in_any_module_reruns_nothing(project):
    modules = sorted((project.folder / "seglib").rglob("*.py"))
    assert len(modules) > 100
    for module in modules:
        project.edit_prose(module)
    project.replace("seglib/models/isnet.py", '"Figure 2', '"Figure 2 (left)')  # in FIDELITY
    assert project.planned() == set()


def test_an_operator_in_a_method_retrains_its_cells_only(project):
    project.replace("seglib/models/isnet.py", "self.stage1_weight * criterion", "2 * criterion")
    assert project.planned() == rerun(ISNET) | {("complexity", ""), ("speed", "")}


def test_another_class_of_the_same_file_retrains_its_cells(project):
    project.edit_code("seglib/models/isnet.py")  # what it costs is known from the test before
    project.append("seglib/models/isnet.py", "class Other(ISNet):\n    pass\n")
    project.snakemake("--touch")
    project.replace("seglib/core/registry.py", "seglib.models.isnet:ISNet", "seglib.models.isnet:Other")
    assert {job for job in project.planned() if job[0] == "train"} >= {("train", ISNET)}


def test_editing_the_loader_retrains_all(project):
    project.edit_code("seglib/data/samples.py")
    assert project.planned() == rerun(*ALL)


@pytest.mark.parametrize("path", ["core/files.py", "core/registry.py", "experiment/recipe.py"])
def test_what_carries_values_repeats_no_work(project, path):
    project.edit_code(f"seglib/{path}")
    assert project.planned() == AFTER_SCORE


def test_adding_a_method_repeats_no_work(project):
    project.append("seglib/models/newcomer.py", "class Newcomer: pass\n")
    project.replace(
        "seglib/core/registry.py",
        "METHODS = {",
        'METHODS = {\n    "newcomer": "seglib.models.newcomer:Newcomer",',
    )
    assert project.planned() == AFTER_SCORE


def test_editing_a_metric_scores_again_only(project):
    project.edit_code("seglib/metrics/boundary.py")
    assert project.planned() == rerun(*ALL, since="score")


def test_another_boundary_width_scores_again_only(project):
    project.configure(CONFIG | {"boundary_ratio": 0.01})
    assert project.planned() == rerun(*ALL, since="score")


def test_another_protocol_predicts_and_scores_only(project):
    project.configure(changed("protocols", "ss", value={"flip": True}))
    assert project.planned() == rerun(*ALL, since="predict")


@pytest.mark.parametrize("path", ["report/templates/cell.html", "report/page.py"])
def test_editing_the_page_renders_again_only(project, path):
    project.append(f"seglib/{path}", "\nEDITED = True\n")
    assert project.planned() == {("report", "")}


def test_a_changed_configuration_that_claims_may_name_renders_again(project):
    project.append("config/recipes/author_ade20k.yaml", "\n# edited\n")
    assert project.planned() == AFTER_SCORE


def test_changed_claims_and_cards_are_judged_again(project):
    """In a folder that the configuration names, and the ablations do not."""
    folder = project.folder / "claims"
    folder.mkdir()
    row = {"paper": "mine", "method": "fcn", "dataset": "scenes", "metric": "miou", "value": "50"}
    row |= {"unit": "%", "provenance": "paper", "source": "Table 1"}
    (folder / "mine.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    (folder / "mine.toml").write_text('title = "Mine"\n')
    project.configure(CONFIG | {"claims": ["claims"]})
    assert project.ran() == AFTER_SCORE
    for name in ("mine.csv", "mine.toml"):
        project.append(f"claims/{name}", "\n")
        assert project.ran() == AFTER_SCORE
    assert project.planned() == set()
    (folder / "elsewhere.toml").write_text('method = ["mynet"]\n')
    assert project.planned() == AFTER_SCORE


def test_the_page_of_an_ablation_follows_its_claims(project):
    ablation = yaml.safe_dump(CONFIG | {"claims": ["mine.csv"]})
    (project.folder / "config" / "ablations" / "mine.yaml").write_text(ablation)
    columns = "paper,method,dataset,metric,value,unit,provenance,source"
    (project.folder / "mine.csv").write_text(f"{columns}\nmine,fcn,scenes,miou,50,%,paper,Table 1\n")
    assert ("ablation", "") in project.ran("ablation_mine")
    assert project.planned("ablation_mine") == set()
    project.append("mine.csv", "mine,isnet,scenes,miou,50,%,paper,Table 1\n")
    assert project.planned("ablation_mine") == {("ablation", ""), ("ablation_mine", "")}


def test_one_recipe_value_retrains_its_cells_only(project):
    project.configure(changed("recipes", "fast", "weight_decay", value=0.1))
    assert project.planned() == rerun(FCN_FAST)


def test_other_initial_weights_retrain_and_cost_no_model_anew(project):
    (project.folder / "weights.safetensors").write_bytes(b"not read before the training starts")
    project.configure(changed("backbones", "small", "weights", value="weights.safetensors"))
    rules = {rule for rule, _ in project.planned()}
    assert "train" in rules
    assert rules & {"complexity", "speed"} == set()


def test_adding_a_seed_runs_that_seed_only(project):
    project.configure(changed("matrix", 1, "seeds", value=[0, 1]))
    assert project.planned() == rerun(ISNET.replace("seed0", "seed1"))


def test_settings_of_the_run_rerun_no_cell(project):
    reordered = dict(reversed(list(CONFIG.items())))
    reordered |= {"device": "cpu", "workers": 1, "mirror": "elsewhere"}
    reordered |= {"checkpoint_interval_s": 5, "cache": "uint8"}
    reordered["recipes"] = {name: dict(reversed(list(r.items()))) for name, r in CONFIG["recipes"].items()}
    reordered["data"] = "moved"
    (project.folder / "data").rename(project.folder / "moved")
    project.configure(reordered)
    assert project.planned("--cores", "1") <= AFTER_SCORE


def test_other_files_of_ones_own_are_looked_at_and_equal_pixels_retrain_nothing(project):
    project.configure(
        CONFIG | {"datasets": {"scenes": {"data_root": str(project.folder / "data/scenes/raw")}}}
    )
    assert project.planned("--cores", "1") >= {("download", ""), ("prepare", "")}
    assert {rule for rule, _ in project.ran()} & {"train", "predict", "score"} == set()
    project.configure(CONFIG | {"datasets": {"scenes": {"data_root": "data/scenes/raw/"}}})
    assert {rule for rule, _ in project.planned("--cores", "1")} & {"download", "prepare", "train"} == set()
    project.configure(CONFIG)  # as where it was given once, on the command line
    assert {rule for rule, _ in project.planned("--cores", "1")} & {"download", "prepare", "train"} == set()
    # As Snakemake does before it runs the step again, perhaps without success.
    (project.folder / "data/scenes/raw/source.json").unlink()
    planned = project.snakemake("-n", "-p", "data/scenes/raw/source.json").output
    assert f"--data-root={project.folder}/data/scenes/raw" in planned


def test_editing_the_environment_file_reruns_nothing(project):
    project.append("environment.yml", "\n# edited\n")
    assert project.planned() == set()


def test_adding_use_conda_reruns_nothing(project, tmp_path):
    """With a test double of conda: it answers the questions that a dry run asks, and builds nothing."""
    conda = tmp_path / "bin" / "conda"
    conda.parent.mkdir()
    info = {"conda_prefix": str(tmp_path), "platform": "linux-64", "conda_version": "25.1.0", "channels": []}
    conda.write_text(
        '#!/bin/sh\ncase "$*" in\n'
        f"*info*) echo '{json.dumps(info)}';;\n"
        "*--version*) echo conda 25.1.0;;\n"
        '*channel_priority*) echo \'{"get": {"channel_priority": "strict"}}\';;\n'
        "*) exit 1;;\nesac\n"
    )
    conda.chmod(conda.stat().st_mode | stat.S_IXUSR)
    planned = project.planned("--use-conda", PATH=f"{conda.parent}:{project.environment['PATH']}")
    assert planned == set()


def test_preparing_equal_data_again_retrains_nothing(project):
    """The tables are made again: until the data are known to be equal, Snakemake plans for all cells."""
    assert project.ran("--forcerun", "prepare") <= {("prepare", "")} | AFTER_SCORE


def test_changed_data_retrains_in_the_same_run(project):
    image = sorted((project.folder / "data/scenes/raw").rglob("*.png"))[0]
    pixels = bytearray(image.read_bytes())
    pixels[-1] ^= 1
    image.write_bytes(pixels)
    ran = project.ran("--forcerun", "prepare")
    assert {("train", cell) for cell in ALL} <= ran
    assert project.planned() == set()


def freeze_isnet(project, **values):
    config = copy.deepcopy(CONFIG)
    config["matrix"][1]["freeze"] = True
    project.configure(config | values)


def test_a_frozen_cell_is_no_job(project):
    """Neither its values nor code, data, rules or an environment make it anew."""
    recipes = copy.deepcopy(CONFIG["recipes"])
    recipes["slow"]["lr"] = 0.5
    freeze_isnet(project, recipes=recipes, protocols={"ss": {"flip": True}})
    for path in ("models/isnet.py", "training/trainer.py", "evaluation/predict.py", "metrics/scores.py"):
        project.edit_code(f"seglib/{path}")
    for step in ("train", "predict", "score", "complexity", "speed"):
        project.replace("workflow/rules/cells.smk", f" {step} ", f"  {step} ")
    manifest = project.folder / "data/scenes/manifest.json"
    manifest.write_text(re.sub(r'"data_digest": "...', '"data_digest": "000', manifest.read_text()))
    planned = project.planned()
    assert {cell for rule, cell in planned if rule == "train"} == {FCN, FCN_FAST}
    assert ISNET not in {cell for _, cell in planned}


def test_a_frozen_cell_that_lacks_a_test_is_tested_and_not_trained(project):
    freeze_isnet(project)
    (project.folder / f"results/cells/{ISNET}/val-ss/metrics.json").unlink()
    planned = project.planned()
    assert ("score", ISNET) in planned
    assert ("train", ISNET) not in planned


def test_a_frozen_cell_that_never_ran_is_trained(project):
    freeze_isnet(project)
    (project.folder / f"results/cells/{ISNET}/train/provenance.json").unlink()
    assert ("train", ISNET) in project.planned()


def test_a_changed_rule_repeats_all_but_frozen_cells(project):
    project.replace("workflow/rules/cells.smk", " train ", "  train ")
    assert {cell for rule, cell in project.planned() if rule == "train"} == set(ALL)
    freeze_isnet(project)
    assert {cell for rule, cell in project.planned() if rule == "train"} == {FCN, FCN_FAST}


def test_benchmark_files_that_are_gone_rerun_nothing(project):
    files = list((project.folder / "logs").rglob("*.tsv"))
    assert len(files) > 10
    for file in files:
        file.unlink()
    assert project.planned() == set()


def test_a_limited_cell_runs_beside_the_whole_one(project, finished):
    name = FCN.replace("slow", "slow_limit10")
    target = f"results/cells/{name}/val-ss/metrics.json"
    output = project.snakemake("-n", target, "--config", "limit=10").output
    assert jobs(output) == {(step, name) for step in ("train", "predict", "score")}
    (train,), (score,) = (re.findall(f"seglib {step} .*", output) for step in ("train", "score"))
    assert '"limit":10' in train
    assert " --subset " in score
    assert "--subset" not in finished.first_output, "all images have predictions"
