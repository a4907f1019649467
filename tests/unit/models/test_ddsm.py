import math

import pytest
import torch
from torch.nn import functional as F

from seglib.core import registry
from seglib.models.ddsm import (
    DDSM,
    OFFSET_SCALE,
    ChannelSampling,
    SampledPositions,
    SpatialSampling,
    position_embedding,
)
from tests.unit.models.method_tester import CRITERION, PROGRESS, MethodTester
from tests.unit.models.plain import read_bilinear, softmax

EXACT = {"rtol": 0, "atol": 1e-10}


class TestDDSM(MethodTester):
    method = "ddsm"
    options = {"width": 16, "head_width": 8, "samples": 5, "pooled_size": 3}


def build(cls, *arguments, seed=0):
    """A double precision module that looks up to a few pixels away, instead of at whole pixels."""
    torch.manual_seed(seed)
    module = cls(*arguments).double()
    torch.nn.init.normal_(module.positions.offsets.weight, std=0.3 / OFFSET_SCALE)
    return module


@pytest.mark.parametrize("samples", [1, 9])
def test_spatial_sampling_equals_a_loop_over_pixels(samples):
    sampling = build(SpatialSampling, 8, samples)
    low, high = torch.rand(2, 8, 5, 4).double(), torch.rand(2, 8, 3, 2).double()
    result = sampling(low, high)

    low = low + position_embedding(low)
    high = F.interpolate(high + position_embedding(high), (5, 4), mode="bilinear", align_corners=False)
    both = torch.cat([high, low], dim=1)
    query, key, value = sampling.query(low), sampling.key(both), sampling.value(high)
    offsets = OFFSET_SCALE * sampling.positions.offsets(both).view(2, samples, 2, 5, 4)
    assert offsets.abs().max() > 1
    read = torch.zeros_like(value)
    for b in range(2):
        for y in range(5):
            for x in range(4):
                places = [
                    (x + dx + offsets[b, n, 0, y, x].item(), y + dy + offsets[b, n, 1, y, x].item())
                    for n, (dx, dy) in enumerate(sampling.positions.neighbours.tolist())
                ]
                scores = [query[b, :, y, x] @ read_bilinear(key[b], *p) / math.sqrt(8) for p in places]
                for share, p in zip(softmax(scores), places, strict=True):
                    read[b, :, y, x] += share * read_bilinear(value[b], *p)
    torch.testing.assert_close(result, sampling.out(read), **EXACT)


def test_channel_sampling_equals_a_loop_over_channels():
    side, samples, pooled_size = 3, 4, 2
    sampling = build(ChannelSampling, side**2, samples, pooled_size)
    low, high = torch.rand(2, 9, 6, 5).double(), torch.rand(2, 9, 3, 3).double()
    result = sampling(low, high)

    pooled_low, pooled_high = (F.adaptive_avg_pool2d(x, pooled_size) for x in (low, high))
    query = sampling.query(pooled_low).flatten(2)
    key = sampling.key(torch.cat([pooled_high, pooled_low], dim=1)).flatten(2)
    values = F.avg_pool2d(high, 2, ceil_mode=True)
    channel_image = key.transpose(1, 2).reshape(2, pooled_size**2, side, side)
    offsets = OFFSET_SCALE * sampling.positions.offsets(channel_image).view(2, samples, 2, side, side)
    mixed = torch.zeros_like(values)
    for b in range(2):
        value_image = values[b].flatten(1).T.reshape(-1, side, side)
        for c in range(side**2):
            y, x = divmod(c, side)
            places = [
                (x + dx + offsets[b, n, 0, y, x].item(), y + dy + offsets[b, n, 1, y, x].item())
                for n, (dx, dy) in enumerate(sampling.positions.neighbours.tolist())
            ]
            scores = [query[b, c] @ read_bilinear(channel_image[b], *p) / pooled_size for p in places]
            for share, p in zip(softmax(scores), places, strict=True):
                mixed[b, c] += share * read_bilinear(value_image, *p).view(values.shape[2:])
    expected = F.interpolate(mixed, (6, 5), mode="bilinear", align_corners=False)
    torch.testing.assert_close(result, expected, **EXACT)


def test_position_embedding_is_that_of_the_formula():
    embedding = position_embedding(torch.zeros(1, 8, 3, 5).double())
    for y in range(3):
        for x in range(5):
            for offset, angle in ((0, 2 * math.pi * (y + 0.5) / 3), (4, 2 * math.pi * (x + 0.5) / 5)):
                waves = [math.sin(angle), math.sin(angle / 100), math.cos(angle), math.cos(angle / 100)]
                expected = torch.tensor(waves, dtype=torch.float64)
                torch.testing.assert_close(embedding[0, offset : offset + 4, y, x], expected, **EXACT)


def test_memory_kept_for_the_gradient_is_one_map_per_sample():
    low, high = torch.rand(1, 64, 16, 16, requires_grad=True), torch.rand(1, 64, 8, 8, requires_grad=True)

    def kept_bytes(samples):
        storages = {}
        sampling = build(SpatialSampling, 64, samples).float()

        def keep(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            sampling(low, high)
        return sum(storage.nbytes() for storage in storages.values())

    # Its keys, and as much of positions, corners and shares; reading corners one by one would keep 8.
    map_bytes = 4 * 64 * 16 * 16
    assert 16 * map_bytes < kept_bytes(25) - kept_bytes(9) < 16 * 2.5 * map_bytes


@pytest.mark.parametrize(("samples", "reach"), [(1, 0), (9, 1), (25, 2)])
def test_first_positions_are_the_squares_around_a_pixel(samples, reach):
    positions = SampledPositions(4, samples)
    side = range(-reach, reach + 1)
    columns, rows = positions(torch.rand(2, 4, 3, 3))
    places = zip(columns[0, :, 1, 2].tolist(), rows[0, :, 1, 2].tolist(), strict=True)
    assert sorted(places) == [(2 + x, 1 + y) for x in side for y in side]


def test_without_both_halves_it_is_semantic_fpn():
    tester = TestDDSM()
    tester.options = {"width": 16, "head_width": 8, "spatial": False, "channel": False}
    plain = tester.build()
    torch.manual_seed(0)
    semantic_fpn = registry.resolve(registry.METHODS["semantic_fpn"])(
        channels=tester.channels, strides=tester.strides, num_classes=5, width=16, head_width=8
    )
    features = tester.features(2)
    losses = []
    for method in (plain, semantic_fpn):
        torch.manual_seed(1)
        losses.append(method.losses(features, tester.labels(2), CRITERION, PROGRESS)["main"])
    assert torch.equal(*losses)


@pytest.mark.parametrize("half", ["spatial", "channel"])
def test_each_half_alone(half):
    tester = TestDDSM()
    tester.options = TestDDSM.options | {half: False}
    names = {name.split(".")[0] for name, _ in tester.build().named_parameters()}
    assert ({"spatial", "channel"} & names) == {"spatial", "channel"} - {half}
    tester.test_every_parameter_and_feature_gets_a_gradient(5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 12}, "no square number"),
        ({"width": 9}, "no multiple of 4"),
        ({"width": 16, "samples": 0}, "samples is 0"),
    ],
)
def test_unusable_options(options, message):
    with pytest.raises(ValueError, match=message):
        DDSM(channels=(8, 8), strides=(4, 8), num_classes=2, head_width=8, **options)
