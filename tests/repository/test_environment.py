"""One set of versions in four files, and nothing imported that is not declared."""

import ast
import importlib.metadata
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import lock as lock_tool

ROOT = Path(__file__).parents[2]
LOCKED = {
    "python_version": "3.11",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
}
"""The machine that the lock is for."""
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml"}
"""Of the modules that have another name than their distribution."""


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def pins():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    requirements = [Requirement(line) for line in lines if line]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in requirements}


def test_every_dependency_has_a_pin_within_its_bounds(project, pins):
    extras = project["optional-dependencies"].values()
    for line in [*project["dependencies"], *(line for extra in extras for line in extra)]:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is missing in constraints.txt"
        assert requirement.specifier.contains(pins[name]), line


def test_the_conda_environment_has_the_same_pins(project, pins):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    [pip] = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    named = {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, pip)}
    needed = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    assert named == {name: f"=={pins[name]}" for name in needed}


@pytest.fixture(scope="module")
def lock():
    """Package -> version and hashes."""
    text = (ROOT / "requirements.lock").read_text()
    found = re.findall(
        r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE
    )
    assert len(found) == text.count("==")  # nothing in the file has another form, such as a URL or a path
    return {canonicalize_name(name): (version, hashes) for name, version, hashes in found}


def test_the_lock_has_the_same_pins(lock, pins):
    """What it has beside them belongs to PyPI's CUDA build of torch."""
    beside = {name for name in lock if name not in pins}
    assert {name.split("-")[0] for name in beside} <= {"nvidia", "cuda", "triton", "setuptools"}
    assert {name: version for name, (version, _) in lock.items() if name not in beside} == {
        name: pins[name] for name in lock if name not in beside
    }


def test_the_lock_is_complete(lock, project):
    needed = [*project["dependencies"], *project["optional-dependencies"]["cluster"]]
    assert {canonicalize_name(Requirement(line).name) for line in needed} <= set(lock)
    # An installed package says what it needs in turn.
    for name in set(lock) - {"torch"}:  # which is another build here
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate(LOCKED | {"extra": ""}):
                assert canonicalize_name(requirement.name) in lock, f"{name} needs {requirement.name}"


def test_locking_writes_versions_and_nothing_else(tmp_path, monkeypatch):
    for name in ("constraints.txt", "environment.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(lock_tool, "ROOT", tmp_path)
    versions = lock_tool.pins((ROOT / "constraints.txt").read_text())
    lock_tool.write_constraints(versions | {"nvidia-cublas": "13.1", "triton": "3.7"})
    lock_tool.write_environment(versions)
    for name in ("constraints.txt", "environment.yml"):
        assert sorted((tmp_path / name).read_text().split("\n")) == sorted(
            (ROOT / name).read_text().split("\n")
        )
    lock_tool.write_environment(versions | {"timm": "9.9.9"})
    assert "- timm==9.9.9\n" in (tmp_path / "environment.yml").read_text()


@pytest.mark.parametrize(
    ("folders", "extras"),
    [(["seglib", "tools"], []), (["tests"], ["dev"]), (["benchmarks"], ["benchmark"])],
)
def test_every_import_is_declared(project, folders, extras):
    lines = project["dependencies"] + [x for extra in extras for x in project["optional-dependencies"][extra]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    own = {"seglib", "tests", "benchmarks", "tools"}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for module in imported(path) - own - set(sys.stdlib_module_names):
                name = canonicalize_name(DISTRIBUTIONS.get(module, module))
                assert name in declared, f"{path.relative_to(ROOT)} imports {module}"


def imported(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.split(".")[0] for name in names}
