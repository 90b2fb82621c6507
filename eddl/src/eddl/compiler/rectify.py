"""Batch normalization and the rectifier behind it become one operator in training.

A backend with a kernel for the pair keeps which elements passed as a mask of bits and saves two
passes over memory, one forward and one backward; for any other backend lowering takes it apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from eddl.graph import Graph, Node, Value
from eddl.ops.table import PRIVATE, copy_node, make_node


def rectify(graph: Graph) -> Graph:
    """Replace each training normalization whose result only a Relu reads, and that Relu."""
    readers = graph.consumers()
    ends = {*graph.outputs, *graph.updates.values()}
    pairs: dict[Node, Node] = {}
    for node in graph.nodes:
        users = readers.get(node.outputs[0], [])
        if (
            (node.domain, node.op) == ("", "BatchNormalization")
            and node.attributes["training_mode"]
            and [(user.domain, user.op) for user in users] == [("", "Relu")]
            and node.outputs[0] not in ends
        ):
            pairs[users[0]] = node
    norms = set(pairs.values())
    made: dict[Node, Node] = {}

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if node in norms:
            joined = make_node("BatchNormalizationRelu", *inputs, domain=PRIVATE, label=node.label,
                               epsilon=node.attributes["epsilon"],
                               momentum=node.attributes["momentum"])  # fmt: skip
            made[node] = joined
            return joined.outputs[:5]
        if node in pairs:
            return [made[pairs[node]].outputs[0]]
        return copy_node(node, inputs)

    return graph.transform(rewrite)
