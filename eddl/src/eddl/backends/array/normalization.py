"""Batch normalization: channels are independent, so each thread takes some of them.

Without spatial axes a channel is a column, and all columns are worked on at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.convolution import Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node


def _planes(x: Array) -> Array:
    return x.reshape(x.shape[0], x.shape[1], -1)


def _over_channels(backend: ArrayBackend, channels: int, work: Callable[..., None]) -> Thunk:
    parts = backend.threads.split(channels)
    tasks = [partial(work, t, a, b) for t, (a, b) in enumerate(parts)]
    return lambda: backend.threads.run(tasks)


def _columns(backend: ArrayBackend, node: Node) -> Offer:
    """Forward, of [N, C]."""
    training, epsilon = node.attributes["training_mode"], node.attributes["epsilon"]
    momentum = node.attributes["momentum"]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, (data, scale, shift, mean, variance) = backend.xp, inputs
        y, *places = outputs

        def work() -> None:
            center, spread = mean, variance
            if training:
                center = xp.add.reduce(data, axis=0) / data.dtype.type(len(data))
            xp.subtract(data, center, out=y)
            if training:
                spread = xp.einsum("nc,nc->c", y, y) / data.dtype.type(len(data))
            inverse = 1 / xp.sqrt(spread + spread.dtype.type(epsilon))
            xp.multiply(y, inverse * scale, out=y)
            xp.add(y, shift, out=y)
            keep = momentum if training else 1.0
            moved = [old * keep + new * (1 - keep)
                     for old, new in ((mean, center), (variance, spread))]  # fmt: skip
            for place, value in zip(places, (*moved, center, inverse), strict=True):
                if place is not None:
                    place[...] = value

        return work

    return Offer("columns", bind, optional=frozenset({1, 2, 3, 4}))


@kernel("BatchNormalization")
def batch_norm(backend: ArrayBackend, node: Node) -> Offer:
    """Statistics in two passes over each channel, then one pass that scales and shifts."""
    x = node.inputs[0]
    assert x is not None
    if x.rank == 2:
        return _columns(backend, node)
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


def _columns_grad(backend: ArrayBackend, node: Node) -> Offer:
    """Backward, of [N, C]."""
    x = node.inputs[0]
    assert x is not None
    training, kind = node.attributes["training_mode"], x.dtype.type
    need = Workspace()
    need.take(x.type.sizes, x.dtype)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, (data, scale, mean, inverse, gradient) = backend.xp, inputs
        dx, d_scale, d_shift = outputs
        centered = Workspace(workspace).take(x.type.sizes, x.dtype)

        def work() -> None:
            xp.subtract(data, mean, out=centered)
            total = xp.add.reduce(gradient, axis=0)
            product = xp.einsum("nc,nc->c", gradient, centered) * inverse
            for place, value in ((d_scale, product), (d_shift, total)):
                if place is not None:
                    place[...] = value
            if dx is None:
                return
            factor = scale * inverse
            xp.multiply(gradient, factor, out=dx)
            if training:
                share = factor / kind(len(data))
                xp.multiply(centered, share * inverse * product, out=centered)
                xp.subtract(dx, centered, out=dx)
                xp.subtract(dx, share * total, out=dx)

        return work

    overwrites = {0: (4, 0)}
    return Offer("columns", bind, workspace=need.used, overwrites=overwrites,
                 optional=frozenset({0, 1, 2}))  # fmt: skip


@kernel("BatchNormalizationGrad", domain="eddl")
def batch_norm_grad(backend: ArrayBackend, node: Node) -> Offer:
    """Source: Ioffe and Szegedy 2015, section 3."""
    x = node.inputs[0]
    assert x is not None
    if x.rank == 2:
        return _columns_grad(backend, node)
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
