"""A bound on the squares of gradients, where that takes less than reading them.

The gradient of a weight that many elements share is a product, and no element of a product of two
matrices is larger than the product of their Frobenius norms (Cauchy and Schwarz). Those of a dense
layer hold a fraction of what their product does. Where such products are nearly all there is, the
bound is the sum of theirs and of the other gradients' squares; elsewhere it is infinite, and costs
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from eddl.graph import Constant, Graph, Node, Value
from eddl.ops.table import PRIVATE, apply, copy_node

FEWEST = 1 << 18
"""Elements that are read in less time than a bound's calls take."""
SAVED = 4
"""How many times fewer elements a bound must read than there are."""


def bound_squares(graph: Graph) -> Graph:
    """Write out every `SquareBound`."""
    marks = {
        node: _parts(node) for node in graph.nodes
        if (node.domain, node.op) == (PRIVATE, "SquareBound")
    }  # fmt: skip
    if not marks:
        return graph
    products = {node for parts in marks.values() for node in parts.products}
    found: dict[Node, Value] = {}

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if node in products:  # just before it, while its operands are in use
            operands = [_beneath(value) for value in inputs if value is not None]
            found[node] = apply("Squares", *operands, domain=PRIVATE, product=1)
        parts = marks.get(node)
        if parts is None:
            return _anew(node, inputs) if found else copy_node(node, inputs)
        terms = [found[product] for product in parts.products]
        others = [inputs[i] for i in parts.others]
        if others:
            terms.append(apply("Squares", *others, domain=PRIVATE))
        return [apply("Sum", *terms) if terms else Constant(np.asarray(np.inf))]

    return graph.transform(rewrite)


def _anew(node: Node, inputs: Sequence[Value | None]) -> Sequence[Value]:
    """A copy even where nothing changed: its place is behind what was made before."""
    types = [value.type for value in node.outputs]
    return Node(
        node.op, inputs, types, node.attributes, domain=node.domain, label=node.label
    ).outputs


@dataclass
class _Parts:
    """The products that made some of a mark's inputs, and the places of the other inputs; nothing
    where the bound is not worth its work."""

    products: list[Node] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


def _parts(mark: Node) -> _Parts:
    parts, read, whole = _Parts(), 0, 0
    for index, value in enumerate(mark.inputs):
        assert value is not None
        whole += value.type.count
        product = _product(value)
        if product is None:
            parts.others.append(index)
            read += value.type.count
        elif product not in parts.products:
            parts.products.append(product)
            read += _operands(product)
    return parts if whole >= FEWEST and read * SAVED <= whole else _Parts()


def _product(value: Value) -> Node | None:
    """The product of fewer elements than its own that a value is, perhaps arranged anew."""
    while value.node is not None and not value.node.domain and value.node.op in ARRANGED:
        source = value.node.inputs[0]
        assert source is not None
        value = source
    node = value.node
    if node is None or (node.domain, node.op) not in (("", "MatMul"), (PRIVATE, "Product")):
        return None
    wide = all(v is not None and v.dtype.kind == "f" and v.dtype.itemsize >= 4
               for v in (value, *node.inputs))  # fmt: skip
    return node if wide and _operands(node) * SAVED <= value.type.count else None


ARRANGED = frozenset({"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze"})
"""Operators whose results are their first inputs' elements, each once."""


def _operands(product: Node) -> int:
    return sum(value.type.count for value in product.inputs if value is not None)


def _beneath(value: Value) -> Value:
    """A matrix that is read turned, as it lies."""
    while value.node is not None and (value.node.domain, value.node.op) == ("", "Transpose"):
        source = value.node.inputs[0]
        assert source is not None
        value = source
    return value
