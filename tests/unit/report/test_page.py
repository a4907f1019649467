import contextlib
import csv
import io
import json
import re
import subprocess
import sys
import time
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import pytest

from seglib.claims import compare
from seglib.core.files import write_json
from seglib.experiment import paths
from seglib.report import naming, page
from tests.unit import fabricated

LONG = {"iterations": 40000, "batch_size": 8, "crop_hw": [48, 64], "lr": 0.05}
HOSTILE = [
    "<script>window.hacked = 1</script>",
    "\"quoted\" & 'single' {{ 7 * 7 }}",
    "</td></table><img src=x onerror=window.hacked=1>",
    "naïve ☂ 类 ‮txet",
    "w" * 200,
]


class Links(HTMLParser):
    """Addresses and ids of a page, and the text outside of styles and scripts."""

    def __init__(self, path: Path):
        super().__init__()
        self.addresses, self.ids, self.text, self.open = [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        for name, value in attributes:
            if name in ("href", "src"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)


def check_links(out: Path) -> int:
    """Every address in every page leads to a file (and an id) that is there; returns how many there are."""
    pages = {path: Links(path) for path in out.rglob("*.html")}
    count = 0
    for path, links in pages.items():
        assert len(links.ids) == len(set(links.ids)), f"{path}: an id occurs twice"
        for address in links.addresses:
            if address.startswith(("data:", "https://arxiv.org/", "https://github.com/")):
                continue
            file, _, anchor = address.partition("#")
            target = (path.parent / unquote(file)).resolve() if file else path
            assert target.exists(), f"{path}: {address}"
            assert not anchor or anchor in pages[target].ids, f"{path}: {address}"
            count += 1
    return count


def build(made, **options) -> str:
    """The index page."""
    page.run(config=made.config, results=made.results, out=made.out, partial=options.get("partial", False))
    return (made.out / "index.html").read_text(encoding="utf-8")


def test_a_finished_run_gives_all_files(finished):
    out = finished.out
    assert check_links(out) > 100
    assert len(list((out / "cells").glob("*.html"))) == 6
    names = {path.stem for path in (out / "tables").glob("*.csv")}
    assert names == {path.stem for path in (out / "tables").glob("*.tex")}
    assert {"results.scenes.val-ss", "ablations.scenes.val-ss", "cost", "cells", "scope"} <= names
    assert {"claims.isnet", "complexity-audit", "paper-scale-costs"} <= names
    speed = (out / "tables" / "speed.csv").read_text(encoding="utf-8").splitlines()
    assert len(speed) == 1 + 3, "one row per model, whatever the number of seeds"
    assert speed[1].startswith("fcn,small,scenes,48×64,1,12.500000,12.000000,14.000000,80.000000,0.500000,")
    assert {path.suffix for path in (out / "figures").iterdir()} == {".svg", ".png"}
    assert (out / "datasets" / "scenes.html").is_file()
    assert "6 of 6 cells done" in (out / "README.md").read_text(encoding="utf-8")


def test_an_archive_holds_the_long_tail_and_completes_the_report(finished, tmp_path):
    page.run(
        config=finished.config, results=finished.results, out=tmp_path / "few", partial=False, archive=True
    )
    names = {path.name for path in (tmp_path / "few").iterdir()}
    assert names == {
        *("index.html", "README.md", "results.json", "results.schema.json", "figures", "details.zip")
    }
    assert check_links(tmp_path / "few") > 20
    zipfile.ZipFile(tmp_path / "few" / page.ARCHIVE).extractall(tmp_path / "few")
    (tmp_path / "few" / page.ARCHIVE).unlink()
    page.run(config=finished.config, results=finished.results, out=tmp_path / "all", partial=False)
    few, whole = (
        {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in (tmp_path / "few", tmp_path / "all")
    )
    assert few == whole


def test_the_page_says_what_its_numbers_are_not(finished):
    index = (finished.out / "index.html").read_text(encoding="utf-8")
    assert "no evidence for or against any published number" in index
    for cell in (finished.out / "cells").glob("*.html"):
        assert "A check of the machinery" in cell.read_text(encoding="utf-8")


def test_numbers_on_the_page_are_those_of_the_files(finished):
    cell = finished.plan.cells[0]
    metrics = paths.evaluation_folder(finished.results, cell, "val-ss") / "metrics.json"
    miou = json.loads(metrics.read_text())["miou"]
    shown = Links(finished.out / naming.page(cell.id)).text
    assert f"{100 * miou:.2f} %" in shown
    results = json.loads((finished.out / "results.json").read_text(encoding="utf-8"))
    assert results["counts"] == {"done": 6, "failed": 0, "unfinished": 0, "outdated": 0, "missing": 0}
    assert results["cells"][0]["tests"]["val-ss"]["metrics"]["miou"] == miou
    rows = list(
        csv.DictReader(io.StringIO((finished.out / "tables" / "cells.csv").read_text(encoding="utf-8")))
    )
    assert float(rows[0]["miou"]) == pytest.approx(miou, abs=1e-6)


@pytest.mark.parametrize("complete", [True, False])
def test_the_results_file_keeps_to_its_published_schema(finished, fabricate, complete):
    made = finished
    if not complete:
        made = fabricate()
        made.run(made.plan.cells[1])
        made.fail(made.plan.cells[0], "out of memory", "")
        build(made, partial=True)
    schema = json.loads((made.out / "results.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((made.out / "results.json").read_text(encoding="utf-8")), schema)


def test_every_method_shows_its_fidelity_tags(finished):
    index = (finished.out / "index.html").read_text(encoding="utf-8")
    assert "own choice" in index
    assert "author code" in index


def test_the_same_results_give_the_same_bytes(finished):
    def read() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in finished.out.rglob("*") if path.is_file()}

    before = read()
    build(finished)
    assert read() == before


def test_an_unfinished_run_is_refused_unless_partial(fabricate):
    made = fabricate()
    made.run(made.plan.cells[0])
    with pytest.raises(ValueError, match=r"5 of 6 cells are not done, first scenes/.*--partial"):
        build(made)
    assert not made.out.exists()


def test_a_failed_cell_is_shown_with_its_reason_and_log(fabricate):
    made = fabricate()
    for cell in made.plan.cells[1:-1]:
        made.run(cell)
    made.fail(made.plan.cells[0], "the loss is nan at iteration 7", "step 6\nthe last words\n")
    text = " ".join(Links(made.out / "index.html").text) if build(made, partial=True) else ""
    assert "4 of 6" in text
    assert "1 failed, 1 not run" in text
    assert "train: the loss is nan at iteration 7" in text
    assert "the last words" in text
    failed = Links(made.out / naming.page(made.plan.cells[0].id))
    assert any("the loss is nan" in part for part in failed.text)
    assert "the loss is nan" in (made.out / "README.md").read_text(encoding="utf-8")
    check_links(made.out)


def test_nothing_run_and_nothing_planned_are_pages_too(fabricate):
    made = fabricate()
    (made.data / "scenes" / "manifest.json").unlink()
    assert "0 of 6" in build(made, partial=True)
    check_links(made.out)
    made.config["matrix"] = []
    assert "0 of 0" in build(made)
    check_links(made.out)
    assert list((made.out / "cells").glob("*.html")) == [], (
        "pages of cells that are no longer planned go away"
    )


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_stay_text(fabricate):
    made = fabricate(title=HOSTILE[0], class_names=HOSTILE)
    for cell in made.plan.cells[1:]:
        made.run(cell)
    made.fail(
        made.plan.cells[0], "<script>window.hacked = 2</script>", "</pre><script>window.hacked = 3</script>\n"
    )
    index = build(made, partial=True)
    assert "<script>window" not in index
    assert "onerror=window" not in index.replace("&lt;img src=x onerror=window.hacked=1&gt;", "")
    for path in made.out.rglob("*.html"):
        assert Links(path).text.count("window.hacked") == 0 or "<script>window" not in path.read_text("utf-8")
    text = "".join(Links(made.out / "index.html").text)
    for name in HOSTILE:
        assert name in text
    check_links(made.out)


def test_long_names_of_cells_make_usable_files(fabricate):
    name = "b" * 200
    recipe = {"iterations": 300, "batch_size": 8, "crop_hw": [48, 64], "lr": 0.05}
    made = fabricate(
        backbones={name: {"model": "resnet18"}},
        recipes={"r" * 200: recipe},
        variants={},
        matrix=[
            {
                "datasets": ["scenes"],
                "methods": ["fcn"],
                "backbones": [name],
                "recipes": ["r" * 200],
                "seeds": [0],
            }
        ],
    )
    made.run_all()
    assert name in build(made)
    check_links(made.out)


def test_folders_of_others_are_never_replaced(fabricate):
    made = fabricate()
    theirs = made.out / "cells" / "notes.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(ValueError, match=r"cells: not made by a report"):
        build(made, partial=True)
    assert theirs.read_text() == "mine"


def test_missing_inputs_are_told_and_cost_only_their_part(fabricate):
    made = fabricate()
    made.run_all()
    first, second, third = made.plan.cells[:3]
    for file in (paths.evaluation_folder(made.results, first, "val-ss") / "predictions").iterdir():
        file.unlink()
    (paths.evaluation_folder(made.results, second, "val-ss") / "counts.npz").unlink()
    paths.complexity_file(made.results, third).unlink()
    (made.data / "scenes" / "images" / "val" / "frame 0.png").write_bytes(b"no image")
    build(made)
    text = ["".join(Links(made.out / naming.page(c.id)).text) for c in made.plan.cells]
    assert "No pictures:" in text[0]
    assert "Without counts.npz" in text[1]
    assert any("frame 0.png: not a readable image" in part for part in text[2:])
    check_links(made.out)


def test_a_page_to_publish_shows_no_image_of_the_data_set(fabricate):
    made = fabricate(pictures=False)
    made.run_all()
    build(made)
    assert [path.name for path in made.out.rglob("*") if path.suffix in (".jpg", ".jpeg")] == []
    text = "".join(Links(made.out / naming.page(made.plan.cells[0].id)).text)
    assert "No pictures: the configuration leaves them out" in text
    check_links(made.out)


def test_uneven_conditions_are_warned_of(fabricate):
    made = fabricate()
    made.run_all()
    path = paths.train_folder(made.results, made.plan.cells[0]) / "provenance.json"
    changes = {"dirty": True, "commit": "f" * 40, "data_digest": "e" * 64, "cpu": "Another CPU x 64"}
    write_json(path, json.loads(path.read_text()) | changes)
    index = build(made)
    assert "1 cell was trained from a source tree with uncommitted changes" in index
    assert "Trained from 2 commits: 0123456789, ffffffffff" in index
    assert "different versions of its data" in index
    assert "2 kinds of device" in index
    values = json.loads(path.read_text())
    attempt = {name: values[name] for name in fabricated.ORIGIN if name != "command"}
    attempt |= {"after_iteration": 0, "device": "cuda", "processes": 4, "norm_batch_size": 8, "gpu": "A Card"}
    write_json(path, values | {"attempts": [attempt, attempt | {"after_iteration": 90, "gpu": None}]})
    assert "3 kinds of device: A Card; Another CPU x 64; Some CPU x 2" in build(made)


def test_a_frozen_cell_says_that_its_code_has_changed(fabricate):
    made = fabricate()
    made.config["matrix"][0]["freeze"] = True
    made.run_all()
    assert "kept as frozen" not in build(made)
    path = paths.train_folder(made.results, made.plan.cells[0]) / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["code"]["seglib.models.fcn"] = "another"
    write_json(path, provenance)
    assert "1 cell was kept as frozen; the code of its training has changed since." in build(made)
    cell = made.out / naming.page(made.plan.cells[0].id)
    assert "changed: seglib.models.fcn" in Links(cell).text


def test_a_frozen_cell_is_shown_with_the_values_that_it_ran_with(fabricate):
    made = fabricate()
    made.run_all()
    made.config["matrix"][0]["freeze"] = True
    made.config["recipes"]["quick"]["iterations"] = 100_000
    index = build(made)
    said = "6 cells were kept as frozen with other values than the configuration has today"
    assert f"{said}: recipe.iterations: 300 -&gt; 100000." in index
    assert "300 iterations" in index
    assert "100,000 iterations" not in index
    page_of_cell = Links(made.out / naming.page(made.plan.cells[0].id))
    text = page_of_cell.text
    assert text[text.index("iterations") + 1] == "300"
    assert "changed: recipe.iterations: 300 -> 100000" in text
    check_links(made.out)


def test_an_outdated_result_shows_no_number_and_says_why(fabricate):
    made = fabricate()
    made.run_all()
    made.config["recipes"]["quick"]["iterations"] = 100_000
    reason = "train: result has other values: recipe.iterations: 300 -> 100000"
    with pytest.raises(ValueError, match=f"6 of 6 cells are not done, first .*: {reason}; run the workflow"):
        build(made)
    text = " ".join(Links(made.out / "index.html").text) if build(made, partial=True) else ""
    assert "0 of 6" in text
    assert "6 outdated" in text
    assert reason in text
    assert reason in (made.out / "README.md").read_text(encoding="utf-8").replace("\\", "")
    cell = Links(made.out / naming.page(made.plan.cells[0].id))
    assert "Training" not in cell.text, "no curve of another training"
    assert "There is no training to tell of." in cell.text
    results = json.loads((made.out / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(results, json.loads((made.out / "results.schema.json").read_text(encoding="utf-8")))
    assert results["counts"]["outdated"] == 6
    compare.run(config=made.config, out=made.results)
    with open(made.results / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["status"], row["reason"], row["miou"], row["train_time_s"]) for row in rows} == {
        ("outdated", reason, "", "")
    }
    check_links(made.out)


def test_building_a_page_imports_no_torch():
    code = "import sys, seglib.report.page, seglib.claims.compare; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow  # 200 cells have to be written before they can be read
def test_200_cells_take_seconds_and_a_small_index(fabricate):
    block = {"datasets": ["scenes"], "methods": ["fcn", "isnet"], "backbones": ["small", "large"]}
    made = fabricate(images=3, matrix=[block | {"recipes": ["quick", "long"], "seeds": list(range(25))}])
    with contextlib.redirect_stderr(io.StringIO()):
        made.run_all()
    assert len(made.plan.cells) == 200
    started_s = time.process_time()
    build(made)
    assert time.process_time() - started_s < 60, "30 s on two cores"
    assert (made.out / "index.html").stat().st_size < 5e6


def test_a_limited_run_is_marked_wherever_a_number_appears(fabricate):
    made = fabricate(
        limit=8,
        backbones={"small": {"model": "resnet18"}},
        recipes={"long": LONG},
        matrix=[
            {
                "datasets": ["camvid"],
                "methods": ["fcn", "isnet"],
                "backbones": ["small"],
                "recipes": ["long"],
                "seeds": [0],
                "variants": ["narrow"],
            }
        ],
    ).run_all()
    page.run(config=made.config, results=made.results, out=made.out, partial=False)
    compare.run(config=made.config, out=made.results)
    with open(made.results / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["not_comparable"] for row in rows} == {"at most 8 images of each split"}
    assert {row["recipe"] for row in rows} == {"long_limit8"}
    words = "at most 8 images"
    assert words in (made.out / "index.html").read_text()
    assert words in (made.out / "README.md").read_text()
    assert words in json.loads((made.out / "results.json").read_text())["machinery_check"]
    for path in (made.out / "cells").glob("*.html"):
        assert words in path.read_text(), path
    for path in (made.out / "tables").glob("*.*"):
        # Those are of models, whatever these are trained on; and no claim is judged by a limited run.
        if not path.stem.startswith(("cost", "speed", "complexity-audit", "paper-scale-costs", "claims")):
            assert re.search("limit\\\\?[_ ]?8|at most 8 images", path.read_text()), path
    for path in (made.out / "figures").glob("*.svg"):
        assert "limit 8" in path.read_text() or "limit8" in path.read_text(), path
