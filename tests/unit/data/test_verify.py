"""What ``seglib verify`` says about a data set that is as prepared, and about each way to spoil it."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seglib.data import prepare, verify
from tests.unit.data import mini as minis
from tests.unit.data.mini import NAME, contents

ROOT = Path(__file__).parents[3]


@pytest.fixture
def mini(monkeypatch):
    return minis.register(monkeypatch)


@pytest.fixture
def data(tmp_path, mini):
    """A prepared data set."""
    folder = tmp_path / "data" / "mini"
    minis.describe_source(minis.write(folder / "raw"))
    prepare.run(dataset=NAME, raw=folder / "raw", out=folder, workers=2)
    return folder


@pytest.fixture
def check(data, capsys):
    """Exit code and the lines on stdout, without the folder in front of names."""

    def run(**options):
        capsys.readouterr()
        before = contents(data)
        code = 0
        try:
            verify.run(**{"dataset": NAME, "data": data, "raw": None, "workers": 2} | options)
        except SystemExit as stop:
            code = stop.code
        assert contents(data) == before, "verify changes nothing"
        lines = capsys.readouterr().out.replace(f"{data}/", "").splitlines()
        return code, lines

    return run


def change_manifest(data, change):
    path = data / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_prepared_data_set_is_as_recorded(check, data):
    digest = json.loads((data / "manifest.json").read_text())["data_digest"]
    # 3 images, 3 raw labels and a list; 3 prepared labels.
    said = f"mini: all 10 files are as recorded; train 2, val 1 images; {digest}"
    assert check() == (0, [said])


IMAGE, LABEL = "raw/images/train/bonn/b0_rgb.png", "labels/train/bonn/b0.png"


def flip_last_byte(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda data: (data / IMAGE).unlink(), f"missing: {IMAGE}"),
        (lambda data: (data / LABEL).unlink(), f"missing: {LABEL}"),
        (lambda data: (data / "raw/val.txt").unlink(), "missing: raw/val.txt"),
        (lambda data: (data / "classes.txt").unlink(), "missing: classes.txt"),
        (lambda data: (data / IMAGE).write_bytes(b"<html>"), f"changed: {IMAGE}: 6 bytes instead of "),
        (
            lambda data: flip_last_byte(data / IMAGE),
            f"changed: {IMAGE}: not the content in raw/files.sha256 and manifest.json",
        ),
        (lambda data: flip_last_byte(data / LABEL), f"changed: {LABEL}: not the content in manifest.json"),
        (
            lambda data: flip_last_byte(data / "raw/labels/val/ulm/u0_ids.png"),
            "changed: raw/labels/val/ulm/u0_ids.png: not the content in raw/files.sha256",
        ),
        (lambda data: flip_last_byte(data / "classes.txt"), "changed: classes.txt: not the classes of "),
        (
            lambda data: shutil.copy(data / LABEL, data / "labels/train/new.png"),
            "extra: labels/train/new.png",
        ),
        (
            lambda data: shutil.copy(data / IMAGE, data / "raw/images/val/new_rgb.png"),
            "extra: raw/images/val/new_rgb.png",
        ),
        (
            lambda data: ((data / IMAGE).unlink(), (data / IMAGE).symlink_to("nowhere")),
            f"missing: {IMAGE}",
        ),
        (
            lambda data: (data / ".prepare.jsonl").touch(),
            "wrong: .prepare.jsonl: prepare was interrupted; run it to its end",
        ),
        (lambda data: (data / "raw/source.json").unlink(), "missing: raw/source.json: "),
        (lambda data: (data / "raw/files.sha256").unlink(), "missing: raw/files.sha256: "),
        (
            lambda data: change_manifest(data, lambda m: m["splits"]["val"][0].update(image_sha256="0")),
            "wrong: manifest.json: its data digest is not that of its files",
        ),
        (
            lambda data: change_manifest(data, lambda m: m["classes"][0].update(name="soil")),
            "wrong: manifest.json: its classes are not those of this version",
        ),
    ],
)
def test_each_fault_is_one_line_and_the_exit_code_is_1(check, data, spoil, expected):
    spoil(data)
    code, lines = check()
    assert code == 1
    assert any(line.startswith(expected) for line in lines), lines
    assert lines[-1].startswith("mini: ")
    if expected.split(":")[0] in ("missing", "changed", "extra") and "classes" not in expected:
        assert lines[-1].startswith(f"mini: 1 {expected.split(':')[0]} ("), "this fault and no other"


def test_a_file_that_nobody_may_read_is_named(check, data, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(verify, "sha256_file", refuse)
    code, lines = check()
    assert code == 1
    assert f"unreadable: {IMAGE}: Permission denied" in lines


def test_a_split_of_another_size_is_named(check, mini):
    mini.SPLITS = mini.SPLITS | {"train": dataclasses.replace(mini.SPLITS["train"], size=3)}
    code, lines = check()
    assert code == 1
    assert "wrong: split train: 2 images, published are 3" in lines


def test_what_is_around_the_data_set_does_not_count(check, data):
    for name in ("raw/README.md", "raw/images/train/.DS_Store", "cache/x.u8", "notes.txt"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text("x")
    assert check()[0] == 0


def test_a_name_that_is_no_text_can_be_printed(check, data):
    (data / "labels" / "train" / "b\udcff.png").write_bytes(b"x")
    code, lines = check()
    assert code == 1
    assert "extra: labels/train/b\\udcff.png" in lines


def test_the_users_own_folder_is_checked_where_it_lies(check, data, tmp_path):
    own = minis.write(tmp_path / "own")
    raw = minis.describe_source(minis.write(tmp_path / "raw"))
    (raw / "source.json").write_text(
        json.dumps(minis.SOURCE | {"source": "data_root", "data_root": str(own)})
    )
    prepare.run(dataset=NAME, raw=raw, out=data, workers=1)
    assert check(raw=raw)[0] == 0
    (own / "images/val/ulm/u0_rgb.png").unlink()
    code, lines = check(raw=raw)
    assert (code, lines[0]) == (1, f"missing: {own}/images/val/ulm/u0_rgb.png")


def test_many_faults_are_counted_by_folder():
    found = [verify.Finding("missing", f"{folder}/{i}") for folder in "ab" for i in range(verify.MAX_LINES)]
    lines = list(verify._lines([*found, verify.Finding("extra", "c/0")]))
    assert lines[:2] == ["missing: a/0", "missing: a/1"]
    assert lines[verify.MAX_LINES :] == [
        f"missing: {verify.MAX_LINES} more, in b ({verify.MAX_LINES})",
        "extra: c/0",
    ]


def test_without_a_manifest_there_is_nothing_to_check_against(check, data):
    path = data / "manifest.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ValueError, match=r"manifest.json: not valid JSON"):
        check()
    path.unlink()
    with pytest.raises(ValueError, match=r"manifest.json does not exist: prepare the data set first"):
        check()


def test_no_workers_are_refused(check):
    with pytest.raises(ValueError, match="--workers 0: at least one is needed"):
        check(workers=0)


def test_the_manifest_of_another_data_set_is_refused(check, data):
    change_manifest(data, lambda manifest: manifest.update(dataset="other"))
    with pytest.raises(ValueError, match="is of data set other, not mini"):
        check()


def test_checking_imports_no_torch():
    code = "import sys, seglib.data.verify; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
