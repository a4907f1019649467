import pytest
import torch
from torch import nn

from seglib.experiment.recipe import Recipe
from seglib.training.optimisers import build_optimizer, learning_rate, set_learning_rate


def recipe(**values) -> Recipe:
    return Recipe(**{"iterations": 100, "batch_size": 1, "crop_hw": (8, 8), "lr": 0.1, **values})


def model() -> nn.Module:
    parts = {"encoder": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "method": nn.Conv2d(4, 2, 1)}
    return nn.ModuleDict(parts)


def test_each_trained_parameter_is_in_one_group_with_its_own_rate_and_decay():
    network = model()
    network["encoder"][1].bias.requires_grad_(False)
    values = {"backbone_lr_factor": 0.1, "head_lr_factor": 10.0, "decay_norm_bias": False}
    optimizer = build_optimizer(network, recipe(weight_decay=5e-4, momentum=0.8, **values))
    set_learning_rate(optimizer, 0.02)
    found = {}
    for group in optimizer.param_groups:
        assert group["momentum"] == 0.8
        for parameter in group["params"]:
            assert parameter not in found
            found[parameter] = (group["lr"], group["weight_decay"])
    expected = {
        "encoder.0.weight": (0.002, 5e-4),
        "encoder.0.bias": (0.002, 0.0),
        "encoder.1.weight": (0.002, 0.0),
        "method.weight": (0.2, 5e-4),
        "method.bias": (0.2, 0.0),
    }
    named = {name: found[parameter] for name, parameter in network.named_parameters() if parameter in found}
    assert named == {name: pytest.approx(value) for name, value in expected.items()}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_one_step_is_that_of_a_plain_optimiser(name):
    torch.manual_seed(0)
    network = model()
    twin = model()
    twin.load_state_dict(network.state_dict())
    ours = build_optimizer(network, recipe(optimizer=name, weight_decay=0.01))
    set_learning_rate(ours, 0.1)
    plain = {
        "sgd": lambda: torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01),
        "adamw": lambda: torch.optim.AdamW(twin.parameters(), lr=0.1, weight_decay=0.01),
    }[name]()
    for net, optimizer in ((network, ours), (twin, plain)):
        images = torch.ones(1, 3, 8, 8)
        net["method"](net["encoder"](images)).square().sum().backward()
        optimizer.step()
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_polynomial_decay_as_the_authors_have_it():
    values = recipe(lr=0.01, min_lr=1e-4, poly_power=0.9)
    for iteration in (0, 1, 50, 99):
        reference = (1 - iteration / 100) ** 0.9 * (0.01 - 1e-4) + 1e-4
        assert learning_rate(values, iteration, 100) == pytest.approx(reference, rel=1e-12)
    assert learning_rate(values, 100, 100) == 1e-4


def test_warm_up_rises_linearly_to_the_decay():
    warm, plain = recipe(warmup_iterations=10), recipe()
    ratios = [learning_rate(warm, i, 100) / learning_rate(plain, i, 100) for i in range(12)]
    assert ratios == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1])
