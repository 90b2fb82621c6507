"""The first pass: input types become static, and what then is constant is computed.

After it every type is static and every input that must be constant is. A value that depends on a
state is never folded, so a parameter keeps its place in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eddl.compiler.unroll import expanded
from eddl.errors import DynamicError
from eddl.graph import Constant, Graph, Input, Node, Type, Value, rebuild
from eddl.ops.table import PRIVATE, entry, renewed_node

Evaluate = Callable[[Node, Sequence[Any]], Sequence[Any]]

FOLD_LIMIT = 1 << 20
"""Constants of more elements than this are left to the program, to keep its memory planned."""


def specialise(
    graph: Graph, types: Mapping[Value, Type], evaluate: Evaluate
) -> tuple[Graph, dict[Value, Value]]:
    """The graph over inputs of static `types`, and the map from old values to new ones."""
    leaves: dict[Value, Value] = {
        value: Input(type, name=value.name) for value, type in types.items()
    }

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        ordinary = expanded(node, inputs, rewrite)
        if ordinary is not None:
            return ordinary
        outputs = renewed_node(node, inputs)
        if node.op == "Shape" and node.domain == "":
            start, end = node.attributes["start"], node.attributes["end"]
            assert inputs[0] is not None
            return [Constant(np.asarray(inputs[0].type.sizes[start:end], np.int64))]
        if node.op == "Size" and node.domain == "":
            assert inputs[0] is not None
            return [Constant(np.asarray(inputs[0].type.count, np.int64))]
        made = outputs[0].node
        assert made is not None
        if _foldable(made):
            data = [value.data if isinstance(value, Constant) else None for value in made.inputs]
            found = evaluate(made, data)
            if all(isinstance(array, np.ndarray) for array in found):
                return [Constant(array) for array in found]
        _check_static(made)
        return outputs

    return rebuild(graph, rewrite, leaves)


def _foldable(node: Node) -> bool:
    return (
        bool(node.inputs)
        and all(value is None or isinstance(value, Constant) for value in node.inputs)
        and (
            entry(node).host
            or all(v.type.static and v.type.count <= FOLD_LIMIT for v in node.outputs)
        )
        and (node.domain, node.op) != (PRIVATE, "Gradients")
    )


def _check_static(node: Node) -> None:
    for index in entry(node).constant_inputs:
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None and not isinstance(value, Constant):
            raise DynamicError(
                f"{node.label.given or node.op}: input {entry(node).formal(index)} depends on "
                "data; expected a value that is known when the program is compiled"
            )
    if entry(node).host:
        raise DynamicError(
            f"{node.label.given or node.op}: {node.op} is known only in a run, so that it "
            "cannot be part of a compiled program; cut it off, or make its inputs constants"
        )
    for value in node.outputs:
        if not value.type.static:
            raise DynamicError(
                f"{node.label.given or node.op}: the output has the type {value.type} even though "
                "all input shapes are known; expected sizes that do not depend on data"
            )
