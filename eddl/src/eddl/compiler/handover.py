"""What one program leaves in memory for another: gradients for the update.

Each has a place of its own within the first slab, which it takes from when it is made until it is
read. Large products are not left but what they are made of (`eddl.compiler.defer`).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from eddl.compiler.defer import Tail, defer, undertake
from eddl.compiler.protocol import PLAIN, Call, Layout
from eddl.graph import Graph, Value


class Handover:
    """Values that one program leaves for another within the first `nbytes` bytes of the slabs.

    `places` gives the offset of each: outputs of the program that makes them, which do not return
    them, and leaves of those that read them, which are states without memory of their own. Where it
    `defers`, a program that leaves large values may leave their making to the readers: `tails`
    stand for those values, their `operands` come first, and the other values move up. A
    `SquareBound` covers the `bounded` ones.
    """

    def __init__(self, places: Mapping[Value, int], nbytes: int, *, defers: bool = False) -> None:
        self.places = dict(places)
        self.nbytes = nbytes
        self.defers = defers
        self.tails: dict[Value, Tail] = {}
        self.operands: dict[Value, int] = {}
        self.bounded: set[Value] = set()
        self.aside: Any = None
        self.waits = False
        """Whether they were left and not yet read."""
        self._start, self._gone = 0, list[tuple[int, int]]()

    def settle(
        self, tails: Mapping[Value, Tail], operands: Sequence[Value], alignment: int
    ) -> None:
        """Leave these operands of tails instead of what the tails make. They come first, since some
        are made long before the gradients."""

        def aligned(nbytes: int) -> int:
            return -(-nbytes // alignment) * alignment

        lying = ChainMap(*(dict(tail.layouts) for tail in tails.values()))
        for value in operands:
            self.operands[value] = self._start
            self._start += aligned(lying.get(value, PLAIN).size(value.type))
        self.tails |= tails
        self._gone = [(self.places.pop(value), aligned(value.type.nbytes)) for value in tails]
        self.nbytes += self._start - sum(size for _, size in self._gone)
        self.places = {value: self._moved(offset) for value, offset in self.places.items()}

    def lend(self, leaves: Mapping[Value, int], made: Mapping[Value, Value]) -> None:
        """Say where a program finds leaves, by the offsets they had before anything moved up, and
        which leaves it must make itself, by the outputs they stand for."""
        self.places |= {leaf: self._moved(offset) for leaf, offset in leaves.items()}
        self.tails |= {leaf: self.tails[value] for leaf, value in made.items()}

    def _moved(self, offset: int) -> int:
        return self._start + offset - sum(size for start, size in self._gone if start < offset)


def hand_over(
    handover: Handover,
    outputs: Sequence[Value],
    graph: Graph,
    calls: Sequence[Call],
    layouts: Mapping[Value, Layout],
    bounded: Collection[int],
    alignment: int,
    defers: bool,
) -> tuple[Graph, list[Call], dict[Value, Layout], dict[Value, int]]:
    """A program's graph, calls and layouts with all that it leaves or finds, and the places of
    that. `outputs` are what the graph's were before it was compiled; where it `defers`, those at
    the indices `bounded` may be left to the reader."""
    left = {old: new for old, new in zip(outputs, graph.outputs, strict=True)
            if old in handover.places}  # fmt: skip
    wanted = {graph.outputs[i]: outputs[i] for i in bounded if outputs[i] in left}
    handover.bounded |= {*wanted.values()}
    if defers and wanted:
        graph, calls, tails = defer(graph, calls, layouts, list(wanted))
        operands = graph.outputs[len(outputs) - len(tails) :]
        handover.settle({wanted[value]: tail for value, tail in tails.items()}, operands, alignment)
    undertaken = {leaf: handover.tails[leaf] for leaf in graph.leaves if leaf in handover.tails}
    made, more = undertake(calls, undertaken)
    places = {left[old]: offset for old, offset in handover.places.items() if old in left}
    places |= {leaf: handover.places[leaf] for leaf in graph.leaves if leaf in handover.places}
    if left or undertaken:
        places |= handover.operands
    return graph, made, {**layouts, **more}, places
