"""Concatenation along the channels of values whose channels are last: all parts in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int, c_void_p
from typing import Any

from eddl.backends.onednn.backend import OneDnnBackend, Yielded, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import Kernel, attributes
from eddl.backends.onednn.library import DST, MULTIPLE_SRC
from eddl.compiler.protocol import CHANNELS_LAST, Arrangement, Offer, Thunk
from eddl.graph import Node


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
