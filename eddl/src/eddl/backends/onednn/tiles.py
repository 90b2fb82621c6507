"""Which tiles a convolution with fewer products is cut into, and whether it pays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from eddl.backends.onednn.library import Refused
from eddl.backends.onednn.winograd import Algorithm, algorithm
from eddl.ops.windows import Windows

Array = np.ndarray[Any, Any]

FEWEST = 16
"""Channels below which vectors would not be full."""

RESULTS = (4, 6, 7, 8, 10)
"""Sizes of tiles to choose from."""

MOST = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32)
"""Numbers of tiles that are transformed at a time, to choose from."""

CACHE = 1.8e6
"""Bytes of transformed data that stay near a core."""

GROUP = 1 << 23
"""Bytes of transformed data that a thread holds, as far as it can be: what a processor finds
without looking up where its pages lie."""

LINE = 1.13
"""How much longer a product takes in a convolution along one axis than in one along all."""

TURNED, MOVED = 1.3, 9.0
"""Products of a convolution in the time of one of a transform, and of reading or writing a number
there."""

AWAY, PLANE_AWAY = 1.7, 2.5
"""How much longer a transform of the first axis takes where there are twice as many data as stay
near; of planes, whose convolutions meet the same data, with what these take longer."""

FOLLOWED = 8.0
"""Products of a convolution in the time of what is done to a result before it is stored."""

START, CALL = 8e6, 3.5e5
"""Products of a convolution in the time that a kernel's own threads take to start and to end, and
that a call takes."""

READ, MADE, SHARED, SUMMED, FAR = 14.0, 60.0, 100.0, 60.0, 9.0
"""Products of a convolution in the time that a transformed weight is read in; that it is made in,
by one thread, and by all together; that its gradient is summed in; and that reading takes longer
where it was made long ago."""

DIRECT = {"forward": 1.0, "data": 1.0, "weights": 1.12}
"""The time of a product in a direct convolution."""

FEW = 1 << 19
"""Transformed weights that one thread alone makes sooner than it could ask others to help, and
that are no burden to keep."""

GAIN, LARGER = 0.95, 0.9
"""The share of the direct convolution's estimated time that is not to be exceeded, and what is made
of it where many transformed weights are kept, which take several times their memory."""


@dataclass(frozen=True)
class Run:
    """Of the tiles asked for, `first` to `last`, and the matrix that all of them take: it meets
    `rows` of the data, from `start` on, one tile's `step` after those of the tile before."""

    first: int
    last: int
    start: int
    rows: int
    step: int
    matrix: Array


@lru_cache
def _inputs(results: int, taps: int, skipped: int, count: int) -> Array:
    """What transforms some of the inputs: one matrix for all tiles that take it."""
    return algorithm(results, taps).inputs[:, skipped : skipped + count].copy()


@lru_cache
def _outputs(results: int, taps: int, count: int, turned: bool) -> Array:
    """What makes some of the results, or the same turned."""
    matrix = algorithm(results, taps).outputs[:count]
    return (matrix.T if turned else matrix).copy()


@dataclass(frozen=True)
class Axis:
    """An axis whose tiles are transformed: `offset` positions before the first result's own lies
    the first input it depends on."""

    short: Algorithm
    source: int
    target: int
    offset: int

    @property
    def tiles(self) -> int:
        """How many tiles cover the results."""
        return -(-self.target // self.short.results)

    def strips(self, count: int) -> list[range]:
        """All tiles, in so many parts."""
        size = self.tiles // count
        return [range(i * size, (i + 1) * size) for i in range(count)]

    def read(self, tiles: range) -> range:
        """The inputs that some tiles depend on."""
        ends = [self._read(tile)[0] for tile in (tiles[0], tiles[-1])]
        return range(ends[0].start, ends[1].stop)

    def written(self, tiles: range) -> range:
        """The results of some tiles."""
        m = self.short.results
        return range(tiles.start * m, min(tiles.stop * m, self.target))

    def _read(self, tile: int) -> tuple[range, int]:
        """The inputs that a tile depends on, without so many before them that are padding."""
        first = tile * self.short.results - self.offset
        start = min(max(first, 0), self.source)
        return range(start, max(min(first + self.short.span, self.source), start)), start - first

    def reads(self, tiles: range) -> Iterator[Run]:
        """What transforms the inputs: rows are those that are no padding."""
        short = self.short.results, self.short.taps

        def rows(tile: int) -> tuple[int, int, int]:
            found, skipped = self._read(tile)
            return found.start, len(found), skipped

        for first, last, (start, count, skipped) in self._alike(tiles, rows):
            matrix = _inputs(*short, skipped, count)
            yield Run(first, last, start, count, self.short.results, matrix)

    def writes(self, tiles: range, *, gradient: bool = False) -> Iterator[Run]:
        """What makes the results, or transforms their gradients: rows are those of the results."""
        m = self.short.results

        def rows(tile: int) -> tuple[int, int, int]:
            return tile * m, len(self.written(range(tile, tile + 1))), 0

        for first, last, (start, count, _) in self._alike(tiles, rows):
            yield Run(first, last, start, count, m, _outputs(m, self.short.taps, count, gradient))

    def _alike(self, tiles: range, rows: Any) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
        """Neighbours that take the same matrix."""
        for _, same in itertools.groupby(tiles, lambda tile: rows(tile)[1:]):
            some = list(same)
            yield some[0] - tiles.start, some[-1] + 1 - tiles.start, rows(some[0])


@lru_cache
def _rows(axis: Axis, count: int) -> tuple[int, int, int]:
    """Of so many strips: the inputs of the one that depends on most, those of all, and the most
    results."""
    strips = axis.strips(count)
    read = [len(axis.read(strip)) for strip in strips]
    return max(read), sum(read), max(len(axis.written(strip)) for strip in strips)


@dataclass(frozen=True)
class Shape:
    """A convolution of `channels` to `filters`, or its gradient, by its `kind`: "forward", "data"
    or "weights". The third axis of each side is `line` and `result` long; a plane is a volume whose
    second axis has one position. Of so many `threads` each transforms `most` tiles of the first
    axis at a time, or less, and of the second's one of so many `strips`. The weights of planes may
    be `kept` transformed; something `follows` before results are stored.
    """

    samples: int
    channels: int
    filters: int
    outer: Axis
    inner: Axis
    line: int
    result: int
    taps: int
    kind: str
    threads: int
    most: int
    strips: int
    kept: bool
    follows: bool

    @property
    def flat(self) -> bool:
        """Whether nothing is transformed along the second axis, as in planes, which have none."""
        return self.inner.short.products == 1

    @property
    def units(self) -> int:
        """Tiles along the first axis, over all samples."""
        return self.samples * self.outer.tiles

    @property
    def share(self) -> int:
        """How many of them the busiest thread has."""
        return -(-self.units // self.threads)

    @property
    def group(self) -> int:
        """How many of them a thread transforms at a time."""
        return -(-self.share // -(-self.share // self.most))

    @property
    def across(self) -> list[range]:
        """The tiles of the second axis that are transformed at a time."""
        return self.inner.strips(self.strips)

    @property
    def lines(self) -> int:
        """How many lines of tiles a thread transforms at a time."""
        return self.group * self.inner.tiles // self.strips

    def near(self, strip: range) -> tuple[int, int, int]:
        """The sizes of a place's data, of as many tiles as a thread transforms at a time."""
        return self.group, len(self.inner.read(strip)), self.line * self.channels

    def far(self, strip: range) -> tuple[int, int, int]:
        """And of its products."""
        return self.group, len(self.inner.written(strip)), self.result * self.filters

    @property
    def pitches(self) -> tuple[int, int]:
        """How many numbers a place of each side takes at most."""
        read, _, written = _rows(self.inner, self.strips)
        near, far = read * self.line * self.channels, written * self.result * self.filters
        return self.group * near, self.group * far

    @property
    def held(self) -> int:
        """Bytes of transformed data that a thread holds."""
        places = self.outer.short.products
        if self.kind == "weights":
            return 4 * places * sum(self.pitches)
        return 4 * (places + 1) * max(self.pitches)  # products take the place of data

    @property
    def weights(self) -> int:
        """How many transformed weights there are."""
        places = self.outer.short.products * self.inner.short.products
        return places * self.channels * self.filters * self.taps

    @property
    def cost(self) -> float:
        """The estimated time of the busiest thread, in products of a convolution."""
        outer, inner, tiles = self.outer.short, self.inner.short, self.inner.tiles
        places, rounds = outer.products * inner.products, -(-self.share // self.group)
        rounds *= self.strips
        line = self.result * self.channels * self.filters * self.taps
        near, far = self.line * self.channels, self.result * self.filters
        outside = near * _rows(self.inner, self.strips)[1] * _turn(outer.products, outer.span)
        outside += far * self.inner.target * _turn(outer.products, outer.results)
        inside = near * _turn(inner.products, inner.span)
        inside += far * _turn(inner.products, inner.results)
        weights = self.weights
        if not self.flat:
            made = (MADE - READ) * rounds
        elif self.kept:
            made = FAR
        elif self.kind == "weights":  # each thread has sums of its own
            made = SUMMED
        else:
            made = MADE if weights < FEW else SHARED / self.threads
        away = PLANE_AWAY if self.flat else AWAY
        away = 1 + (away - 1) * min(max(self.held / CACHE - 1, 0), 1)
        results = far * self.inner.target * outer.results
        return (
            START * (3 if self.kind == "weights" else 1)
            + rounds * (places * (self.lines * LINE * line + CALL) + READ * weights)
            + self.share * (away * outside + FOLLOWED * self.follows * results)
            + (0 if self.flat else self.share * outer.products * tiles * inside)
            + made * weights
        )


def _turn(rows: int, columns: int) -> float:
    """The estimated time of a transform's matrix, for each column that it meets."""
    return TURNED * rows * columns + MOVED * (rows + columns)


def _narrowed(choice: Shape) -> Shape:
    """In as few strips as let a thread hold so much."""
    tiles = choice.inner.tiles
    for strips in (n for n in range(2, tiles + 1) if tiles % n == 0):
        if choice.held <= GROUP:
            break
        choice = replace(choice, strips=strips)
    return choice


def shape(
    samples: int, channels: int, filters: int, source: Sequence[int], target: Sequence[int],
    windows: Windows, kind: str, threads: int, *, kept: bool = False,
    follows: bool = False,
) -> Shape:  # fmt: skip
    """The cheapest tiles for a convolution, "forward", or its gradient by the "data" or by the
    "weights", of weights that may be `kept` transformed, and with what `follows`; `Refused` where
    the direct convolution is cheaper."""
    if len(source) != 3 or {*windows.strides, *windows.dilations} != {1}:
        raise Refused("no dense convolution of planes or volumes")
    flat = source[1] == target[1] == windows.kernel[1] == 1
    if min(channels, filters) < FEWEST or min(target) < 1:
        raise Refused("too few channels")
    if windows.kernel[0] < 2 or (windows.kernel[1] < 2 and not flat):
        raise Refused("a kernel of one position")
    if min((*windows.before, *windows.after)) < 0:
        raise Refused("negative paddings")
    offsets = [k - 1 - b if kind == "data" else b
               for k, b in zip(windows.kernel, windows.before, strict=True)]  # fmt: skip
    outer, inner = (
        [Axis(algorithm(m, windows.kernel[i]), source[i], target[i], offsets[i]) for m in sizes]
        for i, sizes in enumerate((RESULTS, (1,) if flat else RESULTS))
    )
    choices = [
        Shape(samples, channels, filters, first, second, source[2], target[2], windows.kernel[2],
              kind, threads, most, 1, kept and flat, follows)
        for first, second in itertools.product(outer, inner)
        for most in MOST
    ]  # fmt: skip
    choices = [_narrowed(c) for c in choices if c.most == 1 or c.held <= GROUP]
    best = min(choices, key=lambda choice: choice.cost)
    direct = samples * math.prod(target) * channels * filters * math.prod(windows.kernel)
    gain = GAIN * (LARGER if best.kept and best.weights > FEW else 1.0)
    if best.cost > gain * DIRECT[kind] * direct / threads:
        raise Refused("a convolution that is faster as it is")
    return best
