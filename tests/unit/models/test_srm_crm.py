import math

import pytest
import torch
from torch.nn import functional as F

from seglib.models.srm_crm import SRMCRM, ContextualRefinement, SemanticRefinement, mean_of_neighbours
from tests.unit.models.method_tester import MethodTester
from tests.unit.models.plain import read_bilinear, softmax

EXACT = {"rtol": 0, "atol": 1e-10}


class TestSRMCRM(MethodTester):
    method = "srm_crm"
    options = {"width": 16}


def test_mean_of_neighbours_equals_a_loop_over_neighbours():
    torch.manual_seed(0)
    offsets, scores = torch.randn(2, 2, 4, 3).double(), torch.randn(2, 9, 4, 3).double()
    means = mean_of_neighbours(offsets, scores)
    for b in range(2):
        for y in range(4):
            for x in range(3):
                expected = torch.zeros(2).double()
                for n, share in enumerate(softmax(list(scores[b, :, y, x]))):
                    i, j = y + n // 3 - 1, x + n % 3 - 1
                    if 0 <= i < 4 and 0 <= j < 3:
                        expected += share * offsets[b, :, i, j]
                torch.testing.assert_close(means[b, :, y, x], expected, **EXACT)


def test_semantic_refinement_equals_a_loop_over_pixels():
    torch.manual_seed(0)
    refine = SemanticRefinement(4).double().eval()
    torch.nn.init.normal_(refine.offsets.weight)
    low, high = torch.rand(2, 4, 5, 7).double(), torch.rand(2, 4, 3, 4).double()
    refined = refine(low, high)

    high = F.interpolate(high, (5, 7), mode="bilinear", align_corners=False)
    guide = refine.guide(torch.cat([low, high], dim=1))
    offsets = mean_of_neighbours(refine.offsets(guide), refine.neighbours(guide))
    assert offsets.abs().max() > 1
    for b in range(2):
        for y in range(5):
            for x in range(7):
                dx, dy = offsets[b, :, y, x].tolist()
                torch.testing.assert_close(
                    refined[b, :, y, x], read_bilinear(high[b], x + dx, y + dy), **EXACT
                )


def test_contextual_refinement_equals_loops_over_channels_and_positions():
    torch.manual_seed(0)
    refine = ContextualRefinement((2, 3, 2), (4, 8, 16), width=3).double().eval()
    features = [torch.rand(2, c, *size).double() for c, size in ((2, (7, 11)), (3, (4, 6)), (2, (2, 3)))]
    refined = refine(features)

    means = [_cell_means(x, ratio) for x, ratio in zip(features, (4, 2, 1), strict=True)]
    x = torch.cat([stage(mean) for stage, mean in zip(refine.stages, means, strict=True)], dim=1)
    attended = [_attend(*(project(x)[b].flatten(1) for project in refine.channel)) for b in range(2)]
    x = refine.fuse(x + torch.stack(attended).view_as(x))
    attended = [_attend(*(project(x)[b].flatten(1).T for project in refine.spatial)).T for b in range(2)]
    x = x + torch.stack(attended).view_as(x)
    torch.testing.assert_close(refined, refine.out(x), **EXACT)


def _cell_means(x, ratio):
    """Means of cells of ``ratio`` x ``ratio`` pixels; those at the end may be smaller."""
    rows, columns = x.split(ratio, dim=2), None
    means = []
    for row in rows:
        columns = row.split(ratio, dim=3)
        means.append(torch.stack([cell.mean((2, 3)) for cell in columns], dim=2))
    return torch.stack(means, dim=2)


def _attend(query, key, value):
    """Attention of (tokens, features), one token at a time."""
    results = []
    for token in query:
        shares = softmax([token @ other / math.sqrt(len(token)) for other in key])
        results.append(sum(share * v for share, v in zip(shares, value, strict=True)))
    return torch.stack(results)


@pytest.mark.parametrize("part", ["semantic_refinement", "contextual_refinement"])
def test_each_part_alone(part):
    tester = TestSRMCRM()
    tester.options = TestSRMCRM.options | {part: False}
    tester.test_every_parameter_and_feature_gets_a_gradient(5)
    tester.test_odd_size_and_batch_of_one_in_eval(2)


def test_without_both_parts_maps_are_upsampled_and_added():
    torch.manual_seed(0)
    tester = TestSRMCRM()
    tester.options = {"width": 16, "semantic_refinement": False, "contextual_refinement": False}
    method, features = tester.build().eval(), tester.features(2)
    x = method.top.project(features[3])
    for i in (2, 1, 0):
        size_hw = features[i].shape[-2:]
        x = method.laterals[i](features[i]) + F.interpolate(x, size_hw, mode="bilinear", align_corners=False)
    assert torch.equal(method(features), method.classifier(x))


def test_a_lightweight_width_and_too_few_stages():
    with torch.device("meta"):
        widths = {
            width: SRMCRM(channels=(64, 128, 256, 512), strides=(4, 8, 16, 32), num_classes=19, width=width)
            for width in (64, 256)
        }
    count = {width: sum(p.numel() for p in method.parameters()) for width, method in widths.items()}
    assert count[64] < 0.1 * count[256]
    with pytest.raises(ValueError, match="needs 4 feature maps"):
        SRMCRM(channels=(8, 8), strides=(8, 16), num_classes=2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e30])
def test_diverged_offsets_read_no_invalid_address(value):
    method = TestSRMCRM().build().eval()
    with torch.no_grad():
        method.refine[0].offsets.bias.fill_(value)
        logits = method(TestSRMCRM().features(1))
    assert logits.isnan().any() == math.isnan(value)
