"""timm encoders with multi-scale features, made uniform: NCHW, finest first, for images of any size.

Legend: `B` batch, `C` channels, `H, W` image size.
"""

import difflib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.core.files import sha256_file
from seglib.experiment.recipe import Backbone
from seglib.models import torchvision_ops
from seglib.models.layers import resize

torchvision_ops.ensure()

import timm  # noqa: E402
from timm.layers import Format  # noqa: E402
from timm.models import is_model_in_modules  # noqa: E402

_ANY_SIZE = (
    # always_partition: the last stage is one window at the model's own size, and would never shift.
    {"strict_img_size": False, "always_partition": True},
    {"dynamic_img_size": True, "dynamic_img_pad": True},
)
"""Arguments with which models of fixed input size take any size: Swin's, then ViT's."""


class Encoder(nn.Module):
    """A timm feature extractor.

    ``channels`` and ``strides`` have one entry per stage, finest first; stages finer than 1/4 are left out:
    a convolutional network gives its C2..C5, a plain ViT three maps of stride 16 (or those that ``options:
    {out_indices: [...]}`` names). ``mean`` and ``std`` belong to RGB values in 0..1.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        size_multiple: int,
        channels_last_output: bool,
        concatenate: bool,
    ):
        super().__init__()
        self.network = network
        self.stages = len(channels)
        self.channels = (sum(channels),) * self.stages if concatenate else channels
        self.strides = strides[:1] * self.stages if concatenate else strides
        self.mean = mean
        self.std = std
        self.size_multiple = size_multiple
        self.channels_last_output = channels_last_output
        self.concatenate = concatenate
        self._map_strides = strides

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps (B, C_i, about H / stride_i, about W / stride_i) of normalised images (B, 3, H, W)."""
        height, width = images.shape[-2:]
        pad_bottom, pad_right = -height % self.size_multiple, -width % self.size_multiple
        if pad_bottom or pad_right:
            images = F.pad(images, (0, pad_right, 0, pad_bottom))
        features = self.network(images)[-self.stages :]
        if self.channels_last_output:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        if pad_bottom or pad_right:
            features = [
                feature[..., : -(-height // stride), : -(-width // stride)]
                for feature, stride in zip(features, self._map_strides, strict=True)
            ]
        if self.concatenate:
            size = features[0].shape[-2:]
            resized = [resize(feature, size) for feature in features[1:]]
            features = [torch.cat([features[0], *resized], dim=1)] * self.stages
        return list(features)


def build_backbone(spec: Backbone, *, load_weights: bool = True) -> Encoder:
    """The encoder that ``spec`` names; ``load_weights=False`` leaves ``spec.weights`` unread.

    ``spec.options`` go to ``timm.create_model``, but for ``concatenate: true``: every stage is then the
    concatenation of all maps at the finest one's size (HRNet's usual form, author code of MCIBI).

    Raises ``ValueError`` for an unknown model (with the nearest names), an argument or output stride that the
    model does not take, a model bound to one input size, and a weights file that is not this model's.
    """
    known = timm.list_models(pretrained="." in spec.model)  # resnet50, or with a tag: resnet50.a1_in1k
    if spec.model not in known:
        near = difflib.get_close_matches(spec.model, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() names all"
        raise ValueError(f"backbone {spec.model!r} is not a timm model; {hint}")
    options = dict(spec.options)
    concatenate = options.pop("concatenate", False)
    arguments = _arguments(spec, options)
    weights = spec.weights if load_weights else None
    if weights is None:
        network = _create(spec.model, **arguments)
    elif weights == "imagenet":
        network = _create_from_hub(spec.model, **arguments)
    else:
        network = _create_from_file(spec, arguments)

    info = network.feature_info
    strides, channels = info.reduction(), info.channels()
    first = 0 if "out_indices" in options else next(i for i, stride in enumerate(strides) if stride >= 4)
    size_multiple = 1
    if is_model_in_modules(spec.model, ["hrnet"]):
        # Its branches are added at sizes that must be exact multiples, those left out of the result included.
        size_multiple = max(level["reduction"] for level in info.info)
    elif "strict_img_size" in arguments:
        size_multiple = min(strides)  # Swin's patches
    return Encoder(
        network=network,
        channels=tuple(channels[first:]),
        strides=tuple(strides[first:]),
        mean=spec.mean or tuple(network.pretrained_cfg["mean"]),
        std=spec.std or tuple(network.pretrained_cfg["std"]),
        size_multiple=size_multiple,
        channels_last_output=getattr(network, "output_fmt", None) == Format.NHWC,
        concatenate=concatenate,
    )


def _arguments(spec: Backbone, options: dict[str, Any]) -> dict[str, Any]:
    """``options``, and what the model needs for any input size, the output stride and HRNet's branches."""
    arguments = dict(options)
    if is_model_in_modules(spec.model, ["hrnet"]):
        # By default features pass through the classifier's widening blocks.
        arguments.setdefault("feature_location", "")
    plain = _create_on_meta(spec.model, **arguments)
    if plain.pretrained_cfg.get("fixed_input_size"):
        for extra in _ANY_SIZE:
            try:
                plain = _create_on_meta(spec.model, **{**extra, **arguments})
            except ValueError:
                continue
            arguments = {**extra, **arguments}
            break
        else:
            height, width = plain.pretrained_cfg["input_size"][1:]
            raise ValueError(
                f"backbone {spec.model!r} takes images of {height}x{width} only; choose one for any size"
            )
    own_strides = plain.feature_info.reduction()
    if spec.output_stride in (None, own_strides[-1]):
        return arguments
    arguments["output_stride"] = spec.output_stride
    try:
        strides = _create_on_meta(spec.model, **arguments).feature_info.reduction()
    except ValueError:
        strides = own_strides
    if strides[-1] != spec.output_stride:
        raise ValueError(
            f"backbone {spec.model!r} has no output_stride {spec.output_stride}: its strides {own_strides} "
            "cannot be dilated to end there; leave output_stride out, or choose a backbone that can be "
            "dilated to 8 or 16 (resnet50c, convnext_tiny, ...)"
        )
    return arguments


def _create(model: str, **arguments: Any) -> nn.Module:
    try:
        return timm.create_model(model, features_only=True, **arguments)
    except (TypeError, AssertionError, IndexError, NotImplementedError) as error:
        options = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ValueError(f"backbone {model!r} does not take {options}: {error}") from error


def _create_on_meta(model: str, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        return _create(model, **arguments)


def _create_from_hub(model: str, **arguments: Any) -> nn.Module:
    try:
        return _create(model, pretrained=True, **arguments)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"backbone {model!r}: no weights from timm's hub ({reason}); without network give a local "
            "safetensors file as backbone.weights"
        ) from error


def _create_from_file(spec: Backbone, arguments: dict[str, Any]) -> nn.Module:
    """The network with the tensors of ``spec.weights``, in timm's naming, without a classifier's."""
    path = Path(spec.weights)
    if not path.is_file():
        raise ValueError(f"backbone.weights: {spec.weights!r} is neither a file nor 'imagenet' (timm's hub)")
    if spec.weights_sha256 is not None and (digest := sha256_file(path)) != spec.weights_sha256:
        raise ValueError(
            f"backbone.weights: {path} has sha256 {digest}, not {spec.weights_sha256}; fetch it again or "
            "correct weights_sha256"
        )
    try:
        with safe_open(path, framework="pt") as file:
            given = set(file.keys())
    except SafetensorError as error:
        raise ValueError(f"backbone.weights: {path} is no safetensors file ({error})") from error
    _check_names(spec, arguments, given)
    overlay = {"file": str(path), "custom_load": False}
    try:
        return _create(spec.model, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    except RuntimeError as error:  # a tensor of another shape
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"backbone.weights: {path} does not fit {spec.model!r}: {reason}") from error


def _check_names(spec: Backbone, arguments: dict[str, Any], given: set[str]) -> None:
    # timm only logs the missing and the unexpected tensors of a feature extractor's file.
    needed = {_plain(name): name for name in _create_on_meta(spec.model, **arguments).state_dict()}
    with torch.device("meta"):
        classifier = timm.create_model(spec.model)
    known = {_plain(name) for name in classifier.state_dict()} | needed.keys()
    # Batch norms' counters may be missing, as older files lack them.
    missing = [
        needed[name] for name in needed.keys() - {_plain(name) for name in given} if "num.batches" not in name
    ]
    unexpected = [name for name in given if _plain(name) not in known]
    if missing or unexpected:
        raise ValueError(
            f"backbone.weights: {spec.weights} does not fit {spec.model!r}: {_few('missing', missing)}, "
            f"{_few('unexpected', unexpected)}; is it another model's?"
        )


def _plain(name: str) -> str:
    """A tensor's name without the changes of timm's feature wrappers: ``stages_0.``, ``model.stages.0.``."""
    return name.removeprefix("model.").replace("_", ".")


def _few(kind: str, names: list[str]) -> str:
    return f"{len(names)} {kind}" + (f" ({', '.join(sorted(names)[:3])}, ...)" if names else "")
