"""What one program leaves in memory for another: gradients for the update.

Each has a place of its own within the first slab, which it takes from when it is made until it is
read. Large products are not left but what they are made of (`eddl.compiler.defer`). Outputs are
known by their numbers, which no pass changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from eddl.compiler.defer import Tail, defer
from eddl.compiler.protocol import PLAIN, Call, Layout
from eddl.graph import Graph, Value


@dataclass(frozen=True, eq=False)
class Handover:
    """Outputs that a program leaves within the first `nbytes` bytes of the slabs, and does not
    return.

    `places` gives the offset of each, by its number among the graph's outputs. What compiling makes
    of this is `Program.left`: a `SquareBound` covers the `bounded` ones, and where the program
    `defers`, the making of some of these may be left to who reads them. Then `tails` stand for
    those, and the places of the tails' `operands` come first.
    """

    places: Mapping[int, int]
    nbytes: int
    defers: bool = False
    bounded: Sequence[int] = ()
    tails: Mapping[int, Tail] = field(default_factory=dict)
    operands: Mapping[Value, int] = field(default_factory=dict)

    def deferred(
        self, graph: Graph, calls: Sequence[Call], layouts: Mapping[Value, Layout], alignment: int
    ) -> tuple[Handover, Graph, list[Call]]:
        """Leave the operands of bounded outputs instead, where those are much larger; what is left
        then, and the graph and the calls that make it."""

        def size(value: Value) -> int:
            return -(-layouts.get(value, PLAIN).size(value.type) // alignment) * alignment

        number = {graph.outputs[index]: index for index in self.bounded}
        rest, calls, found = defer(graph, calls, layouts, list(number))
        tails = {number[value]: tail for value, tail in found.items()}
        operands = rest.outputs[len(graph.outputs) - len(tails) :]
        *starts, end = accumulate(map(size, operands), initial=0)
        gone = {self.places[index]: size(graph.outputs[index]) for index in tails}

        def moved(offset: int) -> int:
            return end + offset - sum(gone[start] for start in gone if start < offset)

        left = replace(
            self,
            places={i: moved(offset) for i, offset in self.places.items() if i not in tails},
            nbytes=self.nbytes + end - sum(gone.values()),
            tails=tails,
            operands=dict(zip(operands, starts, strict=True)),
        )
        return left, rest, calls


@dataclass(frozen=True)
class Found:
    """What a program finds that another one `left`: the `numbers` of the outputs that its own
    leaves, states without memory, stand for."""

    left: Handover
    numbers: Mapping[Value, int]

    @property
    def places(self) -> dict[Value, int]:
        """The offsets of leaves and of what tails read."""
        places = self.left.places
        own = {leaf: places[i] for leaf, i in self.numbers.items() if i in places}
        return {**own, **self.left.operands}

    @property
    def tails(self) -> dict[Value, Tail]:
        """What makes the other leaves."""
        tails = self.left.tails
        return {leaf: tails[i] for leaf, i in self.numbers.items() if i in tails}
