"""A convolution of joined tensors becomes the sum of one of each.

Where a backend's convolution can add to what is there, nothing is joined in the forward pass and
nothing cut apart in the backward one: the parts stay where they are, and so do their gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eddl.graph import Graph, Node, Value
from eddl.ops.convolution import windows_of
from eddl.ops.table import apply, copy_node, integers, make_node

FEWEST = 8
"""Channels below which a part is not worth a convolution of its own."""


def split(graph: Graph) -> Graph:
    """Replace convolutions of a Concat that nothing else reads."""
    readers = graph.consumers()
    ends = {*graph.outputs, *graph.updates.values()}

    def splits(node: Node) -> bool:
        joined = node.inputs[0] if (node.domain, node.op) == ("", "Conv") else None
        maker = None if joined is None else joined.node
        if joined is None or maker is None or (maker.domain, maker.op) != ("", "Concat"):
            return False
        return (
            node.attributes["group"] == 1
            and maker.attributes["axis"] % joined.rank == 1
            and joined.dtype == np.float32
            and len(readers[joined]) == 1
            and joined not in ends
            and all(v is not None and v.type.sizes[1] >= FEWEST for v in maker.inputs)
        )

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if not splits(node):
            return copy_node(node, inputs)
        joined, weights, *bias = inputs
        assert joined is not None and joined.node is not None and weights is not None
        windows = windows_of(node).attributes()
        parts = [part for part in joined.node.inputs if part is not None]
        sizes = [part.type.sizes[1] for part in parts]
        pieces = make_node("Split", weights, integers(sizes), axis=1).outputs
        total: Value | None = None
        for part, piece in zip(parts, pieces, strict=True):
            made = apply("Conv", part, piece, *(bias if total is None else []),
                         label=node.label, **windows)  # fmt: skip
            total = made if total is None else apply("Add", made, total)
        assert total is not None
        return [total]

    return graph.transform(rewrite)


def sums(graph: Graph) -> frozenset[Node]:
    """The additions that a convolution may do in passing, to be left alone by fusion."""
    readers = graph.consumers()
    ends = {*graph.outputs, *graph.updates.values()}
    return frozenset(
        node
        for node in graph.nodes
        if (node.domain, node.op) == ("", "Add")
        and all(v is not None and v.type == node.outputs[0].type for v in node.inputs)
        and any(
            v is not None
            and v.node is not None
            and v.node.domain == ""
            and v.node.op in ("Conv", "ConvTranspose")
            and len(readers[v]) == 1
            and v not in ends
            for v in node.inputs
        )
    )
