"""A checkpoint: one safetensors file with every state, and the rest as JSON in its header.

It is written to a temporary name, synced and renamed, so that the final name always holds a whole
one. Optimizer slots are stored a parameter each, so that a file does not depend on how arenas were
laid out. Resuming gives equal bits on the same machine type, versions and number of threads.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eddl.errors import FileError

if TYPE_CHECKING:
    from eddl.training.model import Model
    from eddl.training.step import Group

FORMAT = "eddl/checkpoint/v1"


def write_checkpoint(
    model: Model, path: str | Path, epoch: int, history: dict[str, list[float]], loader: Any
) -> None:
    """Write all states, the history and the loader's state after `epoch` epochs."""
    from safetensors.numpy import save

    tensors = {f"state/{name}": np.ascontiguousarray(a) for name, a in model.weights().items()}
    steps = []
    for index, group in enumerate(model.groups):
        steps.append(int(group.count))
        tensors.update(_slots(model, group, index))
    header = {
        "format": FORMAT,
        "epoch": epoch,
        "steps": steps,
        "history": history,
        "loader": loader.state_dict() if hasattr(loader, "state_dict") else None,
        "made_with": made_with(),
    }
    write_atomically(path, save(tensors, {"eddl": json.dumps(header)}))


def read_checkpoint(
    model: Model, path: str | Path, loader: Any
) -> tuple[int, dict[str, list[float]]]:
    """Take all states from a checkpoint; everything is checked before anything changes.

    Returns the number of finished epochs and the history.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("eddl", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise FileError(
            f"{path}: the checkpoint cannot be read ({error}); expected a file written by fit"
        ) from error
    if header.get("format") != FORMAT:
        raise FileError(
            f"{path}: received the format {header.get('format')!r}, expected {FORMAT!r}"
        )
    weights = {k.removeprefix("state/"): a for k, a in tensors.items() if k.startswith("state/")}
    own = model.weights()
    if {k: a.shape for k, a in weights.items()} != {k: a.shape for k, a in own.items()}:
        raise FileError(
            f"{path}: the checkpoint holds the states of another network; expected "
            f"{len(own)} states named {', '.join(list(own)[:3])}, ..."
        )
    groups = model.groups
    slots = [_slots(model, group, index) for index, group in enumerate(groups)]
    if any(name not in tensors or tensors[name].shape != array.shape
           for group in slots for name, array in group.items()):  # fmt: skip
        raise FileError(f"{path}: the checkpoint was written with another optimizer")
    model.set_weights(weights)
    for group, steps, arrays in zip(groups, header["steps"], slots, strict=True):
        group.count[...] = steps
        for name, view in arrays.items():
            view[...] = tensors[name]
    if header["loader"] is not None and hasattr(loader, "load_state_dict"):
        loader.load_state_dict(header["loader"])
    return int(header["epoch"]), header["history"]


def _slots(model: Model, group: Group, index: int) -> dict[str, np.ndarray[Any, Any]]:
    """Views of each parameter's part of each slot, by name."""
    found = {}
    for run, slots in zip(group.runs, group.slots, strict=True):
        for slot, array in slots.items():
            for state in run.members:
                segment = state.storage
                part = array[segment.start - run.start : segment.stop - run.start]
                found[f"optimizer/{index}/{slot}/{model.names[state]}"] = part
    return found


def made_with() -> dict[str, Any]:
    """Versions and machine, on which the bits of a result depend."""
    from importlib.metadata import version

    from eddl.backends.array.threads import available

    return {
        "eddl": version("eddl"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": available(),
    }


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary name beside it, synced, then renamed."""
    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
