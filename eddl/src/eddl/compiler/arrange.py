"""Layouts: which of its arrangements each call takes, and the reorders between them.

One walk in the order of the schedule. A call takes the arrangement that costs least: its own cost,
the bytes of the reorders its inputs need, and those that the calls which read its results would
need. A value is brought into another layout once, for all that want it there. Leaves and the ends
of the graph are plain; ends are made so at once, since they stay. What is cast of a leaf, for a
kernel with a layout of its own, goes there in one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eddl.compiler.protocol import PLAIN, Arrangement, Backend, Call, Layout
from eddl.graph import Constant, Graph, Value
from eddl.ops.table import make_node


def arrange(
    graph: Graph, calls: Sequence[Call], backend: Backend
) -> tuple[Graph, list[Call], dict[Value, Layout]]:
    """The graph whose ends are plain, its calls with the reorders, and what is not plain."""
    walk = _Walk(calls, backend)
    lasting = {*graph.outputs, *graph.updates.values()}
    for call in calls:
        walk.take(call)
        for value in lasting.intersection(call.outputs):
            walk.lying(value, PLAIN)
    ends = {end: walk.lying(end, PLAIN) for end in (*graph.outputs, *graph.updates.values())}
    updates = {state: ends[new] for state, new in graph.updates.items()}
    plain = Graph(graph.inputs, [ends[value] for value in graph.outputs], updates)
    return plain, walk.read(ends.values()), walk.layouts


class _Walk:
    """What is arranged so far."""

    def __init__(self, calls: Sequence[Call], backend: Backend) -> None:
        self.backend = backend
        self.calls: list[Call] = []
        self.layouts: dict[Value, Layout] = {}
        self._copies: dict[tuple[Value, Layout], Value] = {}
        self._readers: dict[Value, list[tuple[Call, int]]] = {}
        for call in calls:
            for position, value in enumerate(call.inputs):
                if value is not None:
                    self._readers.setdefault(value, []).append((call, position))

    def take(self, call: Call) -> None:
        """Choose the call's arrangement and bring its inputs into it."""
        choices = [_settled(call, choice) for choice in call.offer.arrangements]
        if not choices:
            choices = [Arrangement((PLAIN,) * len(call.inputs), (PLAIN,) * len(call.outputs))]
        best = min(choices, key=lambda choice: self._cost(call, choice))
        inputs = tuple(
            value if value is None or layout is None else self.lying(value, layout)
            for value, layout in zip(call.inputs, best.inputs, strict=True)
        )
        for value, layout in zip(call.outputs, best.outputs, strict=True):
            if layout != PLAIN:
                self.layouts[value] = layout
        self.calls.append(Call(call.nodes, call.offer, inputs, call.outputs))

    def lying(self, value: Value, layout: Layout) -> Value:
        """The value in a layout: itself, or its copy. Between a layout that a backend alone knows
        and any other the way is by `PLAIN`."""
        have = self.layouts.get(value, PLAIN)
        if have == layout:
            return value
        if PLAIN not in (have, layout) and (have.detail or layout.detail):
            return self.lying(self.lying(value, PLAIN), layout)
        copy = self._copies.get((value, layout))
        if copy is None:
            source, leaf = value, _rounded(value) if layout.detail else None
            if leaf is None:
                node = make_node("Identity", value)
            else:
                source, node = leaf, make_node("Cast", leaf, to=value.dtype)
            copy = self._copies[value, layout] = node.outputs[0]
            offer = self.backend.reorder(value.type, have, layout, source.dtype)
            self.calls.append(Call((node,), offer, (source,), (copy,)))
            if layout != PLAIN:
                self.layouts[copy] = layout
        return copy

    def read(self, ends: Iterable[Value]) -> list[Call]:
        """The calls but for casts that nobody reads any more."""
        used = {*ends, *(v for call in self.calls for v in call.inputs if v is not None)}
        return [call for call in self.calls
                if call.nodes[0].op != "Cast" or not used.isdisjoint(call.outputs)]  # fmt: skip

    def _cost(self, call: Call, choice: Arrangement) -> float:
        cost = choice.cost
        for value, layout in zip(call.inputs, choice.inputs, strict=True):
            if value is None or layout is None or isinstance(value, Constant):
                continue
            if self.layouts.get(value, PLAIN) != layout and (value, layout) not in self._copies:
                cost += value.type.nbytes
        for value, layout in zip(call.outputs, choice.outputs, strict=True):
            for reader, position in self._readers.get(value, ()):
                wanted = {option.inputs[position] for option in _settled_all(reader)} or {PLAIN}
                if None not in wanted and layout not in wanted:
                    cost += value.type.nbytes
        return cost


def _rounded(value: Value) -> Value | None:
    """The leaf of which a value is a cast."""
    if value.node is None or value.node.op != "Cast":
        return None
    (source,) = value.node.inputs
    return None if source is None or source.node is not None else source


def _settled_all(call: Call) -> list[Arrangement]:
    return [_settled(call, choice) for choice in call.offer.arrangements]


def _settled(call: Call, choice: Arrangement) -> Arrangement:
    """The arrangement with `PLAIN` for what lies the same way."""
    return Arrangement(
        tuple(
            layout if layout is None or value is None else layout.settled(value.type)
            for value, layout in zip(call.inputs, choice.inputs, strict=True)
        ),
        tuple(
            layout.settled(value.type)
            for value, layout in zip(call.outputs, choice.outputs, strict=True)
        ),
        choice.cost,
    )
