"""Pools: one pass over the input for each position of the window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.convolution import plain
from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Unfolding, Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.pooling import windows_of

PIECE = 1 << 18
"""Bytes of planes that are pooled at once: they stay in a core's cache from tap to tap."""


class Phases:
    """Padded planes, their last axis split by the stride: a tap of all windows lies side by side.

    `shape`, of a plane; `taps`, for each position of the window where it finds its elements;
    `pairs`, places in planes and what stands there in the array without padding.
    """

    def __init__(self, un: Unfolding, sizes: Sequence[int]) -> None:
        step, low = un.strides[-1], un.before[-1]
        padded = [b + n + a for n, b, a in zip(sizes, un.before, un.after, strict=True)]
        self.shape = (*padded[:-1], step, -(-padded[-1] // step))
        self.plain = step == 1 and not un.padded
        self.taps = [
            (
                slice(None),
                *(slice(o * d, o * d + (size - 1) * s + 1, s) for o, d, s, size in outer),
                last * un.dilations[-1] % step,
                slice(at := last * un.dilations[-1] // step, at + un.output[-1]),
            )
            for *offset, last in itertools.product(*map(range, un.kernel))
            for outer in [[*zip(offset, un.dilations, un.strides, un.output, strict=False)]]
        ]
        inside = [slice(b, b + n) for b, n in zip(un.before[:-1], sizes[:-1], strict=True)]
        self.pairs = []
        for phase in range(min(step, sizes[-1])):
            place = (phase + low) // step
            count = len(range(phase, sizes[-1], step))
            where = ((phase + low) % step, slice(place, place + count))
            self.pairs.append(((slice(None), *inside, *where), (..., slice(phase, None, step))))

    def planes(self, array: Array) -> Array:
        """[N, C, ...] as planes; of what is plain, as planes of `shape`."""
        planes = array.reshape(-1, *array.shape[2:])
        return planes.reshape(-1, *self.shape) if self.plain else planes

    def over(
        self, backend: ArrayBackend, count: int, itemsize: int, work: Callable[..., None]
    ) -> list[Thunk]:
        """The tasks that make `work(thread, start, stop)` go over so many planes, a piece each."""
        return [
            in_turn([partial(work, t, i, min(i + self.piece(itemsize), stop))
                     for i in range(start, stop, self.piece(itemsize))])
            for t, (start, stop) in enumerate(backend.threads.split(count))
        ]  # fmt: skip

    def piece(self, itemsize: int) -> int:
        """How many planes are pooled at once."""
        return max(PIECE // (math.prod(self.shape) * itemsize), 1)


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
    phases, count = Phases(un, shape[2:]), Workspace()
    pooled, saved = node.outputs[0].type.sizes, node.outputs[2].dtype
    lowest: Any = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    piece = min(phases.piece(x.dtype.itemsize), shape[0] * shape[1])

    def plan(space: Workspace) -> list[Any]:
        size = 0 if phases.plain else piece
        return [
            (
                space.take((size, *phases.shape), x.dtype),
                space.take((piece, *un.output), bool),
                space.take((piece, *un.output), saved),
            )
            for _ in range(backend.threads.count)
        ]

    plan(count)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, data, (best, places, chosen) = backend.xp, phases.planes(plain(inputs[0])), outputs
        if places is not None and chosen is None:
            chosen = xp.empty(pooled, saved)
        rooms = plan(Workspace(workspace))
        greatest = best.reshape(-1, *un.output)
        marks = None if chosen is None else chosen.reshape(-1, *un.output)

        def work(thread: int, start: int, stop: int) -> None:
            source, mask, numbers = (room[: stop - start] for room in rooms[thread])
            if phases.plain:
                source = data[start:stop]
            else:
                if un.padded:
                    source.fill(lowest)
                for place, part in phases.pairs:
                    xp.copyto(source[place], data[start:stop][part])
            out = greatest[start:stop]
            for index, tap in enumerate(phases.taps):
                candidate = source[tap]
                if index == 0:
                    xp.copyto(out, candidate)
                    if marks is not None:
                        marks[start:stop].fill(0)
                    continue
                if marks is not None:
                    # Later numbers are greater, so the last tap that was greater stays.
                    xp.greater(candidate, out, out=mask)
                    xp.multiply(mask.view(np.uint8), saved.type(index), out=numbers)
                    xp.maximum(marks[start:stop], numbers, out=marks[start:stop])
                xp.maximum(out, candidate, out=out)

        tasks = phases.over(backend, len(data), x.dtype.itemsize, work)

        def run() -> None:
            backend.threads.run(tasks)
            if places is not None:
                _find(node, un, chosen, places, 0, shape[0])

        return run

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
    phases, count = Phases(un, shape[2:]), Workspace()
    piece = min(phases.piece(dy.dtype.itemsize), shape[0] * shape[1])
    covers = all(s == k and n == o * k for s, k, n, o in zip(
        un.strides, un.kernel, shape[2:], un.output, strict=True)) and not un.padded  # fmt: skip

    def plan(space: Workspace) -> list[Any]:
        size = 0 if phases.plain else piece
        return [
            (
                space.take((size, *phases.shape), dy.dtype),
                space.take((piece, *un.output), bool),
                space.take((piece, *un.output), dy.dtype),
            )
            for _ in range(backend.threads.count)
        ]

    plan(count)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, result = backend.xp, phases.planes(outputs[0])
        gradient, chosen = (plain(a).reshape(-1, *un.output) for a in inputs)
        rooms = plan(Workspace(workspace))

        def work(thread: int, start: int, stop: int) -> None:
            target, mask, part = (room[: stop - start] for room in rooms[thread])
            if phases.plain:
                target = result[start:stop]
            if not covers:
                target.fill(0)
            for index, tap in enumerate(phases.taps):
                xp.equal(chosen[start:stop], index, out=mask)
                place = target[tap]
                xp.multiply(gradient[start:stop], mask, out=place if covers else part)
                if not covers:
                    xp.add(place, part, out=place)
            if not phases.plain:
                for place, whole in phases.pairs:
                    xp.copyto(result[start:stop][whole], target[place])

        tasks = phases.over(backend, len(gradient), dy.dtype.itemsize, work)
        return lambda: backend.threads.run(tasks)

    return Offer("taps", bind, workspace=count.used)


def clipped(un: Unfolding, sizes: Sequence[int]) -> list[tuple[Any, Any]]:
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
    taps = clipped(Unfolding.of(windows_of(node)), sizes[2:])

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp

        def work(thread: int, start: int, stop: int) -> None:
            source, target = inputs[0][start:stop], outputs[0][start:stop]
            target.fill(0)
            for pooled, whole in taps:
                to, of = (whole, pooled) if back else (pooled, whole)
                xp.add(target[to], source[of], out=target[to])

        return _over_samples(backend, sizes[0], work)

    return Offer("taps", bind)
