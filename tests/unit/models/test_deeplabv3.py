import pytest
import torch

from seglib.models.deeplabv3 import ASPP, DeepLabV3
from tests.unit.models.method_tester import MethodTester


class TestDeepLabV3(MethodTester):
    method = "deeplabv3"


@pytest.mark.parametrize(
    ("stride", "dilations"), [(4, (1, 12, 24, 36)), (8, (1, 12, 24, 36)), (16, (1, 6, 12, 18))]
)
def test_dilations_follow_the_stride_unless_given(stride, dilations):
    arguments = {"channels": (8, 8), "strides": (4, stride), "num_classes": 3, "width": 4}
    for expected, method in [
        (dilations, DeepLabV3(**arguments)),
        ((1, 2), DeepLabV3(**arguments, dilations=(1, 2))),
    ]:
        convolutions = [branch[0] for branch in method.aspp.branches]
        assert [c.dilation[0] for c in convolutions] == list(expected)
        assert [c.kernel_size[0] for c in convolutions] == [1] + [3] * (len(expected) - 1)


def test_aspp_has_the_published_number_of_parameters():
    with torch.device("meta"):
        aspp = ASPP(2048, 512, dilations=(1, 12, 24, 36))
    assert sum(p.numel() for p in aspp.parameters()) == 42_211_328  # 42.21 M in the literature


def test_the_papers_head_is_narrower_and_has_a_1x1_bottleneck():
    with torch.device("meta"):
        method = DeepLabV3(
            channels=(1024, 2048), strides=(16, 16), num_classes=21, width=256, bottleneck_kernel=1
        )
    convolutions = 2048 * 256 * (1 + 3 * 9 + 1) + 5 * 256 * 256
    assert sum(p.numel() for p in method.aspp.parameters()) == convolutions + 6 * 2 * 256


def test_the_last_branch_of_aspp_is_the_global_average():
    torch.manual_seed(0)
    aspp = ASPP(6, 4, dilations=(1, 2)).eval()
    seen = []
    aspp.bottleneck.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(2, 6, 5, 7)
    with torch.no_grad():
        aspp(x)
        average = aspp.average(torch.nn.functional.adaptive_avg_pool2d(x, 1))
    torch.testing.assert_close(seen[0][:, -4:], average.expand(-1, -1, 5, 7))
