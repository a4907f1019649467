"""The two counters on whole models, and what happens where they disagree."""

import pytest
import torch
from torch import nn

from seglib.cost.counters import GIB, check_agreement, count_meta, count_traced
from seglib.models import torchvision_ops

torchvision_ops.ensure()

import timm  # noqa: E402


def both(build, input_hw=(32, 32)):
    return count_traced(build(), torch.rand(1, 3, *input_hw)), count_meta(build, input_hw)


def resnet_conv_macs(size, *, blocks):
    """From the architecture (He et al. 2016, table 1): bottlenecks with the stride in the 3x3 convolution."""
    macs = 3 * 64 * 49 * (size // 2) ** 2
    channels, size = 64, size // 4
    for width, count in zip((64, 128, 256, 512), blocks, strict=True):
        for block in range(count):
            stride = 2 if block == 0 and width > 64 else 1
            macs += channels * width * size**2
            size //= stride
            macs += (9 * width * width + width * 4 * width) * size**2
            macs += channels * 4 * width * size**2 if block == 0 else 0  # the shortcut's projection
            channels = 4 * width
    return macs


def test_resnet50():
    traced, meta = both(lambda: timm.create_model("resnet50"), (512, 512))
    expected = resnet_conv_macs(512, blocks=(3, 4, 6, 3))
    assert round(expected / 1e9, 3) == 21.353
    for counts in (traced, meta):
        assert counts.of_kind("conv") == expected
        assert counts.of_kind("matmul") == 2048 * 1000
        assert counts.of_kind("conv", "layer4.2.conv2") == 9 * 512 * 512 * 16 * 16
    check_agreement(traced, meta)


def test_vision_transformer_with_fused_attention():
    traced, meta = both(lambda: timm.create_model("vit_tiny_patch16_224"), (224, 224))
    check_agreement(traced, meta)
    tokens, width, heads = 1 + 14**2, 192, 3
    scores = heads * tokens**2
    assert traced.of_kind("conv") == 14**2 * width * 3 * 16**2
    assert (
        traced.of_kind("matmul") == 12 * (12 * tokens * width**2 + 2 * scores * width // heads) + width * 1000
    )
    assert traced.macs[""]["scaled_dot_product_attention"] == 12 * 2 * scores * width // heads
    assert traced.macs[""]["attention_softmax"] == 12 * 6 * scores


class Tokens(nn.Module):
    """Runs ``layer`` on the pixels as tokens (B, H * W, 3)."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, images):
        output = self.layer(images.flatten(2).mT)
        return output[0] if isinstance(output, tuple) else output


class SelfAttention(nn.MultiheadAttention):
    def forward(self, x):
        return super().forward(x, x, x)


@pytest.mark.parametrize(
    ("layer", "matmul"),
    [
        # In evaluation torch would run each as one opaque operator.
        (lambda: SelfAttention(4, 2, batch_first=True), 4 * 16 * 4**2 + 2 * 16 * 16 * 4),
        (
            lambda: nn.TransformerEncoderLayer(4, 2, dim_feedforward=5, batch_first=True),
            4 * 16 * 4**2 + 2 * 16 * 16 * 4 + 2 * 16 * 4 * 5,
        ),
    ],
)
def test_torch_attention_layers(layer, matmul):
    fastpath = torch.backends.mha.get_fastpath_enabled()
    traced, meta = both(lambda: Tokens(nn.Sequential(nn.Linear(3, 4), layer())), (4, 4))
    check_agreement(traced, meta)
    assert traced.of_kind("matmul") == 16 * 3 * 4 + matmul
    assert not traced.unsupported_ops[""]
    assert torch.backends.mha.get_fastpath_enabled() == fastpath


def test_disagreement_names_the_module_and_the_operator():
    def build():
        return nn.Sequential(nn.Conv2d(3, 3, 1), Tokens(nn.LSTM(3, 8, batch_first=True)))

    traced, meta = both(build, (2, 2))
    assert meta.of_kind("matmul") == 4 * (3 + 8) * 32  # 4 steps; 4 gates of width 8
    with pytest.raises(
        ValueError, match=r"in 1\.layer fvcore counts nothing \(.* aten::lstm\), torch counts aten"
    ):
        check_agreement(traced, meta)


def test_disagreement_inside_equal_totals_is_found_in_the_published_parts():
    traced, meta = both(lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)))
    check_agreement(traced, meta, ("0", "1"))
    moved = traced.macs["0"]["conv"] // 2
    traced.macs["0"]["conv"] -= moved
    traced.macs["1"]["conv"] += moved
    with pytest.raises(
        ValueError, match=r"in 0 fvcore counts conv 4608, torch counts aten\.convolution 9216; in 1"
    ):
        check_agreement(traced, meta, ("0", "1"))


def test_convolution_for_matrix_product_is_a_disagreement():
    traced, meta = both(lambda: nn.Conv2d(3, 3, 1))
    traced.macs[""]["linear"] = traced.macs[""].pop("conv")
    traced.kinds["linear"] = "matmul"
    with pytest.raises(ValueError, match="in the model fvcore counts linear"):
        check_agreement(traced, meta)


class Spectral(nn.Module):
    def forward(self, x):
        return torch.fft.rfft2(x).abs() + torch.fft.rfft2(x).abs().topk(1).values


def test_operators_without_a_cost_are_listed_with_their_number():
    traced, _ = both(lambda: nn.Sequential(nn.Conv2d(3, 3, 1), Spectral()))
    assert traced.unsupported_ops[""] == {"aten::fft_rfft2": 2, "aten::topk": 1}
    assert not traced.unsupported_ops["0"]


class Listed(nn.Module):
    """Calls the members of its list one by one, one of them twice, and leaves one unused."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)])
        self.auxiliary = nn.Conv2d(3, 19, 1)
        self.scale = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, images):
        return self.stages[1](self.stages[0](self.stages[0](images))) * self.scale


def test_containers_repeated_and_unused_modules():
    traced, meta = both(Listed)
    pixels = 32 * 32
    for counts in (traced, meta):
        assert counts.of_kind("conv", "stages.0") == 2 * 9 * pixels
        assert counts.of_kind("conv", "stages") == counts.of_kind("conv") == (2 * 9 + 81) * pixels
        assert counts.of_kind("conv", "auxiliary") == 0
    assert traced.of_kind("elementwise") == 3 * pixels
    assert set(meta.parameters) - meta.used_parameters == {"auxiliary.weight", "auxiliary.bias"}


def test_what_a_model_computes_and_does_not_use_is_counted():
    """As HRNet's middle maps are by a head that takes the finest and the coarsest."""

    class Maps(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = (nn.Conv2d(3, 4, 1, bias=False) for _ in range(2))

        def forward(self, x):
            return [self.used(x), self.unused(x)]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps, self.head = Maps(), nn.Conv2d(4, 2, 1, bias=False)

        def forward(self, x):
            return self.head(self.maps(x)[0])

    model = Model()
    traced, meta = count_traced(model, torch.rand(1, 3, 32, 32)), count_meta(Model, (32, 32))
    for counts in (traced, meta):
        assert counts.of_kind("conv", "maps.unused") == 3 * 4 * 32 * 32
        assert counts.total() == (3 * 4 * 2 + 4 * 2) * 32 * 32
    check_agreement(traced, meta, ("maps", "head"))
    assert model(torch.rand(1, 3, 8, 8)).shape == (1, 2, 8, 8)  # the model is as it was


def test_memory_is_weights_and_the_most_maps_alive():
    def build():
        return nn.Sequential(*(nn.Conv2d(c, c * 2, 1, bias=False) for c in (3, 6, 12)))

    meta = count_meta(build, (64, 64))
    weights = 3 * 6 + 6 * 12 + 12 * 24
    # The image is ours and stays; while the last convolution runs, its input and output are alive.
    assert meta.mem_gib * GIB == 4 * (weights + (3 + 12 + 24) * 64**2)


def test_paper_scale_costs_no_arithmetic():
    """ResNet-101 on a Cityscapes image of 8 times 512 x 512."""
    meta = count_meta(lambda: timm.create_model("resnet101", features_only=True), (1024, 2048))
    assert meta.of_kind("conv") == 8 * resnet_conv_macs(512, blocks=(3, 4, 23, 3))
    assert 0.3 < meta.mem_gib < 2
