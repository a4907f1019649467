"""Base tester of methods: what every decode head must do, on small random feature pyramids.

A new method's test is a subclass, and another for each switch::

    class TestISNet(MethodTester):
        method = "isnet"


    class TestISNetWithoutImageContext(MethodTester):
        method = "isnet"
        options = {"image_context": False}

Legend: `B` batch, `K` classes, `H, W` image size.
"""

import inspect
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from seglib.core import registry
from seglib.experiment.recipe import Loss
from seglib.models.segmentor import DecodeHead, TrainingPosition
from seglib.training.losses import build_criterion

CRITERION = build_criterion(Loss())
PROGRESS = TrainingPosition(iteration=0, iterations=10, epoch=0)


def small_options(method: str) -> dict[str, int]:
    """A sixteenth of every width that the method has, and half of its samples: tests take milliseconds."""
    parameters = inspect.signature(registry.resolve(registry.METHODS[method])).parameters
    widths = {name: p.default // 16 for name, p in parameters.items() if name.endswith("width")}
    return widths | {name: p.default // 2 for name, p in parameters.items() if name == "samples"}


class MethodTester:
    method: str
    """Name in the registry."""
    options: ClassVar[dict] = {}
    """Beside :func:`small_options`, and over them."""
    channels = (8, 12, 16, 24)
    strides = (4, 8, 16, 32)
    without_gradient: ClassVar[dict[str, str]] = {}
    """Parameters (beginnings of names) that no gradient reaches, and the reason."""
    bf16_tolerance = 0.05
    """Norm of the difference of bfloat16 and float32 logits over the norm of the latter."""

    def build(self, num_classes: int = 5, seed: int = 0) -> DecodeHead:
        torch.manual_seed(seed)
        options = small_options(self.method) | self.options
        cls = registry.resolve(registry.METHODS[self.method])
        return cls(channels=self.channels, strides=self.strides, num_classes=num_classes, **options)

    def features(self, batch: int, height: int = 64, width: int = 96, seed: int = 1) -> list[Tensor]:
        """What an encoder gives for images of this size: positive, as after a ReLU."""
        torch.manual_seed(seed)
        return [
            torch.rand(batch, channels, -(-height // stride), -(-width // stride))
            for channels, stride in zip(self.channels, self.strides, strict=True)
        ]

    def labels(self, batch: int, num_classes: int = 5, height: int = 64, width: int = 96) -> Tensor:
        torch.manual_seed(2)
        labels = torch.randint(num_classes, (batch, height, width))
        labels[:, : height // 8] = 255
        return labels

    def train_step(self, method: DecodeHead, features: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        torch.manual_seed(3)
        losses = method.train().losses(features, labels, CRITERION, PROGRESS)
        sum(losses.values()).backward()
        return losses

    @pytest.mark.parametrize("num_classes", [2, 150])
    def test_odd_size_and_batch_of_one_in_eval(self, num_classes):
        method = self.build(num_classes).eval()
        with torch.no_grad():
            logits = method(self.features(1, 97, 131))
        assert logits.shape[:2] == (1, num_classes)
        assert logits.shape[2:] in {(-(-97 // stride), -(-131 // stride)) for stride in (1, 2, *self.strides)}
        assert logits.isfinite().all()

    @pytest.mark.parametrize("num_classes", [2, 150])
    def test_every_parameter_and_feature_gets_a_gradient(self, num_classes):
        method = self.build(num_classes)
        features = [feature.requires_grad_() for feature in self.features(2)]
        losses = self.train_step(method, features, self.labels(2, num_classes))
        assert all(loss.shape == () and loss.isfinite() for loss in losses.values())
        exempt = tuple(self.without_gradient)
        for name, parameter in method.named_parameters():
            if exempt and name.startswith(exempt):
                assert parameter.grad is None, f"{name} has a gradient after all"
            else:
                assert parameter.grad is not None, f"{name} has no gradient"
                assert parameter.grad.isfinite().all(), name
                assert parameter.grad.any(), f"the gradient of {name} is zero"
        assert features[-1].grad.isfinite().all()

    def test_unlabelled_images_cost_nothing(self):
        method = self.build()
        losses = self.train_step(method, self.features(2), torch.full((2, 64, 96), 255))
        assert all(loss == 0 for loss in losses.values())
        for name, parameter in method.named_parameters():
            assert parameter.grad is None or not parameter.grad.any(), name

    def test_bfloat16_autocast(self):
        method, features = self.build(), self.features(2)
        labels = self.labels(2)
        with torch.autocast("cpu", torch.bfloat16):
            losses = self.train_step(method, features, labels)
        assert all(loss.isfinite() for loss in losses.values())
        method = self.build().eval()
        with torch.no_grad():
            exact = method(features)
            with torch.autocast("cpu", torch.bfloat16):
                rounded = method(features)
        assert (rounded - exact).norm() <= self.bf16_tolerance * exact.norm()

    def test_state_dict_holds_all_that_the_logits_depend_on(self):
        trained, features = self.build(), self.features(2)
        self.train_step(trained, features, self.labels(2))
        other = self.build(seed=7)
        other.load_state_dict(trained.state_dict())
        with torch.no_grad():
            assert torch.equal(trained.eval()(features), other.eval()(features))

    def test_output_is_independent_of_the_other_images_in_eval(self):
        method, features = self.build().eval(), self.features(3)
        with torch.no_grad():
            together = method(features)
            alone = method([feature[1:2] for feature in features])
        torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)

    def test_same_seed_same_bytes(self):
        torch.use_deterministic_algorithms(True)
        try:
            runs = [self.build(), self.build()]
            for method in runs:
                self.train_step(method, self.features(2), self.labels(2))
        finally:
            torch.use_deterministic_algorithms(False)
        first, second = (
            [*method.state_dict().values(), *(p.grad for p in method.parameters() if p.grad is not None)]
            for method in runs
        )
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))

    def test_counts_on_meta(self):
        with torch.device("meta"):
            method = self.build()
            logits = method.eval()(self.features(1, 97, 131))
        assert logits.is_meta
        with torch.no_grad():
            assert logits.shape == self.build().eval()(self.features(1, 97, 131)).shape
