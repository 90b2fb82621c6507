"""A bound on the squares of gradients that are larger than what they are made of.

The gradient of a weight that many elements share is a product, and none of its elements is larger
than the product of its operands' Frobenius norms (Cauchy and Schwarz): each is the inner product of
parts of them. So whether such a gradient is finite is known before it is made, which may be left
to the update that reads it (`eddl.compiler.defer`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eddl.graph import Constant, Graph, Node, Value
from eddl.ops.table import PRIVATE, apply, renewed_node

FEWEST = 1 << 16
"""Elements of a gradient below which nothing is gained."""
SAVED = 2
"""How many times more elements than its operands a gradient must have."""
ARRANGED = frozenset({"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze"})
"""Operators whose results are their first inputs' elements, each once."""
PRODUCTS = frozenset({("", "MatMul"), (PRIVATE, "Product"), (PRIVATE, "ConvWeightGrad")})


def bound_squares(graph: Graph) -> tuple[Graph, set[int]]:
    """Write out every `SquareBound`; the graph, and which of its outputs are bounded by one."""
    marks = {
        node: _products(node) for node in graph.nodes
        if (node.domain, node.op) == (PRIVATE, "SquareBound")
    }  # fmt: skip
    products = {product for found in marks.values() for product in found}
    if not marks:
        return graph, set()
    terms: dict[Node, Value] = {}

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if node in products:  # just before it, while its operands are in use
            operands = [_beneath(value) for value in inputs if value is not None]
            terms[node] = apply("Squares", *operands, domain=PRIVATE, product=1)
        if node not in marks:
            return renewed_node(node, inputs)
        found = [terms[product] for product in marks[node]]
        return [apply("Sum", *found) if found else Constant(np.asarray(0.0))]

    bounded = {i for i, value in enumerate(graph.outputs) if _source(value).node in products}
    return graph.transform(rewrite), bounded


def _products(mark: Node) -> list[Node]:
    """The products that made some of a mark's inputs and are worth a bound."""
    sources = (_source(value).node for value in mark.inputs if value is not None)
    return [node for node in dict.fromkeys(sources) if node is not None and _worth(node)]


def _source(value: Value) -> Value:
    """What a value is, perhaps arranged anew."""
    while value.node is not None and not value.node.domain and value.node.op in ARRANGED:
        source = value.node.inputs[0]
        assert source is not None
        value = source
    return value


def _worth(node: Node) -> bool:
    """Whether a node makes a large product of small operands, all of them wide."""
    values = [*node.inputs, node.outputs[0]]
    if (node.domain, node.op) not in PRODUCTS or any(
        v is None or v.dtype.kind != "f" or v.dtype.itemsize < 4 for v in values
    ):
        return False
    operands = sum(value.type.count for value in node.inputs if value is not None)
    count = node.outputs[0].type.count
    return count >= FEWEST and operands * SAVED <= count


def _beneath(value: Value) -> Value:
    """A matrix that is read turned, as it lies."""
    while value.node is not None and (value.node.domain, value.node.op) == ("", "Transpose"):
        source = value.node.inputs[0]
        assert source is not None
        value = source
    return value
