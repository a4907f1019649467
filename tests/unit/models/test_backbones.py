import hashlib
import subprocess
import sys
import types

import pytest
import torch
from safetensors.torch import save_file

from seglib.experiment.recipe import Backbone
from seglib.models import torchvision_ops
from seglib.models.backbones import build_backbone, timm  # timm as it imports beside any torchvision

FAMILIES = {
    "resnet18": (Backbone(model="resnet18"), (64, 128, 256, 512), (4, 8, 16, 32)),
    "resnet18 at 1/8": (Backbone(model="resnet18", output_stride=8), (64, 128, 256, 512), (4, 8, 8, 8)),
    "mobilenetv2 at 1/16": (
        Backbone(model="mobilenetv2_035", output_stride=16, options={"pad_type": "same"}),
        (8, 16, 32, 112),
        (4, 8, 16, 16),
    ),
    "hrnet": (Backbone(model="hrnet_w18_small"), (16, 32, 64, 128), (4, 8, 16, 32)),
    "hrnet as one map": (
        Backbone(model="hrnet_w18_small", options={"concatenate": True}),
        (240, 240, 240, 240),
        (4, 4, 4, 4),
    ),
    "swin": (Backbone(model="swin_tiny_patch4_window7_224"), (96, 192, 384, 768), (4, 8, 16, 32)),
    "vit": (Backbone(model="vit_tiny_patch16_224"), (192, 192, 192), (16, 16, 16)),
    "vit, four maps": (
        Backbone(model="vit_tiny_patch16_224", options={"out_indices": [2, 5, 8, 11]}),
        (192, 192, 192, 192),
        (16, 16, 16, 16),
    ),
    "convnext at 1/8": (Backbone(model="convnext_atto", output_stride=8), (40, 80, 160, 320), (4, 8, 8, 8)),
    "channels last": (Backbone(model="mambaout_femto"), (48, 96, 192, 288), (4, 8, 16, 32)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_what_channels_and_strides_say_at_an_odd_size(family):
    spec, channels, strides = FAMILIES[family]
    encoder = build_backbone(spec).eval()
    assert (encoder.channels, encoder.strides) == (channels, strides)
    with torch.no_grad():
        features = encoder(torch.randn(1, 3, 97, 131))
    assert len(features) == len(channels)
    for feature, width, stride in zip(features, channels, strides, strict=True):
        rounded_up, rounded_down = (-(-97 // stride), -(-131 // stride)), (97 // stride, 131 // stride)
        assert feature.shape[:2] == (1, width)
        assert feature.shape[2:] in (rounded_up, rounded_down)


def test_every_parameter_of_a_backbone_is_used():
    encoder = build_backbone(Backbone(model="test_resnet")).train()
    sum(feature.sum() for feature in encoder(torch.randn(2, 3, 64, 64))).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_swin_freed_of_its_input_size_computes_what_timm_computes_at_a_fixed_one():
    torch.manual_seed(0)
    encoder = build_backbone(Backbone(model="swin_tiny_patch4_window7_224")).eval()
    fixed = timm.create_model("swin_tiny_patch4_window7_224", features_only=True, img_size=256).eval()
    parameters = dict(encoder.network.named_parameters())
    fixed.load_state_dict(parameters, strict=False)
    images = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        for ours, timms in zip(encoder(images), fixed(images), strict=True):
            torch.testing.assert_close(ours, timms.permute(0, 3, 1, 2))


def test_hrnet_takes_any_size_also_where_few_of_its_maps_are_handed_out():
    with torch.no_grad(), torch.device("meta"):
        encoder = build_backbone(Backbone(model="hrnet_w18_small", options={"out_indices": [1, 2]})).eval()
        maps = encoder(torch.zeros(1, 3, 360, 480, dtype=torch.uint8))
    assert [tuple(one.shape[-2:]) for one in maps] == [(90, 120), (45, 60)]


def test_padding_to_a_size_that_hrnet_takes_changes_no_map_of_an_exact_size():
    encoder = build_backbone(Backbone(model="hrnet_w18_small")).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for ours, timms in zip(encoder(images), encoder.network(images)[1:], strict=True):
            assert torch.equal(ours, timms)


def test_mean_and_std_are_timms_unless_given():
    assert (
        build_backbone(Backbone(model="test_resnet")).mean
        == timm.create_model("test_resnet").default_cfg["mean"]
    )
    given = build_backbone(Backbone(model="test_resnet", mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0)))
    assert (given.mean, given.std) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"model": "resnet5"}, "'resnet5' is not a timm model; did you mean resnet50"),
        ({"model": "resnet50.a1_in1"}, "did you mean resnet50.a1_in1k"),
        ({"model": "swin_base_patch4_window7_224", "output_stride": 8}, "no output_stride 8: .* leave"),
        ({"model": "hrnet_w18_small", "output_stride": 16}, "no output_stride 16: .* leave"),
        ({"model": "pvt_v2_b0", "output_stride": 8}, "no output_stride 8"),
        ({"model": "resnet18", "options": {"pad_typ": "same"}}, "does not take pad_typ='same'"),
        ({"model": "resnet18", "options": {"out_indices": [9]}}, r"does not take out_indices=\[9\]"),
        ({"model": "maxvit_tiny_tf_224"}, "takes images of 224x224 only; choose"),
    ],
)
def test_what_a_backbone_cannot_do_is_an_error_that_says_so(spec, error):
    with pytest.raises(ValueError, match=error):
        build_backbone(Backbone(**spec))


def test_an_output_stride_that_the_model_has_anyway_needs_no_dilation():
    assert build_backbone(Backbone(model="hrnet_w18_small", output_stride=32)).strides == (4, 8, 16, 32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A whole classifier's weights, as timm publishes them."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    model = timm.create_model("test_resnet")
    save_file(model.state_dict(), path)
    return path


def test_weights_from_a_file(weights):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    spec = Backbone(model="test_resnet", weights=str(weights), weights_sha256=digest)
    encoder = build_backbone(spec)
    torch.manual_seed(5)
    expected = timm.create_model("test_resnet").state_dict()
    for name, tensor in encoder.network.state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_weights_stay_unread_on_request(weights, tmp_path):
    build_backbone(Backbone(model="test_resnet", weights=str(tmp_path / "gone")), load_weights=False)


def test_weights_of_wrapped_and_flattened_models(tmp_path):
    for model in ("test_convnext", "test_vit"):
        saved = timm.create_model(model)
        save_file(saved.state_dict(), tmp_path / f"{model}.safetensors")
        network = build_backbone(
            Backbone(model=model, weights=str(tmp_path / f"{model}.safetensors"))
        ).network
        expected = {name.replace(".", "_"): tensor for name, tensor in saved.state_dict().items()}
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, expected[name.removeprefix("model.").replace(".", "_")])


def test_a_weights_file_of_another_model_names_what_is_missing_and_too_much(weights, tmp_path):
    with pytest.raises(
        ValueError, match=r"not fit 'resnet18': \d+ missing \(.*layer.*\), \d+ unexpected \(.*\)"
    ):
        build_backbone(Backbone(model="resnet18", weights=str(weights)))
    # All of resnet18's tensors are in resnet34's file, with the same shapes.
    larger = tmp_path / "resnet34.safetensors"
    save_file(timm.create_model("resnet34").state_dict(), larger)
    with pytest.raises(ValueError, match=r"not fit 'resnet18': 0 missing, \d+ unexpected \(layer1.2"):
        build_backbone(Backbone(model="resnet18", weights=str(larger)))
    narrow = tmp_path / "narrow.safetensors"
    state = timm.create_model("test_resnet").state_dict()
    state["conv1.0.weight"] = state["conv1.0.weight"][:2].clone()
    save_file(state, narrow)
    with pytest.raises(ValueError, match=r"narrow\.safetensors does not fit 'test_resnet': .*size mismatch"):
        build_backbone(Backbone(model="test_resnet", weights=str(narrow)))


def test_damaged_and_absent_weights_files(weights, tmp_path):
    with pytest.raises(ValueError, match=r"has sha256 .*, not 00; fetch it again"):
        build_backbone(Backbone(model="test_resnet", weights=str(weights), weights_sha256="00"))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut\.safetensors is no safetensors file"):
        build_backbone(Backbone(model="test_resnet", weights=str(cut)))
    with pytest.raises(ValueError, match="'imagenett' is neither a file nor 'imagenet'"):
        build_backbone(Backbone(model="test_resnet", weights="imagenett"))


def test_without_network_the_hub_error_says_what_to_do(monkeypatch):
    create = timm.create_model

    def offline(model, pretrained=False, **arguments):
        if pretrained:
            raise OSError("cannot reach the hub")
        return create(model, **arguments)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match=r"hub \(cannot reach the hub\); without network give a local"):
        build_backbone(Backbone(model="test_resnet", weights="imagenet"))


def test_nothing_is_declared_beside_a_complete_torchvision(monkeypatch):
    complete = types.ModuleType("torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", complete)
    monkeypatch.setattr(torchvision_ops, "_library", None)
    torchvision_ops.ensure()
    assert torchvision_ops._library is None
    assert sys.modules["torchvision"] is complete


def test_a_torchvision_without_its_operators_imports_all_the_same(tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("from torchvision import half\nfrom torchvision import ops\n")
    (package / "half.py").write_text("")
    (package / "ops.py").write_text(
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.register_fake(f'torchvision::{name}')(lambda *arguments: None)\n"
    )
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "try:\n"
        "    import torchvision\n"
        "except RuntimeError as error:\n"
        "    assert 'does not exist' in str(error), error\n"
        "else:\n"
        "    raise SystemExit('this torchvision should be broken')\n"
        "from seglib.models import torchvision_ops\n"
        "torchvision_ops.ensure()\n"
        "import torchvision.ops\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
