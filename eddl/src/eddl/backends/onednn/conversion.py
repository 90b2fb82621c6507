"""Casts between float32 and bfloat16, from layout to layout, and sums of what is cast."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import CHAINS, OneDnnBackend, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import Descriptor
from eddl.backends.onednn.kernels import Kernel
from eddl.backends.onednn.library import DST, FLOATS, SRC, Refused
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Layout, Offer, Pattern, Thunk
from eddl.graph import Constant, Node

Way = tuple[Kernel, Descriptor, Descriptor]
BLOCK = 1 << 15
"""Elements that are summed at once: they stay in a core's second-level cache."""


@kernel("Cast")
def cast(backend: OneDnnBackend, node: Node) -> Offer:
    """A reorder, which may change the layout in passing."""
    x = node.inputs[0]
    assert x is not None
    if x.dtype.name not in FLOATS or not x.type.count:
        raise Refused(f"a cast of {x.type}")
    layouts = (PLAIN, CHANNELS_LAST) if 3 <= x.rank <= 5 else (PLAIN,)
    ways = {pair: _way(backend, node, *pair) for pair in itertools.product(layouts, repeat=2)}

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data = straight(inputs[0]) if inputs[0].ndim > 1 else np.ascontiguousarray(inputs[0])
        made, before, after = ways[_lying(data, layouts), _lying(outputs[0], layouts)]
        return made.bind({SRC: (before, data), DST: (after, outputs[0])})

    return Offer(
        "reorder",
        bind,
        arrangements=[Arrangement((source,), (target,)) for source, target in ways],
    )


def _way(backend: OneDnnBackend, node: Node, source: Layout, target: Layout) -> Way:
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    before, after = backend.describe(x.type, source), backend.describe(y.type, target)
    engine = backend.library.engine
    return Kernel(backend.library, "reorder", before, engine, after, engine, None), before, after


def _lying(array: Any, layouts: Sequence[Layout]) -> Layout:
    return PLAIN if array.flags.c_contiguous else layouts[-1]


def _sums(backend: OneDnnBackend, node: Node) -> Sequence[Pattern]:
    return [Pattern(("Cast", "ReduceSum"), lambda nodes: _offer_sum(backend, *nodes))]


CHAINS["", "Cast"] = _sums


def _offer_sum(backend: OneDnnBackend, node: Node, follower: Node) -> Offer | None:
    """The sums of bfloat16 over all but the channels, in float32 from block to block."""
    x, y = node.inputs[0], follower.outputs[0]
    axes = follower.inputs[1] if len(follower.inputs) > 1 else None
    if (
        x is None
        or x.dtype.name != "bfloat16"
        or not isinstance(axes, Constant)
        or x.rank < 3
        or x.rank > 5
    ):
        return None
    over = sorted(int(axis) % x.rank for axis in axes.data)
    if over != [axis for axis in range(x.rank) if axis != 1] or y.dtype != np.float32:
        return None
    channels = x.type.sizes[1]
    rows = x.type.count // max(channels, 1)
    step = max(BLOCK // max(channels, 1), 1)
    starts = range(0, rows, step)
    parts = backend.threads.split(len(starts))
    count = Workspace()

    def plan(space: Workspace) -> tuple[Any, Any, list[Any]]:
        ones = space.take((step,), np.float32)
        sums = space.take((len(starts), channels), np.float32)
        return ones, sums, [space.take((step, channels), np.float32) for _ in parts]

    plan(count)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data = np.moveaxis(inputs[0], 1, -1).reshape(rows, channels)
        ones, sums, blocks = plan(Workspace(workspace))

        def work(block: Any, first: int, last: int) -> None:
            for index in range(first, last):
                lines = data[starts[index] : starts[index] + step]
                wide = block[: len(lines)]
                np.copyto(wide, lines)
                np.dot(ones[: len(lines)], wide, out=sums[index])

        tasks = [partial(work, block, *part) for block, part in zip(blocks, parts, strict=True)]
        total = outputs[0].reshape(channels)

        def run() -> None:
            ones.fill(1)
            backend.threads.run(tasks)
            np.add.reduce(sums, axis=0, out=total)

        return run

    chosen = Arrangement((CHANNELS_LAST, None), (PLAIN,))
    return Offer("sums", bind, workspace=count.used, arrangements=(chosen,))
