"""Mixed precision: products compute in half, what needs float32 keeps it, the rest follows.

Parameters and all else that outlives a run stay float32, and so do inputs and outputs; where a
product reads them they are rounded. An entry of the table that states `float32` (statistics,
softmax, reductions, losses), an elementwise operator whose results a half cannot hold, and every
operator that is not known to bear it compute in float32; what normalizes a half gives a half, so
that little is stored in float32. Operators between follow the values they read: half if one of them
is, float32 as soon as one is that; parameters and constants have no say, nor, in sums, inputs that
products read and so round. The backend has the last word: what it does not do well in half computes
in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.compiler.differentiate import written_out
from eddl.compiler.protocol import Backend
from eddl.graph import Constant, Graph, Node, State, Value
from eddl.ops.table import apply, copy_node, entry

PRODUCTS = frozenset({"Conv", "ConvTranspose", "ConvWeightGrad", "MatMul", "Gemm"})
"""What half precision is for."""

SUMS = {"ConvWeightGrad": (0,), "PReluGrad": (1,)}
"""Which results are sums over the whole batch, which go on in float32."""

NORMS = frozenset(
    f"{name}{end}"
    for name in ("BatchNormalization", "BatchNormalizationRelu", "InstanceNormalization",
                 "GroupNormalization", "LayerNormalization", "PRelu")
    for end in ("", "Grad")
)  # fmt: skip
"""Operators whose first result is of the kind of their first input."""

DATA = {
    "BatchNormalization": (0,),
    "BatchNormalizationRelu": (0,),
    "BatchNormalizationGrad": (0, 4),
    "BatchNormalizationReluGrad": (0, 4),
    **{f"{kind}Normalization": (0,) for kind in ("Instance", "Group", "Layer")},
    **{f"{kind}NormalizationGrad": (0, 4) for kind in ("Instance", "Group", "Layer")},
    "Conv": (0, 1),
    "ConvTranspose": (0, 1),
    "Resample": (0,),
}
"""The inputs that are halved of operators that take others in float32: statistics, vectors and
tables."""

STEEP = frozenset({"Exp", "Log", "Pow", "Reciprocal", "Softplus", "Sinh", "Cosh", "Tan", "Acos",
                   "Acosh", "Asin", "Atanh", "Sqrt"})  # fmt: skip
"""Elementwise operators whose results or slopes leave the range of a half."""

MOVING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Slice",
                    "SliceGrad", "Expand", "Gather", "Pad", "Split", "Tile", "DepthToSpace",
                    "SpaceToDepth", "Identity"})  # fmt: skip
"""Operators that move elements."""

CHOOSING = frozenset({"MaxPool", "MaxPoolGrad", "RandomDropout"})
"""Operators that choose elements, or scale them by a mask."""

NEAR = frozenset({"SumPool", "SumPoolGrad", "Resample"})
"""Operators that weigh the few elements near each other."""

WRITTEN_OUT = frozenset({"AveragePool", "Resize", "Upsample"})
"""Operators that consist of those, or of moves."""


def lower_precision(graph: Graph, dtype: np.dtype[Any], backend: Backend) -> Graph:
    """Compute in `dtype` what bears it; types are static, and gradients are nodes already."""
    while any(node.op in WRITTEN_OUT for node in graph.nodes):
        graph = graph.transform(_write_out)
    wide, silent = np.dtype(np.float32), _read_by_products(graph)
    moved = set(graph.updates)  # states that a run adds to are no parameters
    rounded: dict[tuple[Value, np.dtype[Any]], Value] = {}

    def cast(value: Value, target: np.dtype[Any]) -> Value:
        if value.dtype == target or value.dtype not in (wide, dtype):
            return value
        if (value, target) not in rounded:
            rounded[value, target] = converted(value, target)
        return rounded[value, target]

    def converted(value: Value, target: np.dtype[Any]) -> Value:
        if isinstance(value, Constant):
            return Constant(value.data.astype(target))
        node = value.node
        if node is not None and node.op == "Transpose" and node.inputs[0] is not None:
            inner = cast(node.inputs[0], target)  # products take Transposes in, but no Casts
            return copy_node(node, [inner])[0]
        return apply("Cast", value, to=target)

    def wanted(node: Node, inputs: Sequence[Value | None]) -> bool:
        """Whether a node is to compute in half, if the backend does."""
        if node.op in PRODUCTS:
            return True
        if node.op in NORMS:
            return inputs[0] is not None and inputs[0].dtype == dtype
        operator = entry(node)
        follows = operator.formula is not None or node.op in MOVING | CHOOSING | NEAR
        if operator.float32 or node.op in STEEP or not follows:
            return False
        heard = {
            value.dtype
            for value in inputs
            if value is not None
            and not (node.op == "Add" and value in silent)
            and not isinstance(value, Constant)
            and not (isinstance(value, State) and value not in moved)
        }
        return dtype in heard and wide not in heard

    def computed(
        node: Node, inputs: Sequence[Value | None], halved: Sequence[int]
    ) -> Sequence[Value]:
        """The node with some inputs in half and the others in float32."""
        fixed = () if node.op == "Pad" else entry(node).constant_inputs
        return copy_node(
            node,
            [
                value
                if value is None or index in fixed
                else cast(value, dtype if index in halved else wide)
                for index, value in enumerate(inputs)
            ],
        )

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        outputs = lowered(node, inputs)
        given = {v for v in inputs if v is not None and not isinstance(v, Constant)}
        if node.op in MOVING and given and given <= silent:
            silent.update(outputs)
        return outputs

    def lowered(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if node.op == "Cast":
            return copy_node(node, inputs)
        want = wanted(node, inputs)
        if want:
            outputs = computed(node, inputs, DATA.get(node.op, range(len(inputs))))
            made = outputs[0].node
            if made is not None and backend.halves(made):
                sums = SUMS.get(node.op, ())
                return [cast(v, wide) if i in sums else v for i, v in enumerate(outputs)]
        outputs = computed(node, inputs, ())
        if want and node.op in NORMS:
            return [cast(outputs[0], dtype), *outputs[1:]]
        return outputs

    new = graph.transform(rewrite)
    ends = zip(graph.outputs, new.outputs, strict=True)
    return Graph(
        new.inputs,
        [cast(made, wide) if old.dtype == wide else made for old, made in ends],
        {state: cast(made, state.dtype) for state, made in new.updates.items()},
    )


def _write_out(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
    outputs = copy_node(node, inputs)
    made = outputs[0].node
    body = written_out(made) if made is not None and node.op in WRITTEN_OUT else None
    return outputs if body is None else body


def _read_by_products(graph: Graph) -> set[Value]:
    """The inputs of a graph that a product reads, perhaps moved."""
    readers = graph.consumers()

    def read(value: Value) -> bool:
        return any(
            node.op in PRODUCTS or (node.op in MOVING and read(node.outputs[0]))
            for node in readers.get(value, ())
        )

    return {value for value in graph.inputs if value.dtype == np.float32 and read(value)}
