"""Convolutions of any rank: blocked unfolding and matrix products.

The input is padded once; then blocks of it are unfolded (`unfolding.py`) and multiplied by the
kernels, the blocks split over the threads. Stride-1 transposed convolutions are convolutions with
turned kernels (`transposed.py`). The weights' gradient sums its parts in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Block, Cut, Unfolding, Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.convolution import windows_of

PARTS = 4
"""Into how many parts the weights' gradient is cut, whatever the number of threads."""

LARGE = 1 << 20
"""Bytes from which on those parts are channels, and not samples, whose results need a sum."""

MANY = 128
"""With fewer filters BLAS is quicker when they are the columns of the weights' gradient."""


class Correlation:
    """A convolution without an operator: `bind` gives the call for arrays.

    `turned`, whether the kernels come as a view that must be copied.
    """

    def __init__(
        self,
        backend: ArrayBackend,
        un: Unfolding,
        shape: Sequence[int],
        filters: int,
        group: int,
        dtype: Any,
        *,
        turned: bool = False,
    ) -> None:
        self.backend, self.un, self.shape, self.dtype = backend, un, tuple(shape), np.dtype(dtype)
        self.group, self.filters = group, filters // group
        self.cut = Cut.of(un, shape, group, self.dtype.itemsize)
        self._copied = turned or self.cut.slides
        count = Workspace()
        self._plan(None, count)
        self.workspace = count.used

    def _plan(self, x: Any, space: Workspace) -> tuple[Any, list[Thunk], Any, list[Any], list[Any]]:
        cut, dtype = self.cut, self.dtype
        padded, filling = self.un.padding(self.backend, x, self.shape, dtype, space)
        threads = range(self.backend.threads.count)
        kernels = None
        if self._copied:
            kernels = space.take((self.group, 1, self.filters, cut.depth), dtype)
        columns = [space.take((cut.size,), dtype) for _ in threads]
        joined = cut.groups * self.filters * cut.samples * self.un.positions
        products = [space.take((joined,), dtype) if cut.samples > 1 else None for _ in threads]
        return padded, filling, kernels, columns, products

    def bind(self, x: Array, w: Array, bias: Array | None, y: Array, workspace: Any) -> Thunk:
        """`y = x * w + bias`, for `w` [groups, filters, channels, taps...]."""
        space = Workspace(workspace if workspace is not None else np.empty(0, np.uint8))
        padded, filling, kernels, columns, products = self._plan(x, space)
        xp, threads, cut, samples = self.backend.xp, self.backend.threads, self.cut, self.shape[0]
        if kernels is None:
            kernels = w.reshape(self.group, 1, self.filters, cut.depth)
        else:
            source = cut.order(w)
            copy = partial(xp.copyto, kernels.reshape(source.shape), source)
            filling = [copy, *filling]
        result = y.reshape(samples, self.group, self.filters, -1)
        shift = None if bias is None else bias.reshape(self.group, 1, self.filters, 1)
        blocks, tasks = cut.blocks(samples, self.group), []
        for thread, (first, last) in enumerate(threads.split(len(blocks))):
            calls = []
            for block in blocks[first:last]:
                unfold, matrix = cut.unfold(xp, padded, block, columns[thread])
                out = cut.part(result, block)
                product = out
                if cut.samples > 1:
                    product = products[thread][: out.size].reshape(len(out), 1, self.filters, -1)
                part = None if shift is None else shift[block.groups]
                calls.append(
                    partial(
                        _multiply, xp, unfold, kernels[block.groups], matrix, product, out, part
                    )
                )
            tasks.append(in_turn(calls))

        def run() -> None:
            for calls in (filling, tasks):
                threads.run(calls)

        return run


def _multiply(
    xp: Any, unfold: Thunk, kernels: Array, matrix: Array, product: Array, out: Array, bias: Any
) -> None:
    unfold()
    xp.matmul(kernels, matrix, out=product)
    if bias is not None:
        xp.add(product, bias, out=product)
    if product is not out:
        xp.copyto(out, product.reshape(out.shape))


@kernel("Conv")
def conv(backend: ArrayBackend, node: Node) -> Offer:
    """Convolution by blocked unfolding."""
    x, w = node.inputs[0], node.inputs[1]
    assert x is not None and w is not None
    filters, group = w.type.sizes[0], node.attributes["group"]
    un = Unfolding.of(windows_of(node))
    work = Correlation(backend, un, x.type.sizes, filters, group, x.dtype)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, weights, bias = (*inputs, None)[:3]
        kernels = weights.reshape(group, filters // group, *weights.shape[1:])
        return work.bind(plain(data), kernels, bias, outputs[0], workspace)

    return Offer("unfold", bind, workspace=work.workspace)


def plain(x: Array) -> Array:
    """The caller's own array may have any strides; matrices need the usual ones."""
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)


@kernel("ConvWeightGrad", domain="eddl")
def conv_weight_grad(backend: ArrayBackend, node: Node) -> Offer:
    """The gradient of the weights: unfolded input times the output's gradient.

    Large ones are computed in parts of the channels, the others in parts of the samples.
    """
    x, dy = node.inputs
    assert x is not None and dy is not None
    un, shape = Unfolding.of(windows_of(node)), x.type.sizes
    group = node.attributes["group"]
    samples, channels, filters = shape[0], shape[1] // group, dy.type.sizes[1] // group
    each = channels
    if channels * un.taps * filters * x.dtype.itemsize > LARGE and channels % PARTS == 0:
        each //= PARTS
    split = channels // each
    cut = Cut.of(un, shape, group * split, x.dtype.itemsize)
    if split > 1:
        cut = replace(cut, groups=1)
    blocks = cut.blocks(samples, group * split)
    parts = 1 if split > 1 else min(PARTS, len(blocks))
    sides = (cut.depth, filters) if filters < MANY else (filters, cut.depth)
    count = Workspace()

    def plan(data: Any, space: Workspace) -> tuple[Any, list[Thunk], Any, list[Any]]:
        padded, filling = un.padding(backend, data, shape, x.dtype, space)
        sums = space.take((parts, group * split, *sides), x.dtype)
        flows = filters * cut.groups * cut.samples * un.positions if cut.samples > 1 else 0
        sizes = (cut.size, flows, cut.groups * cut.depth * filters)
        threads = range(backend.threads.count)
        rooms = [[space.take((size,), x.dtype) for size in sizes] for _ in threads]
        return padded, filling, sums, rooms

    plan(None, count)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, gradient, xp = plain(inputs[0]), plain(inputs[1]), backend.xp
        padded, filling, sums, rooms = plan(data, Workspace(workspace))
        flow = gradient.reshape(samples, group, filters, -1)
        target = cut.order(outputs[0].reshape(group, filters, split, each, *un.kernel))
        if filters < MANY:
            found = np.moveaxis(sums.reshape(parts, group, *target.shape[2:], filters), -1, 2)
        else:
            found = sums.reshape(parts, group, split, filters, *target.shape[3:]).swapaxes(2, 3)

        def work(room: list[Array], total: Array, block: Block) -> Thunk:
            """Add what a block gives."""
            columns, flows, memory = room
            unfold, matrix = cut.unfold(xp, padded, block, columns)
            first, last = block.groups.start // split, (block.groups.stop - 1) // split
            given = cut.part(flow, replace(block, groups=slice(first, last + 1)))
            joined = flows[: given.size].reshape(given.shape) if cut.samples > 1 else given
            right = joined.reshape(len(given), 1, filters, -1) if cut.samples > 1 else given
            product = memory[: total.size].reshape(total.shape)
            pairs = [(matrix[:, i], right[:, i]) for i in range(matrix.shape[1])]
            if filters >= MANY:
                pairs = [(other, one) for one, other in pairs]

            def run() -> None:
                unfold()
                if joined is not given:
                    xp.copyto(joined, given)
                for one, other in pairs:
                    xp.matmul(one, other.swapaxes(1, 2), out=product)
                    xp.add(total, product, out=total)

            return run

        if split > 1:
            shares = [[b for b in blocks if b.groups.start == g] for g in range(group * split)]
            totals = [sums[0, g : g + 1] for g in range(group * split)]
        else:
            bounds = [len(blocks) * i // parts for i in range(parts + 1)]
            shares = [blocks[bounds[i] : bounds[i + 1]] for i in range(parts)]
            totals = list(sums)
        tasks = []
        for thread, (first, last) in enumerate(backend.threads.split(len(shares))):
            calls: list[Thunk] = []
            for share, total in zip(shares[first:last], totals[first:last], strict=True):
                calls.append(partial(total.fill, 0))
                for block in share:
                    mine = total if split > 1 else total[block.groups]
                    calls.append(work(rooms[thread], mine, block))
            tasks.append(in_turn(calls))

        def finish(start: int, stop: int) -> None:
            for part in range(1, parts):
                xp.add(found[0][:, start:stop], found[part][:, start:stop],
                       out=found[0][:, start:stop])  # fmt: skip
            xp.copyto(target[:, start:stop], found[0][:, start:stop])

        finishing = [partial(finish, a, b) for a, b in backend.threads.split(filters)]

        def run() -> None:
            for calls in (filling, tasks, finishing):
                backend.threads.run(calls)

        return run

    return Offer("unfold", bind, workspace=count.used)
