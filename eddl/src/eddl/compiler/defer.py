"""Gradients that are larger than what they are made of are left to the program that reads them.

The gradient of a weight with few positions (a dense layer's, a convolution's deep in a network) is
a large product of small operands. A program that leaves it for another hands over the operands
instead, and the last calls on the way to it, its *tail*, are made by the other one just before the
update that reads it: so such gradients are not all held at once, and each is still in the
processor's cache when it is read. The calls stay what they are, kernels and layouts included, and
so do the bits. `tests/eddl/compiler/test_defer.py` holds this.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from eddl.compiler.bound import ARRANGED, PRODUCTS, SAVED
from eddl.compiler.protocol import PLAIN, Call, Layout
from eddl.graph import Constant, Graph, State, Value


@dataclass(frozen=True)
class Tail:
    """Calls that make a value of operands which another program left; the layouts of all."""

    calls: tuple[Call, ...]
    result: Value
    operands: tuple[Value, ...]
    layouts: Mapping[Value, Layout]


def defer(
    graph: Graph,
    calls: Sequence[Call],
    layouts: Mapping[Value, Layout],
    wanted: Sequence[Value],
) -> tuple[Graph, list[Call], dict[Value, Tail]]:
    """Cut the tails of those `wanted` outputs of a graph that are much larger than their operands;
    what is left, with the operands, in the order in which they are made, as its last outputs."""
    cut = _Cut(graph, calls, layouts)
    tails = {value: tail for value in wanted if (tail := cut.tail(value)) is not None}
    outputs = [value for value in graph.outputs if value not in tails]
    rest = [call for index, call in enumerate(calls) if index not in cut.gone]
    return Graph(graph.inputs, [*outputs, *cut.operands()], graph.updates), rest, tails


def undertake(
    calls: Sequence[Call], tails: Mapping[Value, Tail]
) -> tuple[list[Call], dict[Value, Layout]]:
    """Put each tail before the first call that reads the leaf it stands for; the layouts of what
    was added."""
    made: list[Call] = []
    layouts: dict[Value, Layout] = {}
    todo = dict(tails)
    for call in calls:
        for leaf in [value for value in call.inputs if value in todo]:
            assert leaf is not None
            tail = todo.pop(leaf)
            layouts |= tail.layouts
            *before, last = tail.calls
            outputs = tuple(leaf if value is tail.result else value for value in last.outputs)
            made += [*before, replace(last, outputs=outputs)]
        made.append(call)
    return made, layouts


class _Cut:
    """What has been cut so far: the calls `gone`, and the operands `held` for the tails."""

    def __init__(
        self, graph: Graph, calls: Sequence[Call], layouts: Mapping[Value, Layout]
    ) -> None:
        self.gone: set[int] = set()
        self.held: dict[Value, None] = {}
        self._calls, self._layouts = calls, layouts
        self._ends = [*graph.outputs, *graph.updates.values()]
        self._maker: dict[Value, int] = {}
        self._readers: dict[Value, set[int]] = {}
        for index, call in enumerate(calls):
            self._maker.update(dict.fromkeys(call.outputs, index))
            for value in call.inputs:
                if value is not None:
                    self._readers.setdefault(value, set()).add(index)

    def operands(self) -> list[Value]:
        """What is held, as it is made; inputs last, which are copied when all is done."""
        return sorted(self.held, key=lambda value: self._maker.get(value, len(self._calls)))

    def tail(self, result: Value) -> Tail | None:
        """The tail of an output, where it is worth it."""
        if self._ends.count(result) != 1 or self._readers.get(result):
            return None
        found: set[int] = set()
        product = self._product(result, found)
        if product is None:
            return None
        operands = dict.fromkeys(self._operands(product, found))
        fresh = [value for value in operands if value not in self.held]
        taken = sum(self._size(value) for value in fresh)
        fixed = any(isinstance(v, (Constant, State)) or v in self._ends for v in operands)
        if fixed or taken * SAVED > result.type.nbytes:
            return None
        self.gone |= found
        self.held |= dict.fromkeys(operands)
        calls = tuple(self._calls[index] for index in sorted(found))
        values = {v for call in calls for v in (*call.inputs, *call.outputs) if v is not None}
        lying = {v: self._layouts[v] for v in values if v in self._layouts}
        return Tail(calls, result, tuple(operands), lying)

    def _product(self, result: Value, found: set[int]) -> int | None:
        """The call of the product behind a result, with all on the way to it added to `found`."""
        index = self._maker.get(result)
        while index is not None and self._alone(index, found, result):
            found.add(index)
            if _kinds(self._calls[index]) <= PRODUCTS:
                return index
            if not _arranges(self._calls[index]):
                break
            source = self._calls[index].inputs[0]
            index = None if source is None else self._maker.get(source)
        return None

    def _operands(self, product: int, found: set[int]) -> list[Value]:
        """What a product reads, before it was arranged for it alone."""
        operands = []
        waiting = [value for value in self._calls[product].inputs if value is not None]
        while waiting:
            value = waiting.pop(0)
            index = self._maker.get(value)
            if index is not None and _arranges(self._calls[index]) and self._alone(index, found):
                found.add(index)
                waiting += [v for v in self._calls[index].inputs if v is not None]
            elif index not in found:
                operands.append(value)
        return operands

    def _alone(self, index: int, found: Container[int], result: Value | None = None) -> bool:
        """Whether only calls that were found, or the result alone, read what a call makes."""
        return all(
            value is result or (value not in self._ends
            and all(reader in found for reader in self._readers.get(value, ())))
            for value in self._calls[index].outputs
        )  # fmt: skip

    def _size(self, value: Value) -> int:
        return self._layouts.get(value, PLAIN).size(value.type)


def _kinds(call: Call) -> set[tuple[str, str]]:
    return {(node.domain, node.op) for node in call.nodes}


def _arranges(call: Call) -> bool:
    return all(not node.domain and node.op in ARRANGED for node in call.nodes)
