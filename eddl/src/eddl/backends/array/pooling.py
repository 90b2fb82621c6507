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
    """The greatest element of each window and, where they are read, its index and its tap."""
    x = node.inputs[0]
    assert x is not None
    un, shape = Unfolding.of(windows_of(node)), x.type.sizes
    sizes = [b + n + a for n, b, a in zip(shape[2:], un.before, un.after, strict=True)]
    pooled = node.outputs[0].type.sizes
    lowest: Any = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
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
        xp, data, (best, places, chosen) = backend.xp, inputs[0], outputs
        if places is not None and chosen is None:
            chosen = xp.empty(pooled, node.outputs[2].dtype)
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
            if places is not None:
                _find(node, un, chosen, places, start, stop)

        return _over_samples(backend, shape[0], work)

    return Offer("taps", bind, workspace=count.used, optional=frozenset({1, 2}))


def _find(node: Node, un: Unfolding, chosen: Array, indices: Array, start: int, stop: int) -> None:
    """Write the flat indices of what the windows of some samples chose."""
    x = node.inputs[0]
    assert x is not None
    shape = x.type.sizes
    places = _positions(un, shape, chosen[start:stop], node.attributes["storage_order"])
    first = np.arange(start * shape[1], stop * shape[1]) * int(np.prod(shape[2:]))
    np.add(places, first.reshape(-1, shape[1], *[1] * len(un.kernel)), out=indices[start:stop])


def indices(node: Node, chosen: Array, target: Array) -> Thunk:
    """The call that turns positions within windows into MaxPool's output Indices."""
    return partial(_find, node, Unfolding.of(windows_of(node)), chosen, target, 0, len(target))


def _positions(un: Unfolding, shape: Sequence[int], chosen: Array, columns: int) -> Array:
    """The flat position in its plane of each window's chosen tap, by rows or by columns."""
    offsets = np.indices(un.kernel).reshape(len(un.kernel), -1)
    axes = list(range(len(un.kernel)))
    total: Any = 0
    for axis in reversed(axes) if columns else axes:
        first = np.arange(un.output[axis]) * un.strides[axis] - un.before[axis]
        first = first.reshape(-1, *[1] * (axes[-1] - axis))
        place = first + offsets[axis][chosen] * un.dilations[axis]
        total = total * shape[2 + axis] + place
    found: Array = total
    return found


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


def _clipped(un: Unfolding, sizes: Sequence[int]) -> list[tuple[Any, Any]]:
    """For each position of the window: the outputs for which it lies inside, and the inputs."""
    pairs = []
    for offset in itertools.product(*map(range, un.kernel)):
        results, sources = [slice(None)] * 2, [slice(None)] * 2
        for o, d, s, low, count, size in zip(
            offset, un.dilations, un.strides, un.before, un.output, sizes, strict=True
        ):
            begin = o * d - low
            first = max(-(begin // s), 0)
            last = min((size - 1 - begin) // s, count - 1)
            results.append(slice(first, max(last + 1, first)))
            start = begin + first * s
            sources.append(slice(start, max(begin + last * s + 1, start), s))
        pairs.append((tuple(results), tuple(sources)))
    return pairs


@kernel("SumPool", "SumPoolGrad", domain="eddl")
def sum_pool(backend: ArrayBackend, node: Node) -> Offer:
    """Windows summed up tap by tap, or their gradient given to every element of a window."""
    back = node.op == "SumPoolGrad"
    sizes = (node.outputs[0] if back else node.inputs[0]).type.sizes  # type: ignore[union-attr]
    taps = _clipped(Unfolding.of(windows_of(node)), sizes[2:])

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp

        def work(thread: int, start: int, stop: int) -> None:
            source, target = inputs[0][start:stop], outputs[0][start:stop]
            target.fill(0)
            for pooled, plain in taps:
                to, of = (plain, pooled) if back else (pooled, plain)
                xp.add(target[to], source[of], out=target[to])

        return _over_samples(backend, sizes[0], work)

    return Offer("taps", bind)
