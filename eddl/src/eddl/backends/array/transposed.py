"""Transposed convolutions: turned ones where no output is skipped, else products folded back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.backends.array.convolution import PARTS, Correlation, plain
from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import BLOCK_BYTES, Unfolding, Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.convolution import windows_of
from eddl.ops.windows import Windows


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
    channels, each, *taps = w.type.sizes
    work = Correlation(backend, turned, x.type.sizes, each * group, group, x.dtype, turned=True)
    flip = (..., *[slice(None, None, -1)] * len(taps))

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, weights, bias = (*inputs, None)[:3]
        kernels = weights.reshape(group, channels // group, each, *taps).swapaxes(1, 2)[flip]
        return work.bind(plain(data), kernels, bias, outputs[0], workspace)

    return Offer("turned unfold", bind, workspace=work.workspace)


def _fold_offer(backend: ArrayBackend, node: Node, windows: Windows, group: int) -> Offer:
    """Products of the kernels with all positions, each tap added to where it belongs. Jobs are
    samples and groups, parts of the filters where those are few, and rows that touch no others."""
    x, w = node.inputs[0], node.inputs[1]
    assert x is not None and w is not None
    samples, _, *sizes = x.type.sizes
    channels, each, *kernel_sizes = w.type.sizes
    below, tail, taps = channels // group, math.prod(sizes[1:]), math.prod(kernel_sizes)
    output = tuple(int(o or 0) for o in windows.output)
    full = [
        max((n - 1) * s + e, b + o)
        for n, s, e, b, o in zip(
            sizes, windows.strides, windows.extent, windows.before, output, strict=True
        )
    ]
    cropped = list(output) != full or any(windows.before)
    overlap = any(s < e for s, e in zip(windows.strides, windows.extent, strict=True))
    covers = not overlap and all(
        s == k and n * s == f
        for s, k, n, f in zip(windows.strides, kernel_sizes, sizes, full, strict=True)
    )
    filters = each // PARTS if samples * group < PARTS and each % PARTS == 0 else each
    rows = sizes[0]
    if covers and not cropped:
        rows = min(max(BLOCK_BYTES // (filters * taps * tail * x.dtype.itemsize), 1), rows)
    jobs = [
        (n, g, slice(f, f + filters), slice(r, min(r + rows, sizes[0])))
        for n in range(samples)
        for g in range(group)
        for f in range(0, each, filters)
        for r in range(0, sizes[0], rows)
    ]
    threads = range(backend.threads.count)
    count = Workspace()

    def plan(space: Workspace) -> tuple[list[Any], list[Any]]:
        products = [space.take((filters * taps * rows * tail,), x.dtype) for _ in threads]
        folded = [space.take((filters, *full), x.dtype) if cropped else None for _ in threads]
        return products, folded

    plan(count)
    offsets = list(itertools.product(*map(range, kernel_sizes)))

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, weights, bias = (*inputs, None)[:3]
        xp = backend.xp
        data = plain(data).reshape(samples, group, below, *sizes)
        kernels = weights.reshape(group, below, each, taps)
        result = outputs[0].reshape(samples, group, each, *output)
        products, folded = plan(Workspace(workspace))
        inside = tuple(slice(b, b + o) for b, o in zip(windows.before, output, strict=True))

        def work(thread: int, n: int, g: int, part: slice, some: slice) -> None:
            right = data[n, g, :, some].reshape(below, -1)
            left = kernels[g, :, part].reshape(below, -1).T
            product = products[thread][: len(left) * right.shape[1]].reshape(len(left), -1)
            xp.matmul(left, right, out=product)
            product = product.reshape(-1, *kernel_sizes, some.stop - some.start, *sizes[1:])
            out = result[n, g, part]
            target = folded[thread] if cropped else out
            if not covers:
                target.fill(0)
            begin = (some.start, *[0] * len(sizes[1:]))
            for offset in offsets:
                where = tuple(
                    slice(r * s + o * d, (r + size - 1) * s + o * d + 1, s)
                    for r, o, d, s, size in zip(
                        begin, offset, windows.dilations, windows.strides,
                        product.shape[-len(sizes) :], strict=True,
                    )
                )  # fmt: skip
                place, tap = target[(slice(None), *where)], product[(slice(None), *offset)]
                if overlap:
                    xp.add(place, tap, out=place)
                else:
                    xp.copyto(place, tap)
            if cropped:
                xp.copyto(out, target[(slice(None), *inside)])
            if bias is not None:
                stripe = out
                if rows < sizes[0]:
                    step = windows.strides[0]
                    stripe = out[:, some.start * step : some.stop * step]
                shift = bias.reshape(group, each, *[1] * len(sizes))[g, part]
                xp.add(stripe, shift, out=stripe)

        tasks = [
            in_turn([partial(work, thread, *job) for job in jobs[start:stop]])
            for thread, (start, stop) in enumerate(backend.threads.split(len(jobs)))
        ]
        return lambda: backend.threads.run(tasks)

    return Offer("fold", bind, workspace=count.used)
