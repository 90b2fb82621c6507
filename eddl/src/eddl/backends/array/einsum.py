"""Einsum by NumPy's, its order of products chosen once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.einsum import terms_of


@kernel("Einsum")
def einsum(backend: ArrayBackend, node: Node) -> Offer:
    """Products in the order that costs least; bfloat16 computes in float32."""
    terms, result = terms_of(node)
    equation = f"{','.join(terms)}->{result}"
    wide = node.outputs[0].dtype.kind == "V"

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp
        if wide:
            return lambda: xp.copyto(
                outputs[0],
                xp.einsum(equation, *(x.astype("float32") for x in inputs)),
                casting="unsafe",
            )
        path = np.einsum_path(equation, *inputs, optimize="optimal")[0]
        return lambda: xp.einsum(equation, *inputs, out=outputs[0], optimize=path)

    return Offer("einsum", bind)
