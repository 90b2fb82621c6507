"""oneDNN's convolutions along the last axis, of one place of transformed tiles, and their weights.

They are made for one thread: threads share the tiles, and each makes its own calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.onednn.backend import OneDnnBackend
from eddl.backends.onednn.handles import channels_last, describe, longs, row_major
from eddl.backends.onednn.kernels import Kernel, attributes
from eddl.backends.onednn.library import (
    CONVOLUTION_DIRECT,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
)
from eddl.backends.onednn.tiles import Shape
from eddl.compiler.protocol import Thunk
from eddl.ops.windows import Windows

Array = np.ndarray[Any, Any]


class Line:
    """A convolution, or its gradient by the data or by the weights, for as many lines as a thread
    transforms at a time; `size` numbers, which lie as
    `packed` says, are the weights of a place.

    Whoever makes the calls tells oneDNN to work on one thread (`Library.alone`).
    """

    def __init__(
        self, backend: OneDnnBackend, shape: Shape, windows: Windows, weights: Sequence[int]
    ) -> None:
        self.library = library = backend.library
        self.weights = tuple(weights)
        kind = shape.kind
        turned = kind == "data"
        near = (shape.lines, shape.channels, shape.line)
        far = (shape.lines, shape.filters, shape.result)
        large, small = (far, near) if turned else (near, far)
        self._near, self._far = (describe(library, d, channels_last(d)) for d in (near, far))
        ends = (self._far, self._near) if turned else (self._near, self._far)
        sizes = (small[1], large[1], shape.taps)
        wanted = describe(library, sizes)
        geometry = [longs([1]), longs([0]), longs(windows.before[-1:]), longs(windows.after[-1:])]
        with library.alone():
            made = forward = Kernel(
                library, "convolution_forward", library.engine, FORWARD_TRAINING,
                CONVOLUTION_DIRECT, ends[0], wanted, None, ends[1], *geometry,
                attributes(library), slow=kind != "forward", shared=True,
            )  # fmt: skip
            if turned:
                made = Kernel(
                    library, "convolution_backward_data", library.engine, CONVOLUTION_DIRECT,
                    ends[0], wanted, ends[1], *geometry, forward, attributes(library),
                    shared=True,
                )  # fmt: skip
            elif kind == "weights":
                made = Kernel(
                    library, "convolution_backward_weights", library.engine, CONVOLUTION_DIRECT,
                    ends[0], wanted, None, ends[1], *geometry, forward,
                    attributes(library), shared=True,
                )  # fmt: skip
        self._kernel = made
        self._numbers = {"forward": (SRC, WEIGHTS, DST), "data": (DIFF_DST, WEIGHTS, DIFF_SRC),
                         "weights": (SRC, DIFF_WEIGHTS, DIFF_DST)}[kind]  # fmt: skip
        self.packed = made.descriptor(self._numbers[1], sizes)
        self.size = self.packed.nbytes // 4
        self.scratch, self.name = made.scratch, made.implementation
        strides = row_major(weights)
        self._plain = describe(library, (*weights[:2], weights[-1]), (*strides[:2], strides[-1]))
        back = kind == "weights"
        self._ends = (self.packed, self._plain) if back else (self._plain, self.packed)
        with library.alone():
            self._reorder = Kernel(library, "reorder", self._ends[0], library.engine, self._ends[1],
                                   library.engine, None, slow=True, shared=True)  # fmt: skip

    def bind(self, near: Array, weights: Array, far: Array, scratch: Array) -> list[Thunk]:
        """The calls for places, which are the first axis of all but `scratch`."""
        with self.library.alone():
            return [
                self._kernel.bind(dict(zip(self._numbers, ends, strict=True)), scratch)
                for a, w, b in zip(near, weights, far, strict=True)
                for ends in [((self._near, a), (self.packed, w), (self._far, b))]
            ]

    def pack(self, plain: Array, packed: Array, *, out: bool = False) -> list[Thunk]:
        """Bring weights, a slice for each tap of the other axes, into the layout that is wanted, or
        `out` of it."""
        slices = np.moveaxis(plain.reshape(*self.weights[:2], -1, self.weights[-1]), 2, 0)
        first, last = (packed, slices) if out else (slices, packed)
        with self.library.alone():
            return [
                self._reorder.bind({SRC: (self._ends[0], a), DST: (self._ends[1], b)})
                for a, b in zip(first, last, strict=True)
            ]
