"""Matrix products by BLAS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node

SMALL = 1 << 22
"""Products of two numbers below which waking threads takes longer than it saves."""


@kernel("MatMul")
@kernel("Product", domain="eddl")
def matmul(backend: ArrayBackend, node: Node) -> Offer:
    """One product, its rows split over the threads; BLAS reads turned operands as they lie."""
    turned = [node.attributes.get(key, 0) for key in ("transA", "transB")]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp, y = backend.xp, outputs[0]
        a, b = (x.swapaxes(-1, -2) if way else x for x, way in zip(inputs, turned, strict=True))
        if a.ndim < 2 or y.size * a.shape[-1] < SMALL:
            return lambda: xp.matmul(a, b, out=y)
        rows_last = b.ndim == 1
        tasks = []
        for start, stop in backend.threads.split(a.shape[-2]):
            part = y[..., start:stop] if rows_last else y[..., start:stop, :]
            left = a[..., start:stop, :]
            tasks.append(partial(xp.matmul, left, b, out=part))
        return lambda: backend.threads.run(tasks)

    return Offer("blas", bind)


@kernel("Inverse", domain="eddl")
def inverse(backend: ArrayBackend, node: Node) -> Offer:
    """Inverses of square matrices; not-a-number for all where one of them has none."""

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp

        def run() -> None:
            try:
                xp.copyto(outputs[0], xp.linalg.inv(inputs[0]), casting="same_kind")
            except np.linalg.LinAlgError:
                outputs[0].fill(np.nan)

        return run

    return Offer("lu", bind)


@kernel("Det")
def det(backend: ArrayBackend, node: Node) -> Offer:
    """Determinants by elimination with pivots."""

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp

        def run() -> None:
            x = inputs[0] if inputs[0].dtype == "float64" else inputs[0].astype("float32")
            xp.copyto(outputs[0], xp.linalg.det(x), casting="unsafe")

        return run

    return Offer("lu", bind)
