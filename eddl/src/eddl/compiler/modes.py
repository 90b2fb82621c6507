"""From the inference graph, which is the one that is stored, to its training form.

Batch normalization takes the statistics of the batch and moves the running ones, which become new
state values, chained in call order where a model is called more than once.
"""

from __future__ import annotations

from collections.abc import Sequence

from eddl.graph import Graph, Node, State, Value
from eddl.ops.table import copy_node, entry, infer


def training_form(graph: Graph) -> Graph:
    """The graph that trains."""
    current: dict[Value, Value] = {}

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if (node.domain, node.op) != ("", "BatchNormalization"):
            return copy_node(node, inputs)
        states = inputs[3:5]
        chained = tuple(current.get(s, s) if s is not None else None for s in states)
        attributes = {**node.attributes, "training_mode": 1}
        made = Node(
            node.op,
            (*inputs[:3], *chained),
            infer(entry(node), (*inputs[:3], *chained), attributes),
            attributes,
            label=node.label,
        )
        moved = zip(states, made.outputs[1:3], strict=True)
        current.update((state, new) for state, new in moved if isinstance(state, State))
        return made.outputs

    new = graph.transform(rewrite)
    return Graph(new.inputs, new.outputs, {**new.updates, **current})
