"""Lowering and matching: every node ends in a kernel of the backend, or in its body's nodes'."""

from __future__ import annotations

from collections.abc import Sequence

from eddl.compiler.differentiate import written_out
from eddl.compiler.protocol import Backend, Call, Pattern
from eddl.errors import DeviceError
from eddl.graph import Graph, Node, Value
from eddl.ops.table import copy_node


def lower(graph: Graph, backend: Backend) -> Graph:
    """Inline the bodies of operators for which the backend has no pattern."""
    while True:
        changed = False

        def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
            nonlocal changed
            outputs = copy_node(node, inputs)
            made = outputs[0].node
            if made is None or backend.patterns(made):
                return outputs
            written = written_out(made)
            if written is None:
                raise DeviceError(
                    f"{made.label.given or made.op}: the {backend.name} backend has no kernel for "
                    f"{made.op} of {[v.type if v else None for v in made.inputs]}, and the "
                    "operator has no body in others"
                )
            changed = True
            return written

        graph = graph.transform(rewrite)
        if not changed:
            return graph


def select(graph: Graph, backend: Backend) -> list[Call]:
    """Cover the graph with calls: the longest matching pattern whose offer is made."""
    consumers = graph.consumers()
    ends = {*graph.outputs, *graph.updates.values()}
    taken: set[Node] = set()
    calls = []
    for node in graph.nodes:
        if node in taken:
            continue
        for pattern in backend.patterns(node):
            chain = _chain(node, pattern, consumers, ends, taken)
            offer = pattern.offer(chain) if chain else None
            if chain and offer:
                taken.update(chain)
                calls.append(_call(chain, offer))
                break
        else:
            raise DeviceError(
                f"{node.label.given or node.op}: the {backend.name} backend refused every kernel "
                f"for {node.op} of {[v.type if v else None for v in node.inputs]}"
            )
    return sorted(calls, key=lambda call: call.order)


def _chain(
    node: Node,
    pattern: Pattern,
    consumers: dict[Value, list[Node]],
    ends: set[Value],
    taken: set[Node],
) -> tuple[Node, ...] | None:
    """The nodes that match, where each but the last gives its only result to the next alone; as
    its first input, or, where that makes no difference, as any."""
    if node.op != pattern.ops[0]:
        return None
    chain = [node]
    for op in pattern.ops[1:]:
        users = consumers.get(chain[-1].outputs[0], [])
        if len(users) != 1 or chain[-1].outputs[0] in ends:
            return None
        follower = users[0]
        places = follower.inputs if op == "Add" else follower.inputs[:1]
        if follower.op != op or follower in taken or chain[-1].outputs[0] not in places:
            return None
        saved = [u for v in chain[-1].outputs[1:] for u in consumers.get(v, [])]
        if any(user.order < follower.order for user in saved):
            return None
        chain.append(follower)
    return tuple(chain)


def _call(chain: tuple[Node, ...], offer: object) -> Call:
    inner = {value for node in chain for value in node.outputs}
    inputs = [
        value for node in chain for value in node.inputs if value is None or value not in inner
    ]
    outputs = [value for node in chain for value in node.outputs]
    if len(chain) > 1:
        passed = {node.outputs[0] for node in chain[:-1]}
        outputs = [value for value in outputs if value not in passed]
    return Call(chain, offer, tuple(inputs), tuple(outputs))  # type: ignore[arg-type]
