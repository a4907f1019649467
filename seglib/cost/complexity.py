"""Parameters and multiply-adds (MACs) of a model, from two counters that must agree.

    seglib complexity --method isnet --backbone resnet50 --input 512x1024 --num-classes 19 [--json]

One image, evaluation mode, no weights file. fvcore counts every operator of a real forward pass
(:mod:`seglib.cost.op_counts` says at what cost), torch counts convolutions and matrix products on ``meta``
tensors. What both count must be equal to the last multiply-add, or the command fails and names the module.
Above ``max_mem_gib`` fvcore does not run; the numbers of fvcore alone are then ``null``.
docs/cost.md says more.
"""

import functools
import importlib.metadata
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from seglib.core import checksums
from seglib.core.typed import plain
from seglib.cost.counters import (
    CountersDisagree,
    MetaCounts,
    OperationCounts,
    check_agreement,
    count_meta,
    count_traced,
)
from seglib.experiment import records
from seglib.experiment.recipe import Backbone
from seglib.experiment.records import Cost, CounterRun, ModuleCost
from seglib.models.segmentor import build_segmentor

PARTS = {"backbone": "encoder", "head": "method"}
"""Published name -> module of a Segmentor."""

CONVENTIONS = (
    "1 MAC = one multiply-add = 1; FLOPs = 2 x MACs",
    "gmacs: all floating-point operators, for one image from normalisation to logits at input size",
    "gmacs_conv_matmul: convolutions and matrix products only, attention included; biases are free",
    "elementwise: 1 per addition, comparison or function of one element (costs: seglib/cost/op_counts.py)",
    "params_training_only: part of params that evaluation never reads (auxiliary classifiers)",
)


def run(
    *,
    method: str,
    method_options: dict[str, Any],
    backbone: Backbone,
    input_hw: tuple[int, int],
    num_classes: int,
    out: Path | None,
    as_json: bool,
    max_mem_gib: float = 8.0,
) -> None:
    """Print the cost of a model as a table or as JSON, and write the JSON to ``out`` where given."""
    cost = measure(
        method=method,
        method_options=method_options,
        backbone=backbone,
        input_hw=input_hw,
        num_classes=num_classes,
        max_mem_gib=max_mem_gib,
    )
    if out is not None:
        records.write(out, cost)
        checksums.seal(out.with_suffix(".sha256"), [out])
    print(json.dumps(plain(cost), indent=1) if as_json else table(cost))


def measure(
    *,
    method: str,
    method_options: dict[str, Any],
    backbone: Backbone,
    input_hw: tuple[int, int],
    num_classes: int,
    max_mem_gib: float = 8.0,
) -> Cost:
    """The cost of a model for one image of ``input_hw`` pixels.

    fvcore runs where the forward pass needs at most ``max_mem_gib`` (0: never, which costs no arithmetic).
    Raises ``ValueError`` where the counters disagree, or where method and backbone do not go together.
    """
    build = functools.partial(
        build_segmentor,
        method=method,
        method_options=method_options,
        backbone=backbone,
        num_classes=num_classes,
        load_weights=False,
    )
    meta = count_meta(build, input_hw)
    traced = None
    if meta.mem_gib <= max_mem_gib:
        # Noise, since a network of zeros would spend its time on denormal numbers.
        noise = torch.rand(1, 3, *input_hw, generator=torch.Generator().manual_seed(0))
        traced = count_traced(build(), 255 * noise)
        try:
            check_agreement(traced, meta, tuple(PARTS.values()))
        except CountersDisagree as error:
            raise CountersDisagree(f"method {method!r} with backbone {backbone.model!r}: {error}") from None
    return Cost(
        method=method,
        method_options=method_options,
        backbone=backbone,
        input_hw=input_hw,
        num_classes=num_classes,
        **summarise(traced, meta, max_mem_gib=max_mem_gib),
    )


def summarise(traced: OperationCounts | None, meta: MetaCounts, *, max_mem_gib: float) -> dict[str, Any]:
    """The numbers of a :class:`Cost`."""
    counts = traced or meta
    record: dict[str, Any] = {
        "params": _parameters(meta, ""),
        **{f"params_{part}": _parameters(meta, module) for part, module in PARTS.items()},
        "params_training_only": sum(
            n for name, n in meta.parameters.items() if name not in meta.used_parameters
        ),
    }
    for part, module in {"": "", **{f"_{part}": module for part, module in PARTS.items()}}.items():
        record[f"gmacs{part}"] = traced and traced.total(module) / 1e9
        record[f"gmacs_conv_matmul{part}"] = _conv_matmul(counts, module) / 1e9
    return record | {
        "elementwise_share": traced and traced.of_kind("elementwise") / traced.total(),
        "gflops": traced and 2 * record["gmacs"],
        "gflops_conv_matmul": 2 * record["gmacs_conv_matmul"],
        "macs": {
            "conv": counts.of_kind("conv"),
            "matmul": counts.of_kind("matmul"),
            "elementwise": traced and traced.of_kind("elementwise"),
        },
        "macs_by_operator": dict(counts.macs[""].most_common()),
        "modules": tuple(
            ModuleCost(**(row if traced else row | {"macs": None})) for row in _modules(counts, meta)
        ),
        "unsupported_ops": traced and dict(traced.unsupported_ops[""]),
        "counters": {
            "fvcore": CounterRun(
                version=importlib.metadata.version("fvcore"),
                ran=traced is not None,
                why_not=None if traced else f"needs {meta.mem_gib:.2f} GiB, allowed are {max_mem_gib:g} GiB",
            ),
            "torch": CounterRun(version=torch.__version__, ran=True, why_not=None),
        },
        "mem_gib": meta.mem_gib,
        "conventions": CONVENTIONS,
    }


def table(cost: Cost) -> str:
    """A cost as text for a terminal."""
    height, width = cost.input_hw
    stride = cost.backbone.output_stride
    backbone = cost.backbone.model + (f" at output stride {stride}" if stride else "")
    lines = [
        f"{cost.method}, {backbone}: one image of {height}x{width}, {cost.num_classes} classes",
        "",
        f"{'':<34}{'params M':>10}{'conv+matmul GMAC':>19}{'all GMAC':>12}",
    ]
    for row in cost.modules:
        name = row.name if row.depth == 0 else f"  {row.name}"
        total = _column(None if row.macs is None else row.macs / 1e9)
        lines.append(f"{name:<34}{row.params / 1e6:10.3f}{row.macs_conv_matmul / 1e9:19.3f}{total}")
    lines += [
        f"{'total':<34}{cost.params / 1e6:10.3f}{cost.gmacs_conv_matmul:19.3f}{_column(cost.gmacs)}",
        f"{'  as GFLOPs (2 x GMACs)':<44}{cost.gflops_conv_matmul:19.3f}{_column(cost.gflops)}",
        "",
        f"{cost.params_training_only / 1e6:.3f} M of the parameters serve training only.",
    ]
    if cost.unsupported_ops is None:
        return "\n".join(
            [*lines, f"fvcore did not run ({cost.counters['fvcore'].why_not}): torch's count only."]
        )
    missing = ", ".join(f"{op} ({n}x)" for op, n in sorted(cost.unsupported_ops.items())) or "nothing"
    lines += [
        f"Elementwise operators: {cost.elementwise_share:.2%} of all MACs. Not counted: {missing}.",
        "fvcore and torch agree on all convolutions and matrix products.",
    ]
    return "\n".join(lines)


def _column(giga: float | None) -> str:
    return f"{'-':>12}" if giga is None else f"{giga:12.3f}"


def _modules(counts: OperationCounts, meta: MetaCounts) -> Iterable[dict[str, Any]]:
    """Rows of the parts (depth 0) and their modules (depth 1), each level adding up to the one above."""
    rest = {"name": "normalise and resize", "depth": 0, "params": 0}
    rest |= {key: value(counts, "") for key, value in _COSTS.items()}
    for part, module in PARTS.items():
        row = _row(part, 0, module, counts, meta)
        yield row
        for key in _COSTS:
            rest[key] -= row[key]
        inside = [
            _row(child.removeprefix(f"{module}."), 1, child, counts, meta) for child in _top(module, counts)
        ]
        own = {key: row[key] - sum(child[key] for child in inside) for key in ("params", *_COSTS)}
        inside.append({"name": "own operators", "depth": 1, **own})
        yield from (child for child in inside if any(child[key] for key in ("params", *_COSTS)))
    yield rest


def _top(module: str, counts: OperationCounts) -> list[str]:
    """The children of ``module``, or of the module within its wrappers, which have a single child."""
    while True:
        children = [name for name in counts.macs if name.rpartition(".")[0] == module]
        if len(children) != 1:
            return children
        (module,) = children


def _row(name: str, depth: int, module: str, counts: OperationCounts, meta: MetaCounts) -> dict[str, Any]:
    costs = {key: value(counts, module) for key, value in _COSTS.items()}
    return {"name": name, "depth": depth, "params": _parameters(meta, module), **costs}


def _conv_matmul(counts: OperationCounts, module: str) -> int:
    return counts.of_kind("conv", module) + counts.of_kind("matmul", module)


_COSTS = {"macs_conv_matmul": _conv_matmul, "macs": OperationCounts.total}
"""Columns of a row of ``modules``."""


def _parameters(meta: MetaCounts, module: str) -> int:
    return sum(n for name, n in meta.parameters.items() if not module or name.startswith(f"{module}."))
