"""Tensors made from numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Constant, Node


@kernel("Range")
def range_(backend: ArrayBackend, node: Node) -> Offer:
    """start + i * delta; half precision computes in float32."""
    first, _, step = (v.data.reshape(-1)[0] for v in node.inputs if isinstance(v, Constant))
    dtype = node.outputs[0].dtype
    work = dtype if dtype.kind in "iu" or dtype.itemsize > 2 else np.dtype(np.float32)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, count = backend.xp, outputs[0].size

        def run() -> None:
            steps = xp.arange(count).astype(work) * work.type(step) + work.type(first)
            xp.copyto(outputs[0], steps, casting="unsafe")

        return run

    return Offer("arange", bind)
