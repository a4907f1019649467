import torch

from seglib.models.upernet import UPerNet
from tests.unit.models.method_tester import MethodTester


class TestUPerNet(MethodTester):
    method = "upernet"


def test_parameters_at_2048_channels_are_those_counted_by_hand():
    with torch.device("meta"):
        method = UPerNet(channels=(256, 512, 1024, 2048), strides=(4, 8, 8, 8), num_classes=19)
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in method.named_children()}
    assert count["top"] == 23_073_792
    assert count["laterals"] == sum(c * 512 + 2 * 512 for c in (256, 512, 1024))
    assert count["levels"] == 3 * (9 * 512 * 512 + 2 * 512)
    assert count["head"] == 9 * 4 * 512 * 512 + 2 * 512 + 512 * 19 + 19


def test_what_the_top_sees_reaches_every_level():
    torch.manual_seed(0)
    method = UPerNet(channels=(4, 6, 8), strides=(4, 8, 16), num_classes=3, width=4).eval()
    joined = []
    method.head.register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
    features = [torch.rand(1, 4, 16, 16), torch.rand(1, 6, 8, 8), torch.rand(1, 8, 4, 4)]
    with torch.no_grad():
        method(features)
        method([*features[:2], features[2] + torch.rand(1, 8, 4, 4)])
    changed = (joined[0] != joined[1]).any(dim=(2, 3))[0]
    assert all(level.any() for level in changed.split(4))
