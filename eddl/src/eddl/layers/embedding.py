"""Words as vectors, which of them count, and where they stand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError, TypeMismatchError
from eddl.graph import Constant, Label, Value
from eddl.layers.build import Start, parameter, size_of, tensor
from eddl.ops.table import apply, integers


def embedding(
    x: Value,
    count: int,
    size: int,
    *,
    mask_zero: bool = False,
    initializer: Start = "uniform",
    dtype: Any = "float32",
    name: str | None = None,
) -> Any:
    """A vector, which is learnt, for each whole number from 0 to `count` - 1.

    Parameters: `x`, integers [N, ...]; `count`, how many different ones; `size`, of a vector;
    `mask_zero`, whether 0 stands for nothing: then its vectors are 0 and learn nothing, and the
    result is a pair of the vectors and a boolean mask of `x`'s shape, True where there is
    something, to be passed on to layers that take one (`rnn`, `gru`, `lstm`, `attention`, the
    reductions); `initializer`, uniform in ±0.05 when left out. Returns [N, ..., size], or that and
    the mask. A number outside the range is an error when it runs.

    >>> import eddl
    >>> words = eddl.Input((12,), dtype="int64")
    >>> x, mask = eddl.layers.embedding(words, 1000, 32, mask_zero=True)
    >>> eddl.layers.lstm(x, 16, mask=mask).shape
    ('batch', 16)
    """
    if tensor(x, "embedding").dtype not in (np.int32, np.int64):
        raise TypeMismatchError(f"embedding: received {x.type}, expected int32 or int64")
    if count < 1 or size < 1:
        raise AttributeValueError(
            f"embedding: received count={count} and size={size}, expected at least 1 of each"
        )
    label = Label("embedding", name)
    table = parameter((count, size), dtype, initializer, label, "weight")
    y = apply("Gather", table, x, axis=0, label=label)
    if not mask_zero:
        return y
    mask = padding_mask(x)
    return apply("Where", apply("Unsqueeze", mask, integers([-1])), y, 0.0), mask


def padding_mask(x: Value, padding: int = 0) -> Value:
    """True where integers differ from the one that stands for nothing.

    >>> import eddl
    >>> eddl.layers.padding_mask(eddl.Input((12,), dtype="int64")).dtype
    dtype('bool')
    """
    if tensor(x, "padding_mask").dtype.kind not in "iu":
        raise TypeMismatchError(f"padding_mask: received {x.type}, expected integers")
    return apply("Not", apply("Equal", x, np.asarray(padding, x.dtype)))


def length_mask(lengths: Value, steps: int) -> Value:
    """A mask [N, steps] of sequences of which the first `lengths` [N] steps count.

    >>> import eddl
    >>> eddl.layers.length_mask(eddl.Input((), dtype="int64"), 12).shape
    ('batch', 12)
    """
    if tensor(lengths, "length_mask").rank != 1 or lengths.dtype.kind not in "iu":
        raise TypeMismatchError(
            f"length_mask: received {lengths.type}, expected a whole number a sequence, [N]"
        )
    places = np.arange(steps, dtype=lengths.dtype)[None]
    return apply("Less", Constant(places), apply("Unsqueeze", lengths, integers([1])))


def positional_encoding(x: Value, *, base: float = 10000.0) -> Value:
    """`x` plus waves of the place along axis 1, of wavelengths from 2 pi to 2 pi `base`.

    Parameters: `x` [N, T, features] of known sizes. Even features take sines, odd ones cosines.
    Source: Vaswani et al. 2017, section 3.5.

    >>> import eddl
    >>> eddl.layers.positional_encoding(eddl.Input((12, 32))).shape
    ('batch', 12, 32)
    """
    layer = "positional_encoding"
    if tensor(x, layer).rank != 3:
        raise ShapeError(f"{layer}: received {x.type}, expected sequences [N, T, features]")
    steps, features = size_of(x, 1, layer), size_of(x, 2, layer)
    powers = np.exp(-math.log(base) * (np.arange(features) // 2 * 2) / features)
    angles = np.arange(steps)[:, None] * powers
    waves = np.where(np.arange(features) % 2, np.cos(angles), np.sin(angles))
    return x + Constant(waves[None].astype(x.dtype))


def positional_embedding(
    x: Value, *, initializer: Start = "uniform", name: str | None = None
) -> Value:
    """`x` plus a vector, which is learnt, for each place along axis 1.

    Parameters: `x` [N, T, features] of known sizes.

    >>> import eddl
    >>> eddl.layers.positional_embedding(eddl.Input((12, 32))).shape
    ('batch', 12, 32)
    """
    layer = "positional_embedding"
    if tensor(x, layer).rank != 3:
        raise ShapeError(f"{layer}: received {x.type}, expected sequences [N, T, features]")
    shape = (1, size_of(x, 1, layer), size_of(x, 2, layer))
    label = Label(layer, name)
    return apply("Add", x, parameter(shape, x.dtype, initializer, label, "weight"), label=label)
