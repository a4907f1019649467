"""Several processes that train one cell together, each on a device of its own.

    torchrun --standalone --nproc-per-node 4 -m seglib train ...

torchrun numbers the processes in their environment; without it there is one process, and no function here
costs anything. Each process sees its part of every batch, and gradients, batch norms, the weight of a pixel
and class memories are those of the whole batch: the weights are those of one process up to rounding.
Exceptions are random masks (dropout), which each process draws by itself; ``ohem``, whose hard pixels are
chosen and averaged within each process, as its authors do; and ``sync_batch_norm: false``. MCIBI's
consistency loss passes each vector through its batch norm once per process, so that the running variance
differs by a share of 1 / (2 x vectors).

On CPUs the processes communicate over gloo, on GPUs over nccl; values of Python always over gloo.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

SETTLE_S = 0.2
"""Time for gloo's threads to release their last tensors; after the interpreter's end they would abort it."""

_ended: list[object] = []
"""The last process group, kept beyond the model: torch's reducer, as its last owner, would wait for gloo's
threads while it holds Python's lock, for which one of them may wait."""


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, if it did, for a training on ``device``.

    Raises ``ValueError`` when another process ends, whose own message says why.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    together = False
    try:
        yield
        together = True
    except SystemExit:  # all stop at once
        together = True
        raise
    except RuntimeError as error:
        if not (isinstance(error, distributed.DistError) or "gloo/" in str(error)):
            raise
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, which must not precede the message
        raise ValueError(
            f"process {rank()} of {world_size()} lost another one, whose own message says why; the same "
            "command goes on from the last checkpoint"
        ) from error
    finally:
        if together or device.type == "cpu":  # nccl would wait for the others
            _ended[:] = [distributed.group.WORLD]
            distributed.destroy_process_group()
        if together:
            time.sleep(SETTLE_S)


def rank() -> int:
    """The number of this process, from 0; process 0 writes all files."""
    return distributed.get_rank() if _joined() else 0


def world_size() -> int:
    """The number of processes."""
    return distributed.get_world_size() if _joined() else 1


def sum_over_processes(tensor: Tensor) -> Tensor:
    """``tensor``, changed in place, summed over all processes: the same bits on each. No gradient."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def average_over_processes(tensor: Tensor) -> Tensor:
    """The mean over all processes, with its gradient (that of the mean of all processes' losses)."""
    return _Average.apply(tensor) if world_size() > 1 else tensor


def gather(value: float) -> list[float]:
    """The ``value`` of each process, in order; the processes wait for one another."""
    if world_size() == 1:
        return [value]
    values = torch.zeros(world_size(), dtype=torch.float64)
    values[rank()] = value
    return sum_over_processes(values).tolist()


class _Average(torch.autograd.Function):
    @staticmethod
    def forward(context, tensor: Tensor) -> Tensor:
        return sum_over_processes(tensor.contiguous().clone()) / world_size()

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        # Each process's value counts 1 / world_size in the mean, and in every process's loss.
        return sum_over_processes(gradient.contiguous().clone()) / world_size()


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
