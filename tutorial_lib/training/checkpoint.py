"""The whole state of a training run in one safetensors file, replaced in one move.

The file holds tensors by name (`model/…`, `average/…`,
`best/…`, `optimizer/…`, `history/…`) and, as JSON
in its metadata, everything else. It has no random-number state: the loop seeds every step
from (seed, epoch, step), so a position is enough to go on exactly. Nothing is ever pickled.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutorial_lib.training.config import History
from tutorial_lib.training.update import Updater, tensors_of

FILE = "checkpoint.safetensors"
KEY = "tutorial_lib.training"
VERSION = 1
# History's lists with an entry a step are long: they are kept as tensors.
STEP_LISTS = {
    "loss": torch.float64,
    "lr": torch.float64,
    "grad_norm": torch.float64,
    "rows": torch.int64,
}


class CheckpointError(ValueError):
    """A checkpoint is damaged, or belongs to another run."""


@dataclasses.dataclass
class State:
    """Where a run stands; with model, optimizer and loss scale, all there is to save.

    Attributes:
        epoch: full epochs done, validation included.
        step: updates done in the epoch after them, of `steps`.
        seconds: time spent in that epoch.
        history: what happened so far.
        average: the moving average of the weights by name; empty without one.
        best: the model's state after the best epoch; None before the first validation.
        inputs: what `fingerprint` tells of the data; empty before the first batch.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    history: History = dataclasses.field(default_factory=History)
    average: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    best: dict[str, Tensor] | None = None
    inputs: dict[str, Any] = dataclasses.field(default_factory=dict)


def fingerprint(batches: int, first: Any, validated: bool) -> dict[str, Any]:
    """Describe a run's data by the number and the first of its batches in the first epoch."""
    digest = hashlib.sha256()
    for name, tensor in tensors_of(first):
        digest.update(f"{name} {_kind(tensor)} ".encode())
        flat = tensor.detach().cpu().flatten().clone(memory_format=torch.contiguous_format)
        digest.update(flat.view(torch.uint8).numpy())
    return {
        "batches": batches,
        "first batch's hash": digest.hexdigest()[:16],
        "validated": validated,
    }


def prepare(folder: Path) -> None:
    """Make the folder, so that one that cannot be written shows before the training.

    Raises:
        OSError: the folder cannot be made, or no file in it.
    """
    part = folder / f"{FILE}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.touch()
        part.unlink()
    except OSError as error:
        message = f"cannot write checkpoints to this folder: {error.strerror}"
        raise OSError(error.errno, message, str(folder)) from error


def save(folder: Path, state: State, updater: Updater) -> None:
    """Write the state; at every moment the file is either the old one or the new one.

    Raises:
        OSError: the file cannot be written (disk full, no permission); the old one is kept.
    """
    from safetensors.torch import save as to_bytes

    tensors, facts = _pack(state, updater)
    path, part = folder / FILE, folder / f"{FILE}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            file.write(to_bytes(tensors, metadata={KEY: json.dumps(facts)}))
            file.flush()
            os.fsync(file.fileno())  # on the disk before it takes the old one's name
        os.replace(part, path)
        _sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        kept = "an earlier one is kept" if path.exists() else "and there is no earlier one"
        message = f"cannot write a checkpoint, {kept}: {error.strerror}"
        raise OSError(error.errno, message, str(path)) from error


def load(folder: Path, updater: Updater, inputs: Callable[[], dict[str, Any]]) -> State | None:
    """Bring model and optimizer to the saved state and return the rest; None without a file.

    `inputs` gives the fingerprint of the data at hand.

    Raises:
        CheckpointError: the file is damaged, or does not fit model, optimizer, configuration or
            data; the message lists what differs. Nothing has been changed then.
    """
    path = folder / FILE
    if not path.exists():
        return None
    tensors, facts = _read(path)
    problems = _differences(facts, _facts(updater) | {"inputs": inputs()})
    problems += _misfits(_part(tensors, "model"), updater.model)
    if problems:
        listed = "".join(f"\n- {problem}" for problem in problems)
        raise CheckpointError(
            f"{path} belongs to another run:{listed}\nUse another folder, or delete the file."
        )
    updater.model.load_state_dict(_part(tensors, "model"))
    _load_optimizer(updater.optimizer, _part(tensors, "optimizer"), facts["optimizer_values"])
    if updater.scaler.is_enabled():
        updater.scaler.load_state_dict(facts["scaler"])
    lists = {name: tensor.tolist() for name, tensor in _part(tensors, "history").items()}
    best, average = (_part(tensors, part) for part in ("best", "average"))
    return State(
        **facts["position"],
        history=History(**lists, **facts["history"]),
        average={name: tensor.to(updater.here.device) for name, tensor in average.items()},
        best={name: tensor.to(updater.here.device) for name, tensor in best.items()} or None,
        inputs=facts["inputs"],
    )


def _pack(state: State, updater: Updater) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all tensors, copied to the CPU, and all other facts."""
    tensors = {f"model/{k}": v for k, v in updater.model.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in state.average.items()}
    tensors |= {f"best/{k}": v for k, v in (state.best or {}).items()}
    values: dict[str, dict[str, Any]] = {}
    for index, slots in updater.optimizer.state_dict()["state"].items():
        for name, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                values.setdefault(str(index), {})[name] = value
    history = dataclasses.asdict(state.history)
    for name, dtype in STEP_LISTS.items():
        tensors[f"history/{name}"] = torch.tensor(history.pop(name), dtype=dtype)
    facts = _facts(updater) | {
        "position": {k: getattr(state, k) for k in ("epoch", "step", "steps", "seconds")},
        "history": history,
        "inputs": state.inputs,
        "optimizer_values": values,
        "scaler": updater.scaler.state_dict(),
    }
    # Copies, so that tied weights, which share memory, can be written.
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}, facts


def _facts(updater: Updater) -> dict[str, Any]:
    """Return what a run must have in common with the one that it continues."""
    groups = [
        {k: v for k, v in group.items() if k not in ("params", "lr", "fused", "foreach")}
        | {"lr": rate, "shapes": [list(parameter.shape) for parameter in group["params"]]}
        for group, rate in zip(updater.optimizer.param_groups, updater.rates, strict=True)
    ]
    facts = {
        "version": VERSION,
        "config": dataclasses.asdict(updater.config),
        "precision": updater.precision,
        "optimizer": type(updater.optimizer).__name__,
        "groups": groups,
    }
    return json.loads(json.dumps(facts, default=str))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{path} is damaged or cut short ({error}); delete it to start anew"
        ) from error
    if facts is None:
        raise CheckpointError(f"{path} was not written by this training loop; use another folder")
    return tensors, facts


def _differences(saved: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Compare two runs' facts, fields of dictionaries one by one."""
    found = []
    for name, mine in ours.items():
        theirs = saved.get(name)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            found += _differences(theirs, mine)
        elif mine != theirs:
            found.append(f"{name} was {theirs}, is {mine}")
    return found


def _misfits(tensors: dict[str, Tensor], model: nn.Module) -> list[str]:
    mine = {name: _kind(tensor) for name, tensor in model.state_dict().items()}
    saved = {name: _kind(tensor) for name, tensor in tensors.items()}
    found = []
    for name in sorted(mine | saved):
        if mine.get(name) != saved.get(name):
            have = mine.get(name, "not in this model")
            found.append(f"weight {name} was {saved.get(name, 'absent')}, is {have}")
    return found if len(found) <= 5 else [*found[:5], f"and {len(found) - 5} more weights"]


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], values: dict[str, dict[str, Any]]
) -> None:
    slots: dict[int, dict[str, Any]] = {int(index): dict(rest) for index, rest in values.items()}
    for name, tensor in tensors.items():
        index, slot = name.split("/", 1)
        slots.setdefault(int(index), {})[slot] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{prefix}/")}


def _sync_folder(folder: Path) -> None:
    """Wait until a new name in a folder is on the disk; Windows has no such call."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
