"""From the inference graph, which is the one that is stored, to its training form.

Batch normalization takes the statistics of the batch and moves the running ones, which become new
state values, chained in call order where a model is called more than once. Dropout and its like
draw from the step's number, and from the name of their layer and how often it was called before. A
frozen batch normalization stays in its inference form.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from eddl.graph import Graph, Node, State, Value
from eddl.ops.table import PRIVATE, Operator, copy_node, entry, find, infer, make_node


def training_form(graph: Graph, step: Value, *, seed: int = 0) -> Graph:
    """The graph that trains; `step` (int64) counts its runs, `seed` begins its random numbers."""
    current: dict[Value, Value] = {}
    drawn: dict[str, int] = {}

    def random(node: Node, inputs: tuple[Value | None, ...], operator: Operator) -> Sequence[Value]:
        name = node.label.given or f"{node.label.base} {len(drawn)}"
        drawn[name] = drawn.get(name, -1) + 1
        stream = zlib.crc32(f"{name} {drawn[name]}".encode())
        count = len(operator.inputs) - 1
        own = (*inputs, *[None] * count)[:count]
        attributes = {k: v for k, v in node.attributes.items() if k in operator.attributes}
        made = make_node(operator.name, *own, step, domain=PRIVATE, label=node.label,
                         **{**attributes, "seed": seed, "stream": stream})  # fmt: skip
        return made.outputs

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if entry(node).random:
            return random(node, inputs, find(entry(node).random, PRIVATE))
        if (node.domain, node.op) != ("", "BatchNormalization"):
            return copy_node(node, inputs)
        scale = inputs[1]
        if isinstance(scale, State) and scale.frozen:
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
