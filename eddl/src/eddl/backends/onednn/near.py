"""Normalization over near channels (LRN), and its gradient, which makes the sums of squares anew.

Only for 3 and 5 channels: oneDNN 3.2 gives wrong gradients for more, and dies of those for one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes import c_int, c_int64
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import OneDnnBackend, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import Descriptor, channels_last, describe, single
from eddl.backends.onednn.kernels import Kernel, attributes
from eddl.backends.onednn.library import (
    DIFF_DST,
    DIFF_SRC,
    DST,
    FORWARD_INFERENCE,
    FORWARD_TRAINING,
    LRN_ACROSS_CHANNELS,
    SRC,
    WORKSPACE,
    Refused,
)
from eddl.compiler.protocol import CHANNELS_LAST, Arrangement, Offer, Thunk
from eddl.graph import Node


def _forward(backend: OneDnnBackend, node: Node, kind: int) -> tuple[Kernel, Descriptor, list[Any]]:
    """The forward kernel, the data as planes, and the numbers that a kernel takes."""
    x, size = node.inputs[0], node.attributes["size"]
    assert x is not None
    if x.dtype != np.float32 or not 3 <= x.rank <= 5 or size not in (3, 5):
        raise Refused(f"{x.type}, or {size} near channels")
    samples, channels, *space = x.type.sizes
    dims, library = [samples, channels, math.prod(space), 1], backend.library
    planes = describe(library, dims, channels_last(dims))
    numbers = [c_int64(size), *(single(node.attributes[key]) for key in ("alpha", "beta", "bias"))]
    made = Kernel(library, "lrn_forward", library.engine, kind, c_int(LRN_ACROSS_CHANNELS), planes,
                  planes, *numbers, attributes(library))  # fmt: skip
    return made, planes, numbers


@kernel("LRN")
def local_response_norm(backend: OneDnnBackend, node: Node) -> Offer:
    """Each element over a power of the squares of its near channels."""
    made, planes, _ = _forward(backend, node, FORWARD_INFERENCE)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        return made.bind({SRC: (planes, straight(inputs[0])), DST: (planes, outputs[0])}, workspace)

    chosen = Arrangement((CHANNELS_LAST,), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=made.scratch, arrangements=(chosen,))


@kernel("LRNGrad", domain="eddl")
def local_response_norm_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradient of the data."""
    hint, planes, numbers = _forward(backend, node, FORWARD_TRAINING)
    library = backend.library
    made = Kernel(library, "lrn_backward", library.engine, c_int(LRN_ACROSS_CHANNELS), planes,
                  planes, planes, *numbers, hint, attributes(library))  # fmt: skip
    powers, need = hint.descriptor(WORKSPACE), Workspace()

    def plan(space: Workspace) -> tuple[Any, Any]:
        scratch = space.take((max(made.scratch, hint.scratch),), np.uint8)
        return space.take((powers.nbytes,), np.uint8), scratch

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, flow = map(straight, inputs)
        kept, scratch = plan(Workspace(workspace))
        source, result = (planes, data), (planes, outputs[0])
        forward = hint.bind({SRC: source, DST: result, WORKSPACE: (powers, kept)}, scratch)
        backward = made.bind(
            {SRC: source, DIFF_DST: (planes, flow), DIFF_SRC: result, WORKSPACE: (powers, kept)},
            scratch,
        )
        return in_turn([forward, backward])

    chosen = Arrangement((CHANNELS_LAST, CHANNELS_LAST), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=need.used, arrangements=(chosen,))
