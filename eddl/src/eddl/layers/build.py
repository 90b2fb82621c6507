"""What layers are built with: symbolic inputs, parameters, checks, and sizes of many axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl import initializers
from eddl.errors import AttributeValueError, ShapeError, TypeMismatchError
from eddl.graph import Dim, Input, Label, State, Type, Value

Sizes = int | Sequence[int]
"""One number for all spatial axes, or one an axis."""

Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
"""`"same"`, `"valid"`, a number for all borders, one an axis, or a pair (before, after) an axis."""

Start = str | initializers.Initializer
"""How a parameter begins: an initializer's name, or the function itself."""


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


def tensor(x: Any, layer: str) -> Value:
    """`x` itself, which must be a symbolic tensor."""
    if not isinstance(x, Value):
        raise TypeMismatchError(
            f"{layer}: received {type(x).__name__}, expected a symbolic tensor: eddl.Input or what "
            "another layer returns"
        )
    return x


def spatial_rank(x: Any, layer: str) -> int:
    """The number of spatial axes of an N, C, space tensor."""
    if tensor(x, layer).rank < 3:
        raise ShapeError(f"{layer}: received {x.type}, expected the axes N, C and space")
    return int(x.rank) - 2


def channels(x: Any, layer: str) -> int:
    """The number of channels, which must be known to make weights."""
    size = tensor(x, layer).shape[1] if x.rank > 1 else None
    if not isinstance(size, int):
        raise ShapeError(f"{layer}: received {x.type}, expected a known size of axis 1")
    return size


def size_of(x: Value, axis: int, layer: str) -> int:
    """The size of an axis, which must be known."""
    size = x.shape[axis]
    if not isinstance(size, int):
        raise ShapeError(f"{layer}: received {x.type}, expected a known size of axis {axis}")
    return size


def axis_of(x: Any, axis: int, layer: str) -> int:
    """An axis counted from the front, with the batch's."""
    rank = tensor(x, layer).rank
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise AttributeValueError(f"{layer}: received the axis {axis!r}, expected a whole number")
    if not -rank <= axis < rank:
        raise AttributeValueError(
            f"{layer}: received axis {axis} of {x.type}, expected one in [{-rank}, {rank - 1}]"
        )
    return int(axis) % rank


def per_axis(value: Sizes, rank: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One number for all spatial axes, or one an axis."""
    sizes = (value,) * rank if isinstance(value, (int, np.integer)) else tuple(value)
    if len(sizes) != rank or any(int(s) != s or s < least for s in sizes):
        raise AttributeValueError(
            f"{what}: received {value!r}, expected a number of at least {least}, or {rank} of them"
        )
    return tuple(int(s) for s in sizes)


def borders(padding: Padding, rank: int, layer: str, extents: Sequence[int] = ()) -> dict[str, Any]:
    """A padding as the ONNX attributes `auto_pad` and `pads`. "same" is numbers for windows of
    these `extents` that move on by one, where onnxruntime takes no `auto_pad` of dilated ones."""
    named = {"same": "SAME_UPPER", "valid": "VALID"}
    if isinstance(padding, str):
        if padding not in named:
            raise AttributeValueError(
                f"{layer}: received padding {padding!r}, expected 'same', 'valid', a number, one "
                "an axis, or pairs (before, after)"
            )
        if padding == "same" and extents:
            return {"pads": (*((n - 1) // 2 for n in extents), *(n // 2 for n in extents))}
        return {"auto_pad": named[padding]}
    given: list[Any] = [padding] * rank if isinstance(padding, (int, np.integer)) else [*padding]
    spread = [(p, p) if isinstance(p, (int, np.integer)) else tuple(p) for p in given]
    if len(spread) != rank or any(len(p) != 2 or min(p) < 0 for p in spread):
        raise AttributeValueError(
            f"{layer}: received padding {padding!r}, expected 'same', 'valid', a number of at "
            f"least 0, or {rank} of them or of pairs (before, after)"
        )
    return {"pads": tuple(int(p[side]) for side in (0, 1) for p in spread)}


def extents(
    kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """What windows that move on by one extend over on each axis; of others nothing."""
    if {*strides} != {1}:
        return ()
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))


def fraction(value: float, layer: str, what: str) -> float:
    """A share: at least 0 and less than 1."""
    if not 0 <= value < 1:
        raise AttributeValueError(f"{layer}: received {what}={value}, expected 0 <= {what} < 1")
    return float(value)


def rounded(value: float) -> float:
    """A number as files hold attributes: a float32, so that what is loaded is what was saved."""
    return float(np.float32(value))
