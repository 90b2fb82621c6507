"""Layers that move elements without changing them, and constants.

Axes are counted with the batch's; lists of sizes leave it out, as `eddl.Input` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError, TypeMismatchError
from eddl.graph import Constant, Value
from eddl.layers.build import Sizes, axis_of, borders, per_axis, spatial_rank, tensor
from eddl.ops.table import apply, integers, make_node

FAR = np.iinfo(np.int64).max


def constant(value: Any, dtype: Any = "float32") -> Value:
    """A value that never changes, for arithmetic with symbolic tensors.

    >>> import eddl
    >>> eddl.layers.constant([1.0, 2.0]).shape
    (2,)
    """
    return Constant(np.asarray(value, dtype))


def cast(x: Value, dtype: Any) -> Value:
    """The same numbers in another element type.

    >>> import eddl
    >>> eddl.layers.cast(eddl.Input((8,)), "int64").dtype
    dtype('int64')
    """
    return apply("Cast", tensor(x, "cast"), to=np.dtype(dtype))


def flatten(x: Value) -> Value:
    """All axes but the batch's as one: [N, features].

    >>> import eddl
    >>> eddl.layers.flatten(eddl.Input((8, 4, 4))).shape
    ('batch', 128)
    """
    sizes = [s for s in tensor(x, "flatten").shape[1:] if isinstance(s, int)]
    if len(sizes) == x.rank - 1:
        return apply("Reshape", x, integers([0, math.prod(sizes)]))
    return apply("Flatten", x, axis=1)


def reshape(x: Value, shape: Sequence[int]) -> Value:
    """Another shape of the same elements; `shape` without the batch axis, one -1 allowed.

    >>> import eddl
    >>> eddl.layers.reshape(eddl.Input((8, 4)), (2, 16)).shape
    ('batch', 2, 16)
    """
    return apply("Reshape", tensor(x, "reshape"), integers([0, *shape]))


def permute(x: Value, axes: Sequence[int]) -> Value:
    """The axes in another order; `axes` names each once, counted with the batch's.

    >>> import eddl
    >>> eddl.layers.permute(eddl.Input((8, 32)), (0, 2, 1)).shape
    ('batch', 32, 8)
    """
    order = tuple(axis_of(x, axis, "permute") for axis in axes)
    if sorted(order) != list(range(x.rank)):
        raise AttributeValueError(
            f"permute: received axes {tuple(axes)} for {x.type}, expected each axis once"
        )
    return apply("Transpose", x, perm=order)


def _axes(axes: int | Sequence[int]) -> list[int]:
    return [int(axes)] if isinstance(axes, (int, np.integer)) else [int(axis) for axis in axes]


def squeeze(x: Value, axes: int | Sequence[int]) -> Value:
    """Without axes of size 1.

    >>> import eddl
    >>> x = eddl.layers.global_average_pool(eddl.Input((8, 32, 32)))
    >>> eddl.layers.squeeze(x, (2, 3)).shape
    ('batch', 8)
    """
    found = [axis_of(x, axis, "squeeze") for axis in _axes(axes)]
    if any(x.shape[axis] not in (1, None) for axis in found):
        raise ShapeError(f"squeeze: received {x.type}, expected size 1 along the axes {found}")
    return apply("Squeeze", x, integers(found))


def unsqueeze(x: Value, axes: int | Sequence[int]) -> Value:
    """With axes of size 1; `axes` are counted in the result.

    >>> import eddl
    >>> eddl.layers.unsqueeze(eddl.Input((8,)), 1).shape
    ('batch', 1, 8)
    """
    return apply("Unsqueeze", tensor(x, "unsqueeze"), integers(_axes(axes)))


def expand(x: Value, shape: Sequence[int]) -> Value:
    """Elements repeated along axes of size 1; `shape` without the batch axis, 1 keeps a size.

    >>> import eddl
    >>> eddl.layers.expand(eddl.Input((8, 1)), (8, 32)).shape
    ('batch', 8, 32)
    """
    return apply("Expand", tensor(x, "expand"), integers([1, *shape]))


def tile(x: Value, repeats: Sequence[int]) -> Value:
    """The whole tensor repeated along each axis; `repeats` without the batch axis.

    >>> import eddl
    >>> eddl.layers.tile(eddl.Input((8, 4)), (1, 3)).shape
    ('batch', 8, 12)
    """
    if len(repeats) != tensor(x, "tile").rank - 1 or any(n < 1 for n in repeats):
        raise AttributeValueError(
            f"tile: received repeats {tuple(repeats)} for {x.type}, expected a number of at least "
            "1 for each axis but the batch's"
        )
    return apply("Tile", x, integers([1, *repeats]))


def slice(
    x: Value,
    start: int | Sequence[int],
    stop: int | Sequence[int] | None = None,
    *,
    axes: int | Sequence[int] = 1,
    step: int | Sequence[int] = 1,
) -> Value:
    """A part along some axes, with the meaning of Python's slices.

    Parameters: `axes`, counted with the batch's; `start`, `stop` and `step`, a number for all of
    them or one each; negative ones count from the end; without `stop` all that follows.

    >>> import eddl
    >>> eddl.layers.slice(eddl.Input((8, 32)), 1, -1, axes=(1, 2)).shape
    ('batch', 6, 30)
    """
    where = [axis_of(x, axis, "slice") for axis in _axes(axes)]
    count = len(where)

    def each(value: int | Sequence[int], what: str) -> list[int]:
        found = _axes(value) * count if isinstance(value, (int, np.integer)) else _axes(value)
        if len(found) != count:
            raise AttributeValueError(
                f"slice: received {what}={value!r} for {count} axes, expected a number or one each"
            )
        return found

    steps = each(step, "step")
    if 0 in steps:
        raise AttributeValueError("slice: received step=0, expected another number")
    ends = [FAR if by > 0 else -FAR for by in steps] if stop is None else each(stop, "stop")
    return apply("Slice", x, integers(each(start, "start")), integers(ends), integers(where),
                 integers(steps))  # fmt: skip


def crop(x: Value, amounts: int | Sequence[int] | Sequence[tuple[int, int]]) -> Value:
    """Without the borders of space: a number for all, one an axis, or a pair (before, after).

    >>> import eddl
    >>> eddl.layers.crop(eddl.Input((8, 32, 32)), 2).shape
    ('batch', 8, 28, 28)
    """
    rank = spatial_rank(x, "crop")
    pads = borders(amounts, rank, "crop")["pads"]
    ends = [-after if after else FAR for after in pads[rank:]]
    y = apply("Slice", x, integers(pads[:rank]), integers(ends), integers(range(2, 2 + rank)))
    if 0 in y.shape:
        raise ShapeError(f"crop: received {x.type} and {amounts}, expected something to be left")
    return y


def center_crop(x: Value, sizes: Sizes) -> Value:
    """The middle of space; of an odd rest the larger half is cut off behind.

    Parameters: `x` [N, C, space...] of known sizes; `sizes`, a number for all spatial axes or one
    an axis.

    >>> import eddl
    >>> eddl.layers.center_crop(eddl.Input((8, 32, 32)), 28).shape
    ('batch', 8, 28, 28)
    """
    rank = spatial_rank(x, "center_crop")
    wanted = per_axis(sizes, rank, "center_crop sizes")
    rests = [n - m for n, m in zip(x.shape[2:], wanted, strict=True) if isinstance(n, int)]
    if len(rests) != rank or min(rests) < 0:
        raise ShapeError(
            f"center_crop: received {x.type}, expected known sizes of at least {wanted}"
        )
    return crop(x, [(rest // 2, rest - rest // 2) for rest in rests])


def pad(
    x: Value,
    amounts: int | Sequence[int] | Sequence[tuple[int, int]],
    *,
    mode: str = "constant",
    value: float = 0.0,
) -> Value:
    """Space made larger at its borders.

    Parameters: `x` [N, C, space...]; `amounts`, a number for all borders, one an axis, or a pair
    (before, after) an axis; `mode`, "constant" (`value`), "edge" (the nearest element), "reflect"
    (mirrored, the border not repeated) or "wrap" (from the other side).

    >>> import eddl
    >>> eddl.layers.pad(eddl.Input((8, 32, 32)), (1, 2), mode="reflect").shape
    ('batch', 8, 34, 36)
    """
    rank = spatial_rank(x, "pad")
    modes = ("constant", "edge", "reflect", "wrap")
    if mode not in modes:
        raise AttributeValueError(f"pad: received mode {mode!r}, expected one of {modes}")
    pads = borders(amounts, rank, "pad")["pads"]
    for n, before, after in zip(x.shape[2:], pads[:rank], pads[rank:], strict=True):
        most = {"reflect": -1, "wrap": 0}.get(mode)
        if isinstance(n, int) and most is not None and max(before, after) > n + most:
            raise ShapeError(
                f"pad: received {amounts} for {x.type} with mode {mode!r}, expected at most "
                f"{n + most} along an axis of {n}"
            )
    fill = np.asarray(value, x.dtype)
    full = [0, 0, *pads[:rank], 0, 0, *pads[rank:]]
    return apply("Pad", x, integers(full), *((fill,) if mode == "constant" else ()), mode=mode)


def split(x: Value, parts: int | Sequence[int], axis: int = 1) -> tuple[Value, ...]:
    """Cut along an axis: into a number of equal parts, or parts of given sizes.

    >>> import eddl
    >>> [part.shape for part in eddl.layers.split(eddl.Input((8, 32)), (2, 6))]
    [('batch', 2, 32), ('batch', 6, 32)]
    """
    axis = axis_of(x, axis, "split")
    size = x.shape[axis]
    if isinstance(parts, (int, np.integer)):
        if not isinstance(size, int) or parts < 1 or size % parts:
            raise ShapeError(
                f"split: received {x.type} to be cut into {parts} along axis {axis}, expected a "
                "known size that this divides"
            )
        parts = [size // int(parts)] * int(parts)
    return make_node("Split", x, integers(parts), axis=axis).outputs


def _indices(x: Value, indices: Any, layer: str) -> Value:
    found = indices if isinstance(indices, Value) else Constant(np.asarray(indices))
    if found.dtype not in (np.int32, np.int64):
        raise TypeMismatchError(f"{layer}: received indices {found.type}, expected int32 or int64")
    return found


def gather(x: Value, indices: Any, axis: int = 1) -> Value:
    """Slices along an axis by index: [..., *indices.shape, ...].

    Parameters: `indices`, integers or a symbolic tensor of them, the same for all samples;
    negative ones count from the end. An index outside the axis is an error when it runs.

    >>> import eddl
    >>> eddl.layers.gather(eddl.Input((8, 32)), [0, -1]).shape
    ('batch', 2, 32)
    """
    axis = axis_of(x, axis, "gather")
    return apply("Gather", x, _indices(x, indices, "gather"), axis=axis)


def gather_elements(x: Value, indices: Any, axis: int = 1) -> Value:
    """Elements by index along an axis, for each position another: `indices` has `x`'s rank.

    >>> import eddl
    >>> where = eddl.Input((1,), dtype="int64")
    >>> eddl.layers.gather_elements(eddl.Input((8,)), where).shape
    ('batch', 1)
    """
    axis = axis_of(x, axis, "gather_elements")
    return apply("GatherElements", x, _indices(x, indices, "gather_elements"), axis=axis)


def where(condition: Value, x: Value | float, y: Value | float) -> Value:
    """`x` where the condition holds, `y` elsewhere; shapes broadcast.

    >>> import eddl
    >>> x = eddl.Input((8,))
    >>> eddl.layers.where(eddl.Input((8,), dtype="bool"), x, 0.0).shape
    ('batch', 8)
    """
    if tensor(condition, "where").dtype != bool:
        raise TypeMismatchError(f"where: received {condition.type}, expected a boolean condition")
    if not isinstance(x, Value) and not isinstance(y, Value):
        raise TypeMismatchError("where: received two numbers, expected a symbolic tensor at least")
    like = next(v.dtype for v in (x, y) if isinstance(v, Value))
    chosen = (v if isinstance(v, Value) else np.asarray(v, like) for v in (x, y))
    return apply("Where", condition, *chosen)


def top_k(x: Value, k: int, axis: int = -1, *, largest: bool = True) -> tuple[Value, Value]:
    """The `k` greatest (or least) elements along an axis in order, and their int64 indices.

    >>> import eddl
    >>> values, indices = eddl.layers.top_k(eddl.Input((8,)), 3)
    >>> values.shape
    ('batch', 3)
    """
    axis = axis_of(x, axis, "top_k")
    if k < 1:
        raise AttributeValueError(f"top_k: received k={k}, expected at least 1")
    node = make_node("TopK", x, integers([k]), axis=axis, largest=int(largest))
    return node.outputs[0], node.outputs[1]


def one_hot(x: Value, depth: int, axis: int = -1, *, dtype: Any = "float32") -> Value:
    """1 at the place that each index names along a new axis, 0 elsewhere.

    Parameters: `x`, integers; `depth`, the new axis's size: indices beyond it give zeros, negative
    ones count from its end; `axis`, where it stands in the result.

    >>> import eddl
    >>> eddl.layers.one_hot(eddl.Input((8,), dtype="int64"), 5).shape
    ('batch', 8, 5)
    """
    if tensor(x, "one_hot").dtype.kind not in "iu":
        raise TypeMismatchError(f"one_hot: received {x.type}, expected integers")
    return apply("OneHot", x, np.asarray([depth], np.int64), np.asarray([0, 1], dtype), axis=axis)
