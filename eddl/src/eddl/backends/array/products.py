"""Products and chains of elementwise operations that are made once and run many times, for the
recurrent operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from eddl.backends.array.backend import Array
from eddl.backends.array.threads import in_turn
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
    """`out = left @ right + bias`; with `add`, what is in `out` is added. Then comes an activation.

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


class Chain(Protocol):
    """Operations of arrays that are all as large: "add", "subtract" and "multiply", each of what is
    there and the next operand, and "tanh"."""

    def bind(self, out: Array, first: Array, *operands: Array) -> Thunk:
        """The call for given arrays that lie without gaps; no operand but the first is `out`."""


class Make(Protocol):
    """What a backend computes for the recurrent operators."""

    def product(
        self,
        dtype: Any,
        left: Matrix,
        right: Matrix,
        out: Matrix,
        *,
        bias: bool = False,
        add: bool = False,
        activation: str | None = None,
        packed: bool = False,
    ) -> Product:
        """A product of matrices that lie so."""

    def chain(self, dtype: Any, count: int, *operations: str) -> Chain:
        """Operations of so many elements."""

    def copy(self, target: Array, source: Array) -> Thunk:
        """The call that copies an array to another."""

    def in_turn(self, calls: Sequence[Thunk]) -> Thunk:
        """One call for all."""


class Blas:
    """By NumPy or CuPy."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def product(self, *sizes: Any, **how: Any) -> Product:
        """By the namespace's own products."""
        return BlasProduct(self._xp, *sizes, **how)

    def chain(self, dtype: Any, count: int, *operations: str) -> Chain:
        """One operation after another."""
        return BlasChain(self._xp, operations)

    def copy(self, target: Array, source: Array) -> Thunk:
        """By the namespace's own copy."""
        return partial(self._xp.copyto, target, source)

    def in_turn(self, calls: Sequence[Thunk]) -> Thunk:
        """One after another."""
        return in_turn(calls)


class BlasChain:
    """By NumPy's own functions."""

    def __init__(self, xp: Any, operations: Sequence[str]) -> None:
        self._functions = [(getattr(xp, name), name != "tanh") for name in operations]

    def bind(self, out: Array, first: Array, *operands: Array) -> Thunk:
        """The call for given arrays; no operand but the first is `out`."""
        rest, calls = iter(operands), []
        for function, joins in self._functions:
            calls.append(partial(function, first, *([next(rest)] if joins else []), out))
            first = out
        return in_turn(calls)


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
        activation: str | None = None,
        packed: bool = False,
    ) -> None:
        size = np.dtype(dtype).itemsize
        self._xp, self._dtype, self._activation = xp, dtype, activation
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
        activate = None if self._activation is None else activated(xp, self._activation, out)

        def run() -> None:
            xp.matmul(left, matrix, out=place)
            if bias is not None:
                xp.add(place, bias, out=place)
            if place is not out:
                xp.add(out, place, out=out)
            if activate is not None:
                activate()

        return run

    def _unpacked(self, data: Array) -> Array:
        matrix: Array = data[: self.packed].view(self._dtype).reshape(self._right)
        return matrix


def activated(xp: Any, name: str, x: Array) -> Thunk:
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
