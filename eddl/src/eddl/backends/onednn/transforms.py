"""Products of small matrices with long rows, and volumes and planes as such rows.

What transforms a tile is a matrix that meets rows with all else in their columns: nothing is
copied to bring them there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.onednn.tiles import Run
from eddl.compiler.protocol import Thunk

Array = np.ndarray[Any, Any]

BLOCK = 1 << 12
"""Columns of a matrix product that stay in the cache."""


def as_lines(x: Array) -> Array:
    """A volume with its third axis and its channels in one: [N, Z, Y, X C]; a plane's Y is 1."""
    last = np.moveaxis(x, 1, -1)
    if last.ndim == 4:
        last = last[:, :, None]
    if not last.flags.c_contiguous:
        last = np.ascontiguousarray(last)  # the caller's own array may lie in any way
    return last.reshape(*last.shape[:3], -1)


def sized(slots: Array, *sizes: int) -> Array:
    """What lies at the places' beginnings, slots [places, room] -> [places, *sizes]."""
    return slots[:, : math.prod(sizes)].reshape(len(slots), *sizes)


def columns_of(rows: range, x: Array) -> slice:
    """Where these of the second axis lie, x [samples, first axis, second axis, rest], where this
    and the rest are one axis."""
    return slice(rows.start * x.shape[-1], rows.stop * x.shape[-1])


def stacked(x: Array, run: Run, before: int = 0) -> Array:
    """The rows of each tile, x [..., rows, columns] -> [..., tiles, rows, columns]; nothing is
    copied, and tiles may overlap. `x` is contiguous, and has none of so many rows `before`."""
    *outer, rows, columns = x.strides
    shape = (*x.shape[:-2], run.last - run.first, run.rows, x.shape[-1])
    strides = (*outer, run.step * rows, rows, columns)
    return np.ndarray(shape, x.dtype, x, (run.start - before) * rows, strides)


def times(matrix: Array, source: Array, target: Array) -> Iterator[Thunk]:
    """target = matrix source, for stacks [..., rows, columns]: as few calls as will do, each of
    which meets one block of columns after the other."""
    columns = source.shape[-1]
    if not columns:
        return
    step = -(-columns // -(-columns // BLOCK))
    whole = columns // step
    parts = [(0, whole * step, whole)]
    if whole * step < columns:
        parts.append((whole * step, columns, 1))
    for first, last, blocks in parts:
        sizes = blocks, (last - first) // blocks
        ends = (
            np.moveaxis(a[..., first:last].reshape(*a.shape[:-1], *sizes), -2, -3)
            for a in (source, target)
        )
        yield partial(np.matmul, matrix, next(ends), next(ends))


def in_blocks(matrix: Array, source: Array, target: Array) -> list[Thunk]:
    """target = matrix source, a block of columns a call."""
    return [
        partial(np.matmul, matrix, source[:, i : i + BLOCK], target[:, i : i + BLOCK])
        for i in range(0, source.shape[1], BLOCK)
    ]
