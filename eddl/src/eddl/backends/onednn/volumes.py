"""Convolutions of volumes and planes with fewer products.

A kernel of 5 x 5 x 5 takes 125 products a result and pair of channels. Here tiles of the first two
spatial axes are transformed (`winograd`), oneDNN convolves along the third axis alone, once for
each place of the transformed tiles, and the products are transformed back: 20 products a result,
or 8 for a kernel of 3 x 3 x 3. Of planes only the first axis is transformed: 8 products instead of
25 for a kernel of 5 x 5. The transforms are matrix products with all else in their columns, made by
NumPy in blocks that stay in the cache. The gradient by the data is the same with the weights turned
round; the one by the weights transforms the data and the results' gradients.

Only a group of slices is transformed at a time, so that little scratch memory is needed, and
`tiles` estimates whether what is saved pays for the transforms. The order of all sums is fixed:
results are the same in each run, whatever the threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import OneDnnBackend
from eddl.backends.onednn.handles import (
    Descriptor,
    Kernel,
    attributes,
    channels_last,
    describe,
    longs,
    row_major,
)
from eddl.backends.onednn.library import (
    CONVOLUTION_DIRECT,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
)
from eddl.backends.onednn.tiles import Axis, Shape, shape
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.ops.windows import Windows

Array = np.ndarray[Any, Any]

BLOCK = 1 << 11
"""Columns of a matrix product that stay in the cache."""


class Line:
    """oneDNN's convolution along the third axis, for one place of the transformed tiles; made for
    one thread, since the threads share the places."""

    def __init__(self, backend: OneDnnBackend, shape: Shape, windows: Windows, kind: str) -> None:
        library = backend.library
        turned = kind == "data"
        count = shape.group * shape.inner.tiles
        near = (count, shape.channels, shape.line)
        far = (count, shape.filters, shape.result)
        large, small = (far, near) if turned else (near, far)
        self.near, self.far = (describe(library, dims, channels_last(dims)) for dims in (near, far))
        ends = (self.far, self.near) if turned else (self.near, self.far)
        sizes = (small[1], large[1], shape.taps)
        wanted = describe(library, sizes)
        geometry = [longs([1]), longs([0]), longs(windows.before[2:]), longs(windows.after[2:])]
        with library.alone():
            made = forward = Kernel(
                library, "convolution_forward", library.engine, FORWARD_TRAINING,
                CONVOLUTION_DIRECT, ends[0], wanted, None, ends[1], *geometry,
                attributes(library), slow=kind != "forward",
            )  # fmt: skip
            if turned:
                made = Kernel(
                    library, "convolution_backward_data", library.engine, CONVOLUTION_DIRECT,
                    ends[0], wanted, ends[1], *geometry, forward.description, attributes(library),
                )  # fmt: skip
            elif kind == "weights":
                made = Kernel(
                    library, "convolution_backward_weights", library.engine, CONVOLUTION_DIRECT,
                    ends[0], wanted, None, ends[1], *geometry, forward.description,
                    attributes(library),
                )  # fmt: skip
        made.alone = True
        self.kernel = made
        self.numbers = {"forward": (SRC, WEIGHTS, DST), "data": (DIFF_DST, WEIGHTS, DIFF_SRC),
                        "weights": (SRC, DIFF_WEIGHTS, DIFF_DST)}[kind]  # fmt: skip
        self.packed = made.descriptor(self.numbers[1], sizes)
        self.size = self.packed.nbytes // 4

    def bind(self, near: Array, weights: Array, far: Array, scratch: Array) -> Thunk:
        """The call for one place."""
        ends = ((self.near, near), (self.packed, weights), (self.far, far))
        return self.kernel.bind(dict(zip(self.numbers, ends, strict=True)), scratch)


def offer(
    backend: OneDnnBackend, windows: Windows, samples: int, kind: str, source: Sequence[int],
    target: Sequence[int], weights: Sequence[int], followers: Sequence[str] = (),
) -> Offer:  # fmt: skip
    """The offer of a kernel of a `kind`: "forward", "data" or "weights".

    `source` and `target` are the spatial sizes of what is read and made (for "weights": of the data
    and the results' gradient); `weights` the sizes of the weights. Inputs are data and weights, or
    data and gradient, and then what the `followers` take that are done in the same pass: "Bias",
    "Add" and "PRelu" something each, "Relu" nothing.
    """
    turned = kind == "data"
    channels, filters = weights[:2] if turned else weights[1::-1]
    if len(source) == 2:  # a volume whose second axis has one position
        source, target = (source[0], 1, source[1]), (target[0], 1, target[1])
        weights = (*weights[:3], 1, weights[3])
        windows = _raised(windows)
    found = shape(samples, channels, filters, source, target, windows, kind)
    line = Line(backend, found, windows, kind)
    plain = _slice(backend, weights)
    reorders = _reorders(backend, line.packed, plain, out=kind == "weights")
    work = _Work(backend, found, line, reorders, weights, turned=turned)
    count = Workspace()
    work.memory(count, grad=kind == "weights")
    if kind == "weights":
        bind = work.bind_gradient
        arrangement = Arrangement((CHANNELS_LAST, CHANNELS_LAST), (PLAIN,))
    else:
        bind = partial(work.bind, followers=followers)
        given = [
            {"Bias": None, "Add": CHANNELS_LAST, "PRelu": PLAIN}[f]
            for f in followers
            if f != "Relu"
        ]
        arrangement = Arrangement((CHANNELS_LAST, PLAIN, *given), (CHANNELS_LAST,))
    return Offer(f"tiles {line.kernel.implementation}", bind, workspace=count.used,
                 arrangements=(arrangement,))  # fmt: skip


def _raised(windows: Windows) -> Windows:
    """Windows over planes as windows over volumes."""

    def between(pair: Sequence[Any], middle: int) -> tuple[Any, ...]:
        return pair[0], middle, pair[1]

    return Windows(
        between(windows.kernel, 1), between(windows.strides, 1), between(windows.dilations, 1),
        between(windows.before, 0), between(windows.after, 0), between(windows.output, 1),
    )  # fmt: skip


def _slice(backend: OneDnnBackend, weights: Sequence[int]) -> Descriptor:
    """The weights along the third axis at one place of the first two."""
    sizes = (*weights[:2], weights[-1])
    strides = row_major(weights)
    return describe(backend.library, sizes, (*strides[:2], strides[-1]))


def _reorders(
    backend: OneDnnBackend, packed: Descriptor, plain: Descriptor, *, out: bool
) -> Callable[[Array, Array], Thunk]:
    """What brings a slice of the weights into the layout that the convolution wants, or back."""
    library = backend.library
    ends = (packed, plain) if out else (plain, packed)
    with library.alone():
        made = Kernel(library, "reorder", ends[0], library.engine, ends[1], library.engine,
                      None, slow=True)  # fmt: skip
    made.alone = True
    return lambda before, after: made.bind({SRC: (ends[0], before), DST: (ends[1], after)})


class _Memory:
    """Scratch memory: transformed slices, weights, and what each thread needs for one place of the
    first axis."""

    def __init__(self, space: Workspace, work: _Work, *, grad: bool) -> None:
        s, size = work.shape, work.line.size
        outer, inner = s.outer.short, s.inner.short
        take = partial(space.take, dtype=np.float32)
        self.near = take((outer.products, s.group, s.inner.source, s.line * s.channels))
        self.far = take((outer.products, s.group, s.inner.target, s.result * s.filters))
        self.weights = take((outer.taps * inner.taps, size))
        self.places: Any = take((outer.products, size)) if s.flat and not grad else None
        self.sums: Any = take((outer.products, inner.taps * size)) if grad else None
        tiles = 0 if s.flat else s.group * s.inner.tiles
        self.own: list[_Own] = [
            _Own(
                take((inner.products, tiles, s.line * s.channels)),
                take((inner.products, tiles, s.result * s.filters)),
                take((inner.products, size if grad or not s.flat else 0)),
                take((inner.taps, size)) if grad and not s.flat else None,
                space.take((work.line.kernel.scratch,), np.uint8),
            )
            for _ in range(min(work.backend.threads.count, outer.products))
        ]


@dataclass
class _Own:
    """What one thread needs: transformed tiles of both sides, transformed weights, their sums."""

    near: Any
    far: Any
    kernels: Any
    sums: Any
    scratch: Any


class _Work:
    """The calls of one convolution."""

    def __init__(
        self, backend: OneDnnBackend, shape: Shape, line: Line,
        reorders: Callable[[Array, Array], Thunk], weights: Sequence[int], *, turned: bool,
    ) -> None:  # fmt: skip
        self.backend = backend
        self.shape = shape
        self.line = line
        self.reorders = reorders
        self.sizes = tuple(weights)
        step = -1 if turned else 1  # the gradient by the data meets the weights in reverse
        self.outer, self.inner = (
            axis.short.weights[:, ::step].copy() for axis in (shape.outer, shape.inner)
        )

    def memory(self, space: Workspace, *, grad: bool) -> _Memory:
        """The scratch memory, or only its size."""
        return _Memory(space, self, grad=grad)

    def bind(
        self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any,
        *, followers: Sequence[str],
    ) -> Thunk:  # fmt: skip
        """The forward convolution, or the gradient by the data."""
        m = self.memory(Workspace(workspace), grad=False)
        s, team = self.shape, self.backend.threads
        x, y = _lines(inputs[0]), _lines(outputs[0])
        others = iter(inputs[2:])
        given = {f: next(others) for f in followers if f != "Relu"}
        addend = _lines(given["Add"]) if "Add" in given else None
        slopes = given["PRelu"].reshape(-1) if "PRelu" in given else None
        end = _End(y, given.get("Bias"), addend, slopes, "Relu" in followers)
        rounds = [team.share(self._packed(inputs[1], m.weights))]
        if s.flat:
            rounds.append(team.share(_product(self.outer, m.weights, m.places)))
        places = np.einsum("pi,qj->pqij", self.outer, self.inner)
        places = np.ascontiguousarray(places.reshape(*places.shape[:2], -1))
        for group in self._groups():
            rounds.append(team.share(list(self._spread(group, s.outer, x, m.near))))
            shares = []
            for (first, last), own in zip(team.split(s.outer.short.products), m.own, strict=True):
                calls: list[Thunk] = []
                lines = [] if s.flat else self._along(own.near, own.kernels, own.far, own)
                for p in range(first, last):
                    if s.flat:
                        ends = (side[p][None, :, 0] for side in (m.near, m.far))
                        calls += self._along(next(ends), m.places[p : p + 1], next(ends), own)
                        continue
                    calls += _product(places[p], m.weights, own.kernels)
                    calls += self._tiles(m.near[p], own.near, len(group))
                    calls += lines
                    for u in range(len(group)):
                        for tile in range(s.inner.tiles):
                            rows, matrix = s.inner.writes(tile)
                            made = own.far[:, u * s.inner.tiles + tile]
                            calls += _product(matrix, made, m.far[p, u, rows])
                shares.append(in_turn(calls))
            rounds.append(partial(team.run, shares))
            rounds.append(team.share(list(self._gather(group, m.far, end))))
        return in_turn(rounds)

    def bind_gradient(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        """The gradient by the weights."""
        m = self.memory(Workspace(workspace), grad=True)
        s, team = self.shape, self.backend.threads
        x, dy = _lines(inputs[0]), _lines(inputs[1])
        outer, inner = (np.ascontiguousarray(a.short.weights.T) for a in (s.outer, s.inner))
        rounds: list[Thunk] = []
        for number, group in enumerate(self._groups()):
            spread = [*self._spread(group, s.outer, x, m.near),
                      *self._spread(group, s.outer, dy, m.far, gradient=True)]  # fmt: skip
            rounds.append(team.share(spread))
            shares = []
            for (first, last), own in zip(team.split(s.outer.short.products), m.own, strict=True):
                calls: list[Thunk] = []
                lines = [] if s.flat else self._along(own.near, own.kernels, own.far, own)
                for p in range(first, last):
                    total = m.sums[p].reshape(len(inner), -1)
                    part = own.kernels if s.flat else own.sums
                    if s.flat:
                        ends = (side[p][None, :, 0] for side in (m.near, m.far))
                        made = part if number else total
                        calls += self._along(next(ends), made, next(ends), own)
                    else:
                        calls += self._tiles(m.near[p], own.near, len(group))
                        calls += self._tiles(m.far[p], own.far, len(group), gradient=True)
                        calls += lines
                        calls += _product(inner, own.kernels, part if number else total)
                    if number:
                        calls.append(partial(np.add, total, part, out=total))
                shares.append(in_turn(calls))
            rounds.append(partial(team.run, shares))
        made = m.weights.reshape(outer.shape[0], -1)
        rounds.append(team.share(_product(outer, m.sums, made)))
        rounds.append(team.share(self._packed(outputs[0], m.weights, out=True)))
        return in_turn(rounds)

    def _along(self, near: Array, kernels: Array, far: Array, own: _Own) -> list[Thunk]:
        """The convolutions along the third axis."""
        return [self.line.bind(*ends, own.scratch) for ends in zip(near, kernels, far, strict=True)]

    def _groups(self) -> Iterator[list[tuple[int, int]]]:
        """Samples and tiles of the first axis that are transformed at a time."""
        units = list(itertools.product(range(self.shape.samples), range(self.shape.outer.tiles)))
        for start in range(0, len(units), self.shape.group):
            yield units[start : start + self.shape.group]

    def _packed(self, plain: Array, packed: Array, *, out: bool = False) -> list[Thunk]:
        slices = plain.reshape(*self.sizes[:2], -1, self.sizes[-1])
        calls = []
        for place in range(slices.shape[2]):
            ends = (slices[:, :, place], packed[place])
            calls.append(self.reorders(*(ends[::-1] if out else ends)))
        return calls

    def _spread(
        self, group: Sequence[tuple[int, int]], axis: Axis, x: Array, target: Array,
        *, gradient: bool = False,
    ) -> Iterator[Thunk]:  # fmt: skip
        """Transform along the first axis."""
        for u, (sample, tile) in enumerate(group):
            rows, matrix = axis.writes(tile) if gradient else axis.reads(tile)
            source = x[sample, rows].reshape(rows.stop - rows.start, x[0, 0].size)
            goal = target[:, u].reshape(len(target), -1)
            yield from _product(matrix.T.copy() if gradient else matrix, source, goal)
        if len(group) < self.shape.group:  # the last one is smaller: the rest counts as nothing
            yield partial(target[:, len(group) :].fill, 0)

    def _tiles(
        self, source: Array, target: Array, count: int, *, gradient: bool = False
    ) -> Iterator[Thunk]:
        """Transform along the second axis."""
        axis = self.shape.inner
        for u in range(count):
            for tile in range(axis.tiles):
                rows, matrix = axis.writes(tile) if gradient else axis.reads(tile)
                goal = target[:, u * axis.tiles + tile]
                yield from _product(matrix.T.copy() if gradient else matrix, source[u, rows], goal)
        if count < self.shape.group:
            yield partial(target[:, count * axis.tiles :].fill, 0)

    def _gather(
        self, group: Sequence[tuple[int, int]], source: Array, end: _End
    ) -> Iterator[Thunk]:
        """Transform back along the first axis, and what follows in the same pass."""
        filters = self.shape.filters
        for u, (sample, tile) in enumerate(group):
            rows, matrix = self.shape.outer.writes(tile)
            goal = end.lines[sample, rows].reshape(rows.stop - rows.start, -1)
            products = source[:, u].reshape(len(source), -1)
            calls = _product(matrix, products, goal, filters)
            for call, (first, last) in zip(calls, _blocks(goal.shape[1], filters), strict=True):
                made = [call]
                part = goal[:, first:last]
                if end.bias is not None:
                    each = part.reshape(len(part), -1, filters)
                    made.append(partial(np.add, each, end.bias, out=each))
                if end.addend is not None:
                    other = end.addend[sample, rows].reshape(goal.shape)[:, first:last]
                    made.append(partial(np.add, part, other, out=part))
                if end.slopes is not None:
                    spare = products[: len(part), first:last]  # nobody reads it any more
                    each = spare.reshape(len(part), -1, filters)
                    made += [
                        partial(np.minimum, part, np.float32(0), out=spare),
                        partial(np.multiply, each, end.slopes, out=each),
                        partial(np.maximum, part, np.float32(0), out=part),
                        partial(np.add, part, spare, out=part),
                    ]
                if end.relu:
                    made.append(partial(np.maximum, part, np.float32(0), out=part))
                yield in_turn(made)


@dataclass(frozen=True)
class _End:
    """Where results go, and what is done to them on the way."""

    lines: Array
    bias: Array | None
    addend: Array | None
    slopes: Array | None
    relu: bool


def _lines(x: Array) -> Array:
    """A volume with its third axis and its channels in one: [N, Z, Y, X C]; a plane's Y is 1."""
    last = np.moveaxis(x, 1, -1)
    if last.ndim == 4:
        last = last[:, :, None]
    if not last.flags.c_contiguous:
        last = np.ascontiguousarray(last)  # the caller's own array may lie in any way
    return last.reshape(*last.shape[:3], -1)


def _blocks(size: int, unit: int = 1) -> list[tuple[int, int]]:
    step = max(BLOCK // unit, 1) * unit
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def _product(matrix: Array, source: Array, target: Array, unit: int = 1) -> list[Thunk]:
    """target = matrix source, a block of columns a call."""
    return [
        partial(np.matmul, matrix, source[:, first:last], out=target[:, first:last])
        for first, last in _blocks(source.shape[1], unit)
    ]
