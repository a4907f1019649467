import torch
from torch import nn

from seglib.experiment.recipe import Recipe
from seglib.numerics.precision import autocast, keep_depthwise_in_float32


def recipe(precision: str) -> Recipe:
    return Recipe(iterations=1, batch_size=1, crop_hw=(8, 8), lr=0.1, precision=precision)


def test_depthwise_convolutions_stay_in_float32_and_all_others_do_not():
    torch.manual_seed(0)
    model = nn.ModuleDict({"plain": nn.Conv2d(4, 8, 3), "depthwise": nn.Conv2d(8, 8, 3, groups=8)})
    images = torch.randn(2, 4, 9, 9)
    keep_depthwise_in_float32(model)
    with autocast("bf16", torch.device("cpu")):
        middle = model["plain"](images)
        found = model["depthwise"](middle)
    assert (middle.dtype, found.dtype) == (torch.bfloat16, torch.float32)
    exact = nn.functional.conv2d(middle.float(), model["depthwise"].weight, model["depthwise"].bias, groups=8)
    assert torch.equal(found, exact)
    found.sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())
    assert model.state_dict().keys() == {"plain.weight", "plain.bias", "depthwise.weight", "depthwise.bias"}


def test_float32_recipes_are_not_autocast():
    with autocast("fp32", torch.device("cpu")):
        assert nn.Conv2d(3, 3, 1)(torch.ones(1, 3, 2, 2)).dtype == torch.float32
