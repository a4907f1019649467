"""Two independent counts of a model's multiply-adds (MACs), and the check that they agree.

:func:`count_traced` runs fvcore on real tensors, with :mod:`seglib.cost.op_counts`: every operator, in full.
:func:`count_meta` runs torch's ``FlopCounterMode`` on ``meta`` tensors: convolutions and matrix products,
but without arithmetic or memory, for models of any size. :func:`check_agreement` compares what both see.

Both evaluate one image in evaluation mode, without gradients.
"""

import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from seglib.cost import op_counts

GIB = 2**30


class CountersDisagree(ValueError):
    """One of the counters counts a model wrongly."""


@dataclass(frozen=True)
class OperationCounts:
    """MACs per module and operator. Modules go by their dotted path, ``""`` being the model itself."""

    macs: dict[str, Counter[str]]
    kinds: dict[str, str]
    """Operator -> ``conv``, ``matmul`` or ``elementwise``."""
    unsupported_ops: dict[str, Counter[str]]
    """Module -> operator without a cost -> how often it ran; empty for torch's counter, which cannot tell."""

    def of_kind(self, kind: str, module: str = "") -> int:
        return sum(n for op, n in self.macs.get(module, {}).items() if self.kinds[op] == kind)

    def total(self, module: str = "") -> int:
        return sum(self.macs.get(module, {}).values())


@dataclass(frozen=True)
class MetaCounts(OperationCounts):
    parameters: dict[str, int]
    """Parameter -> elements, of all parameters."""
    used_parameters: frozenset[str]
    """Parameters that the evaluated forward pass reads; those of auxiliary classifiers are not."""
    mem_gib: float
    """Parameters, buffers and the most activations alive at a time, with attention scores in full."""


def count_meta(model_builder: Callable[[], nn.Module], input_hw: tuple[int, int]) -> MetaCounts:
    """MACs of convolutions and matrix products of ``model_builder()``, for one float32 image (1, 3, H, W).

    The model is built on ``meta``, so that no weight exists either. An operation whose result decides what
    runs next raises, since ``meta`` tensors have no values.
    """
    with torch.device("meta"):
        model = model_builder().eval()
        images = torch.zeros(1, 3, *input_hw)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    footprint = _Footprint(names)
    for tensor in (*model.parameters(), *model.buffers(), images):
        footprint.add(tensor)
    counter = FlopCounterMode(display=False, custom_mapping=_MATRIX_VECTOR)
    # Attention as plain matrix products: torch's counter may miss a fused kernel.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), footprint, counter:
        model(images)
    macs = _macs_by_module(model, counter)
    ops = {op for by_op in macs.values() for op in by_op}
    return MetaCounts(
        macs=macs,
        kinds={op: "conv" if "conv" in op else "matmul" for op in ops},
        unsupported_ops={},
        parameters={name: parameter.numel() for name, parameter in model.named_parameters()},
        used_parameters=frozenset(footprint.used),
        mem_gib=footprint.peak_bytes / GIB,
    )


def count_traced(model: nn.Module, images: Tensor) -> OperationCounts:
    """MACs of every operator of ``model(images)``, which really runs, in evaluation mode."""
    analysis = FlopCountAnalysis(model.eval(), images).set_op_handle(**op_counts.handles())
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad(), _mha_fastpath_off(), _unused_parts_kept(model):
        macs = {module: _merge_in_place(by_op) for module, by_op in analysis.by_module_and_operator().items()}
    ops = {op for by_op in macs.values() for op in by_op}
    return OperationCounts(
        macs=macs,
        kinds={op: op_counts.kind(op) for op in ops},
        unsupported_ops={module: analysis.unsupported_ops(module) for module in macs},
    )


def check_agreement(traced: OperationCounts, meta: OperationCounts, children: tuple[str, ...] = ()) -> None:
    """Raise :class:`CountersDisagree` unless both count the same convolution and matrix product MACs.

    Compared are the model and ``children``, the modules whose shares are published. The message names the
    innermost modules that differ, what each counter saw there and which operators fvcore has no cost for.
    """
    kinds = ("conv", "matmul")

    def differs(module: str) -> bool:
        return any(traced.of_kind(kind, module) != meta.of_kind(kind, module) for kind in kinds)

    if not any(map(differs, ("", *children))):
        return
    differing = [module for module in sorted(set(traced.macs) & set(meta.macs)) if differs(module)]
    innermost = [
        module
        for module in differing
        if not any(
            other != module and f"{other}.".startswith(f"{module}." if module else "") for other in differing
        )
    ]
    lines = [_describe(module, traced, meta) for module in innermost[:3]]
    more = f"; and {len(innermost) - 3} more modules" if len(innermost) > 3 else ""
    raise CountersDisagree(f"fvcore and torch count different MACs: {'; '.join(lines)}{more}")


def _macs_by_module(model: nn.Module, counter: FlopCounterMode) -> dict[str, Counter[str]]:
    root = type(model).__name__
    counted = counter.get_flop_counts()
    macs: dict[str, Counter[str]] = {}
    for name, module in reversed(list(model.named_modules())):  # children before their parents
        if (key := f"{root}.{name}" if name else root) in counted:
            macs[name] = Counter({str(op): flops // 2 for op, flops in counted[key].items()})
        else:  # a container whose children are called one by one, or nothing to count
            children = (f"{name}.{child}" if name else child for child, _ in module.named_children())
            macs[name] = sum((macs.get(child, Counter()) for child in children), Counter())
    return macs


def _merge_in_place(by_op: Counter[str]) -> Counter[str]:
    """``relu_`` is ``relu``; fvcore's products by its float costs become integers again."""
    merged: Counter[str] = Counter()
    for op, n in by_op.items():
        merged[op.removesuffix("_")] += int(n)
    return merged


def _describe(module: str, traced: OperationCounts, meta: OperationCounts) -> str:
    def shared(counts: OperationCounts) -> str:
        by_op = {op: n for op, n in counts.macs.get(module, {}).items() if counts.kinds[op] != "elementwise"}
        return ", ".join(f"{op} {n}" for op, n in sorted(by_op.items())) or "nothing"

    unknown = ", ".join(sorted(traced.unsupported_ops.get(module, {})))
    hint = f" (no cost known for {unknown})" if unknown else ""
    return f"in {module or 'the model'} fvcore counts {shared(traced)}{hint}, torch counts {shared(meta)}"


def _matrix_vector_flops(matrix_shape: torch.Size, _: torch.Size, **__: object) -> int:
    return 2 * matrix_shape.numel()


_MATRIX_VECTOR = {torch.ops.aten.mv: _matrix_vector_flops, torch.ops.aten.dot: _matrix_vector_flops}
"""Operators of ``matmul`` with a vector, which torch's counter leaves out."""


@contextlib.contextmanager
def _mha_fastpath_off() -> Iterator[None]:
    """Keep ``nn.MultiheadAttention`` from running as one operator, whose parts no counter sees."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextlib.contextmanager
def _unused_parts_kept(model: nn.Module) -> Iterator[None]:
    """Make the outputs of the model's children outputs of the model, too.

    A trace drops work that no output depends on, such as a map of the backbone that the head does not take;
    the model does it nonetheless.
    """
    kept: list[object] = []
    hooks = [
        child.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        for child in model.children()
    ]
    forward = model.forward

    def forward_all(*inputs: Tensor) -> tuple[object, ...]:
        kept.clear()
        return forward(*inputs), *kept

    model.forward = forward_all
    try:
        yield
    finally:
        del model.forward
        kept.clear()
        for hook in hooks:
            hook.remove()


class _Footprint(TorchDispatchMode):
    """Bytes alive at a time and parameters read, from the tensors that operators take and return."""

    def __init__(self, names: dict[int, str]):
        super().__init__()
        self.names = names
        self.used: set[str] = set()
        self.alive: set[int] = set()
        self.bytes = self.peak_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.used |= {self.names[id(leaf)] for leaf in tree_leaves((args, kwargs)) if id(leaf) in self.names}
        output = func(*args, **kwargs)
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return output

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.alive:
            self.alive.add(key)
            self.bytes += size
            self.peak_bytes = max(self.peak_bytes, self.bytes)
            weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self.alive.discard(key)
        self.bytes -= size
