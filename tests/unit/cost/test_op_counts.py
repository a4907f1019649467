"""Costs of operators against figures worked out by hand, and products against torch's own counter."""

import copy
from collections import Counter
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from seglib.cost import op_counts
from seglib.cost.counters import check_agreement, count_meta, count_traced

B, C, H, W = 1, 3, 6, 8
PIXELS = H * W
X = C * PIXELS
"""Elements of the input."""


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def module(function):
    return function if isinstance(function, nn.Module) else Apply(function)


def with_other(function, *shape):
    """``function(x, other)`` with a tensor of the given shape."""
    return lambda x: function(x, x.new_ones(shape))


PRODUCTS = {
    "conv": (nn.Conv2d(C, 10, 3, stride=2, padding=1), {"conv": 10 * C * 9 * (H // 2) * (W // 2)}),
    "grouped": (nn.Conv2d(C, 6, 3, groups=3, padding=1), {"conv": 6 * 1 * 9 * PIXELS}),
    "dilated": (nn.Conv2d(C, 4, 3, dilation=2, padding=2), {"conv": 4 * C * 9 * PIXELS}),
    "same": (nn.Conv2d(C, 5, 3, padding="same"), {"conv": 5 * C * 9 * PIXELS}),
    "transposed": (nn.ConvTranspose2d(C, 7, 2, stride=2), {"conv": C * 7 * 4 * PIXELS}),
    "linear": (nn.Linear(W, 11), {"linear": C * H * W * 11}),
    "matmul": (lambda x: x @ x.mT, {"matmul": C * H * W * H}),
    # The first operand broadcasts over the second, where fvcore by itself counts a tenth.
    "broadcast": (with_other(torch.matmul, 10, 1, W, 2), {"matmul": 10 * C * H * W * 2}),
    "vector": (with_other(torch.matmul, W), {"matmul": C * H * W}),
    "bmm": (lambda x: torch.bmm(x[0], x[0].mT), {"bmm": C * H * W * H}),
    "baddbmm": (lambda x: torch.baddbmm(x[0, :, :, :1], x[0], x[0].mT), {"baddbmm": C * H * W * H}),
    "addmm": (lambda x: torch.addmm(x[0, 0, :, 0], x[0, 0], x[0, 0].mT), {"addmm": H * W * H}),
    "tensordot": (lambda x: torch.tensordot(x, x, ([2, 3], [2, 3])), {"tensordot": C * C * PIXELS}),
    "einsum": (lambda x: torch.einsum("bchw,bdhw->bcd", x, x), {"einsum": C * C * PIXELS}),
    "attention": (
        lambda x: F.scaled_dot_product_attention(x, x, x),
        # H queries and keys of width W, in C heads; scale, then softmax.
        {"scaled_dot_product_attention": 2 * C * H * H * W, "attention_softmax": 6 * C * H * H},
    ),
    "masked attention": (  # 2 keys, values of width 5
        lambda x: F.scaled_dot_product_attention(x, x[:, :, :2], x[:, :, :2, :5], x[0, 0, :, :2]),
        {"scaled_dot_product_attention": C * H * 2 * (W + 5), "attention_softmax": 7 * C * H * 2},
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_by_hand_and_by_torch(name):
    function, expected = PRODUCTS[name]
    counts = count_traced(module(function), torch.rand(B, C, H, W))
    assert dict(counts.macs[""]) == expected
    assert not counts.unsupported_ops[""]
    check_agreement(counts, count_meta(lambda: copy.deepcopy(module(function)).to("meta"), (H, W)))


ELEMENTWISE = {
    "pointwise": (lambda x: (x.relu() + 1).sigmoid_(), {"relu": X, "add": X, "sigmoid": X}),
    "broadcast": (with_other(torch.mul, 5, 1, 1, 1), {"mul": 5 * X}),
    "comparison": (lambda x: (x > 0.5).float() * x, {"gt": X, "mul": X}),
    "activations": (
        lambda x: F.hardswish(F.gelu(F.leaky_relu(F.relu6(x)))),
        {"relu6": X, "leaky_relu": X, "gelu": X, "hardswish": X},
    ),
    "softmax": (lambda x: x.softmax(1), {"softmax": 5 * X}),
    "mean": (lambda x: x.mean((2, 3)), {"mean": X}),
    "normalise": (
        lambda x: F.normalize(x, dim=1),
        {"linalg_vector_norm": X, "clamp_min": PIXELS, "div": X},
    ),
    "batch norm": (nn.BatchNorm2d(C), {"batch_norm": 2 * X}),
    "layer norm": (nn.LayerNorm(W), {"layer_norm": 5 * X}),
    "max pool": (nn.MaxPool2d(3, 2, 1), {"max_pool2d": 9 * X // 4}),
    "average pool": (nn.AvgPool2d((2, 4)), {"avg_pool2d": X}),
    "global pool": (nn.AdaptiveAvgPool2d(1), {"adaptive_avg_pool2d": X}),
    "nearest": (partial(F.interpolate, size=(9, 10)), {"upsample_nearest2d": C * 90}),
    "bilinear": (
        partial(F.interpolate, size=(9, 10), mode="bilinear"),
        {"upsample_bilinear2d": 4 * C * 90},
    ),
    "bicubic": (
        partial(F.interpolate, size=(9, 10), mode="bicubic"),
        {"upsample_bicubic2d": 16 * C * 90},
    ),
    # Halved: the triangle of radius 1 spans 2 * 2 pixels of each axis.
    "antialiased": (
        partial(F.interpolate, scale_factor=0.5, mode="bilinear", antialias=True),
        {"_upsample_bilinear2d_aa": 16 * X // 4},
    ),
    "grid sample": (
        with_other(F.grid_sample, B, 5, 7, 2),
        {"grid_sampler": 4 * C * 35},
    ),
    "nearest grid sample": (
        with_other(partial(F.grid_sample, mode="nearest"), B, 5, 7, 2),
        {"grid_sampler": C * 35},
    ),
    "bicubic grid sample": (
        with_other(partial(F.grid_sample, mode="bicubic"), B, 5, 7, 2),
        {"grid_sampler": 16 * C * 35},
    ),
    "weighted rows": (
        lambda x: F.embedding_bag(
            torch.zeros(7, 4, dtype=torch.long), x[0, 0], per_sample_weights=x.new_ones(7, 4), mode="sum"
        ),
        {"embedding_bag": 7 * 4 * W},
    ),
    "scatter add": (
        lambda x: x.new_zeros(B, 2, H, W).scatter_add_(1, (x > 1).long(), x),
        {"gt": X, "scatter_add": X},
    ),
    "plain einsum": (
        lambda x: torch.einsum("bchw,bc->bchw", x, x[:, :, 0, 0]),
        {"einsum_pointwise": X},
    ),
    "moving data": (
        lambda x: F.pad(torch.cat([x, x.flip(1)], 1), (1, 1)).permute(0, 2, 3, 1).reshape(H, -1).roll(1),
        {},
    ),
    "unfold": (lambda x: F.unfold(x, 3, padding=1), {}),
    "sizes": (lambda x: x.reshape(x.shape[0] * x.shape[1], -1) * (x.shape[2] / 3 + x.shape[3]), {"mul": X}),
    "labels": (lambda x: F.one_hot(x.argmax(1), C) + 1, {"argmax": X}),
}


@pytest.mark.filterwarnings("ignore:Default grid_sample")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_by_hand(name):
    function, expected = ELEMENTWISE[name]
    counts = count_traced(module(function), torch.rand(B, C, H, W))
    assert {op: n for op, n in counts.macs[""].items() if n} == expected
    assert not counts.unsupported_ops[""]
    assert all(op_counts.kind(op) == "elementwise" for op in expected)


def test_a_cost_that_the_trace_hides_is_an_error():
    with pytest.raises(ValueError, match="avg_pool2d: an argument is computed"):
        count_traced(Apply(lambda x: F.avg_pool2d(x, x.shape[2:])), torch.rand(B, C, H, W))


SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 1}
TERM = st.permutations("abcde").flatmap(lambda p: st.integers(1, 4).map(lambda n: "".join(p[:n])))


@settings(max_examples=60, deadline=None)
@given(terms=st.lists(TERM, min_size=1, max_size=4), data=st.data(), ones=st.sets(st.integers(0, 3)))
def test_einsum_equals_what_torch_runs(terms, data, ones):
    """Random equations, with operands that broadcast: torch's matrix products are exactly ours."""
    labels = sorted(set("".join(terms)))
    output = "".join(data.draw(st.permutations(labels)))[: data.draw(st.integers(0, len(labels)))]
    shapes = [[1 if i in ones and j == 0 else SIZES[x] for j, x in enumerate(t)] for i, t in enumerate(terms)]
    equation = f"{','.join(terms)}->{output}"
    counter = FlopCounterMode(display=False)
    with counter:
        torch.einsum(equation, *(torch.zeros(shape, device="meta") for shape in shapes))
    assert op_counts.einsum_macs(equation, shapes)["einsum"] == counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("equation", "shapes", "path", "expected"),
    [
        ("...ij,...jk->...ik", [(7, 2, 3), (3, 4)], None, {"einsum": 7 * 2 * 3 * 4}),
        ("...ij,...jk", [(7, 2, 3), (3, 4)], None, {"einsum": 7 * 2 * 3 * 4}),
        ("ij , jk", [(2, 3), (3, 4)], None, {"einsum": 2 * 3 * 4}),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)], None, {"einsum": 2 * 3 * 4 + 2 * 4 * 5}),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)], [1, 2, 0, 1], {"einsum": 3 * 4 * 5 + 2 * 3 * 5}),
        ("bcx,bd->bd", [(2, 3, 5), (2, 4)], None, {"einsum_pointwise": 2 * 4}),
        ("ii->i", [(3, 3)], None, {}),
    ],
)
def test_einsum_by_hand(equation, shapes, path, expected):
    assert op_counts.einsum_macs(equation, shapes, path) == Counter(expected)
