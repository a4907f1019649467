"""The cost of each operator of a traced model in multiply-adds (MACs): handles for fvcore.

One MAC counts 1, and so do one addition, one comparison and one pointwise function (exp, sqrt, erf, ...)
of one element. FLOPs are 2 x MACs. Operators are of three kinds:

- ``conv`` and ``matmul``, fused attention included: exact, and checked against torch's own counter
  (:mod:`seglib.cost.counters`). Adding a bias is part of the product;
- ``elementwise``: all other floating-point arithmetic, at the costs below.

Free: moving or choosing data (reshape, cat, pad, gather, where), arithmetic on integers, booleans and
scalars. Where fvcore has a cost it stays (norms 2 to 5 per element, adaptive average pooling 1 per input,
nearest 1 and bilinear 4 per output), so that its figures recur here, except where fvcore is wrong:
broadcast ``matmul``, ``einsum`` (rounded to four digits), ``grid_sample`` in other modes than bilinear.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fvcore.nn.jit_handles import Handle, get_shape

Value = Any
"""``torch._C.Value``: an edge of the traced graph."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MATMUL_OPS = _words("addmm baddbmm bmm dot einsum linear matmul mm mv scaled_dot_product_attention tensordot")

POINTWISE_OPS = _words("""
abs add addcdiv addcmul celu clamp clamp_max clamp_min cos div elu eq erf exp expm1 ge gelu glu gt
hardsigmoid hardswish hardtanh le leaky_relu lerp log log1p log2 log_sigmoid lt maximum minimum mish mul
multiply ne neg pow prelu reciprocal relu relu6 rsqrt rsub selu sigmoid sign silu sin softplus sqrt square
sub subtract tanh threshold true_divide
""")
"""1 per output element; each also in its in-place form."""

SOFTMAX_COST = 5
"""Per input element: maximum, subtract, exp, add, divide."""

PER_INPUT_COST = {
    **dict.fromkeys(_words("adaptive_avg_pool1d adaptive_max_pool2d amax amin argmax argmin col2im"), 1),
    **dict.fromkeys(_words("cumsum max mean min sum"), 1),
    **dict.fromkeys(_words("frobenius_norm linalg_vector_norm norm"), 1),  # square and add
    **dict.fromkeys(_words("std std_mean var var_mean"), 3),  # add (the mean), subtract, square and add
    **dict.fromkeys(_words("log_softmax softmax"), SOFTMAX_COST),
    "logsumexp": 4,  # maximum, subtract, exp, add
    "rms_norm": 3,  # square and add, divide, scale
}

PER_SOURCE_OPS = _words("index_add scatter_add scatter_reduce")
"""1 per added element (of the fourth argument); each also in its in-place form."""

POOLING_OPS = _words("avg_pool1d avg_pool2d max_pool1d max_pool2d")
"""1 per output element and cell of the window."""

UPSAMPLING_COST = {
    "upsample_linear1d": 2,
    "upsample_bicubic2d": 16,
    "upsample_trilinear3d": 8,
    "upsample_nearest1d": 1,
    "_upsample_nearest_exact2d": 1,
}
"""Per output element: the number of values that it is made of."""

GRID_SAMPLE_TAPS = {0: 2, 1: 1, 2: 4}
"""Values per axis that one output is made of, by torch's code of the mode: bilinear, nearest, bicubic."""

FREE_OPS = _words("""
adjoint alias alpha_dropout as_strided atleast_2d bitwise_and bitwise_or broadcast_tensors broadcast_to
channel_shuffle clone column_stack detach_ diagonal embedding empty_like expand_as eye feature_dropout fill_
flip hstack im2col index_select is_floating_point lift_fresh linspace logical_and logical_not logical_or
masked_fill_ masked_scatter matrix_H meshgrid mH movedim mT narrow_copy native_channel_shuffle new_ones
numel numpy_T one_hot ones_like pad pixel_shuffle pixel_unshuffle rand rand_like randn randn_like ravel
reflection_pad2d repeat repeat_interleave replication_pad2d reshape_as rot90 scalar_tensor scatter_ scatter
select_scatter _shape_as_tensor slice_scatter squeeze_ swapaxes swapdims take_along_dim tensor_split tile
transpose_ tril triu type unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze_
view_as vstack where zero_
""")
"""Free, beside those that fvcore ignores by itself."""


def kind(op: str) -> str:
    """``conv``, ``matmul`` or ``elementwise``, by an operator's name in fvcore's tables."""
    return "conv" if op == "conv" else "matmul" if op in MATMUL_OPS else "elementwise"


def handles() -> dict[str, Handle | None]:
    """Operator -> handle, for ``FlopCountAnalysis.set_op_handle``; ``None``: free."""
    by_name: dict[str, Handle | None] = dict.fromkeys(FREE_OPS)
    by_name |= {name + suffix: _pointwise for name in POINTWISE_OPS for suffix in ("", "_")}
    by_name |= {name: _per_input(cost) for name, cost in PER_INPUT_COST.items()}
    by_name |= {name + suffix: _per_source for name in PER_SOURCE_OPS for suffix in ("", "_")}
    by_name |= dict.fromkeys(POOLING_OPS, _pooling)
    by_name |= {name: _per_output(cost) for name, cost in UPSAMPLING_COST.items()}
    by_name |= {
        "_convolution_mode": _convolution_mode,
        "_upsample_bilinear2d_aa": _antialiased(radius=1),
        "_upsample_bicubic2d_aa": _antialiased(radius=2),
        "baddbmm": lambda inputs, outputs: _matmul(inputs[1:], outputs),
        "dot": _matmul,
        "einsum": _einsum,
        "embedding_bag": _embedding_bag,
        "grid_sampler": _grid_sampler,
        "matmul": _matmul,
        "mv": _matmul,
        "scaled_dot_product_attention": _attention,
        "tensordot": _tensordot,
    }
    return {f"aten::{name}": handle for name, handle in by_name.items()}


def einsum_macs(
    equation: str, shapes: Sequence[Sequence[int]], path: Sequence[int] | None = None
) -> Counter[str]:
    """MACs of ``torch.einsum``: ``einsum`` for matrix products, ``einsum_pointwise`` for plain products.

    Two operands at a time: the labels that both hold and nothing needs later are contracted, in one batched
    matrix product; without such a label it is a plain product. What only one operand holds and nothing
    needs is summed out first. ``path``: flat pairs of operand positions, as torch passes them; ``None``: in
    order.
    """
    terms, output = _terms(equation, shapes)
    sizes: Counter[str] = Counter()
    operands = []
    for term, shape in zip(terms, shapes, strict=True):
        sizes |= Counter(dict(zip(term, shape, strict=True)))  # the larger one, since a size of 1 broadcasts
        operands.append({label for label, size in zip(term, shape, strict=True) if size > 1})
    macs: Counter[str] = Counter()
    for i, j in zip(path[::2], path[1::2], strict=True) if path else [(0, 1)] * (len(operands) - 1):
        second, first = operands.pop(max(i, j)), operands.pop(min(i, j))
        needed = set(output).union(*operands)
        contracted = (first & second) - needed
        result = (first | second) & needed
        macs["einsum" if contracted else "einsum_pointwise"] += math.prod(
            sizes[label] for label in result | contracted
        )
        operands.append(result) if path else operands.insert(0, result)
    return macs


def _terms(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[str], str]:
    """Labels per operand and of the output; ``...`` becomes digits, aligned at its right."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    covered = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    digits = "0123456789"[: max(covered)] if "..." in equation else ""
    if not arrow:
        count = Counter(left.replace("...", "").replace(",", ""))
        output = "..." * bool(digits) + "".join(sorted(label for label in count if count[label] == 1))
    terms = [term.replace("...", digits[len(digits) - n :]) for term, n in zip(terms, covered, strict=True)]
    return terms, output.replace("...", digits)


def _is_float(value: Value) -> bool:
    return value.isCompleteTensor() and value.type().dtype().is_floating_point


def _pointwise(inputs: list[Value], outputs: list[Value]) -> int:
    shape = get_shape(outputs[0])
    # Without dimensions: arithmetic on sizes and other scalars, which are tensors in a trace.
    return math.prod(shape) if shape and any(map(_is_float, inputs)) else 0


def _per_input(cost: int) -> Handle:
    return lambda inputs, _: cost * math.prod(get_shape(inputs[0])) if _is_float(inputs[0]) else 0


def _per_output(cost: int) -> Handle:
    return lambda _, outputs: cost * math.prod(get_shape(outputs[0]))


def _per_source(inputs: list[Value], _: list[Value]) -> int:
    return math.prod(get_shape(inputs[3])) if _is_float(inputs[3]) else 0


def _pooling(inputs: list[Value], outputs: list[Value]) -> int:
    spatial = 1 if "1d" in outputs[0].node().kind() else 2
    window = _integers(inputs[1])
    return math.prod(window * spatial if len(window) == 1 else window) * math.prod(get_shape(outputs[0]))


def _antialiased(*, radius: int) -> Handle:
    """Shrinking widens the kernel by the ratio of the sizes."""

    def count(inputs: list[Value], outputs: list[Value]) -> int:
        before, after = get_shape(inputs[0]), get_shape(outputs[0])
        ratios = [max(1.0, a / b) for a, b in zip(before[2:], after[2:], strict=True)]
        return math.prod(2 * math.ceil(radius * ratio) for ratio in ratios) * math.prod(after)

    return count


def _grid_sampler(inputs: list[Value], outputs: list[Value]) -> int:
    shape = get_shape(outputs[0])
    return GRID_SAMPLE_TAPS[inputs[2].toIValue()] ** len(shape[2:]) * math.prod(shape)


def _embedding_bag(inputs: list[Value], outputs: list[Value]) -> int:
    return math.prod(get_shape(inputs[1])) * get_shape(outputs[0])[1]


def _convolution_mode(inputs: list[Value], outputs: list[Value]) -> Counter[str]:
    """Convolution with ``padding="same"`` or ``"valid"``."""
    batch, _, *out_size = get_shape(outputs[0])
    return Counter(conv=batch * math.prod(get_shape(inputs[1])) * math.prod(out_size))


def _matmul(inputs: list[Value], outputs: list[Value]) -> int:
    return math.prod(get_shape(outputs[0])) * get_shape(inputs[0])[-1]


def _tensordot(inputs: list[Value], outputs: list[Value]) -> int:
    first = get_shape(inputs[0])
    return math.prod(get_shape(outputs[0])) * math.prod(first[i] for i in _integers(inputs[2]))


def _einsum(inputs: list[Value], _: list[Value]) -> Counter[str]:
    shapes = [get_shape(operand) for operand in inputs[1].node().inputs()]
    path = None if inputs[2].type().kind() == "NoneType" else _integers(inputs[2])
    return einsum_macs(inputs[0].toIValue(), shapes, path)


def _attention(inputs: list[Value], _: list[Value]) -> Counter[str]:
    """Query (..., N, D), key (..., M, D), value (..., M, E); keys are shared by heads at no gain."""
    *heads, queries, query_width = get_shape(inputs[0])
    keys, value_width = get_shape(inputs[2])[-2:]
    scores = math.prod(heads) * queries * keys
    masked = inputs[3].isCompleteTensor()
    return Counter(
        scaled_dot_product_attention=scores * (query_width + value_width),
        attention_softmax=scores * (1 + masked + SOFTMAX_COST),  # scale, add the mask
    )


def _integers(value: Value) -> list[int]:
    """A list of constants, such as the window of a pooling."""
    numbers = [item.toIValue() for item in value.node().inputs()]
    if None in numbers:
        users = ", ".join(use.user.kind() for use in value.uses())
        raise ValueError(f"{users}: an argument is computed from the input's size; MACs cannot be counted")
    return numbers
