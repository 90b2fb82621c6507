"""The evaluator: a graph node by node, every type known from the values themselves.

It runs what no program can hold: results whose shape depends on data, loops and branches,
sequences, optionals and strings. It folds constants for the compiler and is the conformance
backend. Operators of the host tier are functions `(node, inputs) -> outputs`, registered with
`host`; all others run by their kernels or bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend
from eddl.backends.array.memory import require
from eddl.errors import DeviceError, GraphError
from eddl.graph import Constant, Graph, Node, State, Value
from eddl.ops.table import entry, infer

HostFunction = Callable[[ArrayBackend, Node, Sequence[Any]], Sequence[Any]]
HOST: dict[tuple[str, str], HostFunction] = {}


def host(*names: str, domain: str = "") -> Callable[[HostFunction], HostFunction]:
    """Register a function that runs operators of the host tier."""

    def add(function: HostFunction) -> HostFunction:
        for name in names:
            HOST[domain, name] = function
        return function

    return add


def evaluate_graph(backend: ArrayBackend, graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a graph for values of its inputs."""
    known: dict[Value, Any] = dict(zip(graph.inputs, inputs, strict=True))
    for leaf in graph.leaves:
        if isinstance(leaf, Constant):
            known[leaf] = leaf.data
        elif isinstance(leaf, State):
            known[leaf] = leaf.storage.view()
        elif leaf not in known:
            raise GraphError(f"the value {leaf.name!r} is neither made nor given")
    last: dict[Value, int] = {}
    for index, node in enumerate(graph.nodes):
        last.update((v, index) for v in node.inputs if v is not None)
    kept = {*graph.inputs, *graph.outputs}
    for index, node in enumerate(graph.nodes):
        given = [None if v is None else known[v] for v in node.inputs]
        known.update(zip(node.outputs, evaluate_node(backend, node, given), strict=False))
        for value in node.inputs:  # what nobody reads any more
            if value is not None and last[value] == index and value not in kept:
                known.pop(value, None)
    return [known[v] for v in graph.outputs]


def evaluate_node(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of one node."""
    function = HOST.get((node.domain, node.op))
    if function is not None:
        with np.errstate(all="ignore"):
            return list(function(backend, node, inputs))
    if node.op == "Identity" and not node.domain:
        return [inputs[0]]
    values = [None if x is None else Constant(np.asarray(x)) for x in inputs]
    types = infer(entry(node), values, node.attributes)
    copy = Node(node.op, values, types, node.attributes, domain=node.domain, label=node.label)
    if node.op == "Shape" and not node.domain:
        start, end = node.attributes["start"], node.attributes["end"]
        return [np.asarray(np.shape(inputs[0])[start:end], np.int64)]
    patterns = backend.patterns(copy)
    if not patterns:
        return _by_body(backend, copy)
    offer = patterns[0].offer([copy])
    if offer is None:
        raise DeviceError(f"{node.op}: the array backend cannot evaluate {values}")
    arrays: list[Array | None] = [None if v is None else v.data for v in values]
    if offer.views:
        source = arrays[offer.views[0]]
        assert source is not None
        return [source.reshape(copy.outputs[0].type.sizes)]
    require(sum(v.type.nbytes for v in copy.outputs), f"the results of {node.op}")
    outputs = [np.empty(v.type.sizes, v.dtype) for v in copy.outputs]
    workspace = backend.allocate(offer.workspace) if offer.workspace else None
    with np.errstate(all="ignore"):
        offer.bind(arrays, outputs, workspace)()
    return list(outputs)


def _by_body(backend: ArrayBackend, node: Node) -> list[Any]:
    body = entry(node).body
    if body is None:
        raise DeviceError(f"{node.op}: no kernel, no body and no host function to evaluate it with")
    return evaluate_graph(backend, Graph([], body(node)), [])
