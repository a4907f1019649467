import pytest
import torch

from seglib.experiment.recipe import Backbone
from seglib.models.segmentor import build_segmentor, require_pyramid
from tests.unit.models.method_tester import CRITERION, PROGRESS, small_options

TINY = Backbone(model="test_resnet", output_stride=8)


def build(method="fcn", backbone=TINY, options=None, **more):
    torch.manual_seed(0)
    options = small_options(method) if options is None else options
    return build_segmentor(
        method=method, method_options=options, backbone=backbone, num_classes=5, **more
    ).eval()


def test_logits_are_float32_at_image_size_whatever_the_precision():
    segmentor = build()
    images = torch.randint(256, (2, 3, 97, 131), dtype=torch.uint8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = segmentor(images)
    assert logits.shape == (2, 5, 97, 131)
    assert logits.dtype == torch.float32


def test_uint8_and_float_images_are_normalised_alike():
    segmentor = build(backbone=Backbone(model="test_resnet", mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3)))
    images = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    expected = images / 255
    for channel, (mean, std) in enumerate([(0.5, 0.1), (0.4, 0.2), (0.3, 0.3)]):
        expected[:, channel] = (expected[:, channel] - mean) / std
    torch.testing.assert_close(segmentor.normalise(images), expected)
    assert torch.equal(segmentor.normalise(images), segmentor.normalise(images.float()))


def test_the_state_dict_holds_parameters_and_statistics_only():
    names = build().state_dict()
    assert all(name.startswith(("encoder.network.", "method.")) for name in names)


def test_every_method_starts_from_the_same_encoder():
    fcn, isnet = build("fcn").encoder.state_dict(), build("isnet").encoder.state_dict()
    assert all(torch.equal(fcn[name], isnet[name]) for name in fcn)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        ("method 'isnets' is unknown; did you mean 'isnet'", {"method": "isnets", "options": {}}),
        (
            "method 'fcn': unknown option 'widht'; did you mean 'width'",
            {"options": {"widht": 3}},
        ),
        (
            "method 'fcn' with backbone 'hrnet_w18_small': .* has no output_stride 8",
            {"backbone": Backbone(model="hrnet_w18_small", output_stride=8)},
        ),
        (
            "method 'fcn' with backbone 'test_vit': needs 2 feature maps, .* set auxiliary_weight to 0",
            {"backbone": Backbone(model="test_vit", options={"out_indices": [1]})},
        ),
    ],
)
def test_mistakes_name_method_and_backbone_and_the_way_out(error, arguments):
    with pytest.raises(ValueError, match=error):
        build(**arguments)


def test_methods_that_need_a_pyramid_refuse_a_plain_vit():
    require_pyramid((4, 8, 8, 8), 4)
    with pytest.raises(ValueError, match=r"needs 4 feature maps .* \(16, 16, 16, 16\); choose"):
        require_pyramid((16, 16, 16, 16), 4)


def test_a_batch_of_one_in_training_says_what_to_change():
    segmentor = build("pspnet").train()
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    with pytest.raises(
        ValueError, match=r"'pspnet' with backbone 'test_resnet': .* batch of 1; raise batch_size"
    ):
        segmentor.losses(torch.zeros(1, 3, 64, 64), labels, CRITERION, PROGRESS)


def test_other_errors_in_training_pass_unchanged():
    def failing(logits, labels):
        raise ValueError("labels out of range")

    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"^labels out of range$"):
        build().train().losses(torch.zeros(2, 3, 64, 64), labels, failing, PROGRESS)
