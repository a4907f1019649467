import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seglib.experiment.recipe import Loss
from seglib.training.losses import build_criterion
from tests.unit.training.peak_memory import PeakMemory

WEIGHTS = (0.5, 1.0, 2.0, 4.0, 0.1)


def example(seed=0, size=(9, 13)):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 5, 5, 7, generator=generator)
    labels = torch.randint(0, 5, (2, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    return logits, labels


def resized(logits, labels):
    return F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_and_its_gradient_are_torchs_own_on_maps(weights):
    logits, labels = example()
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    loss = build_criterion(Loss(class_weights=weights))(ours, labels)
    weight = None if weights is None else torch.tensor(weights)
    reference = F.cross_entropy(resized(theirs, labels), labels, weight, ignore_index=255)
    torch.testing.assert_close(loss, reference)
    loss.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize(("threshold", "min_kept"), [(0.7, 1), (0.7, 150), (1e-9, 20), (0.3, 10_000)])
def test_ohem_keeps_improbable_pixels_and_at_least_the_hardest(threshold, min_kept, weights):
    logits, labels = example(1)
    spec = Loss(name="ohem", ohem_threshold=threshold, ohem_min_kept=min_kept, class_weights=weights)
    found = build_criterion(spec)(logits, labels).item()

    valid = (labels != 255).flatten().numpy()
    flat = resized(logits, labels).permute(0, 2, 3, 1).reshape(-1, 5).double().softmax(1).numpy()[valid]
    truth = labels.flatten().numpy()[valid]
    probability = flat[np.arange(len(truth)), truth]
    limit = max(threshold, np.sort(probability)[min(min_kept, len(truth)) - 1])
    kept = probability <= limit
    assert kept.sum() >= min(min_kept, len(truth))
    weight = np.ones(5) if weights is None else np.array(weights)
    mean = (-np.log(probability) * weight[truth])[kept].sum() / weight[truth][kept].sum()
    assert found == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "ohem"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_without_labelled_pixels_loss_and_gradient_are_zero(name, weights):
    logits, labels = example()
    logits.requires_grad_()
    loss = build_criterion(Loss(name=name, class_weights=weights))(logits, torch.full_like(labels, 255))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_logits_are_summed_in_float32():
    logits, labels = example()
    with torch.autocast("cpu", torch.bfloat16):
        loss = build_criterion(Loss())(logits.bfloat16(), labels)
    assert loss.dtype == torch.float32
    reference = F.cross_entropy(resized(logits.bfloat16().float(), labels), labels, ignore_index=255)
    torch.testing.assert_close(loss, reference)


def test_weights_of_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="class_weights has 2 values, but the data set 5 classes"):
        build_criterion(Loss(class_weights=(1.0, 2.0)))(*example())


@pytest.mark.parametrize("device", ["cpu", "meta"])  # off the CPU torch resizes otherwise if deterministic
def test_loss_and_gradient_take_the_memory_of_three_maps(device, deterministic):
    """The resized logits, their logarithmic softmax, and its gradient."""
    logits = torch.zeros(2, 150, 16, 32, device=device, requires_grad=True)
    labels = torch.zeros(2, 128, 256, dtype=torch.int64, device=device)
    with PeakMemory() as memory:
        build_criterion(Loss())(logits, labels).backward()
    one_map = 4 * 150 * labels.numel()
    assert 2.9 * one_map < memory.peak < 3.3 * one_map
