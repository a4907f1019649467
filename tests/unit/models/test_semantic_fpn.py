import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seglib.models.layers import Upsample
from seglib.models.semantic_fpn import SemanticFPN
from tests.unit.models.method_tester import MethodTester


class TestSemanticFPN(MethodTester):
    method = "semantic_fpn"
    options = {"width": 16, "head_width": 8}


class TestSemanticFPNWithPaperNorms(MethodTester):
    method = "semantic_fpn"
    options = {"width": 16, "head_width": 32, "paper_norms": True}


def test_head_and_resnet50_have_the_28_5_million_parameters_of_the_literature():
    # "Semantic FPN, ResNet50, 28.5 M" on ADE20K: table 5 of PVT, 2102.12122
    with torch.device("meta"):
        method = SemanticFPN(channels=(256, 512, 1024, 2048), strides=(4, 8, 16, 32), num_classes=150)
    assert sum(p.numel() for p in method.parameters()) + 23_508_032 == pytest.approx(28.5e6, abs=5e4)


def test_every_level_reaches_the_finest_size_in_steps_of_two():
    method = SemanticFPN(channels=(8, 8, 8, 8), strides=(4, 8, 16, 16), num_classes=2, width=8, head_width=4)
    heads = [[type(part) for part in head] for head in method.heads]
    block, up = type(method.laterals[0]), Upsample
    assert heads == [[block], [block, up], [block, up, block, up], [block, up, block, up]]


def test_pyramid_adds_the_nearest_pixel_of_the_level_above():
    torch.manual_seed(0)
    method = SemanticFPN(channels=(1, 1), strides=(4, 8), num_classes=1, width=1, head_width=1, dropout=0.0)
    method.laterals = nn.ModuleList([nn.Identity(), nn.Identity()])
    method.smooth = nn.ModuleList([nn.Identity(), nn.Identity()])
    method.heads = nn.ModuleList([nn.Identity(), nn.Identity()])
    method.classifier = nn.Identity()
    low, high = torch.rand(1, 1, 6, 8).double(), torch.rand(1, 1, 3, 4).double()
    summed = torch.stack([low[0, 0, y, x] + high[0, 0, y // 2, x // 2] for y in range(6) for x in range(8)])
    upsampled = F.interpolate(high, (6, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(method([low, high]), summed.view(1, 1, 6, 8) + upsampled, rtol=0, atol=1e-10)


def test_a_backbone_without_a_pyramid_is_refused():
    with pytest.raises(ValueError, match="from fine to coarse"):
        SemanticFPN(channels=(8, 8, 8), strides=(16, 16, 16), num_classes=2)
