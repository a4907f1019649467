import json
import subprocess
import sys

import pytest

from seglib.core import provenance


def git(folder, *arguments):
    user = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", folder, *user, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "code.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return package


def test_a_clean_checkout_is_its_commit(checkout):
    head = subprocess.run(
        ["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    found = provenance.describe_source(checkout)
    assert found == {"commit": head.stdout.strip(), "dirty": False, "dirty_diff_sha256": None}


def test_changed_staged_and_new_files_of_the_package_make_it_dirty(checkout):
    digests = set()
    (checkout / "code.py").write_text("x = 2\n")
    digests.add(provenance.describe_source(checkout)["dirty_diff_sha256"])
    git(checkout, "add", ".")
    digests.add(provenance.describe_source(checkout)["dirty_diff_sha256"])
    (checkout / "néw file.py").write_text("y = 1\n")
    digests.add(provenance.describe_source(checkout)["dirty_diff_sha256"])
    (checkout / "néw file.py").write_text("y = 2\n")
    digests.add(provenance.describe_source(checkout)["dirty_diff_sha256"])
    assert provenance.describe_source(checkout)["dirty"]
    assert len(digests) == 3  # staging changes nothing


def test_files_outside_the_package_do_not_make_it_dirty(checkout):
    (checkout.parent / "notes.md").write_text("later\n")
    assert not provenance.describe_source(checkout)["dirty"]


def test_a_package_that_no_checkout_tracks_has_no_commit(checkout, tmp_path):
    installed = checkout.parent / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    nothing = {"commit": None, "dirty": False, "dirty_diff_sha256": None}
    assert provenance.describe_source(installed) == nothing


def test_a_description_is_json_without_the_environment(monkeypatch):
    monkeypatch.setenv("CITYSCAPES_PASSWORD", "hunter2-secret")
    found = provenance.describe()
    assert set(found) == {
        *("command", "host", "cpu", "gpu", "driver", "versions", "commit", "dirty", "dirty_diff_sha256")
    }
    assert found["versions"]["numpy"]
    assert "hunter2-secret" not in json.dumps(found, allow_nan=False)


def test_describing_imports_no_torch():
    code = "import sys; from seglib.core import provenance; provenance.describe(); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
