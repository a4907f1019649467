import ctypes
import resource

import pytest
import torch

from seglib.numerics.devices import choose_device, set_arithmetic
from tests.unit import forked


def page_faults_of_20_tensors(kept: bool) -> int:
    if kept:
        set_arithmetic(threads=1, deterministic=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(64 * 2**20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_a_tensor_reuses_the_memory_of_a_freed_one_instead_of_fresh_pages():
    """Not always from the second one on: an aligned block may need more than a freed one of its size has."""
    kept, default = (forked.result(page_faults_of_20_tensors, kept) for kept in (True, False))
    assert kept < default / 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_a_clear_error():
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device cuda: torch .* use --device cpu or auto"):
        choose_device("cuda")
