"""Reverse-mode differentiation, a graph to a graph.

Every `Gradients(y, xs)` node is replaced by the nodes that compute dy/dx: starting from dy/dy = 1,
each node between `xs` and `y` is visited once, last first, and its entry's gradient turns the
gradient of its outputs into those of its inputs; where a value is used twice they are added. The
nodes of an inner `Gradients` are ordinary nodes by the time an outer one is reached, which is all
it takes for second derivatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from eddl.errors import GradientError
from eddl.graph import Constant, Graph, Node, Value
from eddl.ops.table import PRIVATE, apply, copy_node, entry, find, make_node


def differentiate(graph: Graph) -> Graph:
    """Replace every `Gradients` node by what computes it. Types must be static."""

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        if (node.domain, node.op) != (PRIVATE, "Gradients"):
            return copy_node(node, inputs)
        y, *xs = (value for value in inputs if value is not None)
        return gradients(y, xs)

    return graph.transform(rewrite)


def gradients(y: Value, xs: Sequence[Value]) -> list[Value]:
    """dy/dx for each x, zeros where y does not depend on x; y is summed if it is not a scalar."""
    found = pull_back({y: _filled(y, 1.0)}, xs)
    return [_filled(x, 0.0) if g is None else g for x, g in zip(xs, found, strict=True)]


def pull_back(
    ends: Mapping[Value, Value], xs: Sequence[Value], *, apart: bool = False
) -> list[Value | None]:
    """Carry the gradients of `ends` back to `xs`; `None` where nothing flows.

    With `apart` each of the xs counts as a variable of its own, though one may depend on another:
    what flows from one into the next is left to whoever asked.
    """
    between = _between(list(ends), xs)
    if apart:
        between -= {x.node for x in xs if x.node is not None}
    known = dict(ends)
    for node in sorted(between, key=lambda node: node.order, reverse=True):
        flowing = [known.get(output) for output in node.outputs]
        if all(g is None for g in flowing):
            continue
        for value, gradient in zip(node.inputs, _step(node, flowing, ends), strict=True):
            if value is None or gradient is None:
                continue
            if value.node not in between and not any(value is x for x in xs):
                continue
            held = known.get(value)
            known[value] = gradient if held is None else held + gradient
    return [known.get(x) for x in xs]


def _step(
    node: Node, flowing: Sequence[Value | None], ends: Iterable[Value]
) -> Sequence[Value | None]:
    """The gradients of a node's inputs: by its own rule, else by its body's."""
    operator = entry(node)
    if operator.gradient is not None:
        if flowing[0] is None and not operator.any_output:
            raise GradientError(_why(node, ends, "only its first output can be differentiated"))
        return operator.gradient(node, *flowing)
    outputs = written_out(node)
    if outputs is not None:
        seeds = {o: g for o, g in zip(outputs, flowing, strict=False) if g is not None}
        inputs = list(dict.fromkeys(value for value in node.inputs if value is not None))
        found = dict(zip(inputs, pull_back(seeds, inputs, apart=True), strict=True))
        first = {value: index for index, value in reversed(list(enumerate(node.inputs)))}
        return [
            found[value] if value is not None and first[value] == index else None
            for index, value in enumerate(node.inputs)
        ]
    raise GradientError(_why(node, ends, "the operator has no gradient"))


def written_out(node: Node) -> Sequence[Value] | None:
    """A node's outputs in other operators, by its body; `None` where it has none."""
    operator = entry(node)
    if not operator.gradient_of:
        return None if operator.body is None else operator.body(node)
    forward = find(operator.gradient_of)
    flows = node.inputs[len(operator.inputs) - forward.outputs :]
    inner = make_node(forward.name, *node.inputs[: len(forward.inputs)], **node.attributes)
    xs = [value for value in inner.inputs if value is not None and _flows(value)]
    assert forward.body is not None
    ends = zip(forward.body(inner), flows, strict=False)
    found = pull_back({y: flow for y, flow in ends if flow is not None}, xs, apart=True)
    return [_filled(x, 0.0) if g is None else g for x, g in zip(xs, found, strict=True)]


def _why(node: Node, ends: Iterable[Value], reason: str) -> str:
    path, value, targets = [node.label.given or node.op], node.outputs[0], set(ends)
    while value not in targets and len(path) < 12:
        users = [n for n in _between(list(targets), [value]) if value in n.inputs]
        if not users:
            break
        user = min(users, key=lambda n: n.order)
        path.append(user.label.given or user.op)
        value = user.outputs[0]
    return (
        f"node {node.label.given or node.op!r} ({node.op}): {reason}, and the gradient flows "
        f"through it: {' -> '.join(path)}; freeze what lies before it or take another operator"
    )


def check_differentiable(ends: Sequence[Value], xs: Sequence[Value]) -> None:
    """Refuse a graph through which a gradient cannot flow, before its sizes are known.

    Branches and loops that are unrolled once the sizes are known are left to the compiler.
    """
    between, needed = _between(ends, xs, opaque=True), set(ends)
    for node in sorted(between, key=lambda node: node.order, reverse=True):
        if not any(v in needed and _flows(v, opaque=True) for v in node.outputs):
            continue
        operator = entry(node)
        if (
            operator.gradient is None
            and operator.body is None
            and node.op not in ("If", "Loop", "Scan")
        ):
            raise GradientError(_why(node, ends, "the operator has no gradient"))
        needed.update(v for v in node.inputs if v is not None)


def _flows(value: Value, *, opaque: bool = False) -> bool:
    """Whether a gradient can belong to a value; one known only in a run may be of any type."""
    return value.dtype.kind == "f" or (opaque and value.type.opaque)


def _between(ends: Sequence[Value], xs: Sequence[Value], *, opaque: bool = False) -> set[Node]:
    """The nodes on a path from an x to an end."""
    sources = set(xs)
    reached: dict[Node, bool] = {}
    for node in Graph([], ends).nodes:
        reached[node] = any(
            value is not None
            and _flows(value, opaque=opaque)
            and (value in sources or (value.node is not None and reached[value.node]))
            for value in node.inputs
        )
    return {node for node, is_reached in reached.items() if is_reached}


def _filled(value: Value, number: float) -> Value:
    constant = Constant(np.full((1,) * value.rank, number, value.dtype))
    if value.type.count == 1:
        return Constant(np.full(value.type.sizes, number, value.dtype))
    return apply("Expand", constant, np.asarray(value.type.sizes, np.int64))
