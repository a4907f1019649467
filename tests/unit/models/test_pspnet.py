import torch

from seglib.models.pspnet import PSPNet
from tests.unit.models.method_tester import MethodTester


class TestPSPNet(MethodTester):
    method = "pspnet"


def test_pyramid_pooling_has_the_published_number_of_parameters():
    with torch.device("meta"):
        method = PSPNet(channels=(256, 512, 1024, 2048), strides=(4, 8, 8, 8), num_classes=19)
    assert sum(p.numel() for p in method.pool.parameters()) == 23_073_792  # 23.07 M in the literature
