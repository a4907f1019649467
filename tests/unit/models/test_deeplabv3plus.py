import torch

from seglib.models.deeplabv3plus import DeepLabV3Plus, SeparableConv
from tests.unit.models.method_tester import MethodTester


class TestDeepLabV3Plus(MethodTester):
    method = "deeplabv3plus"


def test_dilated_branches_and_decoder_are_separable():
    with torch.device("meta"):
        method = DeepLabV3Plus(channels=(256, 512, 1024, 2048), strides=(4, 8, 16, 16), num_classes=19)
    branches = list(method.aspp.branches)
    assert [isinstance(branch, SeparableConv) for branch in branches] == [False, True, True, True]
    assert [branch[0][0].dilation[0] for branch in branches[1:]] == [6, 12, 18]
    # By hand: depthwise 3x3, BN, 1x1, BN.
    expected = sum(9 * c + 2 * c + 512 * c + 2 * 512 for c in (560, 512))
    assert sum(p.numel() for p in method.decoder[:2].parameters()) == expected
