"""Products whose second matrix depends on states alone say so, where a program only infers.

A backend may then ask for the matrix in a layout of its own: it is brought there before the first
run, and again when a state was written, as folded weights are.
"""

from __future__ import annotations

from collections.abc import Sequence

from eddl.compiler.prepare import resting
from eddl.graph import Graph, Node, Value
from eddl.ops.table import PRIVATE, copy_node, make_node


def keep_matrices(graph: Graph) -> Graph:
    """Mark the products of a graph that has no inputs in its second matrix."""
    kept = resting(graph)

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        second = node.inputs[1] if len(node.inputs) == 2 else None
        fits = (node.domain, node.op) in (("", "MatMul"), (PRIVATE, "Product"))
        if not fits or second is None or second.rank != 2 or second not in kept:
            return copy_node(node, inputs)
        if inputs[0] is None or inputs[0].rank < 2:
            return copy_node(node, inputs)
        ways = {key: node.attributes.get(key, 0) for key in ("transA", "transB")}
        made = make_node("Product", *inputs, domain=PRIVATE, label=node.label, kept=1, **ways)
        return made.outputs

    return graph.transform(rewrite)
