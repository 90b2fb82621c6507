"""Reductions over axes, each with a mask that says which elements count.

A mask is a boolean tensor, True where an element counts; its shape is that of `x`, or that of the
first axes of `x`, as [N, T] for sequences [N, T, features].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eddl.errors import ShapeError, TypeMismatchError
from eddl.graph import Value
from eddl.layers.build import axis_of, tensor
from eddl.ops.table import apply, integers

Axes = int | Sequence[int] | None
"""One axis, several, or None for all of them, the batch's included."""


def _reduce(
    op: str, x: Value, axes: Axes, keepdims: bool, mask: Value | None, neutral: float
) -> Value:
    layer = op.replace("Reduce", "reduce_").lower()
    return apply(op, _kept(x, mask, neutral, layer), *_listed(x, axes, layer),
                 keepdims=int(keepdims))  # fmt: skip


def _listed(x: Value, axes: Axes, layer: str) -> list[Value]:
    if axes is None:
        return []
    given = [axes] if isinstance(axes, (int, np.integer)) else list(axes)
    return [integers([axis_of(x, int(axis), layer) for axis in given])] if given else []


def _kept(x: Value, mask: Value | None, neutral: float, layer: str) -> Value:
    """`x` where the mask holds, and what changes nothing elsewhere."""
    if mask is None:
        return tensor(x, layer)
    limits = np.iinfo(x.dtype) if x.dtype.kind in "iu" else None
    if limits is not None and np.isinf(neutral):
        neutral = limits.min if neutral < 0 else limits.max
    return apply("Where", over_first_axes(x, mask, layer), x, np.asarray(neutral, x.dtype))


def over_first_axes(x: Value, mask: Value, layer: str) -> Value:
    """A mask of the first axes of `x`, with axes of size 1 for the others."""
    if tensor(mask, layer).dtype != bool:
        raise TypeMismatchError(f"{layer}: received a mask {mask.type}, expected booleans")
    fits = mask.rank <= tensor(x, layer).rank and all(
        not (isinstance(m, int) and isinstance(n, int)) or m in (n, 1)
        for m, n in zip(mask.shape, x.shape, strict=False)
    )
    if not fits:
        raise ShapeError(
            f"{layer}: received a mask {mask.type} for {x.type}, expected its shape or that of its "
            "first axes"
        )
    if mask.rank == x.rank:
        return mask
    return apply("Unsqueeze", mask, integers(range(mask.rank, x.rank)))


def reduce_sum(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The sum over axes.

    Parameters: `axes`, counted with the batch's, all of them when left out; `keepdims`, whether
    they stay with size 1; `mask`, which elements count.

    >>> import eddl
    >>> eddl.layers.reduce_sum(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    return _reduce("ReduceSum", x, axes, keepdims, mask, 0.0)


def reduce_mean(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The mean over axes; parameters as for `reduce_sum`. The mean of no element is 0.

    >>> import eddl
    >>> eddl.layers.reduce_mean(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    if mask is None:
        return _reduce("ReduceMean", x, axes, keepdims, None, 0.0)
    shown = over_first_axes(x, mask, "reduce_mean")
    # What is broadcast over x counts as often as x has elements there.
    ones = apply("Where", shown, apply("Cast", apply("Equal", x, x), to=x.dtype), 0.0)
    count = apply("ReduceSum", ones, *_listed(x, axes, "reduce_mean"), keepdims=int(keepdims))
    return _reduce("ReduceSum", x, axes, keepdims, mask, 0.0) / apply("Max", count, 1.0)


def reduce_max(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The greatest element over axes; parameters as for `reduce_sum`. Of none it is -infinity.

    >>> import eddl
    >>> eddl.layers.reduce_max(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    return _reduce("ReduceMax", x, axes, keepdims, mask, -np.inf)


def reduce_min(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The least element over axes; parameters as for `reduce_sum`. Of none it is infinity.

    >>> import eddl
    >>> eddl.layers.reduce_min(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    return _reduce("ReduceMin", x, axes, keepdims, mask, np.inf)


def reduce_prod(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The product over axes; parameters as for `reduce_sum`.

    >>> import eddl
    >>> eddl.layers.reduce_prod(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    return _reduce("ReduceProd", x, axes, keepdims, mask, 1.0)


def reduce_l1(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The sum of magnitudes over axes; parameters as for `reduce_sum`.

    >>> import eddl
    >>> eddl.layers.reduce_l1(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    return _reduce("ReduceL1", x, axes, keepdims, mask, 0.0)


def reduce_l2(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The root of the sum of squares over axes; parameters as for `reduce_sum`.

    >>> import eddl
    >>> eddl.layers.reduce_l2(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    return _reduce("ReduceL2", x, axes, keepdims, mask, 0.0)


def reduce_sum_square(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The sum of squares over axes; parameters as for `reduce_sum`.

    >>> import eddl
    >>> eddl.layers.reduce_sum_square(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    return _reduce("ReduceSumSquare", x, axes, keepdims, mask, 0.0)


def reduce_log_sum(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The logarithm of the sum over axes; parameters as for `reduce_sum`.

    >>> import eddl
    >>> eddl.layers.reduce_log_sum(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    return _reduce("ReduceLogSum", x, axes, keepdims, mask, 0.0)


def reduce_log_sum_exp(
    x: Value, axes: Axes = None, *, keepdims: bool = False, mask: Value | None = None
) -> Value:
    """The logarithm of the sum of exponentials over axes; parameters as for `reduce_sum`.

    >>> import eddl
    >>> eddl.layers.reduce_log_sum_exp(eddl.Input((8, 32)), 1).shape
    ('batch', 32)
    """
    return _reduce("ReduceLogSumExp", x, axes, keepdims, mask, -np.inf)


def argmax(x: Value, axis: int = 1, *, keepdims: bool = False) -> Value:
    """The index of the first greatest element along an axis, int64.

    >>> import eddl
    >>> eddl.layers.argmax(eddl.Input((8, 32))).shape
    ('batch', 32)
    """
    return apply("ArgMax", x, axis=axis_of(x, axis, "argmax"), keepdims=int(keepdims))


def argmin(x: Value, axis: int = 1, *, keepdims: bool = False) -> Value:
    """The index of the first least element along an axis, int64.

    >>> import eddl
    >>> eddl.layers.argmin(eddl.Input((8, 32))).shape
    ('batch', 32)
    """
    return apply("ArgMin", x, axis=axis_of(x, axis, "argmin"), keepdims=int(keepdims))
