"""The last transform of tiles, and what follows a convolution, in one pass over its results.

It is a product of matrices like the other transforms; but oneDNN's own adds the bias and another
value, and rectifies, before it stores. Columns are positions times filters, a block of them a call:
the bias of a block is the filters' one, repeated. Slopes for each filter it would take in its
reference implementation alone: those are left to NumPy, tile by tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.handles import describe, single
from eddl.backends.onednn.kernels import Kernel, Operations, attributes, rectified
from eddl.backends.onednn.library import AFTERWARDS, BIAS, DST, SRC, WEIGHTS, Library
from eddl.backends.onednn.tiles import Run, Shape
from eddl.compiler.protocol import Thunk

Array = np.ndarray[Any, Any]

BLOCK = 1 << 13
"""Columns of a call, about: its products stay in the cache."""


class Ending:
    """The kernels for the results of a shape, of which each tile's products lie `pitch` numbers
    after those of the tile's place before; `followers` are what follows, and `slopes` how many
    a PRelu among them has."""

    def __init__(
        self, library: Library, shape: Shape, pitch: int, followers: Sequence[str], slopes: int
    ) -> None:
        self.library, self.shape, self.pitch = library, shape, pitch
        self._sloped = slopes > 1
        self._followers = [f for f in followers if f != "PRelu" or not self._sloped]
        positions = [len(shape.inner.written(strip)) * shape.result for strip in shape.across]
        self.columns = shape.inner.target * shape.result * shape.filters
        blocks = max(1, max(positions) * shape.filters // BLOCK)
        self.step = -(-max(positions) // blocks) * shape.filters
        rows = {run.rows for run in shape.outer.writes(range(shape.outer.tiles))}
        sizes = {n for count in positions for n in _blocks(count * shape.filters, self.step)}
        with library.alone():
            self._kernels = {(r, n): self._kernel(r, n) for r in rows for n in sizes}
        self.scratch = max(kernel.scratch for kernel in self._kernels.values())

    def _kernel(self, rows: int, columns: int) -> Kernel:
        places = self.shape.outer.short.products
        one = describe(self.library, [1, columns], [columns, 1])

        def append(rectify: Any, operations: Operations) -> None:
            for follower in self._followers:
                if follower == "Add":
                    operations.append("sum", single(1.0), 0, 0)
                elif follower == "PRelu":
                    operations.slope([1, 1])
                elif follower == "Relu":
                    rectify(operations, 2)

        return rectified(lambda way: Kernel(
            self.library, "matmul", self.library.engine,
            describe(self.library, [rows, places], [places, 1]), self._products(columns),
            one if "Bias" in self._followers else None, self._result(rows, columns),
            attributes(self.library, partial(append, way)), shared=True,
        ))  # fmt: skip

    def _result(self, rows: int, columns: int) -> Any:
        return describe(self.library, [rows, columns], [self.columns, 1])

    def _products(self, columns: int) -> Any:
        places = self.shape.outer.short.products
        return describe(self.library, [places, columns], [self.pitch, 1])

    def take(self, space: Workspace) -> Any:
        """Memory for the bias of a block."""
        return space.take((self.step if "Bias" in self._followers else 0,), np.float32)

    def repeat(self, bias: Array, given: Mapping[str, Array]) -> list[Thunk]:
        """The calls that fill it."""
        if "Bias" not in given:
            return []
        return [partial(np.copyto, bias.reshape(-1, self.shape.filters), given["Bias"])]

    def bind(
        self,
        run: Run,
        products: Array,
        result: Array,
        given: Mapping[str, Array],
        bias: Array,
        scratch: Array,
    ) -> Iterator[Thunk]:
        """The calls for tiles that are a run, from their products [tiles, places, columns] to the
        rows of a sample's result, which lie as those of what is added, or are those."""
        one = describe(self.library, [1, 1], [1, 1])
        for tile, made in enumerate(products):
            first = run.start + tile * run.step
            rows = slice(first, first + run.rows)
            start = 0
            for count in _blocks(made.shape[-1], self.step):
                part = slice(start, start + count)
                start += count
                target = self._result(run.rows, count)
                kernel = self._kernels[run.rows, count]
                matrix = describe(self.library, list(run.matrix.shape), [run.matrix.shape[1], 1])
                row = describe(self.library, [1, count], [count, 1])
                arguments = {
                    SRC: (matrix, run.matrix),
                    WEIGHTS: (self._products(count), made[:, part]),
                    DST: (target, result[rows, part]),
                }
                if len(bias):
                    arguments[BIAS] = row, bias[:count]
                for place, follower in enumerate(f for f in self._followers if f != "Bias"):
                    if follower == "Add" and not _same(given["Add"], result):
                        yield partial(np.copyto, result[rows, part], given["Add"][rows, part])
                    elif follower == "PRelu":
                        arguments[AFTERWARDS * (place + 1) | WEIGHTS] = one, given["PRelu"]
                yield kernel.bind(arguments, scratch)
            if self._sloped:
                yield from self._below(result[rows], given["PRelu"].reshape(-1), made[: run.rows])

    def _below(self, values: Array, slopes: Array, spare: Array) -> Iterator[Thunk]:
        """Multiply what is below 0 by the filters' slopes; nobody reads `spare` any more."""
        values, room = (a.reshape(len(a), -1, len(slopes)) for a in (values, spare))
        yield partial(np.minimum, values, np.float32(0), out=room)
        yield partial(np.multiply, room, slopes, out=room)
        yield partial(np.maximum, values, np.float32(0), out=values)
        yield partial(np.add, values, room, out=values)


def _blocks(columns: int, step: int) -> list[int]:
    """The sizes of blocks."""
    return [min(step, columns - start) for start in range(0, columns, step)]


def _same(one: Array, other: Array) -> bool:
    """Whether they begin at one place in memory."""
    return bool(one.ctypes.data == other.ctypes.data)
