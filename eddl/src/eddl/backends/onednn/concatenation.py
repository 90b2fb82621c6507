"""Joining values along the channels, and cutting them apart, all threads together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ctypes import c_int
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.onednn.backend import CHAINS, OneDnnBackend, Yielded, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import Descriptor, channels_last, describe, row_major, single
from eddl.backends.onednn.kernels import Kernel, Operations, attributes
from eddl.backends.onednn.library import DST, MULTIPLE_SRC, SRC, Refused
from eddl.compiler.protocol import (
    CHANNELS_LAST,
    PLAIN,
    Arrangement,
    Layout,
    Offer,
    Pattern,
    Thunk,
)
from eddl.graph import Node
from eddl.ops.arrangement import slice_ranges

WAYS = CHANNELS_LAST, PLAIN
"""How values may lie. Which way is settled when a call is bound, and its kernel is made again: that
takes less than a tenth of a millisecond, and the others take no memory any more."""

Array = np.ndarray[Any, Any]

NEAR = 16
"""Nodes up to which a cut waits for an addition behind it; beyond, the whole would wait with it."""


@kernel("Concat")
def concat(backend: OneDnnBackend, node: Node) -> Offer:
    """Every part is copied to its channels, which are last or lie as ONNX has them."""
    y = node.outputs[0]
    parts = [value for value in node.inputs if value is not None]
    if not 3 <= y.rank <= 5 or node.attributes["axis"] % y.rank != 1:
        raise Yielded("not along the channels")
    library = backend.library

    def make(layout: Layout) -> tuple[Kernel, list[Descriptor], Descriptor]:
        sources = [backend.describe(part.type, layout) for part in parts]
        target = backend.describe(y.type, layout)
        made = Kernel(
            library, "concat", library.engine, target, c_int(len(parts)), c_int(1),
            tuple(sources), attributes(library), slow=True,
        )  # fmt: skip
        if made.implementation.startswith("ref"):
            raise Yielded("its reference implementation")
        return made, sources, target

    kernels = [make(way)[0] for way in WAYS]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        (result,) = outputs
        layout = _way(result)
        made, sources, target = make(layout)
        lie = np.ascontiguousarray if layout == PLAIN else straight
        pairs = enumerate(zip(sources, map(lie, inputs), strict=True), MULTIPLE_SRC)
        return made.bind({**dict(pairs), DST: (target, result)}, workspace)

    return Offer(
        kernels[-1].implementation,
        bind,
        workspace=max(made.scratch for made in kernels),
        arrangements=[Arrangement((way,) * len(parts), (way,)) for way in WAYS],
    )


@kernel("Slice")
def cut(backend: OneDnnBackend, node: Node, *rest: Node) -> Offer:
    """A copy of a part; an addition behind it, as gradients of joined values have it, is done in
    the same pass."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    ranges = slice_ranges(node)
    if not 3 <= y.rank <= 5 or any(step != 1 for _, _, step in ranges) or not y.type.count:
        raise Yielded("not a dense part")
    library = backend.library

    def add(operations: Operations) -> None:
        operations.append("sum", single(1.0), 0, 0)

    def make(before: Layout, after: Layout) -> tuple[Kernel, Descriptor, Descriptor]:
        rule = row_major if before == PLAIN else channels_last
        target = backend.describe(y.type, after)
        source = describe(library, y.type.sizes, rule(x.type.sizes), x.dtype.name)
        made = Kernel(library, "reorder", source, library.engine, target, library.engine,
                      attributes(library, add if rest else None), slow=True)  # fmt: skip
        if made.implementation.startswith("ref"):
            raise Yielded("its reference implementation")
        return made, source, target

    kernels = [make(*ways)[0] for ways in itertools.product(WAYS, repeat=2)]
    index = tuple(slice(start, stop) for start, stop, _ in ranges)
    count = len(node.inputs)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, (result,) = straight(inputs[0]), outputs
        made, source, target = make(_way(data), _way(result))
        run = made.bind({SRC: (source, data[index]), DST: (target, result)}, workspace)
        if not rest or inputs[count].ctypes.data == result.ctypes.data:
            return run
        return in_turn([lambda: np.copyto(result, inputs[count]), run])

    return Offer(
        f"part {kernels[-1].implementation}",
        bind,
        workspace=max(made.scratch for made in kernels),
        overwrites={0: (count,)} if rest else {},
        arrangements=[
            Arrangement((way, *[None] * (count - 1), *[way] * len(rest)), (way,)) for way in WAYS
        ],
    )


def _way(array: Array) -> Layout:
    """How an array lies: both ways, where it has one channel or one position; what it is cut from
    may still have more."""
    return PLAIN if array.flags.c_contiguous else CHANNELS_LAST


def _chains(backend: OneDnnBackend, node: Node) -> Sequence[Pattern]:
    def offer(nodes: Sequence[Node]) -> Offer | None:
        made, follower = nodes[0].outputs[0], nodes[1]
        values = [value for value in follower.inputs if value is not None]
        if any(value.type != made.type for value in values) or values.count(made) > 1:
            return None
        if follower.order - nodes[0].order > NEAR:
            return None
        try:
            return cut(backend, *nodes)
        except Refused:
            return None

    return [Pattern(("Slice", "Add"), offer)]


CHAINS["", "Slice"] = _chains
