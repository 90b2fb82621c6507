"""What a caller gives as arrays that fit the inputs of a step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Constant, Value
from eddl.tensors import as_host_array

Array = np.ndarray[Any, Any]
Signature = tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]
"""The element type and the sizes of each array."""


def signature_of(arrays: Sequence[Any]) -> Signature | None:
    """What a program is found by; nothing where not all are arrays of NumPy."""
    for array in arrays:
        if not isinstance(array, np.ndarray):
            return None
    return tuple([(array.dtype, array.shape) for array in arrays])


def fitting(arrays: Sequence[Any], inputs: Sequence[Value]) -> list[Array]:
    """The caller's tensors as arrays that fit the inputs."""
    if len(arrays) != len(inputs):
        raise AttributeValueError(
            f"received {len(arrays)} arrays, expected {len(inputs)}: "
            f"{[value.name for value in inputs]}"
        )
    data = [_fit(array, value) for array, value in zip(arrays, inputs, strict=True)]
    _check_batch(inputs, data)
    return data


def _fit(array: Any, value: Value) -> Array:
    """The caller's tensor as a host array of an input's type; copied only if its type differs."""
    host = as_host_array(array, what=f"input {value.name}")
    if len(host.shape) != value.rank or any(
        isinstance(size, int) and size != got
        for size, got in zip(value.shape, host.shape, strict=True)
    ):
        raise ShapeError(
            f"input {value.name}: received the shape {host.shape}, expected {value.type} with the "
            "batch axis first"
        )
    if 0 in host.shape:
        raise ShapeError(
            f"input {value.name}: received the shape {host.shape}, which holds nothing; expected "
            "at least one sample"
        )
    if host.dtype == value.dtype:
        return host
    if value.dtype.kind == "f" or np.can_cast(host.dtype, value.dtype, "same_kind"):
        return host.astype(value.dtype)
    raise ShapeError(
        f"input {value.name}: received elements of type {host.dtype}, expected {value.dtype}"
    )


def _check_batch(inputs: Sequence[Value], data: Sequence[Array]) -> None:
    """Named sizes must agree over the inputs."""
    seen: dict[str, tuple[int, Any]] = {}
    pairs = itertools.chain.from_iterable(
        ((value, size, got) for size, got in zip(value.shape, array.shape, strict=True))
        for value, array in zip(inputs, data, strict=True)
        if not isinstance(value, Constant)
    )
    for value, size, got in pairs:
        if isinstance(size, str):
            first = seen.setdefault(size, (got, value.name))
            if first[0] != got:
                raise ShapeError(
                    f"received {got} for the size {size!r} of input {value.name} and {first[0]} "
                    f"for that of input {first[1]}; expected equal numbers"
                )
