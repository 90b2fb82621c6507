"""A checkpoint: one safetensors file with every state, and the rest as JSON in its header.

It is written to a temporary name, synced and renamed, and its folder is synced, so that the final
name holds the old one or the new one, whole, whatever happens when: there is no second copy of the
one before. A checksum finds bytes that a disk changed. Optimizer slots are stored a parameter each,
so that a file does not depend on how memory was laid out. Resuming gives equal bits on the same
machine type, versions, number of threads and kernels, all of which the file names, and warns once
where one of these differs.
"""

from __future__ import annotations

import glob
import json
import os
import platform
import tempfile
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eddl.errors import FileError

if TYPE_CHECKING:
    from eddl.training.loop import Training
    from eddl.training.model import Model

Array = np.ndarray[Any, Any]
FORMAT = "eddl/checkpoint/v1"
PARTIAL = ".partial"
CHUNK = 1 << 24
PLACE = {"epoch": int, "batch": int, "steps": int, "finite": int, "stopped": bool, "ended": bool}
"""What the header says of where a training stands, under the names of `Training`."""


def write_checkpoint(training: Training, path: str | Path) -> None:
    """Write all of a training as it stands after its last step."""
    from safetensors.numpy import save

    with training.model.lock:
        tensors = {name: np.array(a, order="C") for name, a in _views(training).items()}
    rows = training.setup.scores[True].rows()
    tensors.update({f"rows/{name}": array for name, array in rows.items()})
    callbacks = []
    for index, callback in enumerate(training.callbacks):
        state = callback.state_dict()
        arrays = {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
        tensors.update({f"callback/{index}/{k}": np.array(a, order="C")
                        for k, a in arrays.items()})  # fmt: skip
        plain = {key: value for key, value in state.items() if key not in arrays}
        callbacks.append([type(callback).__name__, plain])
    header = {
        "format": FORMAT,
        **{name: kind(getattr(training, name)) for name, kind in PLACE.items()},
        "history": training.history,
        "means": training.setup.scores[True].means.state_dict(),
        "source": training.place,
        "callbacks": callbacks,
        "made_with": {
            **made_with(training.model.device),
            "kernels": {**training.kernels, **training.setup.kernels},
        },
    }
    header["checksum"] = _checksum(header, tensors)
    sweep(path)
    write_atomically(path, save(tensors, {"eddl": json.dumps(header)}))


def read_checkpoint(training: Training, path: str | Path) -> None:
    """Bring a training to where a checkpoint's stood; all is checked before anything changes."""
    header, tensors = _read(path)
    _check_states(training.model, path, tensors)
    views = _views(training)
    for name, view in views.items():
        if name not in tensors or tensors[name].shape != view.shape:
            raise FileError(
                f"{path}: the checkpoint was written with another optimizer, other metrics or "
                f"averages: it has no {name} of shape {list(view.shape)}; build the model as it "
                "was then"
            )
    rows = {k.removeprefix("rows/"): a for k, a in tensors.items() if k.startswith("rows/")}
    if set(rows) != set(training.setup.scores[True].rows()):
        raise FileError(f"{path}: the checkpoint was written with other metrics")
    kinds = [type(callback).__name__ for callback in training.callbacks]
    if [kind for kind, _ in header["callbacks"]] != kinds:
        raise FileError(
            f"{path}: the checkpoint was written with the callbacks "
            f"{[kind for kind, _ in header['callbacks']]}, received {kinds}; resume with the same"
        )
    training.source.load_state_dict(header["source"])
    with training.model.lock:
        for name, view in views.items():
            view[...] = tensors[name]
    for index, (callback, (_, plain)) in enumerate(
        zip(training.callbacks, header["callbacks"], strict=True)
    ):
        prefix = f"callback/{index}/"
        arrays = {k.removeprefix(prefix): a for k, a in tensors.items() if k.startswith(prefix)}
        if plain or arrays:
            callback.load_state_dict({**plain, **arrays})
    for name in PLACE:
        setattr(training, name, header[name])
    training.setup.scores[True].set_rows(rows)
    training.setup.state.warned = bool(training.setup.state.skipped)
    training.history.update(header["history"])
    training.place = header["source"]
    training.setup.scores[True].means.load_state_dict(header["means"])
    here = made_with(training.model.device)
    differing = [name for name in here if header["made_with"].get(name) != here[name]]
    if differing:
        there = {name: header["made_with"].get(name) for name in differing}
        _warn(path, there, {name: here[name] for name in differing}, stacklevel=5)
        return
    kernels = header["made_with"].get("kernels")
    training.kernels = kernels if isinstance(kernels, dict) else {}
    training.resumed = path


def compare_kernels(training: Training) -> None:
    """Warn, once, where a resumed training computes by other kernels than its checkpoint names.

    How often each is used may differ: memory modes compute the same values once or twice.
    """
    if training.resumed is None:
        return
    for name, here in training.setup.kernels.items():
        there = training.kernels.get(name, here)
        if set(here) != set(there):
            old, new = sorted({*there} - {*here}), sorted({*here} - {*there})
            _warn(training.resumed, f"the kernels {old}", f"{new}", stacklevel=7)
            training.resumed = None
            return


def _warn(path: str | Path, there: Any, here: Any, *, stacklevel: int) -> None:
    """What differs between then and now."""
    warnings.warn(
        f"{path}: written with {there}, resumed with {here}: the last bits of results may differ "
        "from an uninterrupted training's",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def restore_weights(model: Model, path: str | Path) -> None:
    """Take a checkpoint's weights, and its averages where the model keeps any."""
    _, tensors = _read(path)
    _check_states(model, path, tensors)
    chosen = {name: tensors[name] for name in model.all_weights() if name in tensors}
    model.set_all_weights(chosen)


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("eddl", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise FileError(
            f"{path}: the checkpoint cannot be read ({error}); expected a file written by fit"
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else header
        raise FileError(f"{path}: received the format {found!r}, expected {FORMAT!r}")
    _check_header(path, header)
    if header.pop("checksum") != _checksum(header, tensors):
        raise FileError(
            f"{path}: the checkpoint's bytes are not those that were written; the file is damaged"
        )
    return header, tensors


def _check_header(path: str | Path, header: Mapping[str, Any]) -> None:
    expected = {**PLACE, "history": dict, "means": dict, "source": dict, "callbacks": list,
                "checksum": int, "made_with": dict}  # fmt: skip
    for name, kind in expected.items():
        value = header.get(name)
        if type(value) is not kind or (isinstance(value, int) and value < 0):
            raise FileError(
                f"{path}: received {value!r} as the header's {name!r}, expected {kind.__name__}; "
                "the file was not written by fit"
            )


def _check_states(model: Model, path: str | Path, tensors: Mapping[str, Array]) -> None:
    saved = {k: a.shape for k, a in tensors.items() if k.startswith("state/")}
    own = {f"state/{model.names[s]}": s.type.sizes for s in model.states}
    if saved != own:
        raise FileError(
            f"{path}: the checkpoint holds the states of another network; expected {len(own)} "
            f"states named {', '.join(name.removeprefix('state/') for name in list(own)[:3])}, ..."
        )


def _views(training: Training) -> dict[str, Array]:
    """Every array of a training's state by name, as views."""
    model, state = training.model, training.setup.state
    found = {f"state/{model.names[s]}": s.storage.view() for s in model.states}
    for index, group in enumerate(state.groups):
        found[f"optimizer/{index}/count"] = group.count
        for unit in group.units:
            for slot, memory in unit.slots.items():
                for parameter in unit.run.members:
                    name = f"optimizer/{index}/{slot}/{model.names[parameter]}"
                    found[name] = unit.part(memory, parameter)
    if state.averages is not None:
        found.update({f"average/{model.names[s]}": state.averages.view(s)
                      for s in state.averages.states})  # fmt: skip
    found["skipped"] = state.skipped
    if state.scale is not None:
        found |= {"loss_scale": state.scale.scale, "calm_steps": state.scale.calm}
    scores = training.setup.scores[True]
    found.update({f"metric/{name}": array for name, array in scores.counts().items()})
    return found


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Array]) -> int:
    total = zlib.crc32(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(tensors[name].tobytes(), total)
    return total


def made_with(device: str = "cpu") -> dict[str, Any]:
    """Versions and machine, on which the bits of a result depend."""
    from importlib.metadata import version

    from eddl import devices
    from eddl.backends.array.threads import available

    backend = devices.backend(device)
    library = getattr(backend, "library", None)
    release = [] if library is None else [".".join(map(str, library.version))]
    numpy = np.show_config(mode="dicts") or {}
    blas = numpy.get("Build Dependencies", {}).get("blas", {})
    return {
        "eddl": version("eddl"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "instructions": " ".join(numpy.get("SIMD Extensions", {}).get("found", [])),
        "blas": " ".join(str(blas.get(key, "")) for key in ("name", "version")).strip(),
        "device": " ".join([device, backend.name, *release]),
        "threads": available(),
    }


def sweep(path: str | Path) -> None:
    """Remove what a process that was killed while it wrote a file has left beside it."""
    target = Path(path)
    for left in target.parent.glob(f".{glob.escape(target.name)}.*{PARTIAL}"):
        left.unlink(missing_ok=True)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary name beside it, synced, then renamed, and the
    folder synced."""
    target = Path(path)
    handle, temporary = tempfile.mkstemp(
        prefix=f".{target.name}.", suffix=PARTIAL, dir=target.parent
    )
    try:
        try:
            _write_all(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _write_all(handle: int, content: bytes) -> None:
    rest: memoryview = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest[:CHUNK]) :]


def sync_folder(folder: Path) -> None:
    """Make a rename last, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
