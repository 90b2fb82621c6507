"""RNN, GRU and LSTM: the array backend's way through the sequence, with oneDNN's products.

Weights that all steps share are packed once a run, and the gates' activations follow their products
in the same pass. A thread's span is one call, `eddl.backends.onednn.loop`: with one of Python's for
each kernel, 100 steps of 32 rows and 256 units took 14.3 ms on two threads where they take 11.7.
oneDNN's own recurrent primitives took as long as these on one thread (8.8 to 9.1 ms for 16 rows),
needed eight times the memory (a workspace and scratch memory as large), and know no lengths. One
product a step with inputs and state side by side was about as fast, but its weights would have to
be laid side by side in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array
from eddl.backends.array.products import Matrix
from eddl.backends.array.recurrence import Recurrence
from eddl.backends.array.recurrent import backward, forward
from eddl.backends.onednn.backend import OneDnnBackend, kernel
from eddl.backends.onednn.elementwise import ADD, MULTIPLY, SECOND, SUBTRACT
from eddl.backends.onednn.handles import Descriptor, describe, single
from eddl.backends.onednn.kernels import Kernel, Operations, attributes
from eddl.backends.onednn.library import (
    AFTERWARDS,
    BIAS,
    DST,
    ELTWISE_ELU,
    ELTWISE_LOGISTIC,
    ELTWISE_TANH,
    SRC,
    WEIGHTS,
    Library,
    Refused,
)
from eddl.backends.onednn.loop import in_turn
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node

BINARY = {"add": ADD, "subtract": SUBTRACT, "multiply": MULTIPLY}
ACTIVATIONS = {"relu": ELTWISE_ELU, "sigmoid": ELTWISE_LOGISTIC, "tanh": ELTWISE_TANH}


@kernel("RNN", "GRU", "LSTM")
def recurrent(backend: OneDnnBackend, node: Node) -> Offer:
    """The states behind all steps, and the last ones."""
    return _alone(backend, forward(backend, _fitting(node), Packed(backend.library)))


@kernel("RNNGrad", "GRUGrad", "LSTMGrad", domain="eddl")
def recurrent_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of sequence, weights, biases and initial states."""
    return _alone(backend, backward(backend, _fitting(node), Packed(backend.library)))


def _fitting(node: Node) -> Node:
    if node.outputs[0].dtype != np.float32 or not Recurrence.fits(node):
        raise Refused("a type other than float32, or equations that no kernel has")
    return node


def _alone(backend: OneDnnBackend, offer: Offer) -> Offer:
    """The same, each product on the thread that asks for it."""

    def bind(*buffers: Any) -> Thunk:
        with backend.library.alone():
            inner = offer.bind(*buffers)

        def run() -> None:
            with backend.library.alone():
                inner()

        return run

    return replace(offer, kernel="spans of matmul", bind=bind)


class Packed:
    """What oneDNN computes for the recurrent operators."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def product(self, *sizes: Any, **how: Any) -> PackedProduct:
        """A product of matrices that lie so."""
        return PackedProduct(self._library, *sizes, **how)

    def chain(self, dtype: Any, count: int, *operations: str) -> BinaryChain:
        """Operations of so many elements."""
        return BinaryChain(self._library, count, operations)

    def copy(self, target: Array, source: Array) -> Thunk:
        """The call that copies an array to another; one that lies backwards goes part by part."""
        if min(target.strides) < 0:
            return in_turn([self.copy(*parts) for parts in zip(target, source, strict=True)])
        library = self._library
        there, here = (
            describe(library, x.shape, [step // x.itemsize for step in x.strides])
            for x in (target, source)
        )
        made = Kernel(library, "reorder", here, library.engine, there, library.engine,
                      attributes(library), slow=True, shared=True)  # fmt: skip
        return made.bind({SRC: (here, source), DST: (there, target)})

    def in_turn(self, calls: Sequence[Thunk]) -> Thunk:
        """One call for all, without the interpreter between them."""
        return in_turn(calls)


class BinaryChain:
    """Elementwise operations in one pass: a binary one and those that follow it. One that begins
    with a function of one operand begins by adding 0."""

    def __init__(self, library: Library, count: int, operations: Sequence[str]) -> None:
        self._joins = [name in BINARY for name in operations]
        self._library = library
        self._whole, self._one = (describe(library, [size], [1]) for size in (count, 1))
        first, *rest = operations if self._joins[0] else ("add", *operations)

        def append(made: Operations) -> None:
            for name in rest:
                if name in BINARY:
                    made.append("binary", BINARY[name], self._whole)
                else:
                    follow(library, made, name)

        second = self._whole if self._joins[0] else self._one
        with library.alone():
            self._kernel = Kernel(
                library, "binary", library.engine, BINARY[first], self._whole, second, self._whole,
                attributes(library, append), shared=True,
            )  # fmt: skip

    def bind(self, out: Array, first: Array, *operands: Array) -> Thunk:
        """The call for given arrays; no operand but the first is `out`."""
        rest = iter(operands)
        arguments = {SRC: (self._whole, first.reshape(-1)), DST: (self._whole, out.reshape(-1))}
        if not self._joins[0]:
            arguments[SECOND] = self._one, np.zeros(1, np.float32)
        place = 0 if self._joins[0] else 1
        for joins in self._joins:
            if joins:
                number = AFTERWARDS * place | SECOND
                arguments[number] = self._whole, next(rest).reshape(-1)
            place += 1
        return self._kernel.bind(arguments)


def follow(library: Library, operations: Operations, name: str) -> None:
    """Append an activation."""
    zero = single(0.0)
    operations.append("eltwise", ACTIVATIONS[name], zero, zero)


class PackedProduct:
    """A product of the recurrent kernels by oneDNN."""

    def __init__(
        self,
        library: Library,
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
        row = describe(library, (1, out.columns), (out.columns, 1))

        def append(operations: Operations) -> None:
            if add:
                operations.append("sum", single(1.0), 0, 0)
            if activation is not None:
                follow(library, operations, activation)

        def matrix(part: Matrix) -> Descriptor:
            return describe(library, (part.rows, part.columns), (part.down, part.across))

        sizes = right.rows, right.columns
        self._library, self._plain, self._by_rows = library, matrix(right), right.across == 1
        self._left, self._out = matrix(left), matrix(out)
        self._bias = row if bias else None
        with library.alone():
            self._kernel = Kernel(
                library, "matmul", library.engine, self._left,
                describe(library, sizes) if packed else self._plain, self._bias, self._out,
                attributes(library, append), shared=True,
            )  # fmt: skip
        self._right = self._kernel.descriptor(WEIGHTS, sizes)
        self.packed = self._right.nbytes if packed else 0
        self.scratch = self._kernel.scratch

    def pack(self, right: Array, target: Array) -> Thunk:
        """The call that packs the right side."""
        engine = self._library.engine
        made = Kernel(self._library, "reorder", self._plain, engine, self._right, engine, None,
                      slow=True, shared=True)  # fmt: skip
        return made.bind({SRC: (self._plain, self._lying(right)), DST: (self._right, target)})

    def bind(
        self, left: Array, right: Array, out: Array, scratch: Array, bias: Array | None = None
    ) -> Thunk:
        """The call for given matrices, the right one packed, if it is to be."""
        if not self.packed:
            right = self._lying(right)
        arguments = {SRC: (self._left, left), WEIGHTS: (self._right, right), DST: (self._out, out)}
        if self._bias is not None and bias is not None:
            arguments[BIAS] = self._bias, bias
        return self._kernel.bind(arguments, scratch)

    def _lying(self, right: Array) -> Array:
        """The right side as it was described: the caller's own array may lie in any way."""
        return np.ascontiguousarray(right if self._by_rows else right.T)
