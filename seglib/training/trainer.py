"""Train one cell: ``python -m seglib train --cell JSON --data DIR --out DIR --checkpoints DIR``.

A training counts optimiser steps ("iterations"). Everything random in step ``i`` (its images, crops, dropout)
is a function of the cell and of ``i``, so that a training that was stopped and resumed gives, on CPUs of one
kind, the same bits as one that was not. On several devices, and without dropout, it gives the same weights
up to rounding (see :mod:`seglib.numerics.collectives`).
"""

import hashlib
import json
import math
import os
import re
import shutil
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from seglib.core import code_digest, progress, provenance, typed
from seglib.core.checksums import seal
from seglib.core.files import atomic_path, only_one
from seglib.core.signals import StopRequest
from seglib.data.manifest import read_prepared
from seglib.data.samples import load_ahead
from seglib.experiment import records
from seglib.experiment.cell import Cell
from seglib.experiment.records import Attempt, Failure, Training
from seglib.models.segmentor import TrainingPosition
from seglib.numerics import collectives
from seglib.numerics.devices import choose_device, explain_out_of_memory, peak_memory_gib, set_arithmetic
from seglib.numerics.seeds import training_seed
from seglib.training import checkpoints as checkpoint_files
from seglib.training.batch_norm import images_seen
from seglib.training.optimisers import learning_rate
from seglib.training.throughput import Meter
from seglib.training.train_step import NotFiniteError, Stepper
from seglib.training.training_set import Batch, TrainSet

LOG_LINES = 150
"""Lines of ``train_log.jsonl`` of a whole training."""
KEY_DIGITS = 16
"""Length of the folder name of a training's checkpoints."""


def run(
    *,
    cell: Cell,
    data: Path,
    out: Path,
    checkpoints: Path,
    weights: Path | None,
    device: str,
    workers: int,
    checkpoint_interval_s: float,
    cache: str | None = None,
) -> None:
    """Train ``cell`` on the prepared data set in ``data``, from the last checkpoint on if there is one.

    Writes ``model.safetensors``, ``cell.json``, ``train_log.jsonl`` and ``provenance.json`` into ``out``, and
    ``train.sha256`` over them. ``checkpoints`` holds the state that a stop must not lose, in one folder per
    version of the cell, its code and its data; a complete training removes them. ``weights``: file of the
    initial weights that the cell names. ``workers``: threads that load data. ``cache``: ``uint8`` keeps
    decoded pixels in the folder ``cache`` of ``data``.

    Raises ``ValueError`` for faults that the user can mend. A loss that is not finite would be so again: it
    is recorded in ``failed.json``, and later attempts end at once until cell, code or data change. On
    SIGTERM, SIGINT or SIGUSR1 the step is finished, a checkpoint written, and the process exits with 128 +
    the signal's number.

    Of several processes the first writes all files; a signal to any of them stops all after the same step.
    """
    prepared = read_prepared(data).limited(cell.limit, seed=cell.seed)
    manifest = prepared.manifest
    identity = {
        "cell": hashlib.sha256(cell.to_json().encode()).hexdigest(),
        "code": code_digest.step_code("train", method=cell.method),
        "data": manifest.data_digest,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]
    failure = checkpoints / "failed.json"
    _refuse_known_failure(failure, key)

    device = choose_device(device)
    set_arithmetic(threads=cell.recipe.threads, deterministic=cell.recipe.deterministic)
    with StopRequest() as stop, collectives.processes(device), _alone(cell, checkpoints):
        rank, processes = collectives.rank(), collectives.world_size()
        norm_batch_size = images_seen(cell.recipe, processes=processes)
        stepper = Stepper(cell=cell, num_classes=manifest.num_classes, weights=weights, device=device)
        train_set = TrainSet(
            data=prepared,
            recipe=cell.recipe,
            seed=training_seed(cell),
            fill=stepper.padding_color,
            workers=workers,
            rank=rank,
            processes=processes,
            cache=None if cache is None else data / "cache",
        )
        origin = {
            **provenance.describe(),
            "device": device.type,
            "processes": processes,
            "norm_batch_size": norm_batch_size,
        }
        trainer = Trainer(cell, train_set, stepper, checkpoints / key, identity, origin)
        trainer.resume()
        try:
            trainer.run(stop, workers=workers, checkpoint_interval_s=checkpoint_interval_s)
        except NotFiniteError as error:
            if rank == 0:
                records.write(failure, Failure(key=key, reason=str(error), time=provenance.now()))
            collectives.gather(0)  # torchrun ends all processes as soon as one fails
            raise
        if rank == 0:
            trainer.write(out)
            _remove_checkpoints(checkpoints)


def _alone(cell: Cell, checkpoints: Path) -> AbstractContextManager[None]:
    """A lock: a second training (of a job that outlived its Snakemake) would overwrite the checkpoints."""
    if collectives.rank() > 0:
        return nullcontext()
    return only_one(checkpoints, what=f"training {cell.id}")


def _refuse_known_failure(path: Path, key: str) -> None:
    failure = records.read(Failure, path)
    if failure is None:
        return
    if failure.key == key:
        raise ValueError(f"{failure.reason} (so ended the attempt of {failure.time}; delete {path} to retry)")
    path.unlink(missing_ok=True)  # another process may have been first


def _remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of all versions of the cell, and no other file."""
    for path in folder.iterdir():
        if re.fullmatch(f"[0-9a-f]{{{KEY_DIGITS}}}", path.name):
            shutil.rmtree(path)


@dataclass
class _State:
    """The part of a checkpoint beside its tensors."""

    iteration: int = 0
    """Steps done."""
    started: str = field(default_factory=provenance.now)
    attempts: tuple[Attempt, ...] = ()
    """Provenance of each attempt, and the number of steps done before it."""
    encoder_sha256: str = ""
    """Digest of the encoder's initial weights."""
    time_s: float = 0.0
    peak_mem_gib: float = 0.0
    """Peak of the process that used most, in any attempt."""
    sums: dict[str, float] = field(default_factory=dict)
    """Loss terms, summed since the last line of the log."""


class Trainer:
    """The loop of one training: its state, its log and its checkpoints, below ``folder``."""

    def __init__(
        self,
        cell: Cell,
        train_set: TrainSet,
        stepper: Stepper,
        folder: Path,
        identity: dict[str, Any],
        origin: dict[str, Any],
    ):
        self.cell, self.train_set, self.stepper = cell, train_set, stepper
        self.folder, self.identity, self.origin = folder, identity, origin
        self.iterations = train_set.iterations
        self.log = folder / "train_log.jsonl"
        self.log_interval = math.ceil(self.iterations / LOG_LINES)
        self.state = _State()

    def resume(self) -> None:
        """Restore the last checkpoint, if there is one, and cut the log after it.

        ``ValueError`` where batch norm saw batches of another size before: the result would mix both.
        """
        state = checkpoint_files.load(self.folder, **self._checkpoint_parts())
        if state is None:
            self.state.encoder_sha256 = _digest(self.stepper.model.encoder)
        else:
            self.state = typed.parse(_State, state, "state", recorded=True)
            _say(f"going on after iteration {self.state.iteration} of {self.iterations}")
        for first in self.state.attempts[:1]:
            before, now = first.norm_batch_size, self.origin["norm_batch_size"]
            if before != now:
                raise ValueError(
                    f"batch norm saw {before} images at a time when this training began in "
                    f"{first.processes} processes, and would see {now} now: start as many again, or "
                    f"delete {self.folder} to start anew"
                )
        where = {name: value for name, value in self.origin.items() if name != "command"}
        attempt = Attempt(after_iteration=self.state.iteration, **where)
        self.state.attempts = (*self.state.attempts, attempt)
        iterations = {int(iteration) for iteration in collectives.gather(self.state.iteration)}
        if len(iterations) > 1:
            raise ValueError(
                f"the processes found checkpoints after different iterations ({sorted(iterations)}); is "
                f"{self.folder.parent} the same folder for all?"
            )
        if collectives.rank() == 0:
            self._tidy()

    def _tidy(self) -> None:
        """Remove what came after the last checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*"):  # of a writer that was killed
            leftover.unlink()
        lines = self.log.read_text(encoding="utf-8").splitlines(True) if self.log.exists() else []
        with atomic_path(self.log) as temporary:
            temporary.write_text(
                "".join(lines[: self.state.iteration // self.log_interval]), encoding="utf-8"
            )

    def run(self, stop: StopRequest, *, workers: int, checkpoint_interval_s: float) -> None:
        """Run the remaining steps, or until ``stop``."""
        state, recipe = self.state, self.cell.recipe
        batches = load_ahead(self._load, range(state.iteration, self.iterations), workers=workers)
        meter = Meter(batch_size=recipe.batch_size, earlier_s=state.time_s)
        saved_s = time.monotonic()
        first = collectives.rank() == 0
        stopped_by = 0
        with progress.ProgressBar(
            total=self.iterations, what=f"train {self.cell.id}", start=state.iteration, shown=first
        ) as bar:
            for batch in meter.watch(batches):
                values = self.stepper.step(batch, self._position(batch))
                for name, value in values.items():
                    state.sums[name] = state.sums.get(name, 0.0) + value
                lr = learning_rate(recipe, state.iteration, self.iterations)
                state.iteration += 1
                state.time_s = meter.time_s()
                memory_gib = peak_memory_gib(self.stepper.device)
                state.peak_mem_gib = max(state.peak_mem_gib, memory_gib)
                bar.advance(note=f"loss {values['loss']:.3f}, lr {lr:.2e}, {meter}, {memory_gib:.1f} GiB")
                if state.iteration % self.log_interval == 0:
                    self._write_log(epoch=batch.epoch, lr=lr, speed=meter.take())
                stopped_by = int(max(collectives.gather(stop.signal or 0)))
                if stopped_by:
                    break
                if first and time.monotonic() - saved_s >= checkpoint_interval_s:
                    self._save()
                    saved_s = time.monotonic()
        state.peak_mem_gib = max(collectives.gather(state.peak_mem_gib))
        if state.iteration < self.iterations:
            self._save()
            done = f"after iteration {state.iteration} of {self.iterations}"
            name = signal.Signals(stopped_by).name
            _say(f"stopped by {name} {done}; the same command goes on from there")
            collectives.gather(0)  # torchrun ends all processes as soon as one ends
            raise SystemExit(128 + stopped_by)

    def write(self, out: Path) -> None:
        """The finished training; the model comes after what describes it, and the seal of all last."""
        images = self.iterations * self.cell.recipe.batch_size
        record = Training(
            **self.origin,
            cell_id=self.cell.id,
            started=self.state.started,
            finished=provenance.now(),
            time_s=round(self.state.time_s, 3),
            threads=torch.get_num_threads(),
            peak_mem_gib=round(self.state.peak_mem_gib, 3),
            images_per_s=round(images / self.state.time_s, 3),
            data_digest=self.identity["data"],
            code=self.identity["code"],
            resumed=len(self.state.attempts) - 1,
            attempts=self.state.attempts,
            encoder_sha256=self.state.encoder_sha256,
            parameters=sum(parameter.numel() for parameter in self.stepper.model.parameters()),
        )
        records.write(out / "provenance.json", record)
        records.write(out / "cell.json", self.cell)
        with atomic_path(out / "train_log.jsonl") as temporary:
            shutil.copyfile(self.log, temporary)
        checkpoint_files.save_tensors(out / "model.safetensors", self.stepper.model.state_dict())
        names = ("model.safetensors", "cell.json", "train_log.jsonl", "provenance.json")
        seal(out / "train.sha256", [out / name for name in names])

    def _load(self, iteration: int) -> Batch:
        with explain_out_of_memory(torch.device("cpu"), "loading a batch", "lower --workers or crop_hw"):
            batch = self.train_set.batch(iteration)
        return batch.pin_memory() if self.stepper.device.type == "cuda" else batch

    def _position(self, batch: Batch) -> TrainingPosition:
        return TrainingPosition(iteration=self.state.iteration, iterations=self.iterations, epoch=batch.epoch)

    def _checkpoint_parts(self) -> dict[str, Any]:
        return {
            "model": self.stepper.model,
            "optimizer": self.stepper.optimizer,
            "scaler": self.stepper.scaler,
            "identity": self.identity,
        }

    def _save(self) -> None:
        if collectives.rank() > 0:
            return
        checkpoint_files.save(
            self.folder,
            iteration=self.state.iteration,
            state=typed.plain(self.state),
            **self._checkpoint_parts(),
        )

    def _write_log(self, *, epoch: int, lr: float, speed: dict[str, float]) -> None:
        """One line: means since the last one."""
        terms = {name: value / self.log_interval for name, value in self.state.sums.items()}
        self.state.sums = {}
        if collectives.rank() > 0:
            return
        line = {
            "iteration": self.state.iteration,
            "epoch": epoch,
            "loss": terms.pop("loss"),
            **terms,
            "lr": lr,
        }
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **speed}, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())  # before the checkpoint that relies on it


def _digest(module: nn.Module) -> str:
    """SHA-256 of the weights and buffers."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    return hashlib.sha256(safetensors.torch.save(tensors)).hexdigest()


def _say(line: str) -> None:
    if collectives.rank() == 0:
        print(f"seglib train: {line}", file=sys.stderr, flush=True)
