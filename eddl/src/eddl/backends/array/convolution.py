"""Convolutions of any rank: blocked unfolding and matrix products.

The input is padded once; then, for blocks of output rows that fit a core's cache, the windows are
copied side by side (a strided copy) and multiplied by the kernels. Samples and blocks are split
over the threads. Stride-1 transposed convolutions are convolutions with turned kernels; others
multiply first and fold the products back. The weights' gradient sums its parts in a fixed order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.threads import in_turn
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.convolution import windows_of
from eddl.ops.windows import Windows

BLOCK_BYTES = 1 << 20
"""Unfolded bytes in a block: half of a core's second-level cache on today's servers."""

PARTS = 4
"""Into how many parts the weights' gradient is summed, whatever the number of threads."""


class Workspace:
    """Hands out arrays from planned bytes, or, with no memory, counts what they would need."""

    def __init__(self, memory: Array | None = None) -> None:
        self.memory = memory
        self.used = 0

    def take(self, shape: Sequence[int], dtype: Any) -> Any:
        """An array of a shape; `None` when only counting."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        start = self.used
        self.used += -(-nbytes // 64) * 64
        if self.memory is None:
            return None
        return self.memory[start : start + nbytes].view(dtype).reshape(shape)


@dataclass(frozen=True)
class Unfolding:
    """How the windows over one padded input are unfolded in blocks of rows."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    output: tuple[int, ...]

    @classmethod
    def of(cls, windows: Windows) -> Unfolding:
        """The unfolding of windows whose sizes are known."""
        output = tuple(int(size or 0) for size in windows.output)
        return cls(windows.kernel, windows.strides, windows.dilations, windows.before,
                   windows.after, output)  # fmt: skip

    @property
    def pointwise(self) -> bool:
        """Whether the input itself is already the matrix."""
        return math.prod(self.kernel) == 1 and math.prod(self.strides) == 1 and not self.padded

    @property
    def padded(self) -> bool:
        """Whether the input needs padding."""
        return any(self.before) or any(self.after)

    def rows(self, channels: int, itemsize: int) -> int:
        """Rows of the first output axis in a block."""
        row = channels * math.prod(self.kernel) * math.prod(self.output[1:]) * itemsize
        return min(max(BLOCK_BYTES // max(row, 1), 1), self.output[0])

    def view(self, sample: Array) -> Array:
        """The windows of a padded sample [C, ...]: [C, kernel..., output...], nothing copied."""
        steps = sample.strides[1:]
        return as_strided(
            sample,
            (sample.shape[0], *self.kernel, *self.output),
            (
                sample.strides[0],
                *(d * s for d, s in zip(self.dilations, steps, strict=True)),
                *(d * s for d, s in zip(self.strides, steps, strict=True)),
            ),
        )


def _padding(
    backend: ArrayBackend, x: Any, shape: Sequence[int], dtype: Any, un: Unfolding, space: Workspace
) -> tuple[Any, list[Thunk]]:
    """The input with its padding, in the workspace, and the calls that fill it."""
    if not un.padded:
        return x, []
    sizes = [b + n + a for n, b, a in zip(shape[2:], un.before, un.after, strict=True)]
    padded = space.take((*shape[:2], *sizes), dtype)
    if padded is None:
        return None, []
    inside = tuple(slice(b, b + n) for b, n in zip(un.before, shape[2:], strict=True))
    xp = backend.xp

    def fill(start: int, stop: int) -> None:
        part = padded[start:stop]
        for axis, (low, size) in enumerate(zip(un.before, shape[2:], strict=True)):
            index: list[Any] = [slice(None)] * part.ndim
            for edge in (slice(0, low), slice(low + size, None)):
                index[axis + 2] = edge
                part[tuple(index)] = 0
        xp.copyto(part[(slice(None), slice(None), *inside)], x[start:stop])

    parts = backend.threads.split(shape[0])
    return padded, [partial(fill, a, b) for a, b in parts]


def correlate(
    backend: ArrayBackend,
    x: Any,
    w: Any,
    bias: Any,
    y: Any,
    un: Unfolding,
    group: int,
    space: Workspace,
    shapes: tuple[Sequence[int], Sequence[int], Any],
) -> Thunk:
    """`y = x * w + bias`; with a counting workspace only the need is found."""
    x_shape, w_shape, dtype = shapes
    samples, channels = x_shape[0], x_shape[1] // group
    filters, positions = w_shape[0] // group, math.prod(un.output)
    padded, filling = _padding(backend, x, x_shape, dtype, un, space)
    rows = un.rows(channels, np.dtype(dtype).itemsize)
    row = math.prod(un.output[1:])
    depth = channels * math.prod(un.kernel)
    if un.pointwise:
        rows = un.output[0]
        columns: list[Any] = [None] * backend.threads.count
    else:
        columns = [space.take((depth, rows * row), dtype) for _ in range(backend.threads.count)]
    if space.memory is None:
        return _counted
    xp = backend.xp
    blocks = [
        (n, g, start)
        for n in range(samples)
        for g in range(group)
        for start in range(0, un.output[0], rows)
    ]
    tasks = []
    for thread, (first, last) in enumerate(backend.threads.split(len(blocks))):
        calls = []
        for n, g, start in blocks[first:last]:
            stop = min(start + rows, un.output[0])
            sample = padded[n, g * channels : (g + 1) * channels]
            out = y[n].reshape(group * filters, positions)
            out = out[g * filters : (g + 1) * filters, start * row : stop * row]
            kernels = w.reshape(group * filters, depth)[g * filters : (g + 1) * filters]
            shift = None if bias is None else bias[g * filters : (g + 1) * filters, None]
            if un.pointwise:
                calls.append(_product(xp, None, None, kernels, sample.reshape(channels, -1), out,
                                      shift))  # fmt: skip
                continue
            window = un.view(sample)
            window = window[(slice(None),) * (1 + len(un.kernel)) + (slice(start, stop),)]
            # A contiguous matrix for a shorter last block, too: BLAS wants unit strides.
            matrix = columns[thread].reshape(-1)[: depth * (stop - start) * row]
            matrix = matrix.reshape(depth, (stop - start) * row)
            calls.append(_product(xp, window, matrix.reshape(window.shape), kernels, matrix, out,
                                  shift))  # fmt: skip
        tasks.append(in_turn(calls))

    def run() -> None:
        if filling:
            backend.threads.run(filling)
        backend.threads.run(tasks)

    return run


def _product(
    xp: Any, window: Any, target: Any, left: Array, right: Array, out: Array, bias: Any
) -> Thunk:
    def run() -> None:
        if window is not None:
            xp.copyto(target, window)
        xp.matmul(left, right, out=out)
        if bias is not None:
            xp.add(out, bias, out=out)

    return run


def _counted() -> None:
    """Stands for a call whose workspace was only counted."""


@kernel("Conv")
def conv(backend: ArrayBackend, node: Node) -> Offer:
    """Convolution by blocked unfolding."""
    x, w = node.inputs[0], node.inputs[1]
    assert x is not None and w is not None
    un = Unfolding.of(windows_of(node))
    group = node.attributes["group"]
    shapes = (x.type.sizes, w.type.sizes, x.dtype)
    count = Workspace()
    correlate(backend, None, None, None, None, un, group, count, shapes)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, weights, bias = (*inputs, None)[:3]
        space = Workspace(workspace if workspace is not None else np.empty(0, np.uint8))
        return correlate(backend, _plain(data), weights, bias, outputs[0], un, group, space, shapes)

    return Offer("unfold", bind, workspace=count.used)


def _plain(x: Array) -> Array:
    """The caller's own array may have any strides; matrices need the usual ones."""
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)


def _turned(un: Windows, x_sizes: Sequence[int]) -> Unfolding | None:
    """The convolution with turned kernels that equals a stride-1 transposed one."""
    if any(s != 1 for s in un.strides):
        return None
    before = tuple(e - 1 - b for e, b in zip(un.extent, un.before, strict=True))
    output = tuple(int(o or 0) for o in un.output)
    after = tuple(
        o + e - 1 - b - n for o, e, b, n in zip(output, un.extent, before, x_sizes, strict=True)
    )
    if min((*before, *after)) < 0:
        return None
    return Unfolding(un.kernel, un.strides, un.dilations, before, after, output)


@kernel("ConvTranspose")
def conv_transpose(backend: ArrayBackend, node: Node) -> Offer:
    """Transposed convolution: a turned convolution, or products folded back."""
    x, w = node.inputs[0], node.inputs[1]
    assert x is not None and w is not None
    windows, group = windows_of(node), node.attributes["group"]
    turned = _turned(windows, x.type.sizes[2:])
    if turned is None:
        return _fold_offer(backend, node, windows, group)
    channels, each, *kernel_sizes = w.type.sizes
    w_shape = (each * group, channels // group, *kernel_sizes)
    shapes = (x.type.sizes, w_shape, x.dtype)
    count = Workspace()
    count.take(w_shape, w.dtype)
    correlate(backend, None, None, None, None, turned, group, count, shapes)
    flip = (slice(None), slice(None), slice(None), *[slice(None, None, -1)] * len(kernel_sizes))

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, weights, bias = (*inputs, None)[:3]
        space = Workspace(workspace)
        kernels = space.take(w_shape, weights.dtype)
        grouped = weights.reshape(group, channels // group, each, *kernel_sizes)
        source = grouped.swapaxes(1, 2)[flip]
        target = kernels.reshape(source.shape)
        run = correlate(backend, _plain(data), kernels, bias, outputs[0], turned, group, space,
                        shapes)  # fmt: skip
        return in_turn([lambda: backend.xp.copyto(target, source), run])

    return Offer("turned unfold", bind, workspace=count.used)


def _fold_offer(backend: ArrayBackend, node: Node, windows: Windows, group: int) -> Offer:
    x, w = node.inputs[0], node.inputs[1]
    assert x is not None and w is not None
    samples, _, *sizes = x.type.sizes
    channels, each, *kernel_sizes = w.type.sizes
    inputs_each, positions = channels // group, math.prod(sizes)
    taps = math.prod(kernel_sizes)
    output = tuple(int(o or 0) for o in windows.output)
    full = [
        max((n - 1) * s + e, b + o)
        for n, s, e, b, o in zip(
            sizes, windows.strides, windows.extent, windows.before, output, strict=True
        )
    ]
    cropped = list(output) != full or any(windows.before)
    threads = backend.threads.count
    count = Workspace()

    def plan(space: Workspace) -> tuple[list[Any], list[Any]]:
        products = [space.take((each * taps, positions), x.dtype) for _ in range(threads)]
        folded = [space.take((each, *full), x.dtype) if cropped else None for _ in range(threads)]
        return products, folded

    plan(count)
    offsets = list(itertools.product(*map(range, kernel_sizes)))
    overlap = any(s < e for s, e in zip(windows.strides, windows.extent, strict=True))
    covers = not overlap and all(
        s == k and n * s == f
        for s, k, n, f in zip(windows.strides, kernel_sizes, sizes, full, strict=True)
    )

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, weights, bias = (*inputs, None)[:3]
        data, xp = _plain(data), backend.xp
        products, folded = plan(Workspace(workspace))
        inside = tuple(slice(b, b + o) for b, o in zip(windows.before, output, strict=True))
        jobs = [(n, g) for n in range(samples) for g in range(group)]

        def work(thread: int, n: int, g: int) -> None:
            low = g * inputs_each
            left = weights[low : low + inputs_each].reshape(inputs_each, each * taps).T
            xp.matmul(left, data[n, low : low + inputs_each].reshape(inputs_each, positions),
                      out=products[thread])  # fmt: skip
            product = products[thread].reshape(each, *kernel_sizes, *sizes)
            result = outputs[0][n, g * each : (g + 1) * each]
            target = folded[thread] if cropped else result
            if not covers:
                target.fill(0)
            for offset in offsets:
                where = tuple(
                    slice(o * d, o * d + (size - 1) * s + 1, s)
                    for o, d, s, size in zip(
                        offset, windows.dilations, windows.strides, sizes, strict=True
                    )
                )
                part = target[(slice(None), *where)]
                tap = product[(slice(None), *offset)]
                if overlap:
                    xp.add(part, tap, out=part)
                else:
                    xp.copyto(part, tap)
            if cropped:
                xp.copyto(result, target[(slice(None), *inside)])
            if bias is not None:
                shift = bias[g * each : (g + 1) * each].reshape(each, *[1] * len(sizes))
                xp.add(result, shift, out=result)

        tasks = [
            in_turn([partial(work, t, n, g) for n, g in jobs[start:stop]])
            for t, (start, stop) in enumerate(backend.threads.split(len(jobs)))
        ]
        return lambda: backend.threads.run(tasks)

    return Offer("fold", bind, workspace=count.used)


@kernel("ConvWeightGrad", domain="eddl")
def conv_weight_grad(backend: ArrayBackend, node: Node) -> Offer:
    """The gradient of the weights: unfolded input times the output's gradient, in parts."""
    x, dy = node.inputs
    assert x is not None and dy is not None
    un = Unfolding.of(windows_of(node))
    group = node.attributes["group"]
    samples, channels = x.type.sizes[0], x.type.sizes[1] // group
    filters = dy.type.sizes[1] // group
    depth, row = channels * math.prod(un.kernel), math.prod(un.output[1:])
    rows = un.rows(channels, x.dtype.itemsize)
    blocks = [(n, start) for n in range(samples) for start in range(0, un.output[0], rows)]
    parts = min(PARTS, len(blocks))
    bounds = [len(blocks) * i // parts for i in range(parts + 1)]
    threads = backend.threads.count
    count = Workspace()

    def plan(data: Any, space: Workspace) -> tuple[Any, list[Thunk], Any, list[Any], list[Any]]:
        padded, filling = _padding(backend, data, x.type.sizes, x.dtype, un, space)
        sums = space.take((parts, group, filters, depth), x.dtype)
        columns = [space.take((depth, rows * row), x.dtype) for _ in range(threads)]
        products = [space.take((filters, depth), x.dtype) for _ in range(threads)]
        return padded, filling, sums, columns, products

    plan(None, count)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, gradient, xp = _plain(inputs[0]), _plain(inputs[1]), backend.xp
        padded, filling, sums, columns, products = plan(data, Workspace(workspace))

        def work(thread: int, part: int) -> None:
            sums[part].fill(0)
            for n, start in blocks[bounds[part] : bounds[part + 1]]:
                stop = min(start + rows, un.output[0])
                for g in range(group):
                    window = un.view(padded[n, g * channels : (g + 1) * channels])
                    window = window[(slice(None),) * (1 + len(un.kernel)) + (slice(start, stop),)]
                    matrix = columns[thread].reshape(-1)[: depth * (stop - start) * row]
                    xp.copyto(matrix.reshape(window.shape), window)
                    flow = gradient[n].reshape(group * filters, -1)
                    flow = flow[g * filters : (g + 1) * filters, start * row : stop * row]
                    xp.matmul(flow, matrix.reshape(depth, -1).T, out=products[thread])
                    xp.add(sums[part, g], products[thread], out=sums[part, g])

        tasks = [
            in_turn([partial(work, t, p) for p in range(start, stop)])
            for t, (start, stop) in enumerate(backend.threads.split(parts))
        ]
        result = outputs[0].reshape(group, filters, depth)

        def run() -> None:
            if filling:
                backend.threads.run(filling)
            backend.threads.run(tasks)
            xp.add.reduce(sums, axis=0, out=result)

        return run

    return Offer("unfold", bind, workspace=count.used)
