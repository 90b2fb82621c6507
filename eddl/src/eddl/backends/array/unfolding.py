"""How the input of a convolution becomes matrices: blocks of windows, laid side by side.

The output is cut into blocks whose windows fit a core's cache; a block's windows are copied into a
matrix with a row for each channel and tap and a column for each position. Where the window moves
along the first axis in steps shorter than itself, only the taps of the other axes are copied: a
plane of them serves every row of windows that sees it, since the matrices of neighbouring rows
overlap in memory. Blocks depend on shapes alone, never on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from eddl.backends.array.backend import Array, ArrayBackend
from eddl.compiler.protocol import Thunk
from eddl.ops.windows import Windows

BLOCK_BYTES = 1 << 20
"""Unfolded bytes in a block: half of a core's second-level cache on today's servers."""

COLUMNS = 64
"""So many columns a matrix needs for BLAS to be quick."""

JOINED = 512
"""Samples are joined up to so many columns."""


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
    """How the windows over one padded input are unfolded."""

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
    def taps(self) -> int:
        """Positions in a window."""
        return math.prod(self.kernel)

    @property
    def positions(self) -> int:
        """Windows of a sample."""
        return math.prod(self.output)

    @property
    def pointwise(self) -> bool:
        """Whether the input itself is already the matrix."""
        return self.taps == 1 and math.prod(self.strides) == 1 and not self.padded

    @property
    def padded(self) -> bool:
        """Whether the input needs padding."""
        return any(self.before) or any(self.after)

    def padding(
        self, backend: ArrayBackend, x: Any, shape: Sequence[int], dtype: Any, space: Workspace
    ) -> tuple[Any, list[Thunk]]:
        """The input with its padding, in the workspace, and the calls that fill it."""
        if not self.padded:
            return x, []
        sizes = [b + n + a for n, b, a in zip(shape[2:], self.before, self.after, strict=True)]
        padded = space.take((*shape[:2], *sizes), dtype)
        if padded is None:
            return None, []
        inside = tuple(slice(b, b + n) for b, n in zip(self.before, shape[2:], strict=True))
        planes, source = (a.reshape(-1, *a.shape[2:]) for a in (padded, x))

        def fill(start: int, stop: int) -> None:
            part = planes[start:stop]
            for axis, (low, size) in enumerate(zip(self.before, shape[2:], strict=True)):
                index: list[Any] = [slice(None)] * part.ndim
                for edge in (slice(0, low), slice(low + size, None)):
                    index[axis + 1] = edge
                    part[tuple(index)] = 0
            backend.xp.copyto(part[(slice(None), *inside)], source[start:stop])

        return padded, [partial(fill, a, b) for a, b in backend.threads.split(len(planes))]


@dataclass(frozen=True)
class Block:
    """A part of the output: ranges of samples, groups, rows of the first axis, and `columns` of the
    others, which are counted as one."""

    samples: slice
    groups: slice
    rows: slice
    columns: slice


@dataclass(frozen=True)
class Cut:
    """How the output is cut into blocks, and how each is unfolded.

    `channels`, of a group; `samples`, `groups`, `rows` and `span`, the sizes of a block, the last
    along the second axis; `slides`, whether planes of the first axis are unfolded without its taps.
    """

    un: Unfolding
    channels: int
    samples: int
    groups: int
    rows: int
    span: int
    slides: bool

    @classmethod
    def of(cls, un: Unfolding, shape: Sequence[int], group: int, itemsize: int) -> Cut:
        """The cut for an input of a shape; samples of small maps are joined."""
        samples, channels, first = shape[0], shape[1] // group, un.output[0]
        second, tail = (*un.output[1:2], 1)[0], math.prod(un.output[2:])
        slides = un.dilations[0] == 1 and un.kernel[0] > un.strides[0] and second * tail >= COLUMNS
        depth = channels * un.taps * itemsize
        least = min(-(-COLUMNS // tail), second)
        if slides:
            depth //= un.kernel[0]
            span = min(max(BLOCK_BYTES // (2 * un.kernel[0] * depth * tail), least), second)
            planes = BLOCK_BYTES // (depth * span * tail)
            rows = max((planes - un.kernel[0]) // un.strides[0] + 1, un.kernel[0])
            return cls(un, channels, 1, 1, min(rows, first), span, slides)
        span = min(max(BLOCK_BYTES // (depth * tail), least), second)
        rows = 1
        if span == second:
            rows = min(max(BLOCK_BYTES // (depth * span * tail), 1), first)
        joined = groups = 1
        if span == second and rows == first:
            joined = max(min(JOINED // un.positions, samples), 1)
            groups = min(max(BLOCK_BYTES // (depth * un.positions * joined), 1), group)
        return cls(un, channels, joined, groups, rows, span, slides)

    @property
    def depth(self) -> int:
        """Rows of a matrix."""
        return self.channels * self.un.taps

    @property
    def tail(self) -> int:
        """Positions along the third axis."""
        return math.prod(self.un.output[2:])

    @property
    def size(self) -> int:
        """The most numbers that a block unfolds to."""
        columns = self.span * self.tail
        if self.slides:
            planes = (self.rows - 1) * self.un.strides[0] + self.un.kernel[0]
            return planes * self.depth // self.un.kernel[0] * columns
        return 0 if self.direct else self.groups * self.depth * self.samples * self.rows * columns

    @property
    def direct(self) -> bool:
        """Whether nothing is copied."""
        return self.un.pointwise and self.samples == 1

    def blocks(self, samples: int, group: int) -> list[Block]:
        """All blocks, those of a sample next to each other."""
        second = (*self.un.output[1:2], 1)[0]
        return [
            Block(n, g, rows, slice(span.start * self.tail, span.stop * self.tail))
            for n in _steps(samples, self.samples)
            for g in _steps(group, self.groups)
            for span in _steps(second, self.span)
            for rows in _steps(self.un.output[0], self.rows)
        ]

    def order(self, kernels: Array) -> Array:
        """Kernels [..., channels, taps...] in the order of a matrix's rows; nothing is copied."""
        axis = kernels.ndim - len(self.un.kernel)
        return np.moveaxis(kernels, axis, axis - 1) if self.slides else kernels

    def part(self, array: Array, block: Block) -> Array:
        """A block of an array [N, groups, features, positions] as [groups, stack, features,
        columns], or, of several samples, [groups, features, N, columns]; nothing is copied."""
        if self.slides:
            rows = array[block.samples.start, block.groups]
            rows = rows.reshape(*rows.shape[:2], self.un.output[0], -1)
            return rows[:, :, block.rows, block.columns].swapaxes(1, 2)
        if self.samples > 1:
            return array[block.samples, block.groups].transpose(1, 2, 0, 3)
        inner = array.shape[3] // self.un.output[0]
        start = block.rows.start * inner + block.columns.start
        stop = (block.rows.stop - 1) * inner + block.columns.stop
        return array[block.samples.start, block.groups, None, :, start:stop]

    def unfold(self, xp: Any, padded: Array, block: Block, memory: Array) -> tuple[Thunk, Array]:
        """The call that copies a block's windows, and its matrices [groups, stack, depth, columns]:
        of a stack of rows, where it slides, else of all samples and positions at once."""
        un = self.un
        grouped = padded.reshape(len(padded), -1, self.channels, *padded.shape[2:])
        if self.direct:
            flat = grouped.reshape(*grouped.shape[:3], -1)
            return _nothing, self.part(flat, block)
        rank, span = len(un.kernel), (block.columns.start, block.columns.stop)
        begin = [block.rows.start, span[0] // self.tail][:rank]
        sizes = [block.rows.stop - begin[0], (span[1] - span[0]) // self.tail][:rank]
        output = (*sizes, *un.output[2:])
        corner = tuple(slice(b * s, None) for b, s in zip(begin, un.strides, strict=False))
        x = grouped[(block.samples, block.groups, slice(None), *corner)]
        steps = x.strides[3:]
        taps = tuple(d * s for d, s in zip(un.dilations, steps, strict=True))
        moves = tuple(o * s for o, s in zip(un.strides, steps, strict=True))
        if not self.slides:
            window = as_strided(
                x,
                (x.shape[1], self.channels, *un.kernel, x.shape[0], *output),
                (*x.strides[1:3], *taps, x.strides[0], *moves),
            )
            target = memory[: window.size].reshape(window.shape)
            return partial(xp.copyto, target, window), target.reshape(
                len(window), 1, self.depth, -1
            )
        planes = (output[0] - 1) * un.strides[0] + un.kernel[0]
        window = as_strided(
            x,
            (planes, self.channels, *un.kernel[1:], *output[1:]),
            (steps[0], x.strides[2], *taps[1:], *moves[1:]),
        )
        target = memory[: window.size].reshape(window.shape)
        columns, size = math.prod(output[1:]), memory.itemsize
        plane = window.size // planes * size
        matrices = as_strided(
            target,
            (1, output[0], self.depth, columns),
            (0, un.strides[0] * plane, columns * size, size),
        )
        return partial(xp.copyto, target, window), matrices


def _nothing() -> None:
    """Nothing is to be copied."""


def _steps(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))
