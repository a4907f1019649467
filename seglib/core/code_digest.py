"""The code that a step runs, as digests: what makes "edit isnet.py" retrain ISNet and nothing else.

A step's identity holds a digest of every seglib module that its result can depend on: the transitive closure
of the static imports of the step, of its method and of its data set. What an edit costs is decided by the
folder. Modules in :data:`FREE` carry, show, store or record values and compute none: they are left out, but
for the steps that only read results (:data:`READERS`), where they decide what is read.

A digest is of behaviour: comments, docstrings, blank lines and ``FIDELITY`` tables are cut out of the source
by position. So prose is free, and a digest is equal on every supported Python (tokens are not: an f-string is
one token on 3.11 and many on 3.12). The data files that a module names are part of its digest.

Nothing is imported to find this out, since Snakemake asks while it parses, and the code of a recorded commit
may be foreign (:class:`Commit`).
"""

import ast
import functools
import hashlib
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from seglib.core import registry
from seglib.core.files import PYTHON_PARSER

SCHEME = 2
"""Of the digests that are recorded. 1: of whole files, with the free modules listed in seglib/sources.py."""
FREE = ("seglib.core", "seglib.experiment")
READERS = ("compare", "report")
PROSE = "FIDELITY"
"""The class attribute that says where a method's parts come from."""
PACKAGE = Path(__file__).parents[1]


class SourceTree(Protocol):
    """Where the files of the package are read from. Paths are relative to the folder ``seglib``."""

    def read(self, path: str) -> bytes | None:
        """The content of a file; ``None`` where there is none."""

    def below(self, folder: str) -> Sequence[str]:
        """The files in a folder and its subfolders, sorted."""


class Checkout:
    """The package as it lies on disk."""

    def __init__(self, package: Path):
        self.package = package

    def read(self, path: str) -> bytes | None:
        file = self.package / path
        return file.read_bytes() if file.is_file() else None

    def below(self, folder: str) -> Sequence[str]:
        files = (file for file in (self.package / folder).rglob("*") if file.is_file())
        return sorted(file.relative_to(self.package).as_posix() for file in files)


class Commit:
    """The package as a git commit has it; nothing of the commit is run.

    ``ValueError`` where ``commit`` is no (short) hexadecimal name, or unknown in the checkout ``repository``.
    """

    def __init__(self, repository: Path, commit: str):
        if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
            raise ValueError(f"{commit!r} is no commit: 7 to 64 hexadecimal digits")
        self.repository, self.commit = repository, commit
        listed = self._git("ls-tree", "-r", "-z", "--name-only", commit, "--", "seglib/")
        names = filter(None, listed.decode().split("\0"))
        self.files = frozenset(name.removeprefix("seglib/") for name in names)

    def read(self, path: str) -> bytes | None:
        return self._git("show", f"{self.commit}:seglib/{path}") if path in self.files else None

    def below(self, folder: str) -> Sequence[str]:
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))

    def _git(self, *arguments: str) -> bytes:
        options = ["--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
        done = subprocess.run(
            ["git", "-C", self.repository, *options, *arguments], capture_output=True, check=False
        )
        if done.returncode:
            raise ValueError(f"commit {self.commit} is unknown to this checkout: git fetch")
        return done.stdout


def step_code(step: str, *, method: str | None = None, dataset: str | None = None) -> dict[str, str]:
    """Module -> first 12 digits of its digest, for everything that the step's result depends on.

    ``method`` and ``dataset`` are registry names, for steps that build a model or read raw data. Their
    modules are named with the class that the registry chooses, ``seglib.models.mcibi:MCIBIFCN``.
    """
    targets = [registry.STEPS[step].split(":")[0]]
    if method is not None:
        targets.append(registry.METHODS[method])
    if dataset is not None:
        targets.append(registry.DATASETS[dataset])
    return _own().code(targets, free=() if step in READERS else FREE)


def summary_digest(code: dict[str, str]) -> str:
    """One digest for all of a step's code: what a job is told to run."""
    return hashlib.sha256("\n".join(f"{name}={code[name]}" for name in sorted(code)).encode()).hexdigest()[
        :12
    ]


def code_at(tree: SourceTree, step: str, *, method: str) -> dict[str, str]:
    """What :func:`step_code` gave for the code in ``tree``, in the scheme that this code had."""
    if tree.read("core/registry.py") is None:
        return _code_of_scheme_1(tree, step, method)
    modules = Modules(tree)
    names = modules.literals("seglib.core.registry")
    free = () if step in READERS else FREE
    return modules.code([names["STEPS"][step].split(":")[0], names["METHODS"][method]], free=free)


class Modules:
    """The modules of one source tree: what they import, and what they are."""

    def __init__(self, tree: SourceTree):
        self.tree = tree
        self.source = functools.cache(self._source)
        self.syntax = functools.cache(self._syntax)
        self.nodes = functools.cache(self._nodes)
        self.digest = functools.cache(self._digest)
        self.imports = functools.cache(self._imports)

    def code(self, targets: Sequence[str], *, free: Sequence[str]) -> dict[str, str]:
        """Digests of the closures of ``targets``, each a module or ``module:Class``."""
        modules = set().union(*(self.closure(target.split(":")[0], free) for target in targets))
        names = {target.split(":")[0]: target for target in targets}
        return {names.get(module, module): self.digest(module) for module in sorted(modules)}

    def closure(self, module: str, free: Sequence[str] = FREE) -> frozenset[str]:
        """``module`` and all modules that it imports, directly or not, at any depth of its code."""
        found: set[str] = set()
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name not in found and not is_in(name, free) and not self.is_package(name):
                found.add(name)
                waiting.extend(self.imports(name))
        return frozenset(found)

    def is_package(self, module: str) -> bool:
        return self.source(module)[0].endswith("__init__.py")

    def literals(self, module: str) -> dict[str, object]:
        """The values of the module's top-level names that are written as literals."""
        found = {}
        for node in self.syntax(module).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                try:
                    found[node.targets[0].id] = ast.literal_eval(node.value)
                except ValueError:
                    continue
        return found

    def exists(self, module: str) -> bool:
        return module.split(".")[0] == "seglib" and self.source(module)[1] is not None

    def data_files(self, module: str) -> Iterator[str]:
        """The files, or all files of the folders, that a string of the module names beside it."""
        folder = PurePosixPath(self.source(module)[0]).parent
        for name in sorted(_names_of_files(self.nodes(module))):
            path = (folder / name).as_posix()
            for file in [path] if self.tree.read(path) is not None else self.tree.below(path):
                if not file.endswith(".py") and "__pycache__" not in file:
                    yield file

    def _source(self, module: str) -> tuple[str, bytes | None]:
        """Path and content: of ``seglib.models`` its ``__init__.py``."""
        path = "/".join(module.split(".")[1:])
        package = f"{path}/__init__.py".lstrip("/")
        if (content := self.tree.read(package)) is not None:
            return package, content
        return f"{path}.py", self.tree.read(f"{path}.py")

    def _syntax(self, module: str) -> ast.Module:
        with PYTHON_PARSER:
            return ast.parse(self.source(module)[1])

    def _nodes(self, module: str) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.syntax(module)))

    def _imports(self, module: str) -> tuple[str, ...]:
        found = []
        for node in self.nodes(module):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: relative import; write the full name"
                # "from seglib.models import layers" names a module, "... .layers import resize" does not.
                found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        return tuple(name for name in found if self.exists(name))

    def _digest(self, module: str) -> str:
        path, content = self.source(module)
        digest = hashlib.sha256(behaviour(content.decode("utf-8"), self.nodes(module)).encode())
        for file in self.data_files(module):
            name = PurePosixPath(file).relative_to(PurePosixPath(path).parent)
            digest.update(name.as_posix().encode() + b"\0" + self.tree.read(file))
        return digest.hexdigest()[:12]


def behaviour(source: str, nodes: Sequence[ast.AST]) -> str:
    """Python source without comments, docstrings, blank lines, trailing blanks and :data:`PROSE`.

    ``nodes``: all nodes of its syntax tree.

    Every string that stands for itself is a docstring (of a module, class, function or attribute): none does
    anything. Strings that are values keep their bytes, line breaks included.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.encode() for line in source.split("\n")]  # columns of syntax trees count bytes
    inside = set()  # lines that end within a string: their ends belong to its value
    cuts = []
    for node in nodes:
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno > node.lineno:
            inside.update(range(node.lineno, node.end_lineno))
        if _is_prose(node):
            cuts.append((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            start = len(token.line[:column].encode())
            cuts.append((row, start, row, start + len(token.string.encode())))
    for first, start, last, end in sorted(cuts, reverse=True):
        inside.difference_update(range(first, last))
        lines[first - 1 : last] = [lines[first - 1][:start] + lines[last - 1][end:], *[b""] * (last - first)]
    kept = [
        line if number in inside else line.rstrip()
        for number, line in enumerate(lines, 1)
        if number in inside or number - 1 in inside or line.strip()
    ]
    return b"\n".join(kept).decode()


def is_in(module: str, packages: Sequence[str]) -> bool:
    """Whether a module lies in one of the packages."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@functools.cache
def _own() -> Modules:
    return Modules(Checkout(PACKAGE))


def syntax_tree(module: str) -> ast.Module:
    """The parsed source of a seglib module, which is not imported."""
    return _own().syntax(module)


def _is_prose(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets] == [PROSE]
    return False


def _names_of_files(nodes: Sequence[ast.AST]) -> set[str]:
    """String constants that could be the name of a file or folder beside the module."""
    prose = {node.value for node in nodes if isinstance(node, ast.Expr)}
    constants = (node for node in nodes if isinstance(node, ast.Constant) and node not in prose)
    texts = (node.value for node in constants if isinstance(node.value, str))
    return {text for text in texts if re.fullmatch(r"\w[\w./-]{0,80}", text)}


def _code_of_scheme_1(tree: SourceTree, step: str, method: str) -> dict[str, str]:
    """As seglib/sources.py of that time computed it: bytes of whole files, free modules by their names."""
    modules = Modules(tree)
    names = modules.literals("seglib.registry")
    free = _recorders(modules.nodes("seglib.sources"))
    targets = (names["STEPS"][step].split(":")[0], names["METHODS"][method].split(":")[0])
    code = {}
    for module in sorted(set().union(*(modules.closure(target, free) for target in targets))):
        path, content = modules.source(module)
        digest = hashlib.sha256(content)
        for file in modules.data_files(module):
            name = PurePosixPath(file).relative_to(PurePosixPath(path).parent)
            digest.update(name.as_posix().encode() + b"\0" + tree.read(file))
        code[module] = digest.hexdigest()[:12]
    return code


def _recorders(nodes: Sequence[ast.AST]) -> tuple[str, ...]:
    """The free modules of scheme 1, a literal of names without ``seglib.``."""
    for node in nodes:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RECORDERS":
            names = next(part for part in ast.walk(node.value) if isinstance(part, ast.Tuple))
            return tuple(f"seglib.{name}" for name in ast.literal_eval(names))
    raise ValueError("its seglib/sources.py names no free modules")
