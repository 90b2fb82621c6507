"""Joining and cutting values whose channels are last, all threads together."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int, c_void_p
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.onednn.backend import CHAINS, OneDnnBackend, Yielded, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import (
    Kernel,
    Operations,
    attributes,
    channels_last,
    describe,
    single,
)
from eddl.backends.onednn.library import DST, MULTIPLE_SRC, SRC, Refused
from eddl.compiler.protocol import CHANNELS_LAST, Arrangement, Offer, Pattern, Thunk
from eddl.graph import Node
from eddl.ops.arrangement import slice_ranges


@kernel("Concat")
def concat(backend: OneDnnBackend, node: Node) -> Offer:
    """Every part is copied to its channels, the threads sharing the samples and positions."""
    y = node.outputs[0]
    parts = [value for value in node.inputs if value is not None]
    if not 3 <= y.rank <= 5 or node.attributes["axis"] % y.rank != 1:
        raise Yielded("not along the channels")
    if any(part.node is not None and part.node.op == "ConvWeightGrad" for part in parts):
        raise Yielded("gradients of weights, which end as ONNX lays them out")
    library, target = backend.library, backend.describe(y.type)
    sources = [backend.describe(part.type) for part in parts]
    made = Kernel(
        library, "concat", library.engine, target, c_int(len(parts)), c_int(1),
        (c_void_p * len(parts))(*(source._as_parameter_ for source in sources)),
        attributes(library), slow=True,
    )  # fmt: skip
    if made.implementation.startswith("ref"):
        raise Yielded("its reference implementation")

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        pairs = enumerate(zip(sources, map(straight, inputs), strict=True), MULTIPLE_SRC)
        return made.bind({**dict(pairs), DST: (target, outputs[0])}, workspace)

    chosen = Arrangement((CHANNELS_LAST,) * len(parts), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=made.scratch, arrangements=(chosen,))


@kernel("Slice")
def cut(backend: OneDnnBackend, node: Node, *rest: Node) -> Offer:
    """A copy of a part; an addition behind it, as gradients of joined values have it, is done in
    the same pass."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    ranges = slice_ranges(node)
    if not 3 <= y.rank <= 5 or any(step != 1 for _, _, step in ranges) or not y.type.count:
        raise Yielded("not a dense part")
    if x.node is None:
        raise Yielded("a part of weights, which lie as ONNX lays them out")
    library, target = backend.library, backend.describe(y.type)
    source = describe(library, y.type.sizes, channels_last(x.type.sizes))

    def add(operations: Operations) -> None:
        library.call("post_ops_append_sum", operations, single(1.0), 0, 0)

    made = Kernel(library, "reorder", source, library.engine, target, library.engine,
                  attributes(library, add if rest else None), slow=True)  # fmt: skip
    if made.implementation.startswith("ref"):
        raise Yielded("its reference implementation")
    index = tuple(slice(start, stop) for start, stop, _ in ranges)
    count = len(node.inputs)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data = np.moveaxis(np.ascontiguousarray(np.moveaxis(inputs[0], 1, -1)), -1, 1)
        run = made.bind({SRC: (source, data[index]), DST: (target, outputs[0])}, workspace)
        if not rest or inputs[count].ctypes.data == outputs[0].ctypes.data:
            return run
        return in_turn([lambda: np.copyto(outputs[0], inputs[count]), run])

    layouts = (CHANNELS_LAST, *[None] * (count - 1), *[CHANNELS_LAST] * len(rest))
    return Offer(
        f"reorder {made.implementation}",
        bind,
        workspace=made.scratch,
        overwrites={0: (count,)} if rest else {},
        arrangements=(Arrangement(layouts, (CHANNELS_LAST,)),),
    )


def _chains(backend: OneDnnBackend, node: Node) -> Sequence[Pattern]:
    def offer(nodes: Sequence[Node]) -> Offer | None:
        made, follower = nodes[0].outputs[0], nodes[1]
        values = [value for value in follower.inputs if value is not None]
        if any(value.type != made.type for value in values) or values.count(made) > 1:
            return None
        try:
            return cut(backend, *nodes)
        except Refused:
            return None

    return [Pattern(("Slice", "Add"), offer)]


CHAINS["", "Slice"] = _chains
