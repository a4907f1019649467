import pytest
import torch
from torch import Tensor

from seglib.models.ocrnet import OCRNet, region_means
from tests.unit.models.method_tester import MethodTester


class TestOCRNet(MethodTester):
    method = "ocrnet"


def region_means_in_a_loop(x: Tensor, logits: Tensor) -> Tensor:
    """Image by image, class by class, pixel by pixel."""
    result = torch.zeros(len(x), x.shape[1], logits.shape[1], 1, dtype=x.dtype)
    for b in range(len(x)):
        pixels = x[b].flatten(1).T
        for k, scores in enumerate(logits[b].flatten(1)):
            exponentials = [score.exp() for score in scores]
            for pixel, exponential in zip(pixels, exponentials, strict=True):
                result[b, :, k, 0] += exponential / sum(exponentials) * pixel
    return result


@pytest.mark.parametrize("num_classes", [2, 182])
def test_region_means_equal_a_loop(num_classes):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64)
    logits = 3 * torch.randn(2, num_classes, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(region_means(x, logits), region_means_in_a_loop(x, logits), rtol=0, atol=1e-10)


def test_sure_regions_of_one_pixel_each_are_those_pixels():
    x = torch.rand(1, 5, 3, 4, dtype=torch.float64)
    logits = 1000 * torch.eye(12, dtype=torch.float64).view(1, 12, 3, 4)
    torch.testing.assert_close(region_means(x, logits)[0, :, :, 0], x[0].flatten(1), rtol=0, atol=1e-10)


def test_region_logits_of_another_size_are_resized():
    method = OCRNet(channels=(6, 8), strides=(8, 16), num_classes=3, width=8, attention_width=4).eval()
    with torch.no_grad():
        main, regions = method.stages([torch.rand(1, 6, 8, 12), torch.rand(1, 8, 4, 6)])
    assert (main.shape, regions.shape) == ((1, 3, 4, 6), (1, 3, 8, 12))


def test_parameters_at_2048_channels():
    with torch.device("meta"):
        method = OCRNet(channels=(256, 512, 1024, 2048), strides=(4, 8, 8, 8), num_classes=19)
    assert sum(p.numel() for p in method.context.parameters()) == 5_378_560  # as ISNet's semantic level
    assert sum(p.numel() for p in method.parameters()) == 19_555_878
    with torch.device("meta"):
        paper = OCRNet(channels=(256, 512, 1024, 2048), strides=(4, 8, 8, 8), num_classes=19, fusion_kernel=1)
    assert sum(p.numel() for p in paper.parameters()) == 19_555_878 - 8 * 1024 * 512
