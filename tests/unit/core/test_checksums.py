import subprocess

import pytest

from seglib.core import checksums


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "maps").mkdir()
    for name in ("maps/b.png", "maps/a.png", "record.json"):
        (tmp_path / name).write_text(name)
    checksums.seal(tmp_path / "predict.sha256", [*sorted(tmp_path.rglob("*.png")), tmp_path / "record.json"])
    return tmp_path


def test_sha256sum_agrees(sealed):
    done = subprocess.run(["sha256sum", "-c", "predict.sha256"], cwd=sealed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 3


def test_a_changed_and_a_lost_file_are_faults(sealed):
    assert list(checksums.faults(sealed / "predict.sha256")) == []
    (sealed / "maps" / "a.png").write_text("other")
    (sealed / "record.json").unlink()
    faults = {fault.path.name: fault.what for fault in checksums.faults(sealed / "predict.sha256")}
    assert faults == {"a.png": "changed after it was written", "record.json": "gone"}


def test_a_damaged_seal_is_a_fault_and_no_crash(sealed):
    (sealed / "predict.sha256").write_bytes(b"\xff\xfe half a li")
    [fault] = checksums.faults(sealed / "predict.sha256")
    assert fault.path == sealed / "predict.sha256"
    assert "repeat the step" in fault.what


def test_one_digest_for_files_in_any_order(sealed):
    names = ["maps/a.png", "maps/b.png"]
    digest = checksums.files_digest(sealed, names)
    assert digest == checksums.files_digest(sealed, names[::-1])
    written = {
        path.relative_to(sealed).as_posix(): digest
        for path, digest in checksums.sealed_files(sealed / "predict.sha256").items()
    }
    assert digest == checksums.checksums_digest({name: written[name] for name in names})
