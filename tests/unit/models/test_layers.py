import pytest
import torch
from torch.nn import functional as F

from seglib.models.layers import SelfAttention, _Resize, adaptive_average, resize, sample_pixels


def both(functions, inputs):
    """Result and gradients of each function for the same random upstream gradient."""
    results = []
    for function in functions:
        result = function(*inputs)
        upstream = torch.randn(result.shape, dtype=result.dtype, generator=torch.Generator().manual_seed(1))
        results.append((result, *torch.autograd.grad(result, inputs, upstream)))
    return zip(*results, strict=True)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (6, 6), (8, 5)])
@pytest.mark.parametrize("shape", [(2, 3, 12, 18), (1, 2, 13, 17), (2, 1, 4, 5), (1, 1, 1, 1)])
def test_adaptive_average_equals_torchs(shape, size):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    functions = (lambda x: adaptive_average(x, size), lambda x: F.adaptive_avg_pool2d(x, size))
    for ours, torchs in both(functions, [x]):
        torch.testing.assert_close(ours, torchs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(16, 24), (17, 9), (4, 6), (3, 2), (1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("align_corners", [False, True])
def test_resizing_off_the_cpu_equals_torchs(size, layout, align_corners):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    functions = (
        lambda x: _Resize.apply(x, size, align_corners),
        lambda x: resize(x, size, align_corners=align_corners),
    )
    for ours, torchs in both(functions, [x]):
        torch.testing.assert_close(ours, torchs, rtol=0, atol=1e-12)


def test_resizing_off_the_cpu_in_half_precision_rounds_its_gradient_once():
    torch.manual_seed(0)
    x, upstream = torch.randn(1, 2, 5, 7), torch.randn(1, 2, 33, 40).bfloat16()
    found, expected = (
        torch.autograd.grad(
            _Resize.apply(y := x.to(dtype).requires_grad_(), (33, 40), False), y, upstream.to(dtype)
        )
        for dtype in (torch.bfloat16, torch.float64)
    )
    torch.testing.assert_close(found[0].double(), expected[0], rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_adaptive_average_in_half_precision_is_exact_and_does_not_overflow(dtype):
    x = torch.full((1, 1, 127, 129), 32.0, dtype=dtype)
    assert torch.equal(adaptive_average(x, (2, 3)), torch.full((1, 1, 2, 3), 32.0, dtype=dtype))


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_sample_pixels_equals_grid_sample(padding):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64, requires_grad=True)
    # Half of the positions are outside.
    column, row = (
        (2 * n * torch.rand(2, 6, 9, dtype=torch.float64) - n / 2).requires_grad_() for n in (5, 7)
    )

    def torchs(x, column, row):
        grid = torch.stack([(2 * column + 1) / 5 - 1, (2 * row + 1) / 7 - 1], dim=-1)
        return F.grid_sample(x, grid, padding_mode=padding, align_corners=False)

    def ours(x, column, row):
        return sample_pixels(x, column, row, padding=padding)

    for a, b in both((ours, torchs), [x, column, row]):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_sampling_at_pixel_centres_returns_the_pixels_in_any_arrangement():
    x = torch.randn(1, 2, 4, 6)
    row, column = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    assert torch.equal(sample_pixels(x, column[None], row[None]), x)
    assert torch.equal(sample_pixels(x, column.reshape(1, 24), row.reshape(1, 24)), x.flatten(2))


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_the_slope_at_a_pixel_centre_is_that_towards_the_next_pixel(padding):
    x = torch.tensor([[1.0, 4.0, 9.0], [2.0, 3.0, 5.0]])[None, None]
    column, row = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[0.0]], requires_grad=True)
    sample_pixels(x, column, row, padding=padding).sum().backward()
    assert (column.grad.item(), row.grad.item()) == (9 - 4, 3 - 4)


def test_self_attention_is_a_softmax_over_all_positions_of_the_key():
    torch.manual_seed(0)
    attention = SelfAttention(6, 4, 5, width=8).eval()
    query, key = torch.randn(2, 6, 3, 4), torch.randn(2, 4, 5, 2)
    q, k, v = (x.flatten(2) for x in (attention.query(query), attention.key(key), attention.value(key)))
    weights = (torch.einsum("bcn,bcm->bnm", q, k) / 8**0.5).softmax(2)
    context = torch.einsum("bnm,bcm->bcn", weights, v).view(2, 8, 3, 4)
    torch.testing.assert_close(attention(query, key), attention.out(context))


def test_resize_to_the_same_size_is_free():
    x = torch.randn(1, 2, 3, 4)
    assert resize(x, (3, 4)) is x
    assert resize(x, (6, 8)).shape == (1, 2, 6, 8)
