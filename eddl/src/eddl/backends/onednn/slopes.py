"""The rectifier with a slope for each channel, or one for all, and its gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.activations import FEWEST
from eddl.backends.onednn.backend import OneDnnBackend, Yielded, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import describe, row_major
from eddl.backends.onednn.kernels import Kernel, attributes
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


class _Slopes:
    """The slopes of a PRelu, one a channel; a single one is given to all channels before."""

    def __init__(self, backend: OneDnnBackend, node: Node) -> None:
        x, slope = node.inputs[:2]
        assert x is not None and slope is not None
        sizes = [1] * (x.rank - slope.rank) + list(slope.type.sizes)
        if not 3 <= x.rank <= 5 or slope.dtype != x.dtype:
            raise Refused(f"received {x.type} with {slope.type}; expected 3 to 5 axes of one type")
        if x.type.count < FEWEST and x.dtype == np.float32:
            raise Yielded("few elements")
        wide = [1, x.type.sizes[1], *[1] * (x.rank - 2)]
        self.single = math.prod(sizes) == 1 < wide[1]
        if sizes != wide and not self.single:
            raise Refused("slopes other than one a channel or one for all")
        self.shape, library = wide, backend.library
        kind = "float32" if self.single else slope.dtype.name
        self.data = backend.describe(x.type)
        self.vector = describe(library, wide, row_major(wide), kind)
        self.forward = Kernel(library, "prelu_forward", library.engine, FORWARD_TRAINING, self.data,
                              self.vector, self.data, attributes(library))  # fmt: skip

    def take(self, space: Workspace) -> Any:
        """Memory for the slope of all channels."""
        return space.take(self.shape if self.single else (0,), np.float32)

    def spread(self, slope: Any, memory: Any) -> tuple[Any, list[Thunk]]:
        """The slopes of the channels, and the calls that write them."""
        if not self.single:
            return slope, []
        return memory, [lambda: np.copyto(memory, slope.reshape(()), casting="same_kind")]


@kernel("PRelu")
def prelu(backend: OneDnnBackend, node: Node) -> Offer:
    """What is below zero times the slope of its channel."""
    slopes = _Slopes(backend, node)
    made, data, need = slopes.forward, slopes.data, Workspace()

    def plan(space: Workspace) -> tuple[Any, Any]:
        return slopes.take(space), space.take((made.scratch,), np.uint8)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        memory, scratch = plan(Workspace(workspace))
        vector, calls = slopes.spread(inputs[1], memory)
        run = made.bind(
            {SRC: (data, straight(inputs[0])), WEIGHTS: (slopes.vector, vector),
             DST: (data, outputs[0])},
            scratch,
        )  # fmt: skip
        return in_turn([*calls, run])

    chosen = Arrangement((CHANNELS_LAST, PLAIN), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=need.used, overwrites={0: (0,)},
                 arrangements=(chosen,))  # fmt: skip


@kernel("PReluGrad", domain="eddl")
def prelu_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of data and slopes. At zero the slope is that of below, as in torch."""
    slopes, library = _Slopes(backend, node), backend.library
    data, need = slopes.data, Workspace()
    made = Kernel(library, "prelu_backward", library.engine, data, slopes.vector, data,
                  slopes.vector, data, slopes.forward, attributes(library))  # fmt: skip

    def plan(space: Workspace) -> tuple[Any, Any, Any]:
        vectors = [slopes.take(space) for _ in range(2)]
        return vectors[0], vectors[1], space.take((made.scratch,), np.uint8)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        memory, each, scratch = plan(Workspace(workspace))
        vector, calls = slopes.spread(inputs[1], memory)
        run = made.bind(
            {SRC: (data, straight(inputs[0])), WEIGHTS: (slopes.vector, vector),
             DIFF_DST: (data, straight(inputs[2])), DIFF_SRC: (data, outputs[0]),
             DIFF_WEIGHTS: (slopes.vector, each if slopes.single else outputs[1])},
            scratch,
        )  # fmt: skip
        if not slopes.single:
            return run
        return in_turn([*calls, run, lambda: outputs[1].fill(np.add.reduce(each, axis=None))])

    chosen = Arrangement((CHANNELS_LAST, PLAIN, CHANNELS_LAST), (CHANNELS_LAST, PLAIN))
    return Offer(made.implementation, bind, workspace=need.used, overwrites={0: (2,)},
                 arrangements=(chosen,))  # fmt: skip
