"""Locks and folders: what other processes do in between, and what is left of those that were killed."""

import fcntl
import os
import zipfile

import pytest

from seglib.core import files


def test_one_at_a_time_and_nothing_is_left(tmp_path):
    folder = tmp_path / "checkpoints"
    with files.only_one(folder, what="a training"):
        with (
            pytest.raises(
                ValueError, match=r"a training is under way already: process \d+ on .*; wait for it"
            ),
            files.only_one(folder, what="a training"),
        ):
            pass
        assert (folder / ".lock").exists()
    assert not folder.exists()


@pytest.mark.parametrize("also", ["file", "folder"])
def test_a_lock_whose_holder_ends_between_open_and_lock_keeps_others_out(tmp_path, monkeypatch, also):
    """The holder removes the file, which is then locked without a name, where nobody else would find it."""
    folder, flock = tmp_path / "checkpoints", fcntl.flock

    def lock_too_late(file, how):
        monkeypatch.undo()
        (folder / ".lock").unlink()
        if also == "folder":
            folder.rmdir()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with files.only_one(folder, what="a training"):
        with pytest.raises(ValueError, match="under way already"), files.only_one(folder, what="a training"):
            pass
        assert (folder / ".lock").exists()
    assert not folder.exists()


def test_a_folder_reaches_the_disk_before_its_name_does(tmp_path, monkeypatch):
    out, there = tmp_path / "predictions", []
    with files.atomic_folder(out) as folder:
        (folder / "0.png").touch()
        monkeypatch.setattr(os, "sync", lambda: there.append((out.exists(), (folder / "0.png").exists())))
    assert there == [(False, True)]
    assert (out / "0.png").exists()


def test_what_a_killed_writer_of_the_folder_left_is_removed(tmp_path):
    writers = [files.atomic_folder(tmp_path / name) for name in ("maps", "maps.old", "other")]
    mine, *others = [writer.__enter__() for writer in writers]  # and no exit, as after SIGKILL
    (mine / "0.png").touch()
    own = tmp_path / ".maps.20240131"  # somebody's
    own.mkdir()
    with files.atomic_folder(tmp_path / "maps"):
        pass
    assert set(tmp_path.iterdir()) == {tmp_path / "maps", own, *others}


def test_equal_files_make_equal_archives(tmp_path):
    for name, order in (("one", ("b", "a/c")), ("two", ("a/c", "b"))):
        for file in order:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file)
            os.utime(path, (len(name + file), 10**9 + len(order[0])))
        files.zip_folder(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["a/c", "b"]
        assert archive.read("a/c") == b"a/c"
