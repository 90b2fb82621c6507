"""Matrix products that are planned once and run many times, for the recurrent operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from eddl.backends.array.backend import Array
from eddl.compiler.protocol import Thunk


@dataclass(frozen=True)
class Matrix:
    """A matrix as products see it: its sizes, and the elements between rows and columns."""

    rows: int
    columns: int
    down: int
    across: int = 1

    @classmethod
    def part(cls, rows: int, columns: int, wide: int = 0) -> Matrix:
        """Columns of a matrix that lies row by row and is `wide` in all."""
        return cls(rows, columns, wide or columns)

    @property
    def turned(self) -> Matrix:
        """The same elements with rows for columns."""
        return Matrix(self.columns, self.rows, self.across, self.down)


class Product(Protocol):
    """`out = left @ right + bias`; with `add`, what is in `out` is added. Then come `activations`,
    each of so many columns.

    A `packed` right side is read from bytes that `pack` has filled, once for many products.
    `packed` and `scratch` are the bytes of it, and of the memory needed while the product runs.
    """

    packed: int
    scratch: int

    def pack(self, right: Array, target: Array) -> Thunk:
        """The call that packs the right side."""

    def bind(
        self, left: Array, right: Array, out: Array, scratch: Array, bias: Array | None = None
    ) -> Thunk:
        """The call for given matrices, the right one packed, if it is to be."""


Make = Callable[..., Product]
"""`make(dtype, left, right, out, *, bias, add, activations, packed)`, matrices as `Matrix`."""


class BlasProduct:
    """By NumPy, whose packed matrices lie row by row."""

    def __init__(
        self,
        xp: Any,
        dtype: Any,
        left: Matrix,
        right: Matrix,
        out: Matrix,
        *,
        bias: bool = False,
        add: bool = False,
        activations: Sequence[tuple[str, int]] = (),
        packed: bool = False,
    ) -> None:
        size = np.dtype(dtype).itemsize
        self._xp, self._dtype, self._activations = xp, dtype, activations
        self._right, self._out = (right.rows, right.columns), (out.rows, out.columns)
        self.packed = right.rows * right.columns * size if packed else 0
        self.scratch = out.rows * out.columns * size if add else 0

    def pack(self, right: Array, target: Array) -> Thunk:
        """The call that packs the right side."""
        own = self._unpacked(target)
        return lambda: self._xp.copyto(own, right)

    def bind(
        self, left: Array, right: Array, out: Array, scratch: Array, bias: Array | None = None
    ) -> Thunk:
        """The call for given matrices, the right one packed, if it is to be."""
        xp, place = self._xp, out
        matrix = self._unpacked(right) if self.packed else right
        if self.scratch:
            place = scratch[: self.scratch].view(self._dtype).reshape(self._out)
        start, follow = 0, []
        for name, columns in self._activations:
            follow.append(activation(xp, name, out[:, start : start + columns]))
            start += columns

        def run() -> None:
            xp.matmul(left, matrix, out=place)
            if bias is not None:
                xp.add(place, bias, out=place)
            if place is not out:
                xp.add(out, place, out=out)
            for activate in follow:
                activate()

        return run

    def _unpacked(self, data: Array) -> Array:
        matrix: Array = data[: self.packed].view(self._dtype).reshape(self._right)
        return matrix


def activation(xp: Any, name: str, x: Array) -> Thunk:
    """The call that applies an activation in place."""
    half = x.dtype.type(0.5)

    def sigmoid() -> None:
        """By the hyperbolic tangent, which never overflows."""
        xp.multiply(x, half, out=x)
        xp.tanh(x, out=x)
        xp.multiply(x, half, out=x)
        xp.add(x, half, out=x)

    return {
        "relu": lambda: xp.maximum(x, 0, out=x),
        "sigmoid": sigmoid,
        "tanh": lambda: xp.tanh(x, out=x),
    }[name]
