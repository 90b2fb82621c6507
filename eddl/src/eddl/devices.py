"""What this machine has: device names to backends.

`"cpu"` runs on oneDNN where it can be loaded and on NumPy elsewhere; `"cpu:onednn"` and
`"cpu:array"` name one of them, and `EDDL_BACKEND` says what `"cpu"` means.
"""

from __future__ import annotations

import os
import warnings
from functools import lru_cache

from eddl.compiler import Backend
from eddl.errors import DeviceError


@lru_cache
def _array() -> Backend:
    from eddl.backends.array import ArrayBackend

    return ArrayBackend()


@lru_cache
def _onednn() -> Backend:
    from eddl.backends.onednn import OneDnnBackend

    return OneDnnBackend()


@lru_cache
def _why_not() -> str:
    """Why oneDNN does not compute here; nothing where it does."""
    from eddl.backends.onednn import find

    if find() is None:
        return "oneDNN is not installed"
    try:
        _onednn()
    except DeviceError as error:
        warnings.warn(f"NumPy computes, since {error}", stacklevel=4)
        return str(error)
    return ""


def _cpu() -> Backend:
    return _array() if _why_not() else _onednn()


KINDS = {"array": _array, "onednn": _onednn}


def backend(device: str = "cpu") -> Backend:
    """The backend of a device name.

    Parameters: `device`, `"cpu"`, `"cpu:onednn"` or `"cpu:array"`. Raises `DeviceError` for other
    names and where the one named cannot be used.

    >>> backend("cpu:array").name
    'array'
    """
    kind, _, which = device.partition(":")
    which = which or os.environ.get("EDDL_BACKEND", "")
    if kind == "cpu" and not which:
        return _cpu()
    if kind == "cpu" and which in KINDS:
        return KINDS[which]()
    raise DeviceError(
        f"received device {device!r}{f' with EDDL_BACKEND={which}' if ':' not in device else ''}, "
        f"expected 'cpu' or one of {[f'cpu:{name}' for name in KINDS]}"
    )


def describe() -> str:
    """What `"cpu"` runs on, in words."""
    found = backend("cpu")
    if found.name != "onednn":
        reason = "" if os.environ.get("EDDL_BACKEND") else _why_not()
        return f"{found.name} ({reason})" if reason else found.name
    from eddl.backends.onednn import load

    library = load()
    return f"onednn {'.'.join(map(str, library.version))} ({library.path})"
