"""Pools: one pass over the input for each position of the window."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.convolution import Unfolding, Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.pooling import windows_of


def _taps(un: Unfolding) -> list[tuple[slice, ...]]:
    """For each position of the window, the padded input's elements that stand there."""
    return [
        tuple(
            slice(o * d, o * d + (size - 1) * s + 1, s)
            for o, d, s, size in zip(offset, un.dilations, un.strides, un.output, strict=True)
        )
        for offset in itertools.product(*map(range, un.kernel))
    ]


def _over_samples(backend: ArrayBackend, samples: int, work: Any) -> Thunk:
    parts = backend.threads.split(samples)
    tasks = [partial(work, t, a, b) for t, (a, b) in enumerate(parts)]
    return lambda: backend.threads.run(tasks)


@kernel("MaxPool")
def max_pool(backend: ArrayBackend, node: Node) -> Offer:
    """The greatest element of each window and, where it is read, its position in the window."""
    x = node.inputs[0]
    assert x is not None
    un, shape = Unfolding.of(windows_of(node)), x.type.sizes
    sizes = [b + n + a for n, b, a in zip(shape[2:], un.before, un.after, strict=True)]
    pooled = node.outputs[0].type.sizes
    lowest: Any = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    threads = backend.threads.count
    share = -(-shape[0] // threads)
    count = Workspace()

    def plan(space: Workspace) -> tuple[Any, list[Any]]:
        padded = space.take((*shape[:2], *sizes), x.dtype) if un.padded else None
        masks = [space.take((share, *pooled[1:]), bool) for _ in range(threads)]
        return padded, masks

    plan(count)
    inside = tuple(slice(b, b + n) for b, n in zip(un.before, shape[2:], strict=True))
    taps = _taps(un)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, data, (best, chosen) = backend.xp, inputs[0], outputs
        padded, masks = plan(Workspace(workspace))

        def work(thread: int, start: int, stop: int) -> None:
            source: Array = data[start:stop]
            if padded is not None:
                source = padded[start:stop]
                source.fill(lowest)
                xp.copyto(source[(slice(None), slice(None), *inside)], data[start:stop])
            out, mask = best[start:stop], masks[thread][: stop - start]
            for index, tap in enumerate(taps):
                candidate = source[(slice(None), slice(None), *tap)]
                if index == 0:
                    xp.copyto(out, candidate)
                    if chosen is not None:
                        chosen[start:stop].fill(0)
                elif chosen is None:
                    xp.maximum(out, candidate, out=out)
                else:
                    xp.greater(candidate, out, out=mask)
                    xp.copyto(out, candidate, where=mask)
                    xp.copyto(chosen[start:stop], index, where=mask)

        return _over_samples(backend, shape[0], work)

    return Offer("taps", bind, workspace=count.used, optional=frozenset({1}))


@kernel("MaxPoolGrad", domain="eddl")
def max_pool_grad(backend: ArrayBackend, node: Node) -> Offer:
    """Each window's gradient goes to the element it chose."""
    dy = node.inputs[0]
    assert dy is not None
    un, shape = Unfolding.of(windows_of(node)), node.attributes["shape"]
    sizes = [b + n + a for n, b, a in zip(shape[2:], un.before, un.after, strict=True)]
    pooled, threads = dy.type.sizes, backend.threads.count
    share = -(-shape[0] // threads)
    count = Workspace()

    def plan(space: Workspace) -> tuple[Any, list[Any], list[Any]]:
        padded = space.take((*shape[:2], *sizes), dy.dtype) if un.padded else None
        masks = [space.take((share, *pooled[1:]), bool) for _ in range(threads)]
        parts = [space.take((share, *pooled[1:]), dy.dtype) for _ in range(threads)]
        return padded, masks, parts

    plan(count)
    inside = tuple(slice(b, b + n) for b, n in zip(un.before, shape[2:], strict=True))
    taps = _taps(un)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, (gradient, chosen), result = backend.xp, inputs, outputs[0]
        padded, masks, parts = plan(Workspace(workspace))

        def work(thread: int, start: int, stop: int) -> None:
            target = (result if padded is None else padded)[start:stop]
            mask, part = masks[thread][: stop - start], parts[thread][: stop - start]
            target.fill(0)
            for index, tap in enumerate(taps):
                xp.equal(chosen[start:stop], index, out=mask)
                xp.multiply(gradient[start:stop], mask, out=part)
                place = target[(slice(None), slice(None), *tap)]
                xp.add(place, part, out=place)
            if padded is not None:
                xp.copyto(result[start:stop], target[(slice(None), slice(None), *inside)])

        return _over_samples(backend, shape[0], work)

    return Offer("taps", bind, workspace=count.used)
