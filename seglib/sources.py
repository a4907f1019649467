"""The code that a step runs, as digests: what makes "edit isnet.py" retrain ISNet and nothing else.

A step's identity holds the SHA-256 of every seglib module that its work can depend on, and of the
data files that such a module names: the transitive closure of the static imports of the step, of
its method and of its data set. Left out
are files without behaviour (registry, command line, package files) and those that carry, show,
store or record values without computing any (``RECORDERS``): a better progress bar must not cost a
retraining. A test compares the closure with the modules that a real run loads.

Nothing is imported to find this out, since Snakemake must be able to ask while it parses.
"""

import ast
import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from seglib import registry

PACKAGE = Path(__file__).parent
RECORDERS = frozenset(
    f"seglib.{name}"
    for name in (
        "cell",
        "cli",
        "engine.checkpoints",
        "engine.interruption",
        "engine.metering",
        "files",
        "paths",
        "progress",
        "provenance",
        "registry",
        "score_tables",
        "seals",
        "sources",
        "typed",
    )
)


def step_code(step: str, *, method: str | None = None, dataset: str | None = None) -> dict[str, str]:
    """Module name -> first 12 digits of its SHA-256, for everything the step's result depends on.

    ``method`` and ``dataset`` are registry names, for steps that build a model or read raw data.
    """
    targets = [registry.STEPS[step]]
    if method is not None:
        targets.append(registry.METHODS[method])
    if dataset is not None:
        targets.append(registry.DATASETS[dataset])
    modules = set().union(*(closure(target.split(":")[0]) for target in targets))
    return {module: _digest(module) for module in sorted(modules)}


@functools.cache
def closure(module: str) -> frozenset[str]:
    """``module`` and all seglib modules that it imports, directly or not, at any depth of its code."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in RECORDERS and not _is_package(name):
            found.add(name)
            waiting.extend(_imports(name))
    return frozenset(found)


@functools.cache
def syntax_tree(module: str) -> ast.Module:
    """The parsed source of a seglib module, which is not imported."""
    return ast.parse(_source_file(module).read_bytes())


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(syntax_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _exists(alias.name))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import; write the full name"
            # "from seglib.models import layers" names a module, "from seglib.cell import Cell" does not.
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                if _exists(name):
                    yield name


def _source_file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(module: str) -> bool:
    return module.split(".")[0] == "seglib" and _source_file(module).is_file()


def _is_package(module: str) -> bool:
    return _source_file(module).name == "__init__.py"


@functools.cache
def _digest(module: str) -> str:
    """Of the module's source and of the data files (tables, templates) that it names."""
    source = _source_file(module)
    digest = hashlib.sha256(source.read_bytes())
    for name in sorted(_strings(module)):
        data = source.parent / name
        for file in sorted(data.rglob("*")) if data.is_dir() else [data]:
            if file.is_file() and file.suffix != ".py" and "__pycache__" not in file.parts:
                digest.update(file.relative_to(source.parent).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _strings(module: str) -> set[str]:
    """String constants that could be the name of a file or folder beside the module."""
    constants = (node.value for node in ast.walk(syntax_tree(module)) if isinstance(node, ast.Constant))
    return {text for text in constants if isinstance(text, str) and re.fullmatch(r"\w[\w./-]{0,80}", text)}
