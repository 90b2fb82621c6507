"""Several tensors become one: elementwise (shapes broadcast), by product, or side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from eddl.errors import AttributeValueError, TypeMismatchError
from eddl.graph import Value
from eddl.layers.build import axis_of, tensor
from eddl.ops.table import apply


def _several(tensors: Sequence[Value], layer: str, least: int = 1) -> list[Value]:
    if isinstance(tensors, Value) or not isinstance(tensors, Sequence):
        raise TypeMismatchError(
            f"{layer}: received {type(tensors).__name__}, expected a list of symbolic tensors"
        )
    found = [tensor(x, layer) for x in tensors]
    if len(found) < least:
        raise AttributeValueError(
            f"{layer}: received {len(found)} tensors, expected at least {least}"
        )
    if len({x.dtype for x in found}) > 1:
        raise TypeMismatchError(
            f"{layer}: received {', '.join(map(str, (x.type for x in found)))}, expected one "
            "element type: cast the others"
        )
    return found


def add(tensors: Sequence[Value]) -> Value:
    """The sum of tensors, whose shapes broadcast.

    >>> import eddl
    >>> x = eddl.Input((8,))
    >>> eddl.layers.add([x, x]).shape
    ('batch', 8)
    """
    return apply("Sum", *_several(tensors, "add"))


def average(tensors: Sequence[Value]) -> Value:
    """The mean of tensors, whose shapes broadcast.

    >>> import eddl
    >>> x = eddl.Input((8,))
    >>> eddl.layers.average([x, x]).shape
    ('batch', 8)
    """
    return apply("Mean", *_several(tensors, "average"))


def maximum(tensors: Sequence[Value]) -> Value:
    """The greatest of tensors at each position; shapes broadcast.

    >>> import eddl
    >>> x = eddl.Input((8,))
    >>> eddl.layers.maximum([x, x * 2.0]).shape
    ('batch', 8)
    """
    return apply("Max", *_several(tensors, "maximum"))


def minimum(tensors: Sequence[Value]) -> Value:
    """The least of tensors at each position; shapes broadcast.

    >>> import eddl
    >>> x = eddl.Input((8,))
    >>> eddl.layers.minimum([x, x * 2.0]).shape
    ('batch', 8)
    """
    return apply("Min", *_several(tensors, "minimum"))


def subtract(tensors: Sequence[Value]) -> Value:
    """The first tensor less the others, whose shapes broadcast.

    >>> import eddl
    >>> x = eddl.Input((8,))
    >>> eddl.layers.subtract([x, x]).shape
    ('batch', 8)
    """
    return reduce(lambda a, b: a - b, _several(tensors, "subtract", 2))


def multiply(tensors: Sequence[Value]) -> Value:
    """The product of tensors element by element; shapes broadcast.

    >>> import eddl
    >>> x = eddl.Input((8, 32, 32))
    >>> eddl.layers.multiply([x, eddl.layers.global_average_pool(x)]).shape
    ('batch', 8, 32, 32)
    """
    return reduce(lambda a, b: a * b, _several(tensors, "multiply"))


def matmul(tensors: Sequence[Value]) -> Value:
    """The matrix product over the last two axes, from left to right; the axes before broadcast.

    >>> import eddl
    >>> eddl.layers.matmul([eddl.Input((5, 8)), eddl.Input((8, 3))]).shape
    ('batch', 5, 3)
    """
    return reduce(lambda a, b: apply("MatMul", a, b), _several(tensors, "matmul", 2))


def concat(tensors: Sequence[Value], axis: int = 1) -> Value:
    """Tensors joined along an axis, counted with the batch axis.

    >>> import eddl
    >>> x = eddl.Input((8, 32, 32))
    >>> eddl.layers.concat([x, x]).shape
    ('batch', 16, 32, 32)
    """
    found = _several(tensors, "concat")
    axis_of(found[0], axis, "concat")
    return apply("Concat", *found, axis=axis)
