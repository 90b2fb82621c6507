"""Products of sparse matrices with the lines along one axis, one pass for each tap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.backends.array.unfolding import Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Constant, Node


@kernel("Resample", domain="eddl")
def resample(backend: ArrayBackend, node: Node) -> Offer:
    """The weighted rows of each tap, added up."""
    x, indices, weights = node.inputs
    assert x is not None and isinstance(indices, Constant) and isinstance(weights, Constant)
    axis, sizes = node.attributes["axis"], x.type.sizes
    outer, inner = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
    rows, taps = indices.data.shape
    single = taps == 1 and bool(np.all(weights.data == 1))
    parts = backend.threads.split(outer)
    share = -(-outer // max(len(parts), 1))
    need = Workspace()

    def plan(space: Workspace) -> list[Any]:
        return [None if single else space.take((share, rows, inner), x.dtype) for _ in parts]

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp
        source = inputs[0].reshape(outer, sizes[axis], inner)
        target = outputs[0].reshape(outer, rows, inner)
        tables = [
            (xp.asarray(indices.data[:, t].copy()), xp.asarray(weights.data[:, t, None].copy()))
            for t in range(taps)
        ]
        buffers = plan(Workspace(workspace))

        def work(thread: int, start: int, stop: int) -> None:
            data, out = source[start:stop], target[start:stop]
            for tap, (places, factors) in enumerate(tables):
                picked = buffers[thread][: stop - start] if tap else out
                xp.take(data, places, axis=1, out=picked, mode="clip")
                if not single:
                    xp.multiply(picked, factors, out=picked)
                if tap:
                    xp.add(out, picked, out=out)

        tasks = [partial(work, t, a, b) for t, (a, b) in enumerate(parts)]
        return lambda: backend.threads.run(tasks)

    return Offer("taps", bind, workspace=need.used)
