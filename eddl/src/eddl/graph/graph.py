"""What a network is: values, the nodes that make them, and graphs over them.

A value is made once, by a node, or is a leaf: an input, a constant or a state. Nodes never change;
a pass builds new ones with `Graph.transform`. A graph is held by its ends, so a node that nothing
needs is not in it. `tests/eddl/graph` holds this room.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eddl.graph.types import Type

Attribute = Any
"""int, float, str, bool, a tuple of these, a NumPy array or a Graph."""

arithmetic: dict[str, Callable[..., Value]] = {}
"""What `+`, `-` and the like do with values; `eddl.ops` fills it: this room knows no operator."""

_order = itertools.count()


class Label:
    """What a layer is called; the nodes and states of one layer share it.

    `base` is the kind of layer; the model numbers equal ones. `given` is a name the user chose.
    """

    __slots__ = ("base", "given")

    def __init__(self, base: str, given: str | None = None) -> None:
        self.base = base
        self.given = given


class Value:
    """One tensor of a graph. Values are compared by identity."""

    __slots__ = ("index", "name", "node", "type")

    def __init__(
        self, type: Type, node: Node | None = None, index: int = 0, name: str | None = None
    ) -> None:
        self.type = type
        self.node = node
        self.index = index
        self.name = name

    @property
    def shape(self) -> tuple[int | str | None, ...]:
        """The sizes of the axes, as far as they are known."""
        return self.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type."""
        return self.type.dtype

    @property
    def rank(self) -> int:
        """The number of axes."""
        return self.type.rank

    def __add__(self, other: Any) -> Value:
        return arithmetic["Add"](self, other)

    def __radd__(self, other: Any) -> Value:
        return arithmetic["Add"](other, self)

    def __sub__(self, other: Any) -> Value:
        return arithmetic["Sub"](self, other)

    def __rsub__(self, other: Any) -> Value:
        return arithmetic["Sub"](other, self)

    def __mul__(self, other: Any) -> Value:
        return arithmetic["Mul"](self, other)

    def __rmul__(self, other: Any) -> Value:
        return arithmetic["Mul"](other, self)

    def __truediv__(self, other: Any) -> Value:
        return arithmetic["Div"](self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return arithmetic["Div"](other, self)

    def __pow__(self, other: Any) -> Value:
        return arithmetic["Pow"](self, other)

    def __neg__(self) -> Value:
        return arithmetic["Neg"](self)

    def __matmul__(self, other: Any) -> Value:
        return arithmetic["MatMul"](self, other)

    def __repr__(self) -> str:
        made = f" of {self.node.op}" if self.node is not None else ""
        return f"<{type(self).__name__} {self.name or ''}{made} {self.type}>"


class Input(Value):
    """A value that the caller gives at each run."""

    __slots__ = ()


class Constant(Value):
    """A value known when the graph is made."""

    __slots__ = ("data",)

    def __init__(self, data: np.ndarray[Any, Any], name: str | None = None) -> None:
        super().__init__(Type(data.dtype, data.shape), name=name)
        self.data = data


class State(Value):
    """A value that outlives a run: a parameter, a running statistic, an optimizer's slot.

    `trainable` tells a parameter from other states; a `frozen` one rests for the time being.
    `initial(shape, dtype, generator)` draws its first content; `label` and `role` make its name.
    `storage` is where its content lies, given by the room that owns memory.
    """

    __slots__ = ("frozen", "initial", "label", "role", "storage", "trainable")

    def __init__(
        self,
        type: Type,
        initial: Callable[..., np.ndarray[Any, Any]],
        *,
        trainable: bool,
        label: Label,
        role: str,
    ) -> None:
        super().__init__(type)
        self.initial = initial
        self.trainable = trainable
        self.frozen = False
        self.label = label
        self.role = role
        self.storage: Any = None


class Node:
    """One operator applied to values (`None` stands for an optional input left out)."""

    __slots__ = ("attributes", "domain", "inputs", "label", "op", "order", "outputs")

    def __init__(
        self,
        op: str,
        inputs: Sequence[Value | None],
        types: Sequence[Type],
        attributes: Mapping[str, Attribute],
        *,
        domain: str = "",
        label: Label | None = None,
    ) -> None:
        self.op = op
        self.domain = domain
        self.inputs = tuple(inputs)
        self.attributes = dict(attributes)
        self.label = label or Label(op)
        self.order = next(_order)
        self.outputs = tuple(Value(type, self, index) for index, type in enumerate(types))

    def __repr__(self) -> str:
        return (
            f"<Node {self.domain + '.' if self.domain else ''}{self.op} {self.label.given or ''}>"
        )


class Graph:
    """Inputs, outputs, and the state values that a run replaces (`updates`: old -> new)."""

    def __init__(
        self,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        updates: Mapping[Value, Value] | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.updates = dict(updates or {})
        self.nodes = sorted(
            _reachable((*self.outputs, *self.updates.values())), key=lambda node: node.order
        )

    @property
    def leaves(self) -> list[Value]:
        """Values that no node makes, in order of first use; inputs first, even unused ones."""
        found = dict.fromkeys(self.inputs)
        for node in self.nodes:
            found.update((v, None) for v in node.inputs if v is not None and v.node is None)
        ends = (*self.outputs, *self.updates, *self.updates.values())
        found.update((value, None) for value in ends if value.node is None)
        return list(found)

    def consumers(self) -> dict[Value, list[Node]]:
        """The nodes that read each value, in order."""
        users: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(v for v in node.inputs if v is not None):
                users.setdefault(value, []).append(node)
        return users

    def transform(
        self,
        rewrite: Callable[[Node, tuple[Value | None, ...]], Sequence[Value]],
        leaves: Mapping[Value, Value] | None = None,
    ) -> Graph:
        """Rebuild the graph: `rewrite(node, new_inputs)` gives the node's new outputs.

        `leaves` replaces inputs, constants or states; every other leaf is kept.
        """
        return rebuild(self, rewrite, leaves)[0]


def rebuild(
    graph: Graph,
    rewrite: Callable[[Node, tuple[Value | None, ...]], Sequence[Value]],
    leaves: Mapping[Value, Value] | None = None,
) -> tuple[Graph, dict[Value, Value]]:
    """As `Graph.transform`, and also the map from old values to new ones."""
    mapping: dict[Value, Value] = dict(leaves or {})
    for node in graph.nodes:
        inputs = tuple(None if v is None else mapping.get(v, v) for v in node.inputs)
        mapping.update(zip(node.outputs, rewrite(node, inputs), strict=False))

    def get(value: Value) -> Value:
        return mapping.get(value, value)

    updates = {get(old): get(new) for old, new in graph.updates.items()}
    return Graph([*map(get, graph.inputs)], [*map(get, graph.outputs)], updates), mapping


def _reachable(ends: Iterable[Value]) -> set[Node]:
    seen: set[Node] = set()
    stack = [value.node for value in ends if value.node is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack.extend(v.node for v in node.inputs if v is not None and v.node is not None)
    return seen
