"""`Fused`: a chain of elementwise operators as one formula, made by a pass of the compiler."""

from __future__ import annotations

from eddl.graph import Type
from eddl.ops.shapes import broadcast
from eddl.ops.table import PRIVATE, REQUIRED, Call, Operator, register


def _fused(call: Call) -> list[Type]:
    shape = broadcast(call, [t.shape for t in call.types if t is not None])
    return [Type(call.attributes["dtype"], shape)]


register(
    Operator(
        name="Fused",
        domain=PRIVATE,
        inputs=("X*",),
        infer=_fused,
        formula=lambda node: str(node.attributes["formula"]),
        attributes={"formula": REQUIRED, "dtype": REQUIRED},
    )
)
