"""Mixed precision: products compute in half, what needs float32 keeps it, the rest follows.

Parameters and all else that outlives a run stay float32, and so do inputs and outputs; where a
product reads them they are rounded. An entry of the table that states `float32` (statistics,
softmax, reductions, losses), an elementwise operator whose results a half cannot hold, and every
operator that is not known to bear it compute in float32; what normalizes a half gives a half, so
that little is stored in float32. Operators between follow the values they read: half if one of them
is, float32 as soon as one is that; parameters and constants have no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.graph import Constant, Graph, Node, State, Value
from eddl.ops.table import apply, copy_node, entry

PRODUCTS = frozenset({"Conv", "ConvTranspose", "ConvWeightGrad", "MatMul", "Gemm"})
"""What half precision is for."""

NORMS = frozenset(
    f"{name}{end}"
    for name in ("BatchNormalization", "BatchNormalizationRelu", "InstanceNormalization",
                 "GroupNormalization", "LayerNormalization", "PRelu")
    for end in ("", "Grad")
)  # fmt: skip
"""Operators whose first result is of the kind of their first input."""

STEEP = frozenset({"Exp", "Log", "Pow", "Reciprocal", "Softplus", "Sinh", "Cosh", "Tan", "Acos",
                   "Acosh", "Asin", "Atanh", "Sqrt"})  # fmt: skip
"""Elementwise operators whose results or slopes leave the range of a half."""

MOVING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Slice",
                    "SliceGrad", "Expand", "Gather", "Pad", "MaxPool", "MaxPoolGrad", "Split",
                    "Tile", "DepthToSpace", "SpaceToDepth", "Identity",
                    "RandomDropout"})  # fmt: skip
"""Operators that choose and move elements, or scale them by a mask."""


def lower_precision(graph: Graph, dtype: np.dtype[Any]) -> Graph:
    """Compute in `dtype` what bears it; types are static, and gradients are nodes already."""
    wide = np.dtype(np.float32)
    moved = set(graph.updates)  # states that a run adds to are no parameters
    rounded: dict[tuple[Value, np.dtype[Any]], Value] = {}

    def cast(value: Value, target: np.dtype[Any]) -> Value:
        if value.dtype == target or value.dtype not in (wide, dtype):
            return value
        if (value, target) not in rounded:
            rounded[value, target] = (
                Constant(value.data.astype(target))
                if isinstance(value, Constant)
                else apply("Cast", value, to=target)
            )
        return rounded[value, target]

    def chosen(node: Node, inputs: Sequence[Value | None]) -> np.dtype[Any]:
        if node.op in PRODUCTS:
            return dtype
        operator = entry(node)
        follows = operator.formula is not None or node.op in MOVING
        if operator.float32 or node.op in STEEP or not follows:
            return wide
        heard = {
            value.dtype
            for value in inputs
            if value is not None
            and not isinstance(value, Constant)
            and not (isinstance(value, State) and value not in moved)
        }
        return dtype if dtype in heard and wide not in heard else wide

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if node.op == "Cast":
            return copy_node(node, inputs)
        target = chosen(node, inputs)
        fixed = () if node.op == "Pad" else entry(node).constant_inputs
        outputs = copy_node(
            node,
            [
                value if value is None or index in fixed else cast(value, target)
                for index, value in enumerate(inputs)
            ],
        )
        first = inputs[0] if inputs else None
        if node.op in NORMS and first is not None and first.dtype == dtype:
            return [cast(outputs[0], dtype), *outputs[1:]]
        return outputs

    new = graph.transform(rewrite)
    ends = zip(graph.outputs, new.outputs, strict=True)
    return Graph(
        new.inputs,
        [cast(made, wide) if old.dtype == wide else made for old, made in ends],
        {state: cast(made, state.dtype) for state, made in new.updates.items()},
    )
