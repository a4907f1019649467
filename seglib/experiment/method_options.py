"""Facts about method classes, read from their source: the options that a configuration may set.

Checking a configuration must not import torch, and a second list of options beside the
constructors would drift from them.
"""

import ast
import functools
from typing import Any, Literal

from seglib.core import code_digest, registry, typed

BUILT_IN = {"channels", "strides", "num_classes"}
"""Constructor arguments that the segmentor fills in."""


@functools.cache
def method_options(method: str) -> dict[str, Any]:
    """Option name -> type hint of a method's constructor, e.g. ``{"image_context": bool}``."""
    arguments = _find(method, _constructor_arguments)
    return {
        argument.arg: eval(ast.unparse(argument.annotation), {"Literal": Literal})  # our own source
        for argument in arguments.kwonlyargs
        if argument.arg not in BUILT_IN
    }


def check_options(method: str, options: dict[str, Any], where: str) -> dict[str, Any]:
    """``options`` with their types checked; an unknown one raises ``ValueError`` naming the nearest."""
    known = method_options(method)
    for name in options:
        if name not in known:
            valid = typed.suggest(name, known) if known else "; this method has no options"
            raise ValueError(f"{where}.{name}: unknown option of method {method}{valid}")
    return {name: typed.convert(known[name], value, f"{where}.{name}") for name, value in options.items()}


def class_literal(method: str, name: str) -> Any:
    """The value of a class attribute that is written as a literal, such as ``FIDELITY``."""
    return _find(method, functools.partial(_literal, name=name))


def _find(method: str, look: Any) -> Any:
    """What ``look`` finds in the method's class or else in the first base class that has it."""
    module, name = registry.METHODS[method].split(":")
    while True:
        tree = code_digest.syntax_tree(module)
        definition = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
        found = look(definition)
        if found is not None:
            return found
        name = ast.unparse(definition.bases[0])
        if not any(isinstance(n, ast.ClassDef) and n.name == name for n in tree.body):
            module = next(
                n.module
                for n in tree.body
                if isinstance(n, ast.ImportFrom) and name in {alias.name for alias in n.names}
            )


def _constructor_arguments(definition: ast.ClassDef) -> ast.arguments | None:
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return node.args
    return None


def _literal(definition: ast.ClassDef, name: str) -> Any:
    for node in definition.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets) and node.value:
            return ast.literal_eval(node.value)
    return None
