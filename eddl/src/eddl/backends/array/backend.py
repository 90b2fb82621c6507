"""The array backend: every operator on NumPy arrays, written into planned memory.

One source over the namespace `xp`. It is the reference that other backends are compared with, the
fallback where they have no kernel, and the evaluator that folds constants.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.backends.array.memory import require, within
from eddl.backends.array.threads import Threads, available
from eddl.compiler.protocol import (
    CHANNELS_LAST,
    PLAIN,
    Arrangement,
    Layout,
    Offer,
    Pattern,
    Thunk,
)
from eddl.graph import Graph, Node, Type, Value
from eddl.ops.table import entry

Array = np.ndarray[Any, Any]
Kernel = Callable[["ArrayBackend", Node], Offer | None]
KERNELS: dict[tuple[str, str], Kernel] = {}
FITS: dict[tuple[str, str], Callable[[Node], bool]] = {}
"""Which nodes a kernel is for, where it is not for all of the operator's."""


def kernel(
    *names: str, domain: str = "", fits: Callable[[Node], bool] | None = None
) -> Callable[[Kernel], Kernel]:
    """Register a function that makes the offer for nodes of the named operators, or for those of
    them that fit; the others are written out."""

    def add(function: Kernel) -> Kernel:
        for name in names:
            KERNELS[domain, name] = function
            if fits is not None:
                FITS[domain, name] = fits
        return function

    return add


def alike(node: Node) -> tuple[Arrangement, ...]:
    """Plain, or channels last for all values of the first output's rank with more than channels:
    the arrangements of kernels that take arrays with any strides."""
    rank = node.outputs[0].rank
    if not 3 <= rank <= 5:
        return ()

    def last(value: Value | None) -> Layout:
        fits = value is not None and value.rank == rank
        return CHANNELS_LAST if fits else PLAIN

    return (
        Arrangement((PLAIN,) * len(node.inputs), (PLAIN,) * len(node.outputs)),
        Arrangement(tuple(map(last, node.inputs)), tuple(map(last, node.outputs))),
    )


class ArrayBackend:
    """NumPy on the host, with threads of its own."""

    name = "array"
    alignment = 64
    max_slab = 1 << 62
    accumulates = False
    evaluates = True

    def __init__(self, threads: int | None = None) -> None:
        self.xp: Any = np
        self.threads = Threads(threads or available())

    def why_not(self, precision: str) -> str:
        """Why products are not computed in a precision here; nothing where they are."""
        if precision != "bfloat16":
            return ""
        return (
            "NumPy has no arithmetic of that type, and conversions would make it slower than "
            "float32"
        )

    def halves(self, node: Node) -> bool:
        """Whether a node whose data are in half precision is computed well: all but norms."""
        return not entry(node).float32

    def apart(self, node: Node) -> bool:
        """A chain is always better."""
        return False

    def patterns(self, node: Node) -> Sequence[Pattern]:
        """One pattern a node: this backend has a kernel for each operator by itself."""
        from eddl.backends.array.elementwise import offer_formula

        key = node.domain, node.op
        found = KERNELS.get(key)
        if key in FITS and not FITS[key](node):
            found = None
        if found is None and entry(node).formula is not None:
            found = offer_formula
        if found is None:
            return ()
        make = found
        return (Pattern((node.op,), lambda nodes: make(self, nodes[0])),)

    def allocate(self, nbytes: int) -> Array:
        """Aligned bytes, not initialised; `MemoryLimitError` where there are not so many."""
        require(nbytes, "the values of this graph")
        memory = np.empty(nbytes + self.alignment, np.uint8)
        start = -memory.ctypes.data % self.alignment
        return memory[start : start + nbytes]

    def view(self, memory: Array, offset: int, type: Type, layout: Layout = PLAIN) -> Array:
        """The array of a type at an offset of a slab; here nothing lies but plain."""
        return memory[offset : offset + type.nbytes].view(type.dtype).reshape(type.sizes)

    def reorder(
        self, type: Type, source: Layout, target: Layout, given: np.dtype[Any] | None = None
    ) -> Offer:
        """A strided copy."""
        return Offer("copy", lambda ins, outs, _: lambda: self.xp.copyto(outs[0], ins[0]))

    def from_host(self, array: Array) -> Array:
        """The array itself: this device is the host."""
        return array

    def to_host(self, array: Array) -> Array:
        """A result of its own memory, whatever the strides of the array."""
        return np.array(array, order="C")

    def copy(self, source: Array, target: Array) -> None:
        """Copy between arrays."""
        target[...] = source

    def within(self, max_bytes: int | None) -> contextlib.AbstractContextManager[None]:
        """Refuse what needs more bytes than this while the context lasts."""
        return within(max_bytes)

    def run(self, calls: Sequence[Thunk]) -> None:
        """Make the calls in order, with BLAS on one thread: the kernels bring the others."""
        with self._single_blas(), np.errstate(all="ignore"):
            for call in calls:
                call()

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> list[Any]:
        """Compute one node on what there is: arrays, lists (sequences) and `None`."""
        from eddl.backends.array.evaluator import evaluate_node

        return evaluate_node(self, node, inputs)

    def evaluate_graph(self, graph: Graph, inputs: Sequence[Any]) -> list[Any]:
        """Compute a graph node by node, whatever its values are."""
        from eddl.backends.array.evaluator import evaluate_graph

        return evaluate_graph(self, graph, inputs)

    def _single_blas(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self.threads.count < 2 else SINGLE_BLAS


class SingleBlas:
    """While any thread is inside, BLAS runs on one thread: its number is the whole process's, so
    only the first one in changes it, and the last one out puts it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._libraries: list[Any] | None = None
        self._counts: list[int] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._libraries is None:
                from threadpoolctl import ThreadpoolController

                found = ThreadpoolController().lib_controllers
                self._libraries = [library for library in found if library.user_api == "blas"]
            if not self._inside:
                self._counts = [library.get_num_threads() for library in self._libraries]
                for library in self._libraries:
                    library.set_num_threads(1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for library, count in zip(self._libraries or (), self._counts, strict=True):
                    library.set_num_threads(count)


SINGLE_BLAS = SingleBlas()
