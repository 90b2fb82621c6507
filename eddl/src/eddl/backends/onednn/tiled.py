"""Convolutions of volumes and planes with fewer products.

A kernel of 5 x 5 x 5 takes 125 products a result and pair of channels. Here tiles of the first two
spatial axes are transformed (`winograd`), oneDNN convolves along the third axis alone, once for
each place of the transformed tiles (`lines`), and the products are transformed back: 18 products a
result, or 7 for a kernel of 3 x 3 x 3. Of planes only the first axis is transformed: 4.5 products
instead of 9 for a kernel of 3 x 3. The gradient by the data is the same with the weights turned
round; the one by the weights transforms the data and the results' gradients.

Each thread has tiles of its own and transforms a group of them at a time, in memory that stays in
its cache where the tiles are small enough; no thread waits for another before the end. `tiles`
estimates whether what is saved pays for the transforms, which are matrix products with all else in
their columns, made by NumPy. The order of all sums is fixed by the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import OneDnnBackend
from eddl.backends.onednn.endings import Ending
from eddl.backends.onednn.library import Library, Refused
from eddl.backends.onednn.lines import Line
from eddl.backends.onednn.tiles import FEW, Shape, shape
from eddl.backends.onednn.transforms import (
    as_lines,
    columns_of,
    in_blocks,
    sized,
    stacked,
    times,
)
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Layout, Offer, Thunk
from eddl.ops.windows import Windows

Array = np.ndarray[Any, Any]

APART = 80
"""Numbers between the places of a transform: at distances that are powers of two, they would
compete for the same lines of the cache."""

MOST = 64 << 20
"""Bytes of scratch memory above which time is bought too dearly."""


def offer(
    backend: OneDnnBackend, windows: Windows, samples: int, kind: str, source: Sequence[int],
    target: Sequence[int], weights: Sequence[int], followers: Sequence[str] = (),
    *, slopes: int = 0, kept: bool = False,
) -> Offer:  # fmt: skip
    """The offer of a kernel of a `kind`: "forward", "data" or "weights".

    `source` and `target` are the spatial sizes of what is read and made (for "weights": of the data
    and the results' gradient); `weights` the sizes of the weights. Inputs are data and weights, or
    data and gradient, and then what the `followers` take that are done in the same pass: "Bias",
    "Add" and "PRelu" something each, the latter so many `slopes`, "Relu" nothing. Of planes,
    weights that are `kept` from run to run are taken transformed.
    """
    channels, filters = weights[:2] if kind == "data" else weights[1::-1]
    if len(source) == 2:  # a volume whose second axis has one position
        source, target = (source[0], 1, source[1]), (target[0], 1, target[1])
        weights = (*weights[:3], 1, weights[3])
        windows = _raised(windows)
    count = backend.threads.count
    found = shape(samples, channels, filters, source, target, windows, kind, count, kept=kept,
                  follows=bool(followers))  # fmt: skip
    work = _Work(backend, found, Line(backend, found, windows, weights), followers, slopes)
    space = Workspace()
    _Memory(space, work)
    if space.used > MOST:
        raise Refused(f"{space.used:,} bytes of scratch memory")
    if kind == "weights":
        bind = work.bind_gradient
        arrangement = Arrangement((CHANNELS_LAST, CHANNELS_LAST), (PLAIN,))
    else:
        bind = work.bind
        given = [
            {"Bias": None, "Add": CHANNELS_LAST, "PRelu": PLAIN}[f]
            for f in followers
            if f != "Relu"
        ]
        taken = work.layout if found.kept else PLAIN
        arrangement = Arrangement((CHANNELS_LAST, taken, *given), (CHANNELS_LAST,))
    added = {0: (2 + followers.index("Add"),)} if "Add" in followers else {}
    return Offer(f"tiles {work.line.name}", bind, workspace=space.used, overwrites=added,
                 arrangements=(arrangement,))  # fmt: skip


def _raised(windows: Windows) -> Windows:
    """Windows over planes as windows over volumes."""

    def between(pair: Sequence[Any], middle: int) -> tuple[Any, ...]:
        return pair[0], middle, pair[1]

    return Windows(
        between(windows.kernel, 1), between(windows.strides, 1), between(windows.dilations, 1),
        between(windows.before, 0), between(windows.after, 0), between(windows.output, 1),
    )  # fmt: skip


@dataclass
class _Own:
    """What one thread needs: its tiles transformed along the first axis and, of one place of it,
    along the second; transformed weights of that place; and, for gradients, sums of all places."""

    near: Any
    far: Any
    inner_near: Any
    inner_far: Any
    kernels: Any
    sums: Any
    part: Any
    scratch: Any


class _Memory:
    """Scratch memory: the weights of all taps, those of all places or their gradients, and what
    each thread has for itself."""

    def __init__(self, space: Workspace, work: _Work) -> None:
        s, size = work.shape, work.line.size
        grad = s.kind == "weights"
        outer, inner = s.outer.short, s.inner.short
        take = partial(space.take, dtype=np.float32)

        def sides() -> tuple[Any, Any]:
            if grad:
                near, far = (take((outer.products, pitch + APART)) for pitch in s.pitches)
                return near, far
            # The products of a place lie where the data of the place before were.
            slots = take((outer.products + 1, work.pitch))
            return (None, None) if slots is None else (slots[1:], slots[:-1])

        def lines(*sizes: int) -> Any:
            slots = take((inner.products, math.prod(sizes) + APART))
            return None if slots is None else sized(slots, *sizes)

        self.taps = take((0 if s.kept else outer.taps * inner.taps, size))
        places = outer.products if s.flat and not (grad or s.kept) else 0
        self.places: Any = take((places, size))
        self.bias: Any = None if work.end is None else work.end.take(space)
        threads = len(work.parts)
        sums: Any = take((threads, outer.products, inner.taps * size)) if grad else None
        self.sums = sums
        tiles = 0 if s.flat else s.lines
        self.own = [
            _Own(
                *sides(),
                lines(tiles, s.line * s.channels),
                lines(tiles, s.result * s.filters),
                take((0 if s.flat else inner.products, size)),
                None if sums is None else sums[thread],
                take((inner.taps * size if grad else 0,)),
                space.take((work.scratch,), np.uint8),
            )
            for thread in range(threads)
        ]


@dataclass(frozen=True)
class Taken:
    """Weights as a convolution takes them; `key` is equal where they are alike."""

    work: _Work = field(compare=False)
    key: tuple[Any, ...]

    def brought(self) -> Offer:
        """The kernel that brings them there from ONNX's order."""
        return self.work.transform()


class _Work:
    """The calls of one convolution."""

    def __init__(
        self, backend: OneDnnBackend, shape: Shape, line: Line, followers: Sequence[str],
        slopes: int,
    ) -> None:  # fmt: skip
        self.backend = backend
        self.shape = shape
        self.line = line
        self.followers = followers
        self.pitch = max(shape.pitches) + APART
        self.end = (
            Ending(backend.library, shape, self.pitch, followers, slopes) if followers else None
        )
        self.scratch = max(line.scratch, 0 if self.end is None else self.end.scratch)
        step = (
            -1 if shape.kind == "data" else 1
        )  # the gradient by the data meets the weights in reverse
        self.outer, self.inner = (
            axis.short.weights[:, ::step].copy() for axis in (shape.outer, shape.inner)
        )
        self.parts = backend.threads.split(shape.units)

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        """The forward convolution, or the gradient by the data."""
        m = _Memory(Workspace(workspace), self)
        s = self.shape
        x, y = as_lines(inputs[0]), as_lines(outputs[0])
        taking = (follower for follower in self.followers if follower != "Relu")
        given = dict(zip(taking, inputs[2:], strict=True))
        if "Add" in given:
            given["Add"] = as_lines(given["Add"])
        rounds = []
        if s.kept:
            m.places = inputs[1].view(np.float32).reshape(s.outer.short.products, -1)
        else:
            rounds += self._transformed(inputs[1], m.taps, m.places if s.flat else None)
        places = np.einsum("pi,qj->pqij", self.outer, self.inner)
        places = np.ascontiguousarray(places.reshape(*places.shape[:2], -1))
        if self.end is not None:
            rounds += self.end.repeat(m.bias, given)
        tasks = []
        for (first, last), own in zip(self.parts, m.own, strict=True):
            strips = []
            if not s.flat:
                lines = self.line.bind(own.inner_near, own.kernels, own.inner_far, own.scratch)
            for strip in s.across:
                near, far = sized(own.near, *s.near(strip)), sized(own.far, *s.far(strip))
                middle: list[Thunk] = []
                if s.flat:
                    ends = (side[:, :, 0] for side in (near, far))
                    middle += self.line.bind(next(ends), m.places, next(ends), own.scratch)
                else:
                    for p, matrix in enumerate(places):
                        middle += times(matrix, m.taps, own.kernels)
                        middle += self._tiles(strip, near[p], own.inner_near)
                        middle += lines
                        middle += self._untiled(strip, own.inner_far, far[p])
                strips.append((strip, near, far, middle))
            calls: list[Thunk] = []
            for units in self._groups(first, last):
                for strip, near, far, middle in strips:
                    calls += self._spread(units, strip, x, near)
                    calls += _rest(units, near)
                    calls += middle
                    calls += self._gather(units, strip, far, y, given, m.bias, own.scratch)
            tasks.append(in_turn(calls))
        rounds.append(self._alone(tasks))
        return in_turn(rounds)

    def bind_gradient(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        """The gradient by the weights."""
        m = _Memory(Workspace(workspace), self)
        s = self.shape
        x, dy = as_lines(inputs[0]), as_lines(inputs[1])
        inner = np.ascontiguousarray(self.inner.T)
        tasks = []
        for (first, last), own in zip(self.parts, m.own, strict=True):
            strips = []
            if not s.flat:
                lines = self.line.bind(own.inner_near, own.kernels, own.inner_far, own.scratch)
            for strip in s.across:
                near, far = sized(own.near, *s.near(strip)), sized(own.far, *s.far(strip))
                begin: list[Thunk] = []  # what is done first, and what with all others
                more: list[Thunk] = []
                if s.flat:
                    ends = near[:, :, 0], far[:, :, 0]
                    begin += self.line.bind(ends[0], own.sums, ends[1], own.scratch)
                    parts = np.broadcast_to(own.part, own.sums.shape)
                    later = self.line.bind(ends[0], parts, ends[1], own.scratch)
                    for total, call in zip(own.sums, later, strict=True):
                        more += [call, partial(np.add, total, own.part, out=total)]
                else:
                    for p, total in enumerate(own.sums):
                        shared = [
                            *self._tiles(strip, near[p], own.inner_near),
                            *self._tiles(strip, far[p], own.inner_far, gradient=True),
                            *lines,
                        ]
                        goals = [a.reshape(len(inner), -1) for a in (total, own.part)]
                        begin += [*shared, *times(inner, own.kernels, goals[0])]
                        more += [*shared, *times(inner, own.kernels, goals[1]),
                                 partial(np.add, total, own.part, out=total)]  # fmt: skip
                strips.append((strip, near, far, begin, more))
            calls: list[Thunk] = []
            for units in self._groups(first, last):
                for strip, near, far, begin, more in strips:
                    calls += self._spread(units, strip, x, near)
                    calls += self._spread(units, strip, dy, far, gradient=True)
                    calls += _rest(units, near, far)
                    calls += more if units.start > first or strip.start else begin
            tasks.append(in_turn(calls))
        rounds = [self._alone(tasks)]
        gathered = np.tile(self.outer.T, len(tasks))  # of all threads' sums
        sums = m.sums.reshape(gathered.shape[1], -1)
        made = m.taps.reshape(len(gathered), -1)
        rounds.append(self._weights(in_blocks(gathered, sums, made)))
        rounds.append(self._weights(self.line.pack(outputs[0], m.taps, out=True)))
        return in_turn(rounds)

    @property
    def layout(self) -> Layout:
        """That of transformed weights."""
        taken = Taken(self, (self.outer.tobytes(), self.outer.shape, self.line.packed))
        return Layout("transformed", 4 * len(self.outer) * self.line.size, taken)

    def transform(self) -> Offer:
        """The kernel that brings weights into that layout."""

        def plan(space: Workspace) -> Any:
            return space.take((self.outer.shape[1], self.line.size), np.float32)

        def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
            places = outputs[0].view(np.float32).reshape(len(self.outer), -1)
            return in_turn(self._transformed(inputs[0], plan(Workspace(workspace)), places))

        need = Workspace()
        plan(need)
        return Offer("transform", bind, workspace=need.used)

    def _transformed(self, weights: Array, taps: Array, places: Array | None) -> list[Thunk]:
        """The calls that bring weights where they are read, and those of planes transform them."""
        rounds = [self._weights(self.line.pack(weights, taps))]
        if places is not None:
            rounds.append(self._weights(in_blocks(self.outer, taps, places)))
        return rounds

    def _weights(self, calls: Sequence[Thunk]) -> Thunk:
        """What is done to weights before or after all else: by all threads, if they are many."""
        return self._alone([in_turn(calls)] if self.shape.weights < FEW else calls)

    def _alone(self, tasks: Sequence[Thunk]) -> Thunk:
        """Calls in parallel, each of which runs oneDNN on one thread."""
        library, team = self.backend.library, self.backend.threads
        return team.share([partial(_run_alone, library, task) for task in tasks])

    def _groups(self, first: int, last: int) -> Iterator[range]:
        """Tiles of the first axis that a thread transforms at a time, of all samples in turn."""
        for start in range(first, last, self.shape.group):
            yield range(start, min(start + self.shape.group, last))

    def _samples(self, units: range) -> Iterator[tuple[int, range, int]]:
        """Samples, their tiles, and the place of the first of these in the group."""
        tiles = self.shape.outer.tiles
        start = units.start
        while start < units.stop:
            sample = start // tiles
            stop = min((sample + 1) * tiles, units.stop)
            yield sample, range(start - sample * tiles, stop - sample * tiles), start - units.start
            start = stop

    def _spread(
        self, units: range, strip: range, x: Array, target: Array, *, gradient: bool = False
    ) -> Iterator[Thunk]:
        """Transform along the first axis."""
        axis, inner = self.shape.outer, self.shape.inner
        goals = target.reshape(*target.shape[:2], -1).swapaxes(0, 1)
        columns = columns_of(inner.written(strip) if gradient else inner.read(strip), x)
        for sample, tiles, place in self._samples(units):
            source = x[sample].reshape(len(x[sample]), -1)
            for run in axis.writes(tiles, gradient=True) if gradient else axis.reads(tiles):
                goal = goals[place + run.first : place + run.last]
                yield from times(run.matrix, stacked(source, run)[..., columns], goal)

    def _tiles(
        self, strip: range, source: Array, target: Array, *, gradient: bool = False
    ) -> Iterator[Thunk]:
        """Transform along the second axis."""
        axis = self.shape.inner
        goals = target.reshape(len(target), len(source), len(strip), -1)
        before = (axis.written(strip) if gradient else axis.read(strip)).start
        for run in axis.writes(strip, gradient=True) if gradient else axis.reads(strip):
            goal = goals[:, :, run.first : run.last].transpose(1, 2, 0, 3)
            yield from times(run.matrix, stacked(source, run, before), goal)

    def _untiled(self, strip: range, source: Array, target: Array) -> Iterator[Thunk]:
        """Transform back along the second axis."""
        axis = self.shape.inner
        products = source.reshape(len(source), len(target), len(strip), -1)
        for run in axis.writes(strip):
            made = products[:, :, run.first : run.last].transpose(1, 2, 0, 3)
            goal = stacked(target, run, axis.written(strip).start)
            yield from times(run.matrix, made, goal)

    def _gather(
        self, units: range, strip: range, far: Array, y: Array, given: dict[str, Array],
        bias: Any, scratch: Any,
    ) -> Iterator[Thunk]:  # fmt: skip
        """Transform back along the first axis, and what follows in the same pass."""
        axis = self.shape.outer
        products = far.reshape(*far.shape[:2], -1).swapaxes(0, 1)
        columns = columns_of(self.shape.inner.written(strip), y)
        for sample, tiles, place in self._samples(units):
            goal = y[sample].reshape(len(y[sample]), -1)
            more = {f: x[sample].reshape(goal.shape)[:, columns] if f == "Add" else x
                    for f, x in given.items()}  # fmt: skip
            for run in axis.writes(tiles):
                some = products[place + run.first : place + run.last]
                if self.end is None:
                    yield from times(run.matrix, some, stacked(goal, run)[..., columns])
                else:
                    with self.backend.library.alone():
                        calls = [*self.end.bind(run, some, goal[:, columns], more, bias, scratch)]
                    yield from calls


def _run_alone(library: Library, task: Thunk) -> None:
    with library.alone():
        task()


def _rest(units: range, *sides: Array) -> list[Thunk]:
    """The last group may be smaller: the rest of its places counts as nothing."""
    return [partial(s[:, len(units) :].fill, 0) for s in sides if len(units) < s.shape[1]]
