"""The oneDNN backend: its kernels where they are better, the array backend's for all else.

Both work on host memory, so that no operator is ever missing. Values between oneDNN's kernels have
their channels last, and the array kernels see them as arrays with strides; weights are brought
into the layout that a kernel wants, once a run for all kernels that want the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from eddl.backends.array import ArrayBackend
from eddl.backends.array.threads import available
from eddl.backends.onednn.handles import Descriptor, channels_last, describe, row_major
from eddl.backends.onednn.kernels import Execution, Kernel
from eddl.backends.onednn.library import DST, FLOATS, SRC, Library, Refused, load
from eddl.backends.onednn.threads import Team
from eddl.compiler.fallback import is_work
from eddl.compiler.precision import MOVING, NORMS
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Layout, Offer, Pattern, Thunk
from eddl.graph import Graph, Node, Type
from eddl.ops.table import entry

Array = np.ndarray[Any, Any]
Make = Callable[["OneDnnBackend", Node], Offer | None]
KERNELS: dict[tuple[str, str], Make] = {}
CHAINS: dict[tuple[str, str], Callable[[OneDnnBackend, Node], Sequence[Pattern]]] = {}
"""Patterns of several operators, by the first one."""


def kernel(*names: str, domain: str = "") -> Callable[[Make], Make]:
    """Register a function that makes the offer for nodes of the named operators; it may raise
    `Refused` or give `None`, and the next backend's kernel is taken."""

    def add(function: Make) -> Make:
        for name in names:
            KERNELS[domain, name] = function
        return function

    return add


class Yielded(Refused):
    """oneDNN could, and the array backend's kernel is the faster one."""


def _of_host(pattern: Pattern, reasons: Sequence[str]) -> Pattern:
    """An array kernel; `reasons`, last the latest, say why it stands in for the device's work."""

    def offer(nodes: Sequence[Node]) -> Offer | None:
        made = pattern.offer(nodes)
        work = is_work(nodes[0]) and bool(reasons)
        return made and replace(made, host=reasons[-1] if work else "")

    return Pattern(pattern.ops, offer)


class OneDnnBackend(ArrayBackend):
    """oneDNN on the host, composed with the array backend."""

    name = "onednn"
    accumulates = True
    evaluates = False

    def __init__(self, threads: int | None = None, library: Library | None = None) -> None:
        super().__init__(1)
        self.library = library or load()
        self.threads = Team(self.library, threads or available())
        self._plain = ArrayBackend(1)
        self._plain.threads = self.threads

    def why_not(self, precision: str) -> str:
        """Why products are not computed in a precision here; nothing where they are."""
        from eddl.backends.onednn.halves import why_not

        return why_not(self.library, precision)

    def halves(self, node: Node) -> bool:
        """Whether a node whose data are in bfloat16 is computed well: by oneDNN, by moving
        elements, or in float32 from block to block."""
        if node.op not in NORMS and (entry(node).formula is not None or node.op in MOVING):
            return True
        make = KERNELS.get((node.domain, node.op))
        try:
            return make is not None and make(self, node) is not None
        except Refused:
            return False

    def apart(self, node: Node) -> bool:
        """Activations that oneDNN computes."""
        from eddl.backends.onednn.activations import computed

        return computed(node)

    def patterns(self, node: Node) -> Sequence[Pattern]:
        """oneDNN's kernel, if it has one, and the array backend's."""
        reasons: list[str] = []
        plain = [_of_host(pattern, reasons) for pattern in super().patterns(node)]
        make = KERNELS.get((node.domain, node.op))
        if make is None and plain and entry(node).formula is not None:
            from eddl.backends.onednn.elementwise import offer_chains

            make = offer_chains
        if make is None:
            reasons.append("oneDNN has no kernel for it")
            return plain
        longer = CHAINS.get((node.domain, node.op))
        found = make

        def offer(nodes: Sequence[Node]) -> Offer | None:
            try:
                return found(self, nodes[0])
            except Refused as refusal:
                reasons.append("" if isinstance(refusal, Yielded) else str(refusal))
                return None

        if not plain and offer([node]) is None:
            return ()
        alone = (Pattern((node.op,), offer), *plain)
        return alone if longer is None else (*longer(self, node), *alone)

    def view(self, memory: Array, offset: int, type: Type, layout: Layout = PLAIN) -> Array:
        """The array of a type at an offset of a slab, or its bytes where only oneDNN reads it."""
        if layout == PLAIN:
            return super().view(memory, offset, type)
        if layout != CHANNELS_LAST:
            return memory[offset : offset + layout.size(type)]
        samples, channels, *space = type.sizes
        flat = memory[offset : offset + type.nbytes].view(type.dtype)
        return np.moveaxis(flat.reshape(samples, *space, channels), -1, 1)

    def reorder(
        self, type: Type, source: Layout, target: Layout, given: np.dtype[Any] | None = None
    ) -> Offer:
        """A copy from one layout to another, by oneDNN where it knows the type."""
        if source.name == "mask":
            return Offer("unpack", lambda ins, outs, _: _unpack(ins[0], outs[0]))
        if target.name == "mask":
            return Offer("pack", lambda ins, outs, _: _pack(ins[0], outs[0]))
        if isinstance(target.detail, Brought):
            return target.detail.brought()
        try:
            return self._reorder(type, source, target, given or type.dtype)
        except Refused:
            return Offer("copy", lambda ins, outs, _: lambda: np.copyto(outs[0], ins[0]))

    def _reorder(self, type: Type, source: Layout, target: Layout, given: np.dtype[Any]) -> Offer:
        mine = next((x for x in (source, target) if isinstance(x.detail, Packing)), None)
        if mine is not None:
            packing = mine.detail
            ends = [packing.packed if x is mine else packing.plain for x in (source, target)]
            if any(x is not mine and x != PLAIN for x in (source, target)):
                raise Refused(f"a reorder from {source.name} to {target.name}")
        else:
            ends = [self.describe(type, layout) for layout in (source, target)]
        before, after = ends
        if given != type.dtype:
            before = describe(self.library, before.dims, before.strides, given.name)
        made = Kernel(self.library, "reorder", before, self.library.engine, after,
                      self.library.engine, None, slow=True)  # fmt: skip

        def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
            data = inputs[0]
            if source == PLAIN and not data.flags.c_contiguous:
                data = np.ascontiguousarray(data)  # the caller's own array may lie in any way
            return made.bind({SRC: (before, data), DST: (after, outputs[0])})

        return Offer(f"reorder {made.implementation}", bind)

    def describe(self, type: Type, layout: Layout = CHANNELS_LAST) -> Descriptor:
        """A floating value as oneDNN sees it."""
        if type.dtype.name not in FLOATS:
            raise Refused(f"received {type}; only {' and '.join(FLOATS)} are computed here")
        rule = row_major if layout == PLAIN else channels_last
        return describe(self.library, type.sizes, rule(type.sizes), type.dtype.name)

    def run(self, calls: Sequence[Thunk]) -> None:
        """Make the calls in order; oneDNN's own need nothing of what NumPy's do."""
        self.threads.claim()  # type: ignore[attr-defined]
        if not all(isinstance(call, Execution) for call in calls):
            super().run(calls)
            return
        for call in calls:
            call()

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> list[Any]:
        """Compute one node as the array backend does."""
        return self._plain.evaluate(node, inputs)

    def evaluate_graph(self, graph: Graph, inputs: Sequence[Any]) -> list[Any]:
        """Compute a graph node by node, as the array backend does."""
        return self._plain.evaluate_graph(graph, inputs)


@runtime_checkable
class Brought(Protocol):
    """What a kernel's own layout is known by, where no reorder of oneDNN leads there."""

    def brought(self) -> Offer:
        """The kernel that brings a value there from ONNX's order."""


class Packing:
    """A layout of oneDNN's own for weights, and the same tensor in ONNX's order."""

    __slots__ = ("packed", "plain")

    def __init__(self, packed: Descriptor, plain: Descriptor) -> None:
        self.packed = packed
        self.plain = plain

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Packing) and self.packed == other.packed and self.plain == other.plain
        )

    def __hash__(self) -> int:
        return hash((self.packed, self.plain))


def packed(packing: Packing) -> Layout:
    """The layout of weights that a kernel wants; `PLAIN` where that is ONNX's order."""
    if packing.packed == packing.plain:
        return PLAIN
    return Layout("packed", packing.packed.nbytes, packing)


def mask(type: Type, nbytes: int) -> Layout:
    """Which elements passed a rectifier, a bit or a byte each, channels last."""
    if nbytes != type.count and (type.count % 8 or nbytes != type.count // 8):
        raise Refused(f"a mask of {nbytes} bytes for {type}")
    return Layout("mask", nbytes)


def _unpack(bits: Array, result: Array) -> Thunk:
    """A mask as booleans: one byte or one bit an element, channels last."""
    samples, channels, *space = result.shape
    last = np.moveaxis(result, 1, -1)

    def run() -> None:
        count = result.size
        flat = bits if bits.size >= count else np.unpackbits(bits, bitorder="little")
        np.copyto(last, flat[:count].reshape(samples, *space, channels), casting="unsafe")

    return run


def _pack(flags: Array, result: Array) -> Thunk:
    """Booleans as oneDNN keeps them."""

    def run() -> None:
        flat = np.moveaxis(flags, 1, -1).reshape(-1)
        whole = flat if result.size == flat.size else np.packbits(flat, bitorder="little")
        np.copyto(result, whole, casting="unsafe")

    return run
