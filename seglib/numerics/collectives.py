"""Several processes that train one cell together, each on a device of its own.

    torchrun --standalone --nproc-per-node 4 -m seglib train ...

torchrun tells each process in its environment which one it is; without it, this is one process and every
function here is free. Each process sees its part of every batch, and gradients, batch norms, the weight of a
pixel and class memories are those of the whole batch: the weights are those of one process up to rounding.
But not where masks are random (dropout): each process draws its own; nor with ``ohem``, whose hard pixels are
chosen and averaged within each process, as its authors do; nor with ``sync_batch_norm: false``. And MCIBI's
consistency loss shows its batch norm each vector once per process, so that its running variance differs by a
share of 1 / (2 x vectors).

On CPUs the processes talk over gloo, on GPUs over nccl; what Python needs to agree on always over gloo.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

SETTLE_S = 0.2
"""In which gloo's threads let go of their last tensors; after the interpreter's end they would abort it."""

_ended: list[object] = []
"""The last group. It must outlive the model: torch's reducer, were it the last owner, would wait for gloo's
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
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, which must not come before our last word
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
    """Which process this is. The first, 0, writes what there is to write."""
    return distributed.get_rank() if _joined() else 0


def world_size() -> int:
    """How many processes there are."""
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
    """Every process's ``value``, in order; nobody goes on before all are here."""
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
