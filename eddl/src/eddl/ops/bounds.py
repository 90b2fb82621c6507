"""How large the elements of values can be at most, found with less work than making them.

A pass of the compiler (`eddl.compiler.bound`) writes `SquareBound` in `Squares`. Both are of the
private domain, with bodies in ordinary operators.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import numpy as np

from eddl.graph import Constant, Node, Type, Value
from eddl.ops.table import PRIVATE, Call, Operator, apply, register

LIMIT = 2.0**100
"""Squares up to here are those of elements up to 2^50: they, and what kernels add up and transform
on the way to them, are finite in float32."""


def _scalar(call: Call) -> list[Type]:
    if any(t is None or t.dtype.kind not in "fV" for t in call.types):
        raise call.fail("floating values")
    return [Type("float64", ())]


def _nothing_bounded(node: Node) -> Sequence[Value]:
    return [Constant(np.asarray(0.0))]


def _squares_body(node: Node) -> Sequence[Value]:
    join = operator.mul if node.attributes["product"] else operator.add
    sums = [_wide(apply("ReduceSumSquare", x, keepdims=0)) for x in node.inputs]
    return [functools.reduce(join, sums)]


def _wide(value: Value) -> Value:
    return apply("Cast", value, to="float64")


register(
    Operator(
        name="SquareBound",
        domain=PRIVATE,
        inputs=("X*",),
        infer=_scalar,
        body=_nothing_bounded,
        float32=True,
    )
)
"""A float64 that no square of an element exceeds, of those inputs that `eddl.compiler.bound` finds
one for."""
register(
    Operator(
        name="Squares",
        domain=PRIVATE,
        inputs=("X*",),
        infer=_scalar,
        body=_squares_body,
        attributes={"product": 0},
        float32=True,
    )
)
"""The sum over all inputs of the squares of their elements, or the product of these sums."""
