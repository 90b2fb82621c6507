"""Concatenation along the channels: all parts in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int, c_void_p
from typing import Any

import numpy as np

from eddl.backends.onednn.backend import OneDnnBackend, Yielded, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import Descriptor, Kernel, attributes
from eddl.backends.onednn.library import DST, MULTIPLE_SRC
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Layout, Offer, Thunk
from eddl.graph import Node


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
            (c_void_p * len(parts))(*(source._as_parameter_ for source in sources)),
            attributes(library), slow=True,
        )  # fmt: skip
        if made.implementation.startswith("ref"):
            raise Yielded("its reference implementation")
        return made, sources, target

    ways = {layout: make(layout) for layout in (CHANNELS_LAST, PLAIN)}

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        (result,) = outputs
        layout = PLAIN if result.flags.c_contiguous else CHANNELS_LAST
        made, sources, target = ways[layout]
        lie = np.ascontiguousarray if layout == PLAIN else straight
        pairs = enumerate(zip(sources, map(lie, inputs), strict=True), MULTIPLE_SRC)
        return made.bind({**dict(pairs), DST: (target, result)}, workspace)

    return Offer(
        ways[PLAIN][0].implementation,
        bind,
        workspace=max(made.scratch for made, _, _ in ways.values()),
        arrangements=[Arrangement((way,) * len(parts), (way,)) for way in ways],
    )
