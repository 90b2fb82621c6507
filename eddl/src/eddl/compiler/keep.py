"""Weights that depend on states and constants alone say so, where a program only infers.

A backend may then ask for them in a layout of its own, however long it takes to bring them there:
that is done before the first run, and again when a state was written.
"""

from __future__ import annotations

from collections.abc import Sequence

from eddl.compiler.prepare import resting
from eddl.compiler.protocol import Backend
from eddl.graph import Graph, Node, Value
from eddl.ops.table import PRIVATE, copy_node, make_node

WEIGHTED = {("", "MatMul"), (PRIVATE, "Product"), ("", "Conv"), ("", "ConvTranspose")}
"""Operators whose second input may be weights."""


def keep_weights(graph: Graph, backend: Backend) -> Graph:
    """Put `Kept` between such weights and those that read them."""
    rests = resting(graph)
    found: dict[Value, Value] = {}

    def kept(weights: Value) -> Value:
        if weights not in found:
            node = make_node("Kept", weights, domain=PRIVATE)
            found[weights] = node.outputs[0] if backend.patterns(node) else weights
        return found[weights]

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if (node.domain, node.op) in WEIGHTED and node.inputs[1] in rests:
            data, weights, *rest = inputs
            assert weights is not None
            inputs = (data, kept(weights), *rest)
        return copy_node(node, inputs)

    return graph.transform(rewrite)


def is_kept(weights: Value | None) -> bool:
    """Whether weights stay what they are from run to run."""
    return weights is not None and weights.node is not None and weights.node.op == "Kept"
