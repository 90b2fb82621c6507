"""RNN, GRU and LSTM: the array backend's way through the sequence, with oneDNN's products.

Weights that all steps share are packed once a run, and the gates' activations follow their product
in the same pass, sigmoids as tanh(x / 2) / 2 + 1 / 2 where both kinds occur. oneDNN's own recurrent
primitives were no faster in training nor in inference (10.5 ms for 100 steps of 32 rows and 256
units, and 10.6), needed eight times the memory (a workspace and scratch memory as large), and know
no lengths. One product a step with inputs and state side by side was slower than a span's inputs at
once and each state: its weights are read anew in every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array
from eddl.backends.array.products import Matrix
from eddl.backends.array.recurrence import Recurrence
from eddl.backends.array.recurrent import backward, forward
from eddl.backends.onednn.backend import OneDnnBackend, kernel
from eddl.backends.onednn.elementwise import ADD, MULTIPLY, SECOND
from eddl.backends.onednn.handles import (
    Descriptor,
    Kernel,
    Operations,
    attributes,
    describe,
    single,
)
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
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node

ACTIVATIONS = {"relu": ELTWISE_ELU, "sigmoid": ELTWISE_LOGISTIC, "tanh": ELTWISE_TANH}


@kernel("RNN", "GRU", "LSTM")
def recurrent(backend: OneDnnBackend, node: Node) -> Offer:
    """The states behind all steps, and the last ones."""
    return _alone(
        backend, forward(backend, _fitting(node), partial(PackedProduct, backend.library))
    )


@kernel("RNNGrad", "GRUGrad", "LSTMGrad", domain="eddl")
def recurrent_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of sequence, weights, biases and initial states."""
    return _alone(
        backend, backward(backend, _fitting(node), partial(PackedProduct, backend.library))
    )


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
        activations: Sequence[tuple[str, int]] = (),
        packed: bool = False,
    ) -> None:
        row = describe(library, (1, out.columns), (out.columns, 1))

        def follow(operations: Operations, name: str, *arguments: Any) -> None:
            library.call(f"post_ops_append_{name}", operations, *arguments)

        def scaled(operations: Operations, kind: int, vector: Array) -> None:
            place = AFTERWARDS * (library.dnnl.dnnl_post_ops_len(operations) + 1) | SECOND
            follow(operations, "binary", kind, row)
            operations.given[place] = row, vector.reshape(1, -1)

        def append(operations: Operations) -> None:
            if add:
                follow(operations, "sum", single(1.0), 0, 0)
            zero = single(0.0)
            if len(activations) == 1:
                follow(operations, "eltwise", ACTIVATIONS[activations[0][0]], zero, zero)
            elif activations:
                half = np.repeat([name == "sigmoid" for name, _ in activations],
                                 [columns for _, columns in activations])  # fmt: skip
                half = half.astype(np.float32) / 2
                scaled(operations, MULTIPLY, 1 - half)
                follow(operations, "eltwise", ELTWISE_TANH, zero, zero)
                scaled(operations, MULTIPLY, 1 - half)
                scaled(operations, ADD, half)

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
