from dataclasses import replace

import pytest
import torch
from torch import nn

from seglib.experiment.recipe import Recipe
from seglib.training.batch_norm import images_seen, synchronise
from seglib.training.train_step import Stepper
from tests.unit.training.test_trainer import assert_same, make_cell


def test_the_batch_that_a_batch_norm_sees_is_checked():
    recipe = Recipe(iterations=1, batch_size=16, crop_hw=(8, 8), lr=0.1, norm_batch_size=16)
    assert images_seen(recipe, processes=1) == images_seen(recipe, processes=8) == 16
    with pytest.raises(
        ValueError, match=r"see 8 images .*accumulate 2\), not recipe.norm_batch_size 16; spread"
    ):
        images_seen(replace(recipe, accumulate=2), processes=2)
    assert images_seen(replace(recipe, accumulate=2, norm_batch_size=8), processes=2) == 8
    apart = replace(recipe, sync_batch_norm=False)
    assert images_seen(apart, processes=1) == 16
    with pytest.raises(ValueError, match=r"see 4 images .*4 processes without sync_batch_norm\)"):
        images_seen(apart, processes=4)
    assert images_seen(replace(recipe, norm_batch_size=None, accumulate=4), processes=2) == 4


def test_on_a_gpu_torchs_synchronised_batch_norms_take_over_all_tensors():
    stepper = Stepper(cell=make_cell(), num_classes=4, weights=None, device=torch.device("cpu"))
    before = stepper.model.state_dict()
    model = synchronise(stepper.model, torch.device("cuda"))
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert_same(model.state_dict(), before)
