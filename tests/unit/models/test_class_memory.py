from collections.abc import Sequence
from datetime import timedelta

import pytest
import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from seglib.data.label_formats import IGNORE_INDEX
from seglib.models.class_memory import ClassMemory
from tests.unit import forked

WIDTH = 6


def update_in_a_loop(
    vectors: Tensor,
    x: Tensor,
    labels: Tensor,
    *,
    momentum: float,
    rule: str,
    copy_first: bool,
    shrink: bool = False,
):
    """As the authors write it: features at the size of the labels, class by class, in place."""
    x = F.interpolate(x, labels.shape[1:], mode="bilinear", align_corners=False)
    pixels, labels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]), labels.flatten()
    for c in labels.unique().tolist():
        if c == IGNORE_INDEX:
            continue
        members = pixels[labels == c]
        empty = [v for v in range(vectors.shape[1]) if not vectors[c, v].any()]
        if empty and copy_first:
            vectors[c, empty[0]] = members.mean(0)
            continue
        nearest = (F.normalize(members, dim=1) @ F.normalize(vectors[c], dim=1).T).argmax(1)
        for v in range(vectors.shape[1]):
            group = members[nearest == v]
            if len(group):
                weights = torch.ones_like(group[:, 0])
                if rule == "cosine":
                    weights = 1 - F.cosine_similarity(group, vectors[c, v].expand_as(group))
                mean = (group * (weights / weights.sum())[:, None]).sum(0)
                vectors[c, v] = (1 - momentum) * vectors[c, v] + momentum * mean
            elif shrink:
                vectors[c, v] *= 1 - momentum


def features(batch: int, height: int, width: int) -> Tensor:
    return torch.randn(batch, WIDTH, height, width, dtype=torch.float64)


def noise(classes: Sequence[int], *size: int) -> Tensor:
    labels = torch.tensor(classes)[torch.randint(len(classes), size)]
    labels[:, :2] = IGNORE_INDEX
    return labels


CASES = {
    "two classes": lambda: (2, features(2, 5, 7), noise(range(2), 2, 23, 41)),
    "182 classes": lambda: (182, features(2, 8, 8), noise(range(182), 2, 64, 64)),
    "absent classes": lambda: (30, features(2, 5, 7), noise([3, 17, 29], 2, 23, 41)),
    "one pixel per class": lambda: (12, features(1, 3, 4), torch.arange(12).view(1, 3, 4)),
    "one feature": lambda: (4, features(3, 1, 1), noise(range(4), 3, 8, 8)),
    "one row of features": lambda: (4, features(2, 1, 6), noise(range(4), 2, 8, 48)),
    "labels smaller than features": lambda: (4, features(2, 9, 9), noise(range(4), 2, 5, 6)),
    "all pixels ignored": lambda: (5, features(2, 3, 4), torch.full((2, 24, 32), IGNORE_INDEX)),
    "features after a ReLU, some of them zero": lambda: (
        5,
        features(2, 6, 6).relu_(),
        noise(range(5), 2, 31, 37),
    ),
}


def memory(num_classes: int, **options) -> ClassMemory:
    return ClassMemory(num_classes, WIDTH, **options).double()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("rule", "start", "vectors", "author_exact"),
    [
        ("cosine", "first_batch", 1, False),
        ("mean", "first_batch", 1, False),
        ("cosine", "zeros", 1, False),
        ("cosine", "first_batch", 3, False),
        ("cosine", "first_batch", 3, True),
    ],
)
def test_updates_equal_a_loop_over_upsampled_features(case, rule, start, vectors, author_exact):
    torch.manual_seed(0)
    num_classes, x, labels = CASES[case]()
    fast = memory(num_classes, vectors_per_class=vectors, rule=rule, start=start, author_exact=author_exact)
    plain = fast.vectors.clone()
    for step in range(vectors + 2):
        x = x.roll(step, dims=2) + 0.1 * torch.rand_like(x)
        momentum = 0.9 - 0.2 * step
        fast.update(x, labels, momentum=momentum)
        update_in_a_loop(
            plain,
            x,
            labels,
            momentum=momentum,
            rule=rule,
            copy_first=start == "first_batch",
            shrink=author_exact,
        )
        torch.testing.assert_close(fast.vectors, plain, rtol=0, atol=1e-10)
    assert fast.vectors.any() == (case != "all pixels ignored")


def test_pixels_that_equal_the_memory_count_equally():
    fast = memory(2)
    x = torch.full((1, WIDTH, 4, 4), 0.5, dtype=torch.float64)
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    for _ in range(2):
        fast.update(x, labels, momentum=0.9)
    torch.testing.assert_close(fast.vectors[0, 0], x[0, :, 0, 0], rtol=0, atol=1e-10)


def test_kmeans_finds_the_groups_of_a_new_class_and_touches_no_other():
    torch.manual_seed(0)
    fast = memory(3, vectors_per_class=2, start="kmeans")
    known = torch.rand(2, WIDTH, dtype=torch.float64)
    fast.vectors[1] = known
    groups = torch.eye(WIDTH, dtype=torch.float64)[:2]
    x = (groups[torch.randint(2, (8 * 8,))] + 0.1 * torch.rand(64, WIDTH, dtype=torch.float64)).T
    x, labels = x.reshape(1, WIDTH, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64)
    fast.update(x, labels, momentum=0.5)
    pixels = x.flatten(2)[0].T
    expected = torch.stack([pixels[pixels[:, v] > 0.5].mean(0) for v in range(2)])
    found = fast.vectors[0][fast.vectors[0, :, 0].argsort(descending=True)]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert torch.equal(fast.vectors[1], known)
    assert not fast.vectors[2].any()
    fast.update(2 * x, labels, momentum=0.5)
    assert (fast.vectors[0].norm(dim=1) > found.norm(dim=1)).all()


def test_soft_reading_averages_by_probability_and_hard_reading_takes_the_likeliest():
    torch.manual_seed(0)
    stored = memory(5, vectors_per_class=2)
    stored.vectors.uniform_()
    logits = torch.randn(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    for v, (soft, hard) in enumerate(zip(stored.read(logits), stored.read(logits, hard=True), strict=True)):
        for b, i, j in [(0, 0, 0), (1, 2, 3)]:
            expected = sum(p * stored.vectors[c, v] for c, p in enumerate(logits[b, :, i, j].softmax(0)))
            torch.testing.assert_close(soft[b, :, i, j], expected, rtol=0, atol=1e-10)
            assert torch.equal(hard[b, :, i, j], stored.vectors[logits[b, :, i, j].argmax(), v])
        assert soft.requires_grad
        assert not hard.requires_grad


@pytest.mark.parametrize("author_exact", [False, True])
def test_the_gradient_of_a_read_is_that_of_what_was_read_or_with_author_exact_of_the_updated(author_exact):
    torch.manual_seed(0)
    stored = memory(5, author_exact=author_exact)
    stored.vectors.uniform_()
    logits = torch.randn(1, 5, 4, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(1, WIDTH, 4, 4, dtype=torch.float64)

    def gradient(vectors):
        read = torch.einsum("kc,bkhw->bchw", vectors[:, 0], logits.softmax(1))
        return torch.autograd.grad(read, logits, upstream)[0]

    before = stored.vectors.clone()
    (read,) = stored.read(logits)
    stored.update(features(1, 4, 4).requires_grad_(), torch.randint(5, (1, 8, 8)), momentum=0.9)
    (found,) = torch.autograd.grad(read, logits, upstream)
    expected, other = gradient(before), gradient(stored.vectors)
    if author_exact:
        expected, other = other, expected
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert (found - other).abs().max() > 1e-3
    assert not stored.vectors.requires_grad


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = result if isinstance(result, (tuple, list)) else [result]
        self.elements = max([self.elements, *(t.numel() for t in tensors if isinstance(t, Tensor))])
        return result


def test_no_tensor_of_features_at_label_size_exists():
    stored, x, labels = ClassMemory(20, 64), torch.rand(4, 64, 8, 8), torch.randint(20, (4, 64, 64))
    with Largest() as largest:
        stored.update(x, labels, momentum=0.9)
    assert largest.elements <= max(x.numel(), labels.numel())


def test_bfloat16_features_are_collected_in_float32():
    torch.manual_seed(0)
    x, labels = torch.rand(2, WIDTH, 4, 4).bfloat16(), torch.randint(3, (2, 16, 16))
    plain, autocast = ClassMemory(3, WIDTH), ClassMemory(3, WIDTH)
    for _ in range(2):
        plain.update(x.float(), labels, momentum=0.5)
        with torch.autocast("cpu", torch.bfloat16):
            autocast.update(x, labels, momentum=0.5)
    assert torch.equal(plain.vectors, autocast.vectors)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"vectors_per_class": 0}, "vectors_per_class is 0, must be at least 1"),
        ({"vectors_per_class": 2, "start": "zeros"}, "choose first_batch or kmeans"),
    ],
)
def test_impossible_options_are_refused(options, error):
    with pytest.raises(ValueError, match=error):
        ClassMemory(3, WIDTH, **options)


def two_images() -> tuple[Tensor, Tensor]:
    """Class 0 in both, 1 and 2 in one each, 3 in none."""
    torch.manual_seed(0)
    labels = torch.zeros(2, 12, 12, dtype=torch.int64)
    labels[0, 5:], labels[1, 3:] = 1, 2
    return features(2, 4, 4), labels


STARTS = {"first_batch": {}, "kmeans": {"start": "kmeans", "vectors_per_class": 2}}


def update_on_one_of_two_processes(rank: int, address: str) -> dict[str, Tensor]:
    x, labels = (tensor[rank : rank + 1] for tensor in two_images())
    distributed.init_process_group(
        "gloo", init_method=address, rank=rank, world_size=2, timeout=timedelta(minutes=2)
    )
    found = {}
    for name, options in {**STARTS, "author_exact": {"author_exact": True}}.items():
        stored = memory(4, **options)
        for _ in range(2):
            stored.update(x, labels, momentum=0.7)
        found[name] = stored.vectors
    others = [None, None]
    distributed.all_gather_object(others, found)
    assert all(torch.equal(others[1 - rank][name], vectors) for name, vectors in found.items())
    distributed.destroy_process_group()
    return found


def test_two_processes_update_as_one_with_both_images(tmp_path):
    address = f"file://{tmp_path}/rendezvous"
    other = forked.start(update_on_one_of_two_processes, 1, address, stderr=tmp_path / "log")
    found = update_on_one_of_two_processes(0, address)
    other.join()
    assert other.exitcode == 0, (tmp_path / "log").read_text()

    x, labels = two_images()
    for name, options in STARTS.items():
        alone = memory(4, **options)
        for _ in range(2):
            alone.update(x, labels, momentum=0.7)
        torch.testing.assert_close(found[name], alone.vectors, rtol=0, atol=1e-10)

    averaged = memory(4).vectors
    for _ in range(2):
        each = [averaged.clone(), averaged.clone()]
        for rank, vectors in enumerate(each):
            part = slice(rank, rank + 1)
            update_in_a_loop(vectors, x[part], labels[part], momentum=0.7, rule="cosine", copy_first=True)
        averaged = (each[0] + each[1]) / 2
    torch.testing.assert_close(found["author_exact"], averaged, rtol=0, atol=1e-10)
