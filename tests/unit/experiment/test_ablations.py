"""Ablations as targets beside a configuration: shared where both mean the same, refused otherwise."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from seglib.experiment import ablations, config
from tests.workflow.project import CONFIG

FOLDER = Path(__file__).parents[3] / "config"
VARIANTS = {"no_context": {"methods": ["isnet"], "method": {"image_context": False}}}


def write(folder, name="mine", **changes):
    values = copy.deepcopy(CONFIG) | {"variants": VARIANTS} | changes
    values["matrix"] = [values["matrix"][1] | {"variants": ["no_context"]}]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))


def test_those_that_come_with_seglib_run_beside_the_default_configuration():
    current = config.load(config.read(FOLDER / "default.yaml"))
    together, found = ablations.load_all(FOLDER / "ablations", current)
    assert set(found) >= {"ddsm", "isnet", "mcibi", "srm_crm"}
    assert {name: ablation.conflict for name, ablation in found.items()} == dict.fromkeys(found)
    ids = {cell.id for cell in together.cells}
    for ablation in found.values():
        assert ids >= {cell.id for cell in ablation.plan.cells}
    assert together.cells[: len(current.cells)] == current.cells


def test_ones_own_file_is_one_more(tmp_path):
    write(tmp_path)
    current = config.load(CONFIG | {"results": "elsewhere"})
    together, found = ablations.load_all(tmp_path, current)
    assert found["mine"].conflict is None
    assert found["mine"].values["results"] == "elsewhere"
    assert len(together.cells) == len(current.cells) + 1
    [added] = [cell for cell in together.cells if cell.variant]
    assert together.evaluations(added)


def test_a_frozen_one_freezes_no_cell_of_the_run(tmp_path):
    values = copy.deepcopy(CONFIG) | {"variants": VARIANTS}
    values["matrix"] = [values["matrix"][1] | {"variants": ["no_context"], "freeze": True}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    together, _ = ablations.load_all(tmp_path, config.load(CONFIG))
    assert {cell.variant for cell in together.cells if cell.id in together.frozen} == {"no_context"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"recipes": {**CONFIG["recipes"], "slow": CONFIG["recipes"]["slow"] | {"lr": 0.5}}},
            r"its cell scenes/isnet/small/slow/seed0 is not .*recipe.lr: 0.01 -> 0.5",
        ),
        ({"methods": {"isnet": {"width": 64}}}, "its model isnet/small is not that of the current"),
        ({"protocols": {"ss": {"flip": True}}}, "its protocol ss is not that of the current"),
        ({"boundary_ratio": 0.01}, "boundary_ratio is not that of the current"),
    ],
)
def test_one_that_means_something_else_runs_by_itself_only(tmp_path, changes, message):
    write(tmp_path, **changes)
    current = config.load(CONFIG)
    together, found = ablations.load_all(tmp_path, current)
    assert together == current
    assert re.search(message, found["mine"].conflict)
    assert f"--configfile {tmp_path / 'mine.yaml'}" in found["mine"].conflict


def test_what_restricts_the_run_restricts_its_ablations(tmp_path):
    write(tmp_path)
    current = config.load(CONFIG | {"limit": 20, "pictures": False, "only": "seed0"})
    together, found = ablations.load_all(tmp_path, current)
    assert found["mine"].conflict is None
    assert {cell.limit for cell in together.cells} == {20}
    assert not found["mine"].plan.config.pictures


def test_one_without_the_cells_that_a_run_is_restricted_to_is_refused_when_it_is_asked_for(tmp_path):
    write(tmp_path)
    current = config.load(CONFIG | {"only": "fcn"})
    together, found = ablations.load_all(tmp_path, current)
    assert together == current
    assert "config.only: unknown name 'fcn'" in found["mine"].conflict


def test_a_mistake_names_the_file(tmp_path):
    (tmp_path / "broken.yaml").write_text("title: 1\n")
    with pytest.raises(ValueError, match=r"broken.yaml: config.title: expected text"):
        ablations.load_all(tmp_path, config.load(CONFIG))
