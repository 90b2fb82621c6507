"""Matrix products read and write matrices the other way round, instead of turned copies.

A product reads the matrix beneath a Transpose; a Transpose of a product is the product of its
turned operands in the other order. BLAS and oneDNN take either order at the same speed.
"""

from __future__ import annotations

from collections.abc import Sequence

from eddl.compiler.protocol import Backend
from eddl.graph import Graph, Node, Value
from eddl.ops.table import PRIVATE, apply, copy_node, make_node


def turn_products(graph: Graph, backend: Backend) -> Graph:
    """Take Transposes of the last two axes into the products beside them."""
    readers = graph.consumers()
    ends = {*graph.outputs, *graph.updates.values()}
    alone = {value for value, users in readers.items() if len(users) == 1 and value not in ends}

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        operands, flags = _operands(node, inputs)
        if operands is None and _turns(node) and node.inputs[0] in alone:
            source = inputs[0]
            assert source is not None
            if source.node is not None:
                operands, flags = _operands(source.node, source.node.inputs)
            if operands is not None:
                operands, flags = operands[::-1], [not flag for flag in reversed(flags)]
        if operands is None or operands == list(inputs):
            return copy_node(node, inputs)
        if not any(flags):
            return [apply("MatMul", *operands, label=node.label)]
        made = make_node("Product", *operands, domain=PRIVATE, label=node.label,
                         transA=int(flags[0]), transB=int(flags[1]))  # fmt: skip
        return made.outputs if backend.patterns(made) else copy_node(node, inputs)

    return graph.transform(rewrite)


def _operands(node: Node, inputs: Sequence[Value | None]) -> tuple[list[Value] | None, list[bool]]:
    """What a product of matrices multiplies, and which of them it takes turned."""
    if (node.domain, node.op) not in (("", "MatMul"), (PRIVATE, "Product")):
        return None, []
    operands, flags = [], []
    for key, value in zip(("transA", "transB"), inputs, strict=True):
        if value is None or value.rank < 2:
            return None, []
        flag = bool(node.attributes.get(key, 0))
        while value.node is not None and _turns(value.node) and value.node.inputs[0] is not None:
            flag, value = not flag, value.node.inputs[0]
        operands.append(value)
        flags.append(flag)
    return operands, flags


def _turns(node: Node) -> bool:
    """Whether a node exchanges the last two axes and nothing else."""
    rank = node.outputs[0].rank if node.op == "Transpose" and not node.domain else 0
    perm = tuple(node.attributes.get("perm") or reversed(range(rank)))
    return rank > 1 and perm == (*range(rank - 2), rank - 1, rank - 2)
