import pytest
import torch
from torch import Tensor

from seglib.models.isnet import ISNet, region_representations
from tests.unit.models.method_tester import MethodTester


class TestISNet(MethodTester):
    method = "isnet"


class TestISNetForLIP(MethodTester):
    method = "isnet"
    options = {"lip_shortcut": True, "leaky_relu": True}


class TestISNetWithoutSemanticContext(MethodTester):
    method = "isnet"
    options = {"semantic_context": False}


class TestISNetWithoutImageContext(MethodTester):
    method = "isnet"
    options = {"image_context": False}


@pytest.mark.parametrize(("num_classes", "head"), [(19, 20_740_134), (150, 20_874_540)])
def test_parameters_at_2048_channels_equal_the_authors(num_classes, head):
    with torch.device("meta"):
        method = ISNet(channels=(256, 512, 1024, 2048), strides=(4, 8, 8, 8), num_classes=num_classes)
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in method.named_children()}
    assert count["image_level"] == 5_640_704
    assert count["semantic_level"] == 5_378_560
    assert sum(count.values()) - count["auxiliary"] == head


def region_representations_in_a_loop(x: Tensor, logits: Tensor) -> Tensor:
    """As the authors write it: image by image, class by class."""
    result = []
    for features, scores in zip(x.flatten(2), logits.flatten(2), strict=True):
        classes = scores.argmax(0)
        representations = torch.zeros_like(features)
        for c in classes.unique():
            pixels = classes == c
            weights = scores[c, pixels].softmax(0)
            mean = (features[:, pixels] * weights).sum(1, keepdim=True)
            representations = torch.where(pixels, mean, representations)
        result.append(representations)
    return torch.stack(result).view_as(x)


def spread(num_classes: int, height: int, width: int) -> Tensor:
    return 3 * torch.randn(2, num_classes, height, width, dtype=torch.float64)


def only_some_classes(present: list[int]) -> Tensor:
    logits = spread(30, 7, 9) - 50
    logits[:, present] += 50
    return logits


REGIONS = {
    "two classes": lambda: spread(2, 7, 9),
    "182 classes": lambda: spread(182, 7, 9),
    "absent classes": lambda: only_some_classes([3, 17, 29]),
    "a single class": lambda: only_some_classes([4]),
    "one pixel per class": lambda: (
        20 * torch.eye(12, dtype=torch.float64).view(1, 12, 3, 4).repeat(2, 1, 1, 1)
    ),
    "ties": lambda: torch.zeros(2, 5, 7, 9, dtype=torch.float64),
    "one pixel": lambda: spread(5, 1, 1),
}


@pytest.mark.parametrize("case", REGIONS)
def test_region_representations_equal_a_loop_over_images_and_classes(case):
    torch.manual_seed(0)
    logits = REGIONS[case]().requires_grad_()
    x = torch.randn(2, 6, *logits.shape[2:], dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    results = []
    for function in (region_representations, region_representations_in_a_loop):
        result = function(x, logits)
        results.append((result, *torch.autograd.grad(result, (x, logits), upstream)))
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-10)


def test_an_image_with_a_huge_logit_stays_finite():
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1] = 3e38
    assert region_representations(torch.rand(1, 4, 2, 2), logits).isfinite().all()
