"""`Gradients`: the derivative of a value as a value, expanded when a program is compiled."""

from __future__ import annotations

from collections.abc import Sequence

from eddl.graph import Type, Value
from eddl.ops.table import PRIVATE, Call, Operator, make_node, register


def _gradients(call: Call) -> list[Type]:
    y = call.type(0)
    if y.dtype.kind != "f":
        raise call.fail("a floating value to differentiate")
    return [t for t in call.types[1:] if t is not None]


register(Operator(name="Gradients", domain=PRIVATE, inputs=("y", "xs*"), infer=_gradients))


def gradients(y: Value, xs: Sequence[Value]) -> list[Value]:
    """dy/dx for each x as symbolic values; nested calls give higher derivatives.

    Parameters: `y`, a floating scalar (or a tensor, whose elements are summed); `xs`, inputs,
    parameters or values that `y` depends on. Returns one value for each x, of its shape.

    >>> import eddl
    >>> x = eddl.Input((3,))
    >>> [g.shape for g in eddl.gradients(x * x, [x])]
    [('batch', 3)]
    """
    if not xs:
        return []
    return list(make_node("Gradients", y, *xs, domain=PRIVATE).outputs)
