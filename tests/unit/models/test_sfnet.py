import pytest
import torch
from torch.nn import functional as F

from seglib.models.sfnet import FlowAlignment, PyramidContext, SFNet, warp
from tests.unit.models.method_tester import MethodTester


class TestSFNet(MethodTester):
    method = "sfnet"
    options = {"width": 16}


class TestSFNetWithDeepSupervision(MethodTester):
    method = "sfnet"
    options = {"width": 16, "deep_supervision_weight": 1.0}


class TestSFNetWithoutAlignment(MethodTester):
    method = "sfnet"
    options = {"width": 16, "alignment": False}


@pytest.mark.parametrize("size_hw", [(6, 9), (1, 1), (3, 1)])
def test_warp_is_the_authors_grid_sample_and_so_are_its_gradients(size_hw):
    torch.manual_seed(0)
    x = torch.rand(2, 3, 3, 5, dtype=torch.float64, requires_grad=True)
    # Up to far outside the map.
    flow = (12 * torch.randn(2, 2, *size_hw, dtype=torch.float64)).requires_grad_()
    ours, theirs = warp(x, flow), _author_warp(x, flow)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    upstream = torch.rand_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, (x, flow), upstream),
        torch.autograd.grad(theirs, (x, flow), upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def _author_warp(x, flow):
    """SFSegNets, operators.py, flow_warp: a grid from -1 to 1 plus the flow over the output size."""
    (height, width), like = flow.shape[-2:], {"dtype": flow.dtype}
    rows, columns = torch.linspace(-1, 1, height, **like), torch.linspace(-1, 1, width, **like)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    grid = grid + flow.permute(0, 2, 3, 1) / torch.tensor([width, height], **like)
    return F.grid_sample(x, grid, align_corners=True)


def test_warp_reads_pixel_by_pixel():
    torch.manual_seed(0)
    x, flow = torch.rand(1, 2, 3, 4).double(), torch.randn(1, 2, 5, 7).double()
    warped = warp(x, flow)
    for y in range(5):
        for column in range(7):
            source_x = column * 3 / 6 + flow[0, 0, y, column].item() * 3 / 14
            source_y = y * 2 / 4 + flow[0, 1, y, column].item() * 2 / 10
            expected = torch.zeros(2).double()
            for i in range(3):
                for j in range(4):
                    share = max(0, 1 - abs(source_y - i)) * max(0, 1 - abs(source_x - j))
                    expected += share * x[0, :, i, j]
            torch.testing.assert_close(warped[0, :, y, column], expected, rtol=0, atol=1e-10)


def test_without_flow_alignment_is_plain_upsampling():
    align = FlowAlignment(4).double()
    torch.nn.init.zeros_(align.flow.weight)
    low, high = torch.rand(2, 4, 9, 6).double(), torch.rand(2, 4, 5, 3).double()
    plain = F.interpolate(high, (9, 6), mode="bilinear", align_corners=True)
    torch.testing.assert_close(align(low, high), plain, rtol=0, atol=1e-10)


def test_context_is_that_of_adaptive_pooling():
    torch.manual_seed(0)
    context = PyramidContext(6, 4, bins=(1, 3), dropout=0.1).double().eval()
    x = torch.rand(2, 6, 5, 7).double()
    pooled = [
        F.interpolate(branch(F.adaptive_avg_pool2d(x, n)), (5, 7), mode="bilinear", align_corners=True)
        for n, branch in zip((1, 3), context.branches, strict=True)
    ]
    expected = context.bottleneck(torch.cat([*pooled, x], dim=1))
    torch.testing.assert_close(context(x), expected, rtol=0, atol=1e-10)


def test_deep_supervision_adds_one_loss_per_inner_level():
    tester = TestSFNetWithDeepSupervision()
    method = tester.build()
    assert len(method.auxiliary) == 3
    losses = tester.train_step(method, tester.features(2), tester.labels(2))
    assert set(losses) == {"main", "auxiliary"}
    assert losses["auxiliary"] > 2 * losses["main"]


def test_head_parameters_of_the_authors_resnet18_form():
    # 1 544 723 in the author code, whose laterals have 3 x 128 biases that batch norm cancels.
    with torch.device("meta"):
        method = SFNet(channels=(64, 128, 256, 512), strides=(4, 8, 16, 32), num_classes=19, width=128)
    assert sum(p.numel() for p in method.parameters()) == 1_544_339
