"""Results as records: traced, verified, merged and watched, whole and damaged. Torch is not needed."""

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglib import cli
from seglib.core import checksums, provenance
from seglib.experiment import config, records
from seglib.results import merge, status, trace
from tests.unit import fabricated
from tests.workflow.project import CONFIG, FCN, FCN_FAST, ISNET, ROOT, Project

TEST = Path("results", "cells", FCN, "val-ss")
MODEL = Path("results", "cells", FCN, "train", "model.safetensors")


@pytest.fixture
def seglib(project, monkeypatch, capsys):
    """The command line in the project's folder: exit code and what it printed."""
    monkeypatch.chdir(project.folder)

    def call(*arguments):
        code = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return call


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def edit_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


class TestTrace:
    def test_a_row_a_file_and_a_cell_lead_to_the_same_chain(self, seglib):
        with open("results/summary.csv", newline="") as file:
            line = next(i for i, row in enumerate(csv.DictReader(file), 2) if row["cell"] == FCN)
        code, row = seglib("trace", f"results/summary.csv:{line}")
        assert code == 0
        assert "the row has the miou" in row
        for result in (TEST / "metrics.json", FCN):
            code, out = seglib("trace", result)
            assert code == 0, out
            links = [text for text in out.splitlines() if text.startswith("  ")]
            assert set(links) < set(row.splitlines())
            assert sum(text.startswith("  ok") for text in links) == 13
            # The project is no git checkout; everything else can be checked.
            assert [t for t in links if t.startswith("  -")] == [
                f"  -      {step} ran seglib {provenance.__version__}, installed without git"
                for step in ("train", "predict")
            ]

    def test_a_row_of_another_table_is_one_line(self, seglib):
        columns = Path("results/verdicts.csv").read_text().splitlines()[0].split(",")
        assert {"method", "reason"} < set(columns)
        Path("results/empty.csv").write_text("")
        for name in ("verdicts", "empty"):
            code, out = seglib("trace", f"results/{name}.csv:2")
            assert code == 2
            assert out.splitlines()[1:] == [
                f"seglib trace: error: results/{name}.csv: no column 'cell'; "
                "give a row of a results folder's summary.csv"
            ]

    @pytest.mark.parametrize(
        ("file", "broken"),
        [
            (TEST / "counts.npz", "counts.npz: changed after it was written"),
            (MODEL, "the predictions are of this model"),
            (TEST / "predictions" / "0003.png", "0003.png: changed after it was written"),
            (Path("data/scenes/raw/images/val/0005.png"), "raw/images/val/0005.png"),
        ],
    )
    def test_a_changed_file_breaks_its_link(self, seglib, file, broken):
        flip_byte(file)
        code, out = seglib("trace", TEST / "metrics.json")
        assert code == 2
        assert any("WRONG" in line and broken in line for line in out.splitlines()) or (
            file.suffix == ".npz" and "not a file of counts" in out
        )

    def test_a_number_that_does_not_follow_from_the_counts(self, seglib):
        metrics = TEST / "metrics.json"
        edit_json(metrics, miou=0.99)
        checksums.seal(
            TEST / "score.sha256", [metrics, TEST / "counts.npz", TEST / "scoring.json"]
        )  # a forger's
        code, out = seglib("trace", metrics)
        assert code == 2
        assert "WRONG  metrics.json follows from counts.npz (40 images): not miou" in out

    def test_a_label_that_changed_since(self, seglib):
        path = Path("data/scenes/labels/val/0002.png")
        with Image.open(path) as image:
            pixels, palette = np.array(image), image.getpalette()
        pixels[0, 0] = (pixels[0, 0] + 1) % 11
        image = Image.fromarray(pixels)
        image.putpalette(palette)
        image.save(path)
        code, out = seglib("trace", TEST)
        assert code == 2
        assert "WRONG  val: 40 images and label maps are those of manifest.json: not" in out

    def test_a_limited_cell_was_scored_against_the_labels_of_its_images(self, seglib):
        kept = sorted(TEST.glob("predictions/*.png"))[::4]
        for file in set(TEST.glob("predictions/*.png")) - set(kept):
            file.unlink()
        checksums.seal(TEST / "predict.sha256", [*kept, TEST / "prediction.json"])
        arguments = ["--num-classes", 11, "--class-names", "data/scenes/classes.txt", "--subset"]
        folders = ["--predictions", TEST / "predictions", "--labels", "data/scenes/labels/val"]
        assert seglib("score", *folders, *arguments, "--out", TEST / "metrics.json")[0] == 0
        code, out = seglib("trace", TEST)
        assert code == 0, out
        assert "metrics.json follows from counts.npz (10 images)" in out
        assert "ok     the counts are against these label maps (SHA-256)" in out

    def test_what_is_not_here_is_said_and_is_no_fault(self, seglib):
        shutil.rmtree("data")
        shutil.rmtree(TEST / "predictions")
        code, out = seglib("trace", TEST)
        assert code == 0
        assert "data/scenes: the data set is not here" in out
        assert "-      predictions: 40 files are gone" in out

    def test_half_a_result_is_one_line(self, seglib):
        (TEST / "metrics.json").write_text('{"miou": 0.')
        code, out = seglib("trace", TEST)
        assert code == 2
        assert out.splitlines()[-1].endswith(
            "metrics.json: not valid JSON; delete it and run the workflow again"
        )

    def test_a_cell_lies_in_the_folder_of_its_name(self, seglib):
        cell = TEST.parent
        shutil.copytree(cell, cell.with_name("seed7"))
        code, out = seglib("trace", cell.with_name("seed7"))
        assert code == 2
        assert "WRONG  cell.json belongs to this folder" in out
        edit_json(cell / "train" / "cell.json", setting_of_another_version=1)
        checksums.seal(
            cell / "train" / "train.sha256", checksums.sealed_files(cell / "train" / "train.sha256")
        )
        code, out = seglib("trace", cell)
        assert code == 0, out
        unknown = f"{cell}/train/cell.json: cell.setting_of_another_version: unknown setting"
        assert f"-      cell, data and source: {unknown}" in out

    def test_the_source_is_that_of_its_commit(self, project, monkeypatch):
        def git(*arguments):
            user = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
            done = subprocess.run(
                ["git", *user, *arguments], cwd=project.folder, check=True, capture_output=True, text=True
            )
            return done.stdout.strip()

        git("init", "-q")
        git("add", "seglib")
        git("commit", "-q", "-m", "first")
        monkeypatch.setattr(provenance, "SOURCE", project.folder / "seglib")
        (cell,) = (cell for cell in config.load(CONFIG).cells if cell.id == FCN)
        training = fabricated.training(cell, commit=git("rev-parse", "HEAD"))

        def source(**changes):
            return trace._source("train", replace(training, **changes), "fcn")

        assert source().state == "ok"
        assert source(code=training.code | {"seglib.models.fcn:FCN": "0" * 12}).state == "wrong"
        assert source(commit="0" * 40).state == "unchecked"
        assert source(dirty=True).state == "unchecked"
        monkeypatch.setenv("PATH", str(project.folder))
        check = source()
        assert (check.state, check.what) == (
            "unchecked",
            f"train ran commit {training.commit}, and no git is here to ask",
        )


class TestVerify:
    def test_untouched_results_are_as_written(self, seglib):
        code, out = seglib("verify-results", "results")
        assert code == 0
        assert "no seal" not in out

    def test_every_kind_of_change_is_found(self, seglib):
        flip_byte(MODEL)
        (TEST / "predictions" / "0007.png").unlink()
        edit_json(Path("results/cells", ISNET, "train", "provenance.json"), host="elsewhere")
        [cost] = Path("results/models/scenes/isnet").rglob("*[0-9].json")
        edit_json(cost, params=1)
        Path("results/summary.csv").write_text("")
        (TEST / "notes.txt").write_text("mine")
        code, out = seglib("verify-results", "results")
        assert code == 2
        assert out.count(": changed after it was written") == 4 + 1  # the last line repeats the first
        assert "0007.png: gone" in out
        assert f"1 files have no seal, so that nothing is known of them:\n    {TEST}/notes.txt" in out


def test_results_without_models_and_predictions_can_be_verified_and_traced(seglib):
    """As results are published: what is small stays, and still speaks for what is not there."""
    for file in [*Path("results").rglob("*.safetensors"), *Path("results").rglob("predictions/*.png")]:
        file.unlink()
    code, out = seglib("verify-results", "results")
    assert code == 2
    assert "model.safetensors: gone" in out
    code, out = seglib("verify-results", "results", "--ignore-missing")
    assert code == 0
    assert re.search(r"\d+ files are as their steps wrote them \(\d+ seals\); \d+ more are not here", out)
    code, out = seglib("trace", TEST / "metrics.json")
    assert code == 0, out
    assert "ok     the predictions are of this model" in out
    edit_json(TEST / "prediction.json", model_sha256="0" * 64)
    assert seglib("verify-results", "results", "--ignore-missing")[0] == 2
    assert "WRONG  the predictions are of this model" in seglib("trace", TEST / "metrics.json")[1]


class TestStatus:
    def test_every_state_with_its_log(self, seglib, monkeypatch):
        shutil.rmtree(Path("results/cells", FCN))  # trained no more, but a log lies there
        shutil.rmtree(Path("results/cells", ISNET))
        Path("logs/cells", ISNET, "train.log").write_text("seglib train: error: no weights\n")
        log = Path("logs/cells", FCN, "train.log")
        log.write_text("train x: 1/2, 3/s, 00:01 left\n")
        values = CONFIG | {"recipes": {**CONFIG["recipes"]}}
        values["recipes"]["fast"] = CONFIG["recipes"]["fast"] | {"lr": 0.5}
        values["matrix"] = [*CONFIG["matrix"], CONFIG["matrix"][1] | {"seeds": [4]}]
        code, out = seglib("status", "--config", json.dumps(values))
        assert code == 0
        assert out.splitlines()[0] == "4 cells: 1 running, 1 failed, 1 missing, 1 outdated"
        assert f"{FCN}: train x: 1/2, 3/s, 00:01 left\n        {log}" in out
        assert f"{ISNET}: train: no weights\n        logs/cells/{ISNET}/train.log" in out
        assert f"{FCN_FAST}: train: result has other values: recipe.lr: 0.02 -> 0.5" in out
        # Silent for long by the disk's clock, whatever this machine's says.
        written_s = log.stat().st_mtime
        monkeypatch.setattr(status, "disk_time_s", lambda folder: written_s + status.QUIET_S + 1)
        assert "1 stopped" in seglib("status", "--config", json.dumps(values))[1]

    def test_a_disk_that_may_only_be_read_is_no_hindrance(self, project, monkeypatch):
        monkeypatch.chdir(project.folder)
        shutil.rmtree(Path("results/cells", FCN))
        Path("logs/cells", FCN, "train.log").touch()

        def refuse(**_):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        states = {record.cell.id: state for state, record, _ in status.cell_states(config.load(CONFIG))}
        assert states == {FCN: "running", FCN_FAST: "done", ISNET: "done"}

    def test_a_wrong_clock_here_stops_nothing(self, project, monkeypatch):
        """Files of a machine whose disk's clock is an hour behind."""
        monkeypatch.chdir(project.folder)
        shutil.rmtree(Path("results/cells", FCN))
        log = Path("logs/cells", FCN, "train.log")
        behind_s = log.stat().st_mtime - 3600
        os.utime(log, (behind_s, behind_s))
        monkeypatch.setattr(status, "disk_time_s", lambda folder: behind_s + 1)
        states = {record.cell.id: state for state, record, _ in status.cell_states(config.load(CONFIG))}
        assert states == {FCN: "running", FCN_FAST: "done", ISNET: "done"}


class TestMerge:
    @pytest.fixture
    def other(self, project):
        """Another machine's results: one cell equal, one that is not here, one trained otherwise."""
        other = project.folder / "other"
        shutil.copytree(project.folder / "results", other)
        here = project.folder / "results" / "cells"
        shutil.rmtree(here / ISNET)
        cell = other / "cells" / FCN_FAST / "train"
        flip_byte(cell / "model.safetensors")
        edit_json(cell / "cell.json", seed=5)
        names = ("model.safetensors", "cell.json", "train_log.jsonl", "provenance.json")
        checksums.seal(cell / "train.sha256", [cell / name for name in names])
        return other

    def test_what_is_new_is_taken_and_nothing_is_overwritten(self, seglib, other, project):
        before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
        code, out = seglib("merge", "results", other, "--out", "results")
        assert code == 2
        assert "2 copied, 6 in both and equal, 1 conflicts, 0 not whole" in out
        assert f"{FCN_FAST}/train differ in seed: 0 -> 5" in out
        assert {path: path.read_bytes() for path in before} == before
        assert (Path("results/cells") / ISNET / "val-ss" / "predictions" / "0000.png").exists()
        # The merged cell counts as made; only the tables may follow.
        assert {rule for rule, _ in project.planned()} <= {"compare", "report"}
        assert seglib("verify-results", "results")[0] == 0

    def test_a_test_of_an_equal_training_counts_though_that_ended_later_here(self, seglib, other, project):
        shutil.rmtree(other / "cells" / FCN_FAST)
        shutil.rmtree(TEST)
        shutil.rmtree(Path("logs/cells", FCN, TEST.name))  # nor its `benchmark:` files: never tested here
        for path in TEST.parent.joinpath("train").iterdir():
            os.utime(path, (path.stat().st_mtime + 3600,) * 2)
        assert seglib("merge", other, "--out", "results")[0] == 0
        assert {rule for rule, cell in project.planned() if cell == FCN} == set()

    def test_into_a_new_folder_and_again(self, seglib, other):
        assert seglib("merge", "results", "other", "--out", "both")[0] == 2
        code, out = seglib("merge", "results", "--out", "both")
        assert code == 0
        assert "0 copied, 8 in both and equal" in out

    def test_the_speed_of_another_machine_contradicts_nothing(self, seglib, other):
        shutil.rmtree(other / "cells" / FCN_FAST)
        [cost] = Path("results/models/scenes/fcn").rglob("*[0-9].json")
        (cell,) = (cell for cell in config.load(CONFIG).cells if cell.id == FCN)
        for folder, images_per_s in (("results", 2.0), ("other", 3.0)):
            speed = Path(folder) / cost.relative_to("results").with_suffix(".speed.json")
            records.write(speed, fabricated.speed(cell, images_per_s=images_per_s))
            checksums.seal(speed.with_suffix(".sha256"), [speed])
        code, out = seglib("merge", other, "--out", "results")
        assert code == 0
        assert "was measured on another machine than results/models/scenes/fcn" in out
        assert json.loads(cost.with_suffix(".speed.json").read_text())["images_per_s"] == 2.0

    def test_a_cost_that_changed_after_it_was_written_is_damage(self, seglib, other):
        [cost] = Path(other, "models/scenes/fcn").rglob("*[0-9].json")
        edit_json(cost, params=1)
        code, out = seglib("merge", other, "--out", "both")
        assert code == 2
        assert "1 not whole" in out
        assert f"{cost}: changed after it was written" in out
        assert not Path("both", cost.relative_to(other)).exists()

    def test_a_cost_never_comes_without_its_seal(self, seglib, other, monkeypatch):
        copy, copied = shutil.copy2, []

        def killed(source, target, **_):
            if copied:
                raise KeyboardInterrupt
            copied.append(copy(source, target))

        shutil.rmtree(other / "cells")
        (other / "cells").mkdir()
        monkeypatch.setattr(merge.shutil, "copy2", killed)
        assert seglib("merge", other, "--out", "both")[0] == 130
        monkeypatch.undo()
        monkeypatch.chdir(other.parent)
        assert seglib("merge", other, "--out", "both")[0] == 0
        assert "no seal" not in seglib("verify-results", "both")[1]

    def test_what_killed_writers_left_is_left_behind(self, seglib, other):
        cell = other / "cells" / ISNET
        for leftover in (cell / "val-ss" / ".predictions.k1ll3d", cell / "train" / ".cell.json.k1ll3d"):
            leftover.mkdir()
            (leftover / "half").write_bytes(b"x")
        assert seglib("merge", other, "--out", "results")[0] == 2  # the one conflict
        merged = {path.name for path in Path("results/cells", ISNET).rglob(".*")}
        assert merged == {".snakemake_timestamp"}

    def test_an_empty_folder_is_no_result(self, seglib, other):
        """As Snakemake makes it for a job that has not written yet."""
        Path("results/cells", ISNET, "train").mkdir(parents=True)
        Path("results/cells", ISNET, "val-ss", "predictions").mkdir(parents=True)
        assert "2 copied, 6 in both and equal, 1 conflicts" in seglib("merge", other, "--out", "results")[1]
        assert Path("results/cells", ISNET, "train", "model.safetensors").exists()

    def test_published_results_are_taken_without_models_and_predictions(self, seglib, other):
        for file in [*other.rglob("*.safetensors"), *other.rglob("predictions/*.png")]:
            file.unlink()
        code, out = seglib("merge", other, "--out", "both")
        assert code == 0
        assert "10 copied, 0 in both and equal, 0 conflicts, 0 not whole" in out
        assert "model.safetensors: 3 files were not there to be copied" in out
        assert "predictions: 120 files were not there to be copied" in out
        assert seglib("verify-results", "both", "--ignore-missing")[0] == 0
        # What the seals say of the models is compared: one was trained otherwise, one is the same.
        code, out = seglib("merge", "results", "--out", "both")
        assert code == 2
        assert "0 copied, 6 in both and equal, 1 conflicts, 0 not whole" in out
        assert f"{FCN_FAST}/train differ in seed: 5 -> 0" in out
        assert "predictions: 1 units stay without, though a source has it" in out
        assert not Path("both/cells", FCN, "train", "model.safetensors").exists()

    def test_other_losses_are_damage(self, seglib, other):
        (other / "cells" / ISNET / "train" / "provenance.json").unlink()
        (other / "cells" / FCN / "val-ss" / "predictions" / "0007.png").unlink()
        (other / "cells" / FCN_FAST / "train" / "cell.json").unlink()
        code, out = seglib("merge", other, "--out", "both")
        assert code == 2
        assert "5 copied, 0 in both and equal, 0 conflicts, 3 not whole" in out
        for lost in ("train/provenance.json", "val-ss/predictions/0007.png", "train/cell.json"):
            assert f"{lost}: gone" in out

    def test_a_model_that_neither_file_nor_seal_knows_is_damage(self, seglib, other):
        for name in ("model.safetensors", "train.sha256"):
            (other / "cells" / ISNET / "train" / name).unlink()
        code, out = seglib("merge", other, "--out", "both")
        assert code == 2
        assert f"{ISNET}/train/model.safetensors: gone" in out

    def test_half_a_result_is_left_behind(self, seglib, other):
        (other / "cells" / ISNET / "train" / "model.safetensors").write_bytes(b"half")
        code, out = seglib("merge", other, "--out", "results")
        assert code == 2
        assert f"{ISNET}/train/model.safetensors: changed after it was written" in out
        assert not Path("results/cells", ISNET).exists()

    def test_a_full_disk_leaves_nothing_half_and_says_so(self, seglib, other, monkeypatch):
        def full(source, target, **_):
            (Path(target) / "model.safetensors").write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(merge.shutil, "copytree", full)
        code, out = seglib("merge", other, "--out", "results")
        assert code == 2
        assert "No space left on device; free some and run again" in out
        assert not Path("results/cells", ISNET, "train").exists()
        monkeypatch.undo()
        monkeypatch.chdir(other.parent)
        assert seglib("merge", other, "--out", "results")[0] == 2  # the one conflict; the rest is there now
        assert Path("results/cells", ISNET, "train", "model.safetensors").exists()


def test_no_record_needs_torch(project):
    project = Project(project.folder)
    trap = project.folder / "trap" / "torch"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise ImportError('torch was imported')")
    commands = (["trace", FCN], ["verify-results", "results"], ["status", "--config", "run.yaml"])
    code = "import sys; from seglib import cli\nfor words in sys.argv[1:]: cli.main(words.split())"
    subprocess.run(
        [sys.executable, "-c", code, *map(" ".join, commands)],
        cwd=project.folder,
        env=os.environ | {"PYTHONPATH": f"{trap.parent}:{ROOT}"},
        check=True,
        capture_output=True,
    )
