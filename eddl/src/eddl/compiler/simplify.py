"""Rewrites that keep every result: equal nodes become one, and nodes that do nothing go.

Dead nodes need no pass: a graph holds only what its ends need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.graph import Constant, Graph, Node, Value
from eddl.ops.table import copy_node

LARGEST = 1 << 22
"""Elements of a constant that is compared with others. A body is written out once for the gradient
and once for the values; where its constants stay two, all that reads them is computed twice."""


def simplify(graph: Graph) -> Graph:
    """Merge common subexpressions and drop operators without effect."""
    seen: dict[Any, Sequence[Value]] = {}
    constants: dict[Any, Value] = {}
    first: dict[Value, Value] = {}

    def canonical(value: Value | None) -> Value | None:
        if not isinstance(value, Constant) or value.data.size > LARGEST:
            return value
        if value not in first:
            content = value.data.tobytes()
            if len(content) > 64:
                content = hashlib.blake2b(content, digest_size=32).digest()
            key = (value.data.dtype.str, value.data.shape, content)
            first[value] = constants.setdefault(key, value)
        return first[value]

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        inputs = tuple(map(canonical, inputs))
        if (node.domain, node.op, len(inputs)) == ("", "Sum", 2):
            node = Node("Add", inputs, [node.outputs[0].type], {}, label=node.label)
        same = _neutral(node, inputs)
        if same is not None:
            return [same]
        key = (node.domain, node.op, inputs, _frozen(node.attributes))
        if key not in seen:
            seen[key] = copy_node(node, inputs)
        return seen[key]

    return graph.transform(rewrite)


def _frozen(attributes: dict[str, Any]) -> Any:
    return tuple(
        (key, (value.dtype.str, value.shape, value.tobytes()))
        if isinstance(value, np.ndarray)
        else (key, value)
        for key, value in sorted(attributes.items())
    )


def _neutral(node: Node, inputs: tuple[Value | None, ...]) -> Value | None:
    """The input that a node passes on unchanged, if it is such a node."""
    if node.domain or not inputs or inputs[0] is None:
        return None
    first, type = inputs[0], node.outputs[0].type
    match node.op:
        case "Identity":
            return first
        case "Cast" | "Expand" if first.type == type:
            return first
        case "Sum" | "Max" | "Min" | "Mean" if len(inputs) == 1:
            return first
        case "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" if first.type == type:
            return first
        case "Transpose" if node.attributes["perm"] == tuple(range(first.rank)):
            return first
        case "Pad" if first.type == type and not np.any(_data(inputs[1])):
            return first
        case "Slice" if first.type == type and (len(inputs) < 5 or np.all(_data(inputs[4]) > 0)):
            return first
        case "Mul" | "Add":
            neutral = 1 if node.op == "Mul" else 0
            for value, other in (inputs[:2], inputs[1::-1]):
                if _is(value, neutral) and other is not None and other.type == type:
                    return other
        case "Sub" if _is(inputs[1], 0) and first.type == type:
            return first
        case "Div" if _is(inputs[1], 1) and first.type == type:
            return first
    return None


def _data(value: Value | None) -> np.ndarray[Any, Any]:
    assert isinstance(value, Constant)
    return value.data


def _is(value: Value | None, number: float) -> bool:
    return isinstance(value, Constant) and value.data.size == 1 and value.data.item() == number
