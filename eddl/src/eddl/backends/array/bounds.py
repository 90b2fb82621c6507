"""Sums of squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.compiler.protocol import PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Node


@kernel("Squares", domain="eddl")
def squares(backend: ArrayBackend, node: Node) -> Offer | None:
    """Each sum is the product of a vector with itself, by BLAS, in whatever order it lies; what a
    backend's own layouts add to it is zero."""
    kinds = {None if v is None else v.dtype for v in node.inputs}
    if any(kind is None or kind.kind != "f" or kind.itemsize < 4 for kind in kinds):
        return None
    join = math.prod if node.attributes["product"] else sum

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        types = [value.dtype for value in node.inputs if value is not None]
        vectors = [
            (x if x.dtype == dtype else x.view(dtype)).ravel(order="K")  # the caller's lie anyhow
            for x, dtype in zip(inputs, types, strict=True)
        ]
        result, dot = outputs[0], backend.xp.dot

        def run() -> None:
            result.fill(join([float(dot(x, x)) for x in vectors]))

        return run

    anyhow = Arrangement((None,) * len(node.inputs), (PLAIN,))
    return Offer("dot", bind, arrangements=(anyhow,))
