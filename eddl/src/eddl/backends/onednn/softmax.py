"""Soft maxima along what lies innermost: the last axis or the channels.

Their logarithms are left to NumPy: oneDNN's are wrong by 4e-6, and a training on them strays from
one in float64 a hundred times as far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.onednn.backend import OneDnnBackend, kernel
from eddl.backends.onednn.elementwise import flattened
from eddl.backends.onednn.handles import describe
from eddl.backends.onednn.kernels import Kernel, attributes
from eddl.backends.onednn.library import (
    DST,
    FORWARD_TRAINING,
    SOFTMAX,
    SRC,
    Refused,
)
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Node

NARROW, FEW = 16, 1 << 12
"""The length of a row, and the number of shorter ones, from which on oneDNN is faster."""


@kernel("Softmax")
def softmax(backend: OneDnnBackend, node: Node) -> Offer:
    """A matrix whose rows are independent. Where one number is not one, its own result is not one
    either; the array backend says so of the whole row."""
    x = node.inputs[0]
    assert x is not None
    axis = node.attributes["axis"] % max(x.rank, 1)
    channels = axis == 1 and 3 <= x.rank <= 5
    if x.dtype != np.float32 or not x.rank or not (channels or axis == x.rank - 1):
        raise Refused("another type than float32, or another axis than the last or the channels'")
    library, size = backend.library, x.type.sizes[axis]
    rows = x.type.count // max(size, 1)
    if not rows or (size < NARROW and rows > FEW):
        raise Refused("many short rows, which NumPy computes side by side")
    matrix = describe(library, [rows, size], [size, 1])
    made = Kernel(library, "softmax_forward", library.engine, FORWARD_TRAINING, SOFTMAX, matrix,
                  matrix, 1, attributes(library))  # fmt: skip
    layout = CHANNELS_LAST if channels else PLAIN

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, result = inputs[0], outputs[0]
        if channels:
            data, result = (np.moveaxis(v, 1, -1) for v in (data, result))
        return made.bind(
            {SRC: (matrix, np.ascontiguousarray(data)), DST: (matrix, flattened(result))}, workspace
        )

    return Offer(made.implementation, bind, workspace=made.scratch, overwrites={0: (0,)},
                 arrangements=(Arrangement((layout,), (layout,)),))  # fmt: skip
