import torch

from seglib.models.fcn import FCN
from tests.unit.models.method_tester import MethodTester


class TestFCN(MethodTester):
    method = "fcn"


def test_without_auxiliary_head_one_stage_suffices():
    method = FCN(channels=(8,), strides=(16,), num_classes=3, width=8, auxiliary_weight=0)
    assert method([torch.rand(1, 8, 4, 6)]).shape == (1, 3, 4, 6)
