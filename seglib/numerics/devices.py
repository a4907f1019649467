"""The device of the arithmetic, and the settings that make its results repeatable to the bit, and fast."""

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose_device(name: str) -> torch.device:
    """``auto``: the GPU if there is one; under torchrun, each process's own.

    Raises ``ValueError`` when a GPU is demanded and torch sees none, or too few.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        build = "is a CPU-only build" if torch.version.cuda is None else "finds no NVIDIA GPU or driver"
        raise ValueError(f"device cuda: torch {torch.__version__} {build}; use --device cpu or auto")
    if name == "cpu" or "LOCAL_RANK" not in os.environ:
        return torch.device(name)
    count, local_rank = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if local_rank >= count:
        raise ValueError(f"torchrun started more processes on this machine than torch sees GPUs ({count})")
    return torch.device(name, local_rank)


def set_arithmetic(*, threads: int, deterministic: bool) -> None:
    """Fix, for this process, everything on which the bits of a result depend, and keep its freed memory.

    ``threads``: of the CPU arithmetic; sums are split among them. Float32 means float32: no TF32 anywhere.
    """
    _keep_freed_memory()
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not deterministic
    # Read when CUDA starts; without it, deterministic matrix products raise.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    # Otherwise torch fills every torch.empty, which costs time and only serves to find reads of it.
    torch.utils.deterministic.fill_uninitialized_memory = False


def _keep_freed_memory() -> None:
    """Have glibc reuse large blocks (``man mallopt``), as torch does by itself on a GPU.

    By default every tensor of more than 32 MiB is mapped anew and given back when freed, and each time the
    kernel zeroes its pages: half of a training step and more (``benchmarks/allocation.py``).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        m_trim_threshold, m_mmap_max = -1, -4  # names and values of malloc.h
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, -1)  # never


def peak_memory_gib(device: torch.device) -> float:
    """Most memory in use so far: torch's on a GPU, the whole process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@contextmanager
def explain_out_of_memory(device: torch.device, what: str, remedy: str) -> Iterator[None]:
    """Turn torch's errors of exhausted memory into one line: ``what`` did not fit, and the ``remedy``."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # On a CPU torch raises a bare RuntimeError.
        known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not known and "can't allocate memory" not in str(error):
            raise
        peak = f"{peak_memory_gib(device):.1f} GiB were in use at most"
        raise ValueError(f"out of memory on {device.type}: {what}; {peak}; {remedy}") from error
