"""`Gradients`: the derivative of a value as a value, expanded when a program is compiled."""

from __future__ import annotations

from eddl.graph import Type
from eddl.ops.table import PRIVATE, Call, Operator, register


def _gradients(call: Call) -> list[Type]:
    y = call.type(0)
    if y.dtype.kind != "f":
        raise call.fail("a floating value to differentiate")
    return [t for t in call.types[1:] if t is not None]


register(Operator(name="Gradients", domain=PRIVATE, inputs=("y", "xs*"), infer=_gradients))
