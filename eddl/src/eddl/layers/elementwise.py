"""Arithmetic, comparisons and logic of each element, for losses, masks and layers of one's own.

Values also take `+ - * / **` and `@`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eddl.errors import TypeMismatchError
from eddl.graph import Value
from eddl.layers.build import tensor
from eddl.ops.table import apply

Operand = Value | float
"""A symbolic tensor, or a number that takes the other's type; shapes broadcast."""


def _pair(op: str, layer: str, x: Operand, y: Operand) -> Value:
    given = [v for v in (x, y) if isinstance(v, Value)]
    if not given:
        raise TypeMismatchError(
            f"{layer}: received two numbers, expected a symbolic tensor at least"
        )
    values: list[Any] = [
        v if isinstance(v, Value) else np.asarray(v).astype(given[0].dtype) for v in (x, y)
    ]
    return apply(op, *values)


def _logic(op: str, *values: Value) -> Value:
    for value in values:
        if tensor(value, f"logical_{op.lower()}").dtype != bool:
            raise TypeMismatchError(
                f"logical_{op.lower()}: received {value.type}, expected booleans"
            )
    return apply(op, *values)


def absolute(x: Value) -> Value:
    """|x|, elementwise; its gradient at 0 is 0.

    >>> import eddl
    >>> eddl.layers.absolute(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Abs", tensor(x, "absolute"))


def exp(x: Value) -> Value:
    """e to the power of each element.

    >>> import eddl
    >>> eddl.layers.exp(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Exp", tensor(x, "exp"))


def log(x: Value) -> Value:
    """The natural logarithm of each element.

    >>> import eddl
    >>> eddl.layers.log(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Log", tensor(x, "log"))


def sqrt(x: Value) -> Value:
    """The square root of each element.

    >>> import eddl
    >>> eddl.layers.sqrt(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Sqrt", tensor(x, "sqrt"))


def reciprocal(x: Value) -> Value:
    """1 / x, elementwise.

    >>> import eddl
    >>> eddl.layers.reciprocal(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Reciprocal", tensor(x, "reciprocal"))


def sign(x: Value) -> Value:
    """-1, 0 or 1 for each element; nothing flows back through it.

    >>> import eddl
    >>> eddl.layers.sign(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Sign", tensor(x, "sign"))


def floor(x: Value) -> Value:
    """Each element rounded down; nothing flows back through it.

    >>> import eddl
    >>> eddl.layers.floor(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Floor", tensor(x, "floor"))


def ceil(x: Value) -> Value:
    """Each element rounded up; nothing flows back through it.

    >>> import eddl
    >>> eddl.layers.ceil(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Ceil", tensor(x, "ceil"))


def rint(x: Value) -> Value:
    """Each element rounded, halves to the even number; nothing flows back through it.

    >>> import eddl
    >>> eddl.layers.rint(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Round", tensor(x, "rint"))


def sin(x: Value) -> Value:
    """The sine of each element, in radians.

    >>> import eddl
    >>> eddl.layers.sin(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Sin", tensor(x, "sin"))


def cos(x: Value) -> Value:
    """The cosine of each element, in radians.

    >>> import eddl
    >>> eddl.layers.cos(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Cos", tensor(x, "cos"))


def erf(x: Value) -> Value:
    """The error function of each element.

    >>> import eddl
    >>> eddl.layers.erf(eddl.Input((8,))).shape
    ('batch', 8)
    """
    return apply("Erf", tensor(x, "erf"))


def power(x: Operand, y: Operand) -> Value:
    """x to the power of y, elementwise.

    >>> import eddl
    >>> eddl.layers.power(eddl.Input((8,)), 3).shape
    ('batch', 8)
    """
    return _pair("Pow", "power", x, y)


def divide(x: Operand, y: Operand) -> Value:
    """x / y, elementwise; of whole numbers the quotient towards 0.

    >>> import eddl
    >>> eddl.layers.divide(1, eddl.Input((8,))).shape
    ('batch', 8)
    """
    return _pair("Div", "divide", x, y)


def equal(x: Operand, y: Operand) -> Value:
    """x == y, elementwise: booleans, through which nothing flows back.

    >>> import eddl
    >>> eddl.layers.equal(eddl.Input((8,)), 0).dtype
    dtype('bool')
    """
    return _pair("Equal", "equal", x, y)


def greater(x: Operand, y: Operand) -> Value:
    """x > y, elementwise: booleans, through which nothing flows back.

    >>> import eddl
    >>> eddl.layers.greater(eddl.Input((8,)), 0).dtype
    dtype('bool')
    """
    return _pair("Greater", "greater", x, y)


def greater_equal(x: Operand, y: Operand) -> Value:
    """x >= y, elementwise: booleans, through which nothing flows back.

    >>> import eddl
    >>> eddl.layers.greater_equal(eddl.Input((8,)), 0).dtype
    dtype('bool')
    """
    return _pair("GreaterOrEqual", "greater_equal", x, y)


def less(x: Operand, y: Operand) -> Value:
    """x < y, elementwise: booleans, through which nothing flows back.

    >>> import eddl
    >>> eddl.layers.less(eddl.Input((8,)), 0).dtype
    dtype('bool')
    """
    return _pair("Less", "less", x, y)


def less_equal(x: Operand, y: Operand) -> Value:
    """x <= y, elementwise: booleans, through which nothing flows back.

    >>> import eddl
    >>> eddl.layers.less_equal(eddl.Input((8,)), 0).dtype
    dtype('bool')
    """
    return _pair("LessOrEqual", "less_equal", x, y)


def not_equal(x: Operand, y: Operand) -> Value:
    """x != y, elementwise: booleans, through which nothing flows back.

    >>> import eddl
    >>> eddl.layers.not_equal(eddl.Input((8,)), 0).dtype
    dtype('bool')
    """
    return apply("Not", _pair("Equal", "not_equal", x, y))


def logical_and(x: Value, y: Value) -> Value:
    """True where both hold; shapes broadcast.

    >>> import eddl
    >>> mask = eddl.Input((8,), dtype="bool")
    >>> eddl.layers.logical_and(mask, mask).shape
    ('batch', 8)
    """
    return _logic("And", x, y)


def logical_or(x: Value, y: Value) -> Value:
    """True where one holds at least; shapes broadcast.

    >>> import eddl
    >>> mask = eddl.Input((8,), dtype="bool")
    >>> eddl.layers.logical_or(mask, mask).shape
    ('batch', 8)
    """
    return _logic("Or", x, y)


def logical_not(x: Value) -> Value:
    """True where it does not hold.

    >>> import eddl
    >>> eddl.layers.logical_not(eddl.Input((8,), dtype="bool")).shape
    ('batch', 8)
    """
    return _logic("Not", x)
