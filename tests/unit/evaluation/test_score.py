"""The score command on folders of label PNGs, as a stranger uses it."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from seglib.core.checksums import sealed_files
from seglib.evaluation import score as score_step
from seglib.evaluation.paired_test import compare
from seglib.metrics.counts import Counts
from tests.unit.metrics.maps import IGNORE, random_pair
from tests.unit.metrics.test_boundary import per_class_loop

K = 5
RATIO = 0.02


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture(scope="module")
def maps():
    """Name -> label, prediction; two sizes. Class 3 is in no label, class 4 in none of both."""
    maps = {}
    for seed, name in enumerate(["north/a", "north/b", "south/a", "c"]):
        maps[name] = random_pair(seed, height=90 + seed, width=140, num_classes=3, blob=30, ignore=True)
    maps["c"][1][:10, :10] = 3
    return maps


@pytest.fixture
def folders(maps, tmp_path):
    """Predictions as palette PNGs, labels as grey ones."""
    for name, (label, prediction) in maps.items():
        write(tmp_path / "labels" / f"{name}.png", label)
        image = Image.frombytes("P", prediction.shape[::-1], prediction.tobytes())
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 9])
        (tmp_path / "predictions" / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "predictions" / f"{name}.png")
    return tmp_path


def score(folder, **changes):
    arguments = {
        "predictions": folder / "predictions",
        "labels": folder / "labels",
        "num_classes": K,
        "ignore_index": IGNORE,
        "boundary_ratio": RATIO,
        "class_names": None,
        "out": folder / "out" / "metrics.json",
        "workers": 1,
        "against": None,
        "csv": False,
        "latex": False,
    }
    arguments |= changes
    score_step.run(**arguments)
    return json.loads(arguments["out"].read_text())


def test_values_are_those_of_the_definitions(folders, maps):
    """IoU from the pixels, Boundary IoU by the published per-class loop; the mean leaves out class 4 only."""
    metrics = score(folders)
    region, boundary = np.zeros((3, K)), np.zeros((3, K))
    for label, prediction in maps.values():
        prediction = np.where(label == IGNORE, IGNORE, prediction)
        width = round(RATIO * np.hypot(*label.shape))
        boundary += per_class_loop(label, prediction, K, width)
        for c in range(K):
            g, p = label == c, prediction == c
            region[:, c] += (g & p).sum(), g.sum(), p.sum()
    for name, mean, (both, label, prediction) in (
        ("iou", "miou", region),
        ("boundary_iou", "boundary_iou", boundary),
    ):
        expected = both[:4] / (label + prediction - both)[:4]
        assert metrics["per_class"][name][:4] == pytest.approx(expected)
        assert metrics["per_class"][name][4] is None
        assert metrics[mean] == pytest.approx(expected.mean())
        assert expected[3] == 0
    assert metrics["pixel_accuracy"] == pytest.approx(region[0].sum() / region[1].sum())
    assert metrics["mean_accuracy"] == pytest.approx((region[0, :3] / region[1, :3]).mean())
    assert list(metrics["boundary_f"]) == ["3", "5", "9", "12"]
    assert metrics["per_class"]["boundary_f"]["3"][3:] == [None, None]
    assert metrics["num_images"] == 4
    assert metrics["class_names"] == ["0", "1", "2", "3", "4"]
    assert metrics["settings"]["boundary_ratio"] == RATIO


def test_counts_lie_beside_the_metrics_whatever_the_number_of_workers(folders):
    one = score(folders)
    assert score(folders, workers=3, out=folders / "other" / "m.json") == one
    counts, other = (Counts.load(folders / name / "counts.npz") for name in ("out", "other"))
    assert counts.images == other.images == ("c", "north/a", "north/b", "south/a")
    np.testing.assert_array_equal(counts.classes, other.classes)
    np.testing.assert_array_equal(counts.region, other.region)


def test_tables(folders, capsys):
    names = folders / "names.txt"
    names.write_text("road\nside_walk\nsky & air\ncar\nbus\n")
    metrics = score(folders, class_names=names, csv=True, latex=True)
    printed = capsys.readouterr().out.splitlines()
    first = [f"{100 * metrics['per_class'][key][0]:.2f}" for key in ("iou", "boundary_iou", "accuracy")]
    assert printed[1].split()[:4] == ["road", *first]
    assert printed[5].split() == ["bus", *"–" * 7]
    assert {len(line) for line in printed[:7]} == {len(printed[0])}
    rows = list(csv.DictReader((folders / "out" / "metrics.csv").open()))
    assert [row["class"] for row in rows] == ["road", "side_walk", "sky & air", "car", "bus", "mean"]
    assert float(rows[1]["boundary_iou"]) == metrics["per_class"]["boundary_iou"][1]
    assert float(rows[5]["boundary_f_9px"]) == metrics["boundary_f"]["9"]
    assert rows[4]["iou"] == ""
    latex = (folders / "out" / "metrics.tex").read_text()
    assert r"side\_walk & " in latex
    assert r"sky \& air & " in latex
    assert latex.count(r"\\") == 7


def test_categories(folders, capsys):
    names = folders / "names.txt"
    names.write_text("road\tflat\nsidewalk\tflat\nsky\tsky\ncar\tvehicle\nbus\tvehicle\n")
    metrics = score(folders, class_names=names)
    confusion = Counts.load(folders / "out" / "counts.npz").confusion()
    flat = confusion[:2, :2].sum()
    assert metrics["category_iou"]["flat"] == pytest.approx(
        flat / (confusion[:2].sum() + confusion[:, :2].sum() - flat)
    )
    assert metrics["category_miou"] == pytest.approx(np.mean(list(metrics["category_iou"].values())))
    assert metrics["class_names"][0] == "road"
    assert "category flat: IoU" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["out/metrics.json", "out/counts.npz", "out"])
def test_against(folders, given, capsys):
    score(folders)
    for name in ("north/a", "c"):
        (folders / "predictions" / f"{name}.png").write_bytes(
            (folders / "labels" / f"{name}.png").read_bytes()
        )
    better = score(folders, against=folders / given, out=folders / "better" / "metrics.json")
    before = json.loads((folders / "out" / "metrics.json").read_text())
    found = better["against"]["metrics"]
    assert found["miou"]["difference"] == pytest.approx(better["miou"] - before["miou"])
    assert found["boundary_f_5px"]["difference"] > 0
    assert 0.9 < found["pixel_accuracy"]["probability_of_improvement"] <= 1
    assert "probability of improvement" in capsys.readouterr().out


def test_against_results_that_cannot_be_compared(folders):
    score(folders)
    elsewhere = {"against": folders / "out", "out": folders / "new" / "metrics.json"}
    with pytest.raises(
        ValueError, match=r"scored with .*boundary_ratio=0\.02.* this one with .*boundary_ratio=0\.1"
    ):
        score(folders, boundary_ratio=0.1, **elsewhere)
    relabel(folders)
    with pytest.raises(ValueError, match="another label of south/a"):
        score(folders, **elsewhere)
    swap_halves(folders)
    with pytest.raises(ValueError, match="another label of south/a"):
        score(folders, **elsewhere)
    assert not (folders / "new").exists()
    for kind in ("labels", "predictions"):
        (folders / kind / "c.png").rename(folders / kind / "d.png")
    with pytest.raises(ValueError, match="of other images: c is in one of them only"):
        score(folders, **elsewhere)


def relabel(folders):
    label = folders / "labels" / "south" / "a.png"
    changed = np.array(Image.open(label))
    changed[:5] = 0
    write(label, changed)


def swap_halves(folders):
    """Other labels with as many pixels of every class."""
    score(folders)
    label = folders / "labels" / "south" / "a.png"
    rows = np.array(Image.open(label))
    write(label, np.roll(rows, len(rows) // 2, axis=0))


def test_images_in_another_order_are_not_compared_by_position(folders):
    score(folders)
    counts = Counts.load(folders / "out" / "counts.npz")
    with pytest.raises(ValueError, match="in another order"):
        compare(counts, replace(counts, images=counts.images[::-1]), file="other")


def test_tables_are_part_of_the_result(folders):
    score(folders, csv=True, latex=True)
    out = folders / "out"
    assert {path.name for path in sealed_files(out / "score.sha256")} == set(contents(out)) - {"score.sha256"}
    score(folders, latex=True)
    assert not (out / "metrics.csv").exists()
    assert (out / "metrics.tex").exists()
    (out / "metrics.csv").write_text("my own")
    score(folders)
    assert (out / "metrics.csv").read_text() == "my own"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_comparison_that_fails_leaves_the_earlier_result_as_it_was(folders):
    score(folders)
    before = contents(folders / "out")
    relabel(folders)
    with pytest.raises(ValueError, match="another label of south/a"):
        score(folders, against=folders / "out", csv=True)
    assert contents(folders / "out") == before


def test_a_folder_holds_one_result(folders):
    score(folders, out=folders / "res" / "a.json")
    before = contents(folders / "res")
    (folders / "predictions" / "c.png").write_bytes(b"not read before --out is refused")
    with pytest.raises(
        ValueError, match=r"b\.json: .*res/counts\.npz belongs to a\.json; give each --out"
    ) as error:
        score(folders, out=folders / "res" / "b.json")
    assert "\n" not in str(error.value)
    assert contents(folders / "res") == before
    for name in ("counts.npz", "scoring.json", "score.sha256"):
        with pytest.raises(ValueError, match=f"{name}: another file of the result has this name"):
            score(folders, out=folders / "res" / name)
    shutil.copy(folders / "labels" / "c.png", folders / "predictions" / "c.png")
    assert score(folders, out=folders / "res" / "a.json")["num_images"] == 4  # the same one again


def test_a_metrics_file_beside_the_counts_of_another_result_is_refused(folders):
    score(folders)
    shutil.copy(folders / "labels" / "c.png", folders / "predictions" / "c.png")
    score(folders, out=folders / "better" / "metrics.json")
    shutil.copy(folders / "out" / "counts.npz", folders / "better" / "counts.npz")
    new = {"out": folders / "new" / "metrics.json"}
    with pytest.raises(ValueError, match=r"better/metrics\.json: does not follow from .*better/counts\.npz"):
        score(folders, against=folders / "better" / "metrics.json", **new)
    other = folders / "out" / "other.json"
    for text in ("{", "[]", "{}", '{"boundary_f": 1}', '{"boundary_f": {}, "miou": "high"}'):
        other.write_text(text)
        with pytest.raises(ValueError, match=r"other\.json: not a metrics\.json of seglib score"):
            score(folders, against=other, **new)
    assert not (folders / "new").exists()


def test_a_file_too_few_or_too_many(folders):
    (folders / "labels" / "c.png").rename(folders / "c.png")
    with pytest.raises(ValueError, match=r"predictions/c\.png: has no label \(1 "):
        score(folders)
    (folders / "predictions" / "c.png").unlink()
    (folders / "predictions" / "north" / "b.png").unlink()
    with pytest.raises(
        ValueError, match=r"predictions/north/b\.png: missing \(1 labels without prediction\)"
    ):
        score(folders)
    assert not (folders / "out").exists()


def test_names_that_have_nothing_in_common(folders):
    for path in list((folders / "predictions").rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_pred.png"))
    with pytest.raises(ValueError, match=r"holds c_pred\.png.* holds c\.png.* relative path"):
        score(folders)


@pytest.mark.parametrize("kind", ["predictions", "labels"])
def test_an_empty_or_missing_folder(folders, kind):
    (folders / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: holds no \.png file"):
        score(folders, **{kind: folders / "empty"})
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        score(folders, **{kind: folders / "nowhere"})


def as_size(values):
    return values[:, :-1]


def as_class(values):
    values[3, 3] = 9
    return values


def as_colours(values):
    return np.stack([values] * 3, axis=2)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["predictions", "labels"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (as_size, r"139 pixels|x 139"),
        (as_class, r"holds 9: no class \(0\.\.4\)"),
        (as_colours, "holds colours"),
    ],
)
def test_a_file_that_cannot_be_scored_is_named(folders, maps, workers, kind, damage, message):
    label, prediction = maps["north/b"]
    values = np.where(label == IGNORE, 0, label if kind == "labels" else prediction).astype(np.uint8)
    write(folders / kind / "north" / "b.png", damage(values))
    if kind == "predictions":
        write(folders / "labels" / "north" / "b.png", np.zeros_like(values))
    with pytest.raises(ValueError, match=message) as raised:
        score(folders, workers=workers)
    assert f"{kind}/north/b.png" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (folders / "out").exists()


def test_settings_that_make_no_sense(folders):
    names = folders / "names.txt"
    names.write_text("road\nsky\n")
    with pytest.raises(ValueError, match=r"names\.txt: 2 class names for 5 classes"):
        score(folders, class_names=names)
    names.write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"names\.txt: not UTF-8 text"):
        score(folders, class_names=names)
    names.write_text("a\tx\nb\tx\nc\nd\ty\ne\ty\n")
    with pytest.raises(ValueError, match=r"category .* for every class or for none"):
        score(folders, class_names=names)
    for ratio in (0, -0.1, 2, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"boundary_ratio .* is not a share of the diagonal"):
            score(folders, boundary_ratio=ratio)
    with pytest.raises(ValueError, match="--workers 0"):
        score(folders, workers=0)
    with pytest.raises(ValueError, match=r"^ignore_index 2 is also a class"):
        score(folders, ignore_index=2)
    with pytest.raises(ValueError, match=r"labels: is a folder; name the file"):
        score(folders, out=folders / "labels")
    with pytest.raises(ValueError, match=r"m\.csv: a table of that name .* name it e\.g\. m\.json"):
        score(folders, out=folders / "m.csv", csv=True)
    assert not (folders / "m.csv").exists()


def test_the_command_needs_no_torch(folders):
    code = (
        "import sys\nfrom seglib.cli import main\nmain(sys.argv[1:])\n"
        "assert not {'torch', 'timm', 'pandas', 'scipy.stats'} & set(sys.modules)"
    )
    arguments = (
        f"score --predictions {folders}/predictions --labels {folders}/labels --num-classes {K}".split()
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--out", f"{folders}/m.json", "--workers", "2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Class ")
    assert "score: 4/4" in done.stderr
    assert (folders / "m.json").exists()


STOPPED = 128 + signal.SIGTERM, "seglib score: stopped; the next run goes on from here"
WORKER_KILLED = (
    2,
    "seglib score: error: a worker process was killed, probably for want of memory: use fewer --workers",
)


@pytest.mark.parametrize(
    ("whom", "end"),
    [
        ("os.killpg(0, {})", STOPPED),
        ("os.kill(os.getppid(), {})", STOPPED),
        ("os.kill(os.getpid(), {})", WORKER_KILLED),
    ],
    ids=["all", "parent", "worker"],
)
def test_a_terminated_score_leaves_no_file_and_no_worker(folders, whom, end):
    """A worker sends the signal: to all processes, as Slurm does, to the first one or to itself."""
    code = (
        "import os, sys, time\nfrom seglib import cli\nfrom seglib.evaluation import score as scoring\n"
        f"scoring.count_image = lambda *_: ({whom.format(int(signal.SIGTERM))}, time.sleep(40))\n"
        "cli.main(sys.argv[1:])"
    )
    arguments = (
        f"score --predictions {folders}/predictions --labels {folders}/labels --num-classes {K}".split()
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--out", f"{folders}/out/m.json", "--workers", "2"],
        stderr=subprocess.PIPE,  # its end is that of the last worker
        text=True,
        timeout=30,
        start_new_session=True,
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == end
    assert not (folders / "out").exists()


def test_a_subset_says_that_it_is_one(folders, maps, capsys):
    whole = score(folders)
    assert (whole["num_images"], whole["num_labels"]) == (4, 4)
    for name in ("north/b", "c"):
        (folders / "predictions" / f"{name}.png").unlink()
    with pytest.raises(ValueError, match=r"c\.png: missing \(2 labels without prediction\)"):
        score(folders)
    capsys.readouterr()
    found = score(folders, subset=True, latex=True)
    assert (found["num_images"], found["num_labels"]) == (2, 4)
    words = "2 of 4 images (not comparable with numbers of all)"
    assert words in capsys.readouterr().out
    assert words in (folders / "out" / "metrics.tex").read_text()
    for name in ("north/b", "c"):
        (folders / "labels" / f"{name}.png").unlink()
    assert score(folders)["miou"] == found["miou"]
    (folders / "predictions" / "stranger.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"stranger\.png: has no label"):
        score(folders, subset=True)
