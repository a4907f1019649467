"""Checkpoints of a training: complete, bound to one training, and never pickled.

One safetensors file holds the model, the optimiser's state by parameter name, and as JSON in its header
the iteration, the loss scaler, the caller's state, and the identity of the training. A file appears
under its final name only when it is whole, and the last ``KEEP`` are kept, so that a kill or a power loss
costs the work since the last save and nothing else.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from seglib.core.files import atomic_path

FORMAT = 1
KEEP = 2


def save_tensors(
    path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file atomically. ``OSError`` when the disk is full or cannot be written."""
    with atomic_path(path) as temporary:
        try:
            save_file({name: t.detach().contiguous() for name, t in tensors.items()}, temporary, metadata)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error


def save(
    folder: Path,
    *,
    iteration: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    identity: dict[str, Any],
    state: dict[str, Any],
) -> Path:
    """Write the checkpoint after ``iteration`` steps; ``identity`` and ``state`` are JSON values."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"optimizer.{key}.{name}"] = value
    header = {
        "format": FORMAT,
        "identity": identity,
        "scaler": scaler.state_dict(),
        "state": state,
    }
    path = folder / f"{iteration:08d}.safetensors"
    save_tensors(path, tensors, {"seglib": json.dumps(header)})
    # Later files were skipped as damaged; left there, they would count among the newest.
    later = [other for other in _files(folder) if other.name > path.name]
    for useless in later + _files(folder)[len(later) + KEEP :]:
        useless.unlink()
    return path


def load(
    folder: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    identity: dict[str, Any],
) -> dict[str, Any] | None:
    """Restore the newest whole checkpoint and return its ``state``; ``None`` if there is none.

    A damaged file is skipped with a warning. ``ValueError`` for a file of another training or of newer
    code.
    """
    for path in _files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("seglib", "{}"))
                _check(path, header, identity)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            print(f"warning: checkpoint {path} is damaged ({error}); going back one", file=sys.stderr)
            continue
        _restore(path, tensors, model, optimizer)
        scaler.load_state_dict(header["scaler"])
        return header["state"]
    return None


def _check(path: Path, header: dict[str, Any], identity: dict[str, Any]) -> None:
    if header.get("format", 0) > FORMAT:
        raise ValueError(
            f"checkpoint {path} has format {header['format']}, this seglib reads up to {FORMAT}: update "
            "seglib, or delete the file to start again"
        )
    if header.get("identity") != identity:
        raise ValueError(
            f"checkpoint {path} belongs to another training (its cell, code or data differ): move it away to "
            "start again"
        )


def _restore(
    path: Path, tensors: dict[str, torch.Tensor], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    weights = {name: tensors.pop(name) for name in list(tensors) if name.startswith("model.")}
    try:
        model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in weights.items()})
    except RuntimeError as error:
        raise ValueError(
            f"checkpoint {path} does not fit the model ({error}); was timm changed? Move it away to start "
            "again"
        ) from error
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        _, key, parameter_name = name.split(".", 2)
        parameter = parameters[parameter_name]
        if key != "step":  # AdamW counts on the CPU; everything else lies in memory like its parameter
            tensor = torch.empty_like(parameter).copy_(tensor)
        optimizer.state[parameter][key] = tensor


def _files(folder: Path) -> list[Path]:
    """The checkpoints, newest first."""
    return sorted(folder.glob("[0-9]*.safetensors"), reverse=True)
