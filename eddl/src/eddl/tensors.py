"""The tensor protocol: what may be passed into eddl, and how it is read without a copy.

A tensor is any object with `__dlpack__` and `__dlpack_device__`, or, on the host, `__array__`.
NumPy, CuPy, PyTorch and JAX arrays and `ecvl.Image` all pass. `tests/contract` proves that nothing
is copied where type and strides allow, and that `ecvl.tensors.Tensor` is the same protocol.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from eddl.errors import DeviceError, TypeMismatchError

CPU_DEVICE_TYPES = (1, 3)  # kDLCPU and kDLCUDAHost of the DLPack header


@runtime_checkable
class Tensor(Protocol):
    """An array that can be handed over without a copy.

    Optional attributes, read when present: `axes` (a string over `n c t z y x`, one letter a
    dimension), `spacing` (mm, in the order in which the spatial axes stand in the array) and
    `affine` (4x4, from voxel indices in the order x, y, z to RAS+ mm).
    """

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a DLPack capsule of the data."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the DLPack device type and the device's number."""


def as_host_array(tensor: Any, *, what: str = "tensor") -> np.ndarray[Any, Any]:
    """Read a tensor as a NumPy array, without a copy where its type allows one.

    Parameters: `tensor`, a NumPy array, a number or nested list of numbers, or any host tensor of
    the protocol; `what`, its name in messages. Returns an array that may share the tensor's memory
    and must only be read. Raises `TypeMismatchError` for anything else, a consumed capsule
    included, and `DeviceError` for a tensor on another device.

    >>> import numpy as np
    >>> data = np.arange(6.0).reshape(2, 3)
    >>> as_host_array(data) is data
    True
    """
    if isinstance(tensor, np.ndarray):
        return _numeric(tensor, what)
    if isinstance(tensor, Tensor):
        try:
            device = tensor.__dlpack_device__()
        except Exception as error:
            raise TypeMismatchError(
                f"{what}: __dlpack_device__ of {type(tensor).__name__} failed ({error}); expected "
                "a tensor that can be read: pass the array itself"
            ) from error
        if device[0] not in CPU_DEVICE_TYPES:
            raise DeviceError(
                f"{what}: received a tensor on DLPack device {tuple(map(int, device))}, expected "
                "host memory: copy it to the host first"
            )
        try:
            return _numeric(np.from_dlpack(tensor), what)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            # Types DLPack cannot name in NumPy, and tensors that must be detached first, may
            # still have __array__; a consumed capsule has not.
            if not hasattr(tensor, "__array__"):
                raise TypeMismatchError(
                    f"{what}: the DLPack capsule of {type(tensor).__name__} could not be read "
                    f"({error}); a capsule can be consumed once: pass the array itself"
                ) from error
    if hasattr(tensor, "__array__") or isinstance(tensor, (bool, int, float, list, tuple)):
        try:
            return _numeric(np.asarray(tensor), what)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeMismatchError(
                f"{what}: {type(tensor).__name__} could not be read as an array ({error}); "
                "expected numbers of one shape"
            ) from error
    raise TypeMismatchError(
        f"{what}: received {type(tensor).__name__}, expected an array or an object with "
        "__dlpack__ and __dlpack_device__ (NumPy, PyTorch, CuPy, ecvl.Image)"
    )


def _numeric(array: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    if array.dtype.kind not in "biuf":
        raise TypeMismatchError(
            f"{what}: received elements of type {array.dtype}, expected booleans, integers or "
            "floating numbers"
        )
    return array
