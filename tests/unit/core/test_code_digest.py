import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seglib.core import code_digest, registry
from seglib.core.code_digest import FREE, READERS, Checkout, Commit, Modules, behaviour, is_in, step_code

ROOT = Path(__file__).parents[3]
OWN = Modules(Checkout(code_digest.PACKAGE))
WORK = ("download", "prepare", "train", "predict", "score", "complexity", "speed")
"""Steps that a change of code repeats; the readers of results are apart."""

CARRIED = {
    "seglib.core.checksums": "digests of files, written beside a result",
    "seglib.core.code_digest": "digests of code, written into a record",
    "seglib.core.files": "atomic writing, locks and SHA-256 of whole files",
    "seglib.core.progress": "a bar on a terminal",
    "seglib.core.provenance": "a description of the machine, written into a record",
    "seglib.core.registry": "a name to its class; the class is part of the digest",
    "seglib.core.signals": "a request to stop, acted upon after a whole step",
    "seglib.core.tables": "a table for the terminal, beside metrics.json",
    "seglib.core.typed": "values as they were given, or an error",
    "seglib.experiment.cell": "the cell, whose JSON is part of a training's identity",
    "seglib.experiment.paths": "names of files",
    "seglib.experiment.recipe": "settings, all of which stand in the cell's JSON",
    "seglib.experiment.records": "records as they were given, or an error",
}
"""Free module that hashed code imports -> what it gives, none of which can change a result."""

TRAINING = {
    "seglib.data.cache": "pixels that a crop is cut from",
    "seglib.data.label_formats": "the ignored value, which losses leave out",
    "seglib.data.manifest": "choice and order of samples",
    "seglib.data.samples": "decoding of images and labels",
    "seglib.models.auxiliary": "loss of the auxiliary head",
    "seglib.models.backbones": "encoder and its initial weights",
    "seglib.models.layers": "layers of the heads, and how maps are resized",
    "seglib.models.segmentor": "normalisation, and how encoder and head are joined",
    "seglib.models.torchvision_ops": "what timm imports in place of torchvision's kernels",
    "seglib.numerics.collectives": "sums over processes",
    "seglib.numerics.devices": "deterministic kernels, threads, TF32",
    "seglib.numerics.precision": "which operations run in half precision",
    "seglib.numerics.seeds": "every random draw",
    "seglib.numerics.sizes": "sizes of scaled images",
    "seglib.training.appearance": "colours and blur of a crop",
    "seglib.training.augment": "crops, flips, scales and rotations",
    "seglib.training.batch_norm": "statistics over processes",
    "seglib.training.checkpoints": "restored state, and the weights that are saved",
    "seglib.training.class_uniform": "which crops an epoch has",
    "seglib.training.ddp": "order in which gradients are added",
    "seglib.training.losses": "the criterion",
    "seglib.training.optimisers": "parameter groups and learning rate",
    "seglib.training.throughput": "it imports the batches; what it measures stands in the log",
    "seglib.training.train_step": "forward, backward, update",
    "seglib.training.trainer": "order of steps, and resuming",
    "seglib.training.training_set": "which images are in which batch",
}
"""Module of every training -> what of it decides bits."""

SOURCE = '''"""A docstring."""

import os  # a comment


class Head:
    """What it is."""

    width: int = 3
    """Of an attribute."""

    FIDELITY = (
        ("part", "paper", "Figure 2"),
    )

    def run(self, x):
        # Why.
        text = f"a{x!r:>{self.width}}  # no comment"  # a comment

        return """keeps

  its blanks  """ + "#" + text, 'ä # b'  # ü
'''
BEHAVIOUR = '''import os
class Head:
    width: int = 3
    def run(self, x):
        text = f"a{x!r:>{self.width}}  # no comment"
        return """keeps

  its blanks  """ + "#" + text, 'ä # b\''''
SCRIPT = """
import json, sys
from seglib.core import code_digest
code = {step: code_digest.step_code(step) for step in ("score", "compare", "report")}
print(json.dumps([code, code_digest.step_code("train", method="isnet")]))
"""
LOADED = """
import importlib, json, sys
result = {}
for module in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "seglib"]:
        del sys.modules[name]
    importlib.import_module(module)
    result[module] = [name for name in sys.modules if name.split(".")[0] == "seglib"]
print(json.dumps(result))
"""


def behave(source: str) -> str:
    return behaviour(source, list(ast.walk(ast.parse(source))))


def write_package(folder: Path, **modules: str) -> Modules:
    """The package ``seglib`` with these modules, as new objects, which have cached nothing."""
    for name, source in modules.items():
        path = folder / "seglib" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return Modules(Checkout(folder / "seglib"))


def test_prose_is_cut_out_and_values_stay():
    assert behave(SOURCE) == BEHAVIOUR
    assert behave(SOURCE.replace("\n", "\r\n")) == BEHAVIOUR


@pytest.mark.parametrize(
    ("old", "new"),
    [("What it is.", "Better."), ("Why.", "Because."), ("Of an attribute", "Width"), ("Figure 2", "Table 1")],
)
def test_prose_is_free(old, new):
    assert old in SOURCE
    assert behave(SOURCE.replace(old, new)) == BEHAVIOUR


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"#" + text', '"#" * text'),
        ("= 3", "= 4"),
        ("its blanks", "its  blanks"),
        ("keeps\n\n", "keeps\n"),
        ("  # no comment", "# no comment"),
        ("import os", "import os as o"),
    ],
)
def test_behaviour_is_not_free(old, new):
    assert old in SOURCE
    assert behave(SOURCE.replace(old, new)) != BEHAVIOUR


def test_what_is_left_still_compiles_to_the_same_values():
    """Of every module of the package: the syntax tree without docstrings is that of the source."""

    class WithoutProse(ast.NodeTransformer):
        def generic_visit(self, node):
            if isinstance(getattr(node, "body", None), list):
                node.body = [n for n in node.body if not code_digest._is_prose(n)] or [ast.Pass()]
            return super().generic_visit(node)

    for file in sorted(code_digest.PACKAGE.rglob("*.py")):
        source = file.read_text("utf-8")
        if not (left := behave(source)).strip():
            continue
        try:
            tree = ast.parse(left)
        except SyntaxError:  # a class or function of which only a docstring was
            assert any(
                isinstance(node, (ast.ClassDef, ast.FunctionDef))
                and all(map(code_digest._is_prose, node.body))
                for node in ast.walk(ast.parse(source))
            ), file
            continue
        assert ast.dump(WithoutProse().visit(ast.parse(source))) == ast.dump(tree), file


def find_python(version: str) -> str | None:
    """On the path, or among pyenv's versions (whose entry on the path works only where it is chosen)."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for python in filter(None, [shutil.which(f"python{version}"), *map(str, pyenv)]):
        if subprocess.run([python, "--version"], capture_output=True).returncode == 0:
            return python
    return None


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_digests_are_equal_on_every_python(version):
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    digests = [
        json.loads(subprocess.run([name, "-c", SCRIPT], cwd=ROOT, capture_output=True, check=True).stdout)
        for name in (sys.executable, python)
    ]
    assert digests[0] == digests[1]


def test_the_class_that_a_name_points_to_is_part_of_the_digest(monkeypatch):
    before = step_code("train", method="mcibi_fcn")
    assert "seglib.models.mcibi:MCIBIFCN" in before
    monkeypatch.setitem(registry.METHODS, "mcibi_fcn", "seglib.models.mcibi:MCIBIPSPNet")
    assert step_code("train", method="mcibi_fcn") != before


def test_data_files_that_a_module_names_are_part_of_its_digest(tmp_path):
    source = 'FOLDER = __file__ + "pages"\n'
    (tmp_path / "seglib" / "pages").mkdir(parents=True)
    page = tmp_path / "seglib" / "pages" / "a.html"
    digests = []
    for text in ("one", "two"):
        page.write_text(text)
        digests.append(write_package(tmp_path, page=source).digest("seglib.page"))
    assert digests[0] != digests[1]


def test_a_training_depends_on_its_own_method_and_on_no_later_step():
    code = step_code("train", method="isnet")
    assert "seglib.models.isnet:ISNet" in code
    assert "seglib.models.pspnet" not in code
    later = ("metrics", "evaluation", "cost", "results", "claims", "report")
    for method in registry.METHODS:
        for module in step_code("train", method=method):
            assert not is_in(module, [f"seglib.{room}" for room in later]), module


def test_scoring_and_reporting_depend_on_no_model():
    for step in ("score", *READERS):
        assert not any(is_in(module, ["seglib.models"]) for module in step_code(step))


def test_what_is_free_is_decided_by_the_folder():
    for step in registry.STEPS:
        modules = set(step_code(step))
        assert any(is_in(module, FREE) for module in modules) == (step in READERS), step


def test_free_modules_that_hashed_code_imports_change_no_result():
    hashed = set().union(*(OWN.closure(registry.STEPS[step].split(":")[0]) for step in WORK))
    for target in (*registry.METHODS.values(), *registry.DATASETS.values()):
        hashed |= OWN.closure(target.split(":")[0])
    imported = {name for module in hashed for name in OWN.imports(module) if is_in(name, FREE)}
    assert {name for name in imported if not OWN.is_package(name)} == set(CARRIED)


def test_each_module_of_a_training_has_its_reason():
    heads = {target.split(":")[0] for target in registry.METHODS.values()}
    modules = {name for method in registry.METHODS for name in step_code("train", method=method)}
    shared = {name.split(":")[0] for name in modules} - heads - {"seglib.models.class_memory"}
    assert shared == set(TRAINING)


def test_the_closures_hold_what_imports_load():
    """Nothing that Python really loads escapes the digests."""
    targets = [*registry.STEPS.values(), *registry.METHODS.values(), *registry.DATASETS.values()]
    modules = [target.split(":")[0] for target in targets]
    output = subprocess.run(
        [sys.executable, "-c", LOADED, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for module, loaded in json.loads(output.stdout).items():
        hashed = {name for name in loaded if not is_in(name, FREE) and not OWN.is_package(name)}
        assert hashed <= OWN.closure(module), module


@pytest.mark.parametrize("commit", ["--help", "HEAD", "main", "0123456", "abc", "a" * 65, "0" * 40 + "\n"])
def test_a_commit_is_asked_by_its_digits_only(commit):
    with pytest.raises(ValueError, match=r"is no commit|is unknown to this checkout"):
        Commit(ROOT, commit)


def test_the_digests_of_a_commit_are_those_of_its_files(tmp_path):
    """In today's scheme; those of published results, in both, are checked by ``seglib trace``."""
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    registry_source = 'STEPS = {"train": "seglib.train:run"}\nMETHODS = {"fcn": "seglib.fcn:FCN"}\n'
    sources = {"train": "X = 1\n", "fcn": "raise SystemExit('was run')\n", "core__registry": registry_source}
    write_package(tmp_path, **sources)
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    before = code_digest.code_at(Commit(tmp_path, commit), "train", method="fcn")
    assert set(before) == {"seglib.train", "seglib.fcn:FCN"}
    write_package(tmp_path, train="X = 2\n")
    assert code_digest.code_at(Commit(tmp_path, commit), "train", method="fcn") == before
    assert code_digest.code_at(Checkout(tmp_path / "seglib"), "train", method="fcn") != before
