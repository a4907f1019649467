from dataclasses import replace

import pytest
import torch

from seglib.models.mcibi import MCIBIFCN, MCIBIDeepLabV3, MCIBIPSPNet
from seglib.models.segmentor import TrainingPosition
from tests.unit.models.method_tester import CRITERION, PROGRESS, MethodTester

PAPER = {"channels": (256, 512, 1024, 2048), "strides": (4, 8, 8, 8)}
SMALL = {"channels": (8, 8), "strides": (8, 8), "num_classes": 5, "width": 8, "attention_width": 4}


class MCIBITester(MethodTester):
    """With a memory as after some steps: one of zeros gives the attention that reads it no gradient."""

    def build(self, num_classes: int = 5, seed: int = 0):
        method = super().build(num_classes, seed)
        method.beyond_image.memory.vectors.uniform_()
        return method


class TestMCIBIDeepLabV3(MCIBITester):
    method = "mcibi_deeplabv3"


class TestMCIBIFCN(MCIBITester):
    """Weights (the seed) with which pixels differ in their likeliest class, by a margin (no dropout).

    Where all agree, all read one vector: batch norm makes it 0, and the attention's gradient is noise.
    """

    method = "mcibi_fcn"
    options = {"hard_aggregation": True, "update_rule": "mean", "dropout": 0.0}

    def build(self, num_classes: int = 5, seed: int = 1):
        return super().build(num_classes, seed)

    def test_pixels_differ_in_their_likeliest_class(self):
        _, stage1, _ = self.build(2).train().stages(self.features(2))
        margin = (stage1[:, 0] - stage1[:, 1]).abs().min()
        assert stage1.argmax(1).unique().tolist() == [0, 1]
        assert margin > 1e-3


class TestMCIBIPSPNet(MCIBITester):
    method = "mcibi_pspnet"
    options = {"vectors_per_class": 2}


class TestMCIBIOCRNet(MCIBITester):
    method = "mcibi_ocrnet"
    options = {"downsample": True, "leaky_relu": True, "auxiliary_weight": 0.0}
    strides = (4, 8, 32, 16)  # the tester knows the size of the output: half of the last is the third


@pytest.mark.parametrize(("num_classes", "head"), [(19, 62_952_486), (150, 63_086_892)])
def test_parameters_at_2048_channels_equal_the_authors(num_classes, head):
    with torch.device("meta"):
        method = MCIBIDeepLabV3(**PAPER, num_classes=num_classes)
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in method.named_children()}
    assert count["beyond_image"] == 5_378_560
    assert count["beyond_image"] + count["bottleneck"] == 14_816_768
    assert count["context"] == 42_211_328
    assert sum(count.values()) - count["auxiliary"] == head


def test_pyramid_pooling_inside_has_the_published_number_of_parameters():
    with torch.device("meta"):
        method = MCIBIPSPNet(**PAPER, num_classes=19)
    assert sum(p.numel() for p in method.context.parameters()) == 23_073_792


def train_step(method, progress=PROGRESS):
    torch.manual_seed(1)
    features = [torch.rand(2, 8, 6, 6), torch.rand(2, 8, 6, 6)]
    losses = method.train().losses(features, torch.randint(4, (2, 48, 48)), CRITERION, progress)
    sum(losses.values()).backward()
    return losses, [parameter.grad for parameter in method.parameters()]


def test_a_step_moves_the_memory_of_the_classes_that_it_sees_and_eval_moves_nothing():
    method = MCIBIFCN(**SMALL)
    vectors = method.beyond_image.memory.vectors
    method.eval()([torch.rand(1, 8, 6, 6)] * 2)
    assert not vectors.any()
    train_step(method)
    assert vectors[:4].any(2).all()
    assert not vectors[4].any()


def test_moving_the_memory_changes_no_gradient(monkeypatch):
    def build():
        torch.manual_seed(0)
        method = MCIBIDeepLabV3(**SMALL, consistency_weight=0.0)
        method.beyond_image.memory.vectors.uniform_()
        return method

    _, moved = train_step(build())
    monkeypatch.setattr("seglib.models.class_memory.ClassMemory.update", lambda *arguments, **options: None)
    _, unmoved = train_step(build())
    assert all(torch.equal(a, b) for a, b in zip(moved, unmoved, strict=True))


@pytest.mark.parametrize(
    ("initial", "final_share", "power", "expected"),
    [
        (0.9, 0.01, 0.9, [0.9, 0.99 * 0.9 * 0.5**0.9 + 0.009]),
        (1.0, 0.1, 0.9, [1.0, 0.9 * 0.5**0.9 + 0.1]),
        (0.9, 0.01, 0.0, [0.9, 0.9]),
    ],
)
def test_momentum_falls_as_the_authors_learning_rate(initial, final_share, power, expected):
    method = MCIBIFCN(
        **SMALL, initial_momentum=initial, final_momentum_share=final_share, momentum_power=power
    )
    found = [method.momentum(replace(PROGRESS, iteration=i, iterations=10)) for i in (0, 5)]
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_first_momentum_of_1_overwrites_the_memory():
    method = MCIBIFCN(**SMALL, initial_momentum=1.0, update_rule="mean")
    other = MCIBIFCN(**SMALL, initial_momentum=1.0, update_rule="mean")
    other.load_state_dict(method.state_dict())
    method.beyond_image.memory.vectors.uniform_()
    train_step(method)
    train_step(other)
    same = [m.beyond_image.memory.vectors[:4] for m in (method, other)]
    torch.testing.assert_close(*same)


@pytest.mark.parametrize(
    ("start", "epoch", "present"), [(1, 0, False), (1, 1, True), (0, 0, True), (3, 2, False)]
)
def test_the_consistency_loss_starts_at_its_epoch(start, epoch, present):
    method = MCIBIFCN(**SMALL, consistency_epoch=start)
    losses, _ = train_step(method, TrainingPosition(iteration=1, iterations=10, epoch=epoch))
    assert ("consistency" in losses) == present


def test_the_consistency_loss_is_that_of_stage_2_on_the_vectors_and_trains_it_alone():
    method = MCIBIFCN(**SMALL, vectors_per_class=2).eval()
    vectors = method.beyond_image.memory.vectors.uniform_()
    loss = method.consistency()
    terms = [
        -method.stage2(vectors[k, v].view(1, -1, 1, 1)).log_softmax(1)[0, k]
        for k in range(5)
        for v in range(2)
    ]
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    loss.backward()
    trained = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    assert trained == {"stage2"}


def test_dilations_belong_to_aspp():
    method = MCIBIDeepLabV3(**SMALL, dilations=(1, 3))
    assert [branch[0].dilation[0] for branch in method.context.branches] == [1, 3]
    with pytest.raises(ValueError, match="which only mcibi_deeplabv3 has"):
        MCIBIPSPNet(**SMALL, dilations=(1, 3))


def test_halving_the_last_stage_counts_for_the_dilations():
    arguments = SMALL | {"strides": (4, 8)}
    whole, half = (MCIBIDeepLabV3(**arguments, downsample=d) for d in (False, True))
    dilations = [[branch[0].dilation[0] for branch in m.context.branches] for m in (whole, half)]
    assert dilations == [[1, 12, 24, 36], [1, 6, 12, 18]]
