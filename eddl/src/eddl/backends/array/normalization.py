"""Batch normalization: channels are independent, so each thread takes some of them.

Large channels are worked on one by one, in sums that lose nothing; of small ones many at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node

SMALL = 1 << 15
"""Bytes of a channel up to which many are worked on at once."""

PIECE = 1 << 18
"""Bytes of channels that are worked on at once."""


def _planes(x: Array) -> Array:
    return x.reshape(x.shape[0], x.shape[1], -1)


def _over_channels(backend: ArrayBackend, channels: int, work: Callable[..., None]) -> Thunk:
    parts = backend.threads.split(channels)
    tasks = [partial(work, t, a, b) for t, (a, b) in enumerate(parts)]
    return lambda: backend.threads.run(tasks)


def _small(shape: Sequence[int], itemsize: int) -> int:
    """How many channels of a shape are worked on at once; 0 where one is enough."""
    channel = shape[0] * math.prod(shape[2:]) * itemsize
    return 0 if channel > SMALL and len(shape) > 2 else max(PIECE // max(channel, 1), 1)


def _pieces(backend: ArrayBackend, channels: int, piece: int, work: Callable[..., None]) -> Thunk:
    """Calls of `work(thread, channels)` for ranges of them, over the threads."""
    ranges = [slice(i, min(i + piece, channels)) for i in range(0, channels, piece)]
    tasks = [
        in_turn([partial(work, thread, part) for part in ranges[start:stop]])
        for thread, (start, stop) in enumerate(backend.threads.split(len(ranges)))
    ]
    return lambda: backend.threads.run(tasks)


def _wide(row: Array) -> Array:
    """A number a channel, against [N, C, positions]."""
    return row[:, None]


def _forward(backend: ArrayBackend, node: Node, piece: int) -> Offer:
    """Many channels at once."""
    training, epsilon = node.attributes["training_mode"], node.attributes["epsilon"]
    momentum = node.attributes["momentum"]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, (data, scale, shift, mean, variance) = backend.xp, inputs
        source, target, places = _planes(data), _planes(outputs[0]), outputs[1:]
        count = data.dtype.type(source.shape[0] * source.shape[2])

        def work(_: int, part: slice) -> None:
            x, y = source[:, part], target[:, part]
            center, spread = mean[part], variance[part]
            if training:
                center = xp.add.reduce(x, axis=(0, 2)) / count
            xp.subtract(x, _wide(center), out=y)
            if training:
                spread = xp.einsum("ncl,ncl->c", y, y) / count
            inverse = 1 / xp.sqrt(spread + spread.dtype.type(epsilon))
            xp.multiply(y, _wide(inverse * scale[part]), out=y)
            xp.add(y, _wide(shift[part]), out=y)
            keep = momentum if training else 1.0
            moved = [old[part] * keep + new * (1 - keep)
                     for old, new in ((mean, center), (variance, spread))]  # fmt: skip
            for place, value in zip(places, (*moved, center, inverse), strict=True):
                if place is not None:
                    place[part] = value

        return _pieces(backend, source.shape[1], piece, work)

    return Offer("pieces", bind, optional=frozenset({1, 2, 3, 4}))


@kernel("BatchNormalization")
def batch_norm(backend: ArrayBackend, node: Node) -> Offer:
    """Statistics in two passes over each channel, then one pass that scales and shifts."""
    x = node.inputs[0]
    assert x is not None
    if piece := _small(x.type.sizes, x.dtype.itemsize):
        return _forward(backend, node, piece)
    training, epsilon = node.attributes["training_mode"], node.attributes["epsilon"]
    momentum, channels = node.attributes["momentum"], x.type.sizes[1]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, (data, scale, shift, mean, variance) = backend.xp, inputs
        y, new_mean, new_variance, saved_mean, saved_inverse = outputs
        source, target = _planes(data), _planes(y)
        count = source.shape[0] * source.shape[2]

        def work(_: int, start: int, stop: int) -> None:
            for c in range(start, stop):
                planes, out = source[:, c], target[:, c]
                if not training:
                    factor = scale[c] / xp.sqrt(variance[c] + variance.dtype.type(epsilon))
                    xp.multiply(planes, factor, out=out)
                    xp.add(out, shift[c] - mean[c] * factor, out=out)
                    for place, kept in ((new_mean, mean), (new_variance, variance)):
                        if place is not None:
                            place[c] = kept[c]
                    continue
                center = planes.dtype.type(xp.add.reduce(planes, axis=None) / count)
                xp.subtract(planes, center, out=out)
                spread = sum(float(xp.dot(plane, plane)) for plane in out) / count
                inverse = planes.dtype.type(1.0 / np.sqrt(spread + epsilon))
                xp.multiply(out, inverse * scale[c], out=out)
                xp.add(out, shift[c], out=out)
                for place, value in (
                    (new_mean, mean[c] * momentum + center * (1 - momentum)),
                    (new_variance, variance[c] * momentum + spread * (1 - momentum)),
                    (saved_mean, center),
                    (saved_inverse, inverse),
                ):
                    if place is not None:
                        place[c] = value

        return _over_channels(backend, channels, work)

    return Offer("channels", bind, optional=frozenset({1, 2, 3, 4}))


def _backward(backend: ArrayBackend, node: Node, piece: int) -> Offer:
    """Many channels at once."""
    x = node.inputs[0]
    assert x is not None
    training, kind = node.attributes["training_mode"], x.dtype.type
    samples, channels, *space = x.type.sizes
    size = samples * math.prod(space) * min(piece, channels)
    need = Workspace()

    def plan(space: Workspace) -> list[Any]:
        return [space.take((size,), x.dtype) for _ in range(backend.threads.count)]

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, (data, scale, mean, inverse, gradient) = backend.xp, inputs
        dx, d_scale, d_shift = outputs
        source, flow = _planes(data), _planes(gradient)
        target = None if dx is None else _planes(dx)
        rooms = plan(Workspace(workspace))
        count = kind(source.shape[0] * source.shape[2])

        def work(thread: int, part: slice) -> None:
            g = flow[:, part]
            centered = rooms[thread][: g.size].reshape(g.shape)
            xp.subtract(source[:, part], _wide(mean[part]), out=centered)
            total = xp.add.reduce(g, axis=(0, 2))
            product = xp.einsum("ncl,ncl->c", g, centered) * inverse[part]
            for place, value in ((d_scale, product), (d_shift, total)):
                if place is not None:
                    place[part] = value
            if target is None:
                return
            out, factor = target[:, part], scale[part] * inverse[part]
            xp.multiply(g, _wide(factor), out=out)
            if training:
                share = factor / count
                xp.multiply(centered, _wide(share * inverse[part] * product), out=centered)
                xp.subtract(out, centered, out=out)
                xp.subtract(out, _wide(share * total), out=out)

        return _pieces(backend, channels, piece, work)

    return Offer("pieces", bind, workspace=need.used, overwrites={0: (4, 0)},
                 optional=frozenset({0, 1, 2}))  # fmt: skip


@kernel("BatchNormalizationGrad", domain="eddl")
def batch_norm_grad(backend: ArrayBackend, node: Node) -> Offer:
    """Source: Ioffe and Szegedy 2015, section 3."""
    x = node.inputs[0]
    assert x is not None
    if piece := _small(x.type.sizes, x.dtype.itemsize):
        return _backward(backend, node, piece)
    samples, channels, *space = x.type.sizes
    positions = int(np.prod(space))
    training, threads = node.attributes["training_mode"], backend.threads.count
    need = Workspace()

    def plan(work: Workspace) -> list[Any]:
        return [work.take((samples, positions), x.dtype) for _ in range(threads)]

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, (data, scale, mean, inverse, gradient) = backend.xp, inputs
        dx, d_scale, d_shift = outputs
        source, flow = _planes(data), _planes(gradient)
        target = None if dx is None else _planes(dx)
        centered_of = plan(Workspace(workspace))
        count = samples * positions
        kind = x.dtype.type

        def work(thread: int, start: int, stop: int) -> None:
            centered = centered_of[thread]
            for c in range(start, stop):
                g = flow[:, c]
                xp.subtract(source[:, c], mean[c], out=centered)
                total = float(xp.add.reduce(g, axis=None))
                product = sum(
                    float(xp.dot(a, b)) for a, b in zip(g, centered, strict=True)
                ) * float(inverse[c])
                if d_scale is not None:
                    d_scale[c] = product
                if d_shift is not None:
                    d_shift[c] = total
                if target is None:
                    continue
                out, factor = target[:, c], float(scale[c]) * float(inverse[c])
                xp.multiply(g, kind(factor), out=out)
                if training:
                    back = factor * float(inverse[c]) * product / count
                    xp.multiply(centered, kind(back), out=centered)
                    xp.subtract(out, centered, out=out)
                    xp.subtract(out, kind(factor * total / count), out=out)

        return _over_channels(backend, channels, work)

    return Offer(
        "channels",
        bind,
        workspace=need.used,
        overwrites={0: (4, 0)},
        optional=frozenset({0, 1, 2}),
    )
