"""What layers are built with: symbolic inputs, parameters, and sizes of one or many numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl import initializers
from eddl.errors import AttributeValueError, ShapeError, TypeMismatchError
from eddl.graph import Dim, Input, Label, State, Type, Value

Sizes = int | Sequence[int]


def input(shape: Sequence[Dim], *, dtype: Any = "float32", name: str = "input") -> Value:
    """A symbolic tensor that the caller of a model gives; `eddl.Input`.

    Parameters: `shape` without the batch axis, `None` where a size may differ from call to call;
    `dtype`, its element type; `name`, its name in files. Returns a value with the batch axis first.

    >>> import eddl
    >>> eddl.Input((3, None, None)).shape
    ('batch', 3, None, None)
    """
    for size in shape:
        if (
            size is not None
            and not isinstance(size, str)
            and (isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1)
        ):
            raise ShapeError(
                f"Input: received the shape {tuple(shape)}, expected sizes of at least 1, or None "
                "for a size that is not fixed; the batch axis is left out"
            )
    return Input(Type(dtype, ("batch", *shape)), name=name)


def parameter(
    shape: Sequence[int],
    dtype: Any,
    initializer: str | initializers.Initializer,
    label: Label,
    role: str,
    *,
    trainable: bool = True,
) -> State:
    """A value that belongs to a layer and outlives a run."""
    return State(
        Type(dtype, shape),
        initializers.get(initializer),
        trainable=trainable,
        label=label,
        role=role,
    )


def spatial_rank(x: Any, layer: str) -> int:
    """The number of spatial axes of an N, C, space tensor."""
    if not isinstance(x, Value):
        raise TypeMismatchError(
            f"{layer}: received {type(x).__name__}, expected a symbolic tensor: eddl.Input or what "
            "another layer returns"
        )
    if x.rank < 3:
        raise ShapeError(f"{layer}: received {x.type}, expected the axes N, C and space")
    return x.rank - 2


def channels(x: Value, layer: str) -> int:
    """The number of channels, which must be known to make weights."""
    size = x.shape[1] if x.rank > 1 else None
    if not isinstance(size, int):
        raise ShapeError(f"{layer}: received {x.type}, expected a known size of axis 1")
    return size


def per_axis(value: Sizes, rank: int, what: str) -> tuple[int, ...]:
    """One number for all spatial axes, or one an axis."""
    sizes = (value,) * rank if isinstance(value, (int, np.integer)) else tuple(value)
    if len(sizes) != rank or any(int(s) != s or s < 1 for s in sizes):
        raise AttributeValueError(
            f"{what}: received {value!r}, expected a number of at least 1, or {rank} of them"
        )
    return tuple(int(s) for s in sizes)
