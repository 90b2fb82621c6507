"""What this machine has: device names to backends."""

from __future__ import annotations

from functools import lru_cache

from eddl.compiler import Backend
from eddl.errors import DeviceError


@lru_cache
def _cpu() -> Backend:
    from eddl.backends.array import ArrayBackend

    return ArrayBackend()


def backend(device: str = "cpu") -> Backend:
    """The backend of a device name; `"cpu"` is the one there is.

    >>> backend("cpu").name
    'array'
    """
    if device == "cpu":
        return _cpu()
    raise DeviceError(f"received device {device!r}, expected 'cpu'")
