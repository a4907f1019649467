"""One tiny cell, really run from the embedded data to the page: the workflow of `make test`."""

import json

from tests.workflow.project import CONFIG, FCN, Project, copy_code


def test_one_cell_runs_to_the_page_and_again_only_as_far_as_an_edit_reaches(tmp_path):
    copy_code(tmp_path)
    project = Project(tmp_path)
    [block] = [block for block in CONFIG["matrix"] if block["methods"] == ["fcn"]]
    project.configure(CONFIG | {"matrix": [block | {"recipes": ["slow"]}]})
    of_cell = {(step, FCN) for step in ("train", "predict", "score")}
    beside = {(step, "") for step in ("download", "prepare", "complexity", "speed", "compare", "report")}
    assert project.ran() == of_cell | beside
    metrics = json.loads((tmp_path / "results/cells" / FCN / "val-ss/metrics.json").read_text())
    assert 0 < metrics["miou"] < 1
    assert FCN in (tmp_path / "results/summary.csv").read_text()
    assert "fcn" in (tmp_path / "reports/index.html").read_text()

    project.edit_prose("seglib/models/fcn.py")
    project.edit_code("seglib/models/isnet.py")  # which no cell uses
    assert "Nothing to be done" in project.snakemake().output
    project.edit_code("seglib/metrics/boundary.py")
    assert project.planned() == {("score", FCN), ("compare", ""), ("report", "")}
