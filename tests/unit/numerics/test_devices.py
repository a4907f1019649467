"""Tests of what is fixed for a process. The choice of the device: test_training.py."""

import ctypes
import subprocess
import sys

import pytest

PAGE_FAULTS_OF_20_TENSORS = """
import resource
import torch
from seglib.numerics.devices import set_arithmetic

if {kept}:
    set_arithmetic(threads=1, deterministic=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(64 * 2**20, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_a_tensor_reuses_the_memory_of_a_freed_one_instead_of_fresh_pages() -> None:
    """Not always from the second one on: an aligned block may need more than a freed one of its size has."""
    kept, default = (
        int(subprocess.check_output([sys.executable, "-c", PAGE_FAULTS_OF_20_TENSORS.format(kept=kept)]))
        for kept in (True, False)
    )
    assert kept < default / 2
