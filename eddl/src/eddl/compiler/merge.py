"""Sums of products become one product: the gradient of a weight that many steps share.

Where an unrolled loop, or a model called again and again, uses a weight T times, its gradient is a
sum of T products, each over one step's samples. The same sum is one product over all steps'
samples, side by side: fewer and larger calls, and none of the T products is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eddl.graph import Graph, Node, Value
from eddl.ops.table import PRIVATE, apply, copy_node

FEWEST = 4
"""Products that are worth merging."""


def merge_products(graph: Graph) -> Graph:
    """Rewrite sums of MatMul(A', B) over 2-D, and of ConvWeightGrad(X, dY), each with one kind."""
    consumers = graph.consumers()
    ends = {*graph.outputs, *graph.updates.values()}

    def alone(value: Value) -> bool:
        return value not in ends and len(consumers[value]) == 1

    inner = {
        value
        for node in graph.nodes
        if node.op == "Add" and not node.domain
        for value in node.inputs
        if value is not None and value.node is not None and _is_sum(value.node) and alone(value)
    }

    sums: dict[Node, list[Value]] = {}
    for node in graph.nodes:
        if _is_sum(node) and node.outputs[0] not in inner:
            terms = _terms(node, inner)
            kinds = [_kind(term) for term in terms if alone(term)]
            if any(kind and kinds.count(kind) >= FEWEST for kind in set(kinds)):
                sums[node] = terms
    if not sums:
        return graph

    mapping: dict[Value, Value] = {}

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        outputs = copy_node(node, inputs)
        mapping.update(zip(node.outputs, outputs, strict=False))
        if node not in sums:
            return outputs
        groups: dict[Any, list[Value]] = {}
        for term in sums[node]:
            key = (_kind(term) if alone(term) else None) or term
            groups.setdefault(key, []).append(mapping.get(term, term))
        many = [key for key, terms in groups.items()
                if not isinstance(key, Value) and len(terms) >= FEWEST]  # fmt: skip
        parts = [p for key, terms in groups.items()
                 for p in (_merged(terms) if key in many else terms)]  # fmt: skip
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        mapping[node.outputs[0]] = total
        return [total]

    return graph.transform(rewrite)


def _is_sum(node: Node) -> bool:
    shapes = {value.shape for value in (*node.inputs, *node.outputs) if value is not None}
    return node.op == "Add" and not node.domain and len(shapes) == 1


def _terms(node: Node, inner: set[Value]) -> list[Value]:
    """What a tree of additions adds, from left to right."""
    found: list[Value] = []
    waiting = [value for value in reversed(node.inputs) if value is not None]
    while waiting:
        value = waiting.pop()
        if value in inner and value.node is not None:
            waiting.extend(v for v in reversed(value.node.inputs) if v is not None)
        else:
            found.append(value)
    return found


def _kind(value: Value) -> Any:
    """Equal for products that can be merged; `None` for what is no such product."""
    node = value.node
    if node is None:
        return None
    if (node.domain, node.op) == (PRIVATE, "ConvWeightGrad"):
        shapes = tuple(v.shape[1:] for v in node.inputs if v is not None)
        return (node.op, shapes, tuple(sorted(node.attributes.items())))
    left = node.inputs[0].node if node.inputs and node.inputs[0] is not None else None
    if node.op != "MatMul" or value.rank != 2 or left is None or left.op != "Transpose":
        return None
    return (node.op,) if left.inputs[0] is not None and left.inputs[0].rank == 2 else None


def _merged(terms: Sequence[Value]) -> list[Value]:
    nodes = [term.node for term in terms if term.node is not None]
    first = nodes[0]
    if first.op == "MatMul":
        sources = [node.inputs[0].node for node in nodes if node.inputs[0] is not None]
        left = [source.inputs[0] for source in sources if source is not None]
        rows = apply("Transpose", apply("Concat", *left, axis=0), perm=(1, 0))
        return [apply("MatMul", rows, apply("Concat", *(n.inputs[1] for n in nodes), axis=0))]
    sides = (apply("Concat", *(node.inputs[i] for node in nodes), axis=0) for i in (0, 1))
    return [apply(first.op, *sides, domain=PRIVATE, label=first.label, **first.attributes)]
