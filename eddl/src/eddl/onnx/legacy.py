"""What files older than opset 7 say otherwise: one-sided broadcasting and marks of test time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eddl.errors import GraphError
from eddl.graph import Value
from eddl.ops.table import apply, integers

BROADCASTING = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less", "Gemm"}
)


def modernised(
    op: str, attributes: dict[str, Any], inputs: Sequence[Value | None]
) -> tuple[dict[str, Any], list[Value | None]]:
    """A node's attributes and inputs as opset 7 has them."""
    attributes, found = dict(attributes), list(inputs)
    attributes.pop("consumed_inputs", None)
    if op in ("BatchNormalization", "Dropout") and not attributes.pop("is_test", 0):
        raise GraphError(f"{op} is in its training form of before opset 7; export it for inference")
    if op == "BatchNormalization" and attributes.pop("spatial", 1) != 1:
        raise GraphError("BatchNormalization with spatial=0 is not part of today's ONNX")
    if op in BROADCASTING:
        axis, broadcast = attributes.pop("axis", None), attributes.pop("broadcast", 0)
        if broadcast and axis is not None:
            found[1] = _aligned(found[0], found[1], int(axis))
    if op == "PRelu":
        found[1] = _aligned(found[0], found[1], 1)
    return attributes, found


def _aligned(x: Value | None, y: Value | None, axis: int) -> Value | None:
    """y with axes of size 1 behind, so that its first stands at `axis` of x."""
    if x is None or y is None or y.rank == 0:
        return y
    behind = x.rank - axis % x.rank - y.rank
    if behind <= 0 or y.type.count == 1:
        return y
    return apply("Unsqueeze", y, integers(range(y.rank, y.rank + behind)))
