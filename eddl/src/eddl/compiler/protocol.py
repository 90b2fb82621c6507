"""What the compiler asks of a backend: patterns, kernel offers, memory.

A backend gives an ordered list of patterns, chains of operators it has one kernel for; the longest
that fits wins. For a match it makes a *kernel offer*, or none, and the next pattern is tried.
`tests/eddl/compiler` compiles against a toy backend, so nothing here leans on a real one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from eddl.graph import Graph, Node, Type, Value

Thunk = Callable[[], None]
Buffers = Sequence[Any]
Bind = Callable[[Buffers, Buffers, Any], Thunk]
"""`bind(inputs, outputs, workspace) -> call`: buffers are the backend's arrays, `None` for inputs
that were left out and outputs that nobody reads; the call allocates nothing."""


@dataclass(frozen=True)
class Layout:
    """How a value's elements lie in memory, whatever the order of its axes in the graph.

    `PLAIN` is ONNX's order, `CHANNELS_LAST` has the second axis innermost. Others belong to a
    backend: `nbytes` is what they take and `detail` whatever the backend knows them by; nothing
    but kernels that name them and the backend's reorders can read them.
    """

    name: str
    nbytes: int | None = None
    detail: Any = None

    def size(self, type: Type) -> int:
        """The bytes of a value of a type."""
        return type.nbytes if self.nbytes is None else self.nbytes

    def settled(self, type: Type) -> Layout:
        """`PLAIN` where a value of the type lies in memory the same way."""
        if self != CHANNELS_LAST:
            return self
        sizes = type.sizes
        same = len(sizes) < 3 or sizes[1] == 1 or math.prod(sizes[2:]) == 1
        return PLAIN if same else self


PLAIN = Layout("plain")
CHANNELS_LAST = Layout("channels last")


@dataclass(frozen=True)
class Arrangement:
    """Layouts that a kernel takes and gives; `None` takes an input as it lies.

    `cost` is the time in bytes moved that it takes longer than the best arrangement.
    """

    inputs: tuple[Layout | None, ...]
    outputs: tuple[Layout, ...]
    cost: float = 0.0


@dataclass(frozen=True)
class Offer:
    """A kernel for a match.

    `workspace` is the scratch memory in bytes it needs while it runs. `overwrites` maps an output
    to the inputs whose memory it may be written to, best first. `views` maps an output to the input
    whose memory it simply is. `optional` outputs may be left out when nobody reads them.
    `arrangements` are the layouts to choose from; without any, all values are `PLAIN`.
    `host` is `None` for a kernel of the device itself; for one of the host that stands in for it,
    the reason, which is empty where that is as it should be (`eddl.compiler.fallback`).
    """

    kernel: str
    bind: Bind
    workspace: int = 0
    overwrites: Mapping[int, Sequence[int]] = field(default_factory=dict)
    views: Mapping[int, int] = field(default_factory=dict)
    optional: frozenset[int] = frozenset()
    arrangements: Sequence[Arrangement] = ()
    host: str | None = None


@dataclass(frozen=True)
class Pattern:
    """A chain of operators, each feeding the next alone, and the offer for nodes that match."""

    ops: tuple[str, ...]
    offer: Callable[[Sequence[Node]], Offer | None]


@dataclass(frozen=True)
class Call:
    """A match with its accepted offer: what becomes one call of the program."""

    nodes: tuple[Node, ...]
    offer: Offer
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]

    @property
    def order(self) -> int:
        """Where it stands in the schedule."""
        return self.nodes[-1].order


class Backend(Protocol):
    """A kind of device."""

    name: str
    alignment: int
    max_slab: int
    accumulates: bool
    """Whether its convolutions can add to what is there."""
    evaluates: bool
    """Whether `evaluate` computes on the device itself."""

    def why_not(self, precision: str) -> str:
        """Why products are not computed in a precision here; nothing where they are."""

    def halves(self, node: Node) -> bool:
        """Whether a node whose data are in half precision is computed well."""

    def apart(self, node: Node) -> bool:
        """Whether an elementwise node's own kernel is better than its formula within a chain."""

    def patterns(self, node: Node) -> Sequence[Pattern]:
        """The patterns that may begin at a node, longest first."""

    def allocate(self, nbytes: int) -> Any:
        """Memory of so many bytes."""

    def view(self, memory: Any, offset: int, type: Type, layout: Layout = PLAIN) -> Any:
        """The array of a type that lies at an offset of a slab: its axes are the type's whatever
        the layout, or it is plain bytes where the layout is the backend's own."""

    def reorder(
        self, type: Type, source: Layout, target: Layout, given: np.dtype[Any] | None = None
    ) -> Offer:
        """The kernel that copies a value of a type from one layout to another; it casts what is
        `given` in another type, where one of them is a layout of the backend's own."""

    def from_host(self, array: np.ndarray[Any, Any]) -> Any:
        """An array of the device with the content of a host array, shared where possible."""

    def to_host(self, array: Any) -> np.ndarray[Any, Any]:
        """A copy of an array of the device on the host, its elements in the order of the axes."""

    def copy(self, source: Any, target: Any) -> None:
        """Copy between arrays of the device."""

    def within(self, max_bytes: int | None) -> AbstractContextManager[None]:
        """Refuse what needs more bytes than this while the context lasts."""

    def run(self, calls: Sequence[Thunk]) -> None:
        """Make the calls in order."""

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> Sequence[Any]:
        """Compute one node on the host: arrays, lists for sequences, `None` for nothing."""

    def evaluate_graph(self, graph: Graph, inputs: Sequence[Any]) -> list[Any]:
        """Compute a graph on the host, node by node."""
