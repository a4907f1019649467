"""One set of versions in three files, and nothing imported that is not declared."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
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


@pytest.mark.parametrize(
    ("folders", "extras"), [(["seglib", "benchmarks"], []), (["seglib", "tests", "benchmarks"], ["dev"])]
)
def test_every_import_is_declared(project, folders, extras):
    lines = project["dependencies"] + [x for extra in extras for x in project["optional-dependencies"][extra]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    own = {"seglib", "tests", "benchmarks"}
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
