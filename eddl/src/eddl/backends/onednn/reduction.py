"""Sums and means of all elements: of rows first, by oneDNN on all threads, then of those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import OneDnnBackend, kernel
from eddl.backends.onednn.elementwise import flattened
from eddl.backends.onednn.handles import describe, single
from eddl.backends.onednn.kernels import Kernel, attributes
from eddl.backends.onednn.library import DST, REDUCTION_SUM, SRC, Refused
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Node

FEWEST = 1 << 15
"""Elements below which NumPy is faster."""

ROW = 1 << 12
"""Elements that are added one after the other, in as many lanes as a vector has; the fewer they
are, the less rounding there is."""


@kernel("ReduceSum", "ReduceMean")
def reduce_all(backend: OneDnnBackend, node: Node) -> Offer:
    """The sum of all elements, in the order of memory."""
    x = node.inputs[0]
    assert x is not None
    count = x.type.count
    if x.dtype != np.float32 or node.outputs[0].type.count != 1 or count < FEWEST:
        raise Refused("a small sum, one of several results, or of a type other than float32")
    rows = count // ROW
    size = count // rows
    library = backend.library
    source = describe(library, [rows, size], [size, 1])
    target = describe(library, [rows, 1], [1, 1])
    made = Kernel(library, "reduction", library.engine, REDUCTION_SUM, source, target, single(0.0),
                  single(0.0), attributes(library))  # fmt: skip
    need = Workspace()

    def plan(space: Workspace) -> tuple[Any, Any]:
        return space.take((rows,), np.float32), space.take((made.scratch,), np.uint8)

    plan(need)
    share = np.float32(1.0 / count if node.op == "ReduceMean" else 1.0)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        elements, result = flattened(inputs[0]), outputs[0].reshape(())
        sums, spare = plan(Workspace(workspace))
        rest = elements[rows * size :]
        run = made.bind({SRC: (source, elements), DST: (target, sums)}, spare)

        def total() -> None:
            run()
            result[...] = (np.add.reduce(sums) + np.add.reduce(rest)) * share

        return total

    lies = PLAIN, CHANNELS_LAST
    others = (PLAIN,) * (len(node.inputs) - 1)
    chosen = tuple(Arrangement((layout, *others), (PLAIN,)) for layout in lies)
    return Offer(made.implementation, bind, workspace=need.used,
                 arrangements=chosen if 3 <= x.rank <= 5 else ())  # fmt: skip
