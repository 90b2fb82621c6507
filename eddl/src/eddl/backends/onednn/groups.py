"""Normalization of groups of channels, and its gradients.

A sample's channels are normalized as those of an instance are, only that the statistics of a group
are put in place of those of its channels: the mean of their means, and the mean of their variances
and of what their means differ by. Backward the sums over a channel come with the gradient at given
statistics; those over its group make the rest, which is linear in the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import OneDnnBackend, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.elementwise import ADD, MULTIPLY, SECOND
from eddl.backends.onednn.handles import Array, Descriptor, describe, row_major, single
from eddl.backends.onednn.kernels import Kernel, Operations, attributes
from eddl.backends.onednn.library import (
    AFTERWARDS,
    DIFF_DST,
    DIFF_SCALE,
    DIFF_SHIFT,
    DIFF_SRC,
    DST,
    MEAN,
    SCALE,
    SHIFT,
    SRC,
    USE_GLOBAL_STATISTICS,
    VARIANCE,
)
from eddl.backends.onednn.standardization import (
    FLAGS,
    Samples,
    inverse_of,
    sums,
    variance_of,
)
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Node


@kernel("GroupNormalization")
def group_norm(backend: OneDnnBackend, node: Node) -> Offer:
    """Statistics of each sample's groups of channels, then scale and shift of each channel."""
    samples, groups = Samples(backend, node), node.attributes["num_groups"]
    channels, epsilon = samples.channels, float(node.attributes["epsilon"])
    measure = samples.forward(epsilon, 0)
    made = samples.forward(epsilon, USE_GLOBAL_STATISTICS | FLAGS)
    whole, vector = samples.whole, samples.vector
    share = np.float32(groups / channels)
    need = Workspace()

    def plan(space: Workspace) -> tuple[list[Array], list[Array], Any]:
        shape = samples.count, groups
        channelwise = [space.take((*shape, channels // groups), np.float32) for _ in range(3)]
        groupwise = [space.take((*shape, 1), np.float32) for _ in range(2)]
        return channelwise, groupwise, samples.scratch(space, measure, made)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, scale, shift = straight(inputs[0]), *inputs[1:]
        y, kept, inverse = outputs
        (mean, variance, offset), (center, spread), scratch = plan(Workspace(workspace))

        def gather() -> None:
            np.add.reduce(mean, axis=2, keepdims=True, out=center)
            np.multiply(center, share, out=center)
            np.subtract(mean, center, out=offset)
            np.multiply(offset, offset, out=offset)
            np.add(offset, variance, out=offset)
            np.add.reduce(offset, axis=2, keepdims=True, out=spread)
            np.multiply(spread, share, out=spread)
            np.copyto(mean, center)
            np.copyto(variance, spread)
            if kept is not None:
                np.copyto(kept, center)
            if inverse is not None:
                inverse_of(spread, epsilon, inverse)

        def one(n: int, own: Array, *, statistics: bool) -> Thunk:
            given = {SRC: (whole, data[n : n + 1]), DST: (whole, y[n : n + 1]),
                     MEAN: (vector, mean[n]), VARIANCE: (vector, variance[n])}  # fmt: skip
            if statistics:
                return measure.bind(given, own)
            return made.bind(given | {SCALE: (vector, scale), SHIFT: (vector, shift)}, own)

        first, last = (samples.run(scratch, partial(one, statistics=s)) for s in (True, False))
        return in_turn([first, gather, last])

    chosen = Arrangement((CHANNELS_LAST, PLAIN, PLAIN), (CHANNELS_LAST, PLAIN, PLAIN))
    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}),
                 arrangements=(chosen,))  # fmt: skip


def _line(samples: Samples) -> tuple[Kernel, Descriptor]:
    """What adds a multiple of the data and a number, both of each channel, to a result."""
    library, whole = samples.library, samples.whole
    sizes = [1, samples.channels, *[1] * (len(whole.dims) - 2)]
    number = describe(library, sizes, row_major(sizes))

    def append(operations: Operations) -> None:
        operations.append("binary", ADD, number)
        operations.append("sum", single(1.0), 0, 0)

    return samples.make("binary", library.engine, MULTIPLY, whole, number, whole,
                        attributes(library, append)), number  # fmt: skip


@kernel("GroupNormalizationGrad", domain="eddl")
def group_norm_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of data, scale and shift, the latter two summed over samples."""
    samples, groups = Samples(backend, node), node.attributes["num_groups"]
    made = samples.backward(USE_GLOBAL_STATISTICS | FLAGS)
    line, number = _line(samples)
    whole, vector, each = samples.whole, samples.vector, samples.channels // groups
    share = np.float32(-groups / math.prod(whole.dims))
    need = Workspace()

    def plan(space: Workspace) -> tuple[list[Array], list[Array], Any]:
        shape = samples.count, groups
        channelwise = [space.take((*shape, each), np.float32) for _ in range(6)]
        groupwise = [space.take((*shape, 1), np.float32) for _ in range(2)]
        return channelwise, groupwise, samples.scratch(space, made, line)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, scale, mean, inverse, flow = straight(inputs[0]), *inputs[1:4], straight(inputs[4])
        (center, variance, scales, shifts, slopes, offsets), (slope, offset), scratch = plan(
            Workspace(workspace)
        )
        factors = scale.reshape(groups, each)

        def spread() -> None:
            np.copyto(center, mean)
            variance_of(inverse, slope)
            np.copyto(variance, slope)

        def gather() -> None:
            for total, products, found in ((slope, slopes, scales), (offset, offsets, shifts)):
                np.multiply(found, factors, out=products)
                np.add.reduce(products, axis=2, keepdims=True, out=total)
                np.multiply(total, inverse, out=total)
                np.multiply(total, share, out=total)
            np.multiply(slope, inverse, out=slope)
            np.copyto(slopes, slope)
            np.multiply(slope, mean, out=slope)
            np.subtract(offset, slope, out=offset)
            np.copyto(offsets, offset)

        def first(n: int, own: Array) -> Thunk:
            return made.bind(
                {SRC: (whole, data[n : n + 1]), DIFF_DST: (whole, flow[n : n + 1]),
                 DIFF_SRC: (whole, outputs[0][n : n + 1]), SCALE: (vector, scale),
                 MEAN: (vector, center[n]), VARIANCE: (vector, variance[n]),
                 DIFF_SCALE: (vector, scales[n]), DIFF_SHIFT: (vector, shifts[n])},
                own,
            )  # fmt: skip

        def last(n: int, own: Array) -> Thunk:
            return line.bind(
                {SRC: (whole, data[n : n + 1]), SECOND: (number, slopes[n]),
                 AFTERWARDS | SECOND: (number, offsets[n]), DST: (whole, outputs[0][n : n + 1])},
                own,
            )  # fmt: skip

        flat = (v.reshape(samples.count, samples.channels) for v in (scales, shifts))
        return in_turn([
            spread, samples.run(scratch, first), gather, samples.run(scratch, last),
            *sums(*zip(flat, outputs[1:], strict=True)),
        ])  # fmt: skip

    layouts = (CHANNELS_LAST, PLAIN, PLAIN, PLAIN, CHANNELS_LAST)
    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}),
                 overwrites={0: (4,)},
                 arrangements=(Arrangement(layouts, (CHANNELS_LAST, PLAIN, PLAIN)),))  # fmt: skip
