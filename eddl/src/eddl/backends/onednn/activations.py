"""The rectifier with a slope for each channel, and its gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.onednn.backend import OneDnnBackend, Yielded, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import Descriptor, Kernel, attributes, describe, row_major
from eddl.backends.onednn.library import (
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
    Refused,
)
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Node

FEWEST = 1 << 13
"""Elements below which NumPy's calls take no longer."""


def _forward(backend: OneDnnBackend, node: Node) -> tuple[Kernel, Descriptor, Descriptor]:
    x, slope = node.inputs[:2]
    assert x is not None and slope is not None
    sizes, slopes = x.type.sizes, slope.type.sizes
    whole = [1] * (x.rank - len(slopes)) + list(slopes)
    if x.dtype != np.float32 or not 3 <= x.rank <= 5:
        raise Refused(f"received {x.type}; only float32 of 3 to 5 axes is computed here")
    if x.type.count < FEWEST:
        raise Yielded("few elements")
    if whole != [1, sizes[1], *[1] * (x.rank - 2)] and math.prod(whole) != 1:
        raise Refused("slopes other than one a channel or one for all")
    library = backend.library
    data, vector = backend.describe(x.type), describe(library, whole, row_major(whole))
    made = Kernel(library, "prelu_forward", library.engine, FORWARD_TRAINING, data, vector, data,
                  attributes(library))  # fmt: skip
    return made, data, vector


@kernel("PRelu")
def prelu(backend: OneDnnBackend, node: Node) -> Offer:
    """What is below zero times the slope of its channel."""
    made, data, vector = _forward(backend, node)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        return made.bind(
            {SRC: (data, straight(inputs[0])), WEIGHTS: (vector, inputs[1]),
             DST: (data, outputs[0])},
            workspace,
        )  # fmt: skip

    chosen = Arrangement((CHANNELS_LAST, PLAIN), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=made.scratch, overwrites={0: (0,)},
                 arrangements=(chosen,))  # fmt: skip


@kernel("PReluGrad", domain="eddl")
def prelu_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of data and slopes. At zero the slope is that of below, as in torch."""
    hint, data, vector = _forward(backend, node)
    library = backend.library
    made = Kernel(library, "prelu_backward", library.engine, data, vector, data, vector, data,
                  hint.description, attributes(library))  # fmt: skip

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        return made.bind(
            {SRC: (data, straight(inputs[0])), WEIGHTS: (vector, inputs[1]),
             DIFF_DST: (data, straight(inputs[2])), DIFF_SRC: (data, outputs[0]),
             DIFF_WEIGHTS: (vector, outputs[1])},
            workspace,
        )  # fmt: skip

    chosen = Arrangement((CHANNELS_LAST, PLAIN, CHANNELS_LAST), (CHANNELS_LAST, PLAIN))
    return Offer(made.implementation, bind, workspace=made.scratch, overwrites={0: (2,)},
                 arrangements=(chosen,))  # fmt: skip
