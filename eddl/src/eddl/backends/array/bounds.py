"""Sums of squares, and a sum that is left out where a bound says that it is finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.backends.array.unfolding import Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.bounds import LIMIT
from eddl.ops.table import make_node


@kernel("Squares", domain="eddl")
def squares(backend: ArrayBackend, node: Node) -> Offer | None:
    """Each sum is the product of a vector with itself, by BLAS."""
    if any(v is None or v.dtype.kind != "f" or v.dtype.itemsize < 4 for v in node.inputs):
        return None
    join = math.prod if node.attributes["product"] else sum

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        vectors = [np.ascontiguousarray(x).reshape(-1) for x in inputs]  # the caller's lie anyhow
        result, dot = outputs[0], backend.xp.dot

        def run() -> None:
            result.fill(join([float(dot(x, x)) for x in vectors]))

        return run

    return Offer("dot", bind)


@kernel("SumUnless", domain="eddl")
def sum_unless(backend: ArrayBackend, node: Node) -> Offer | None:
    """The sum by whatever kernel the backend has for it."""
    x = node.inputs[0]
    assert x is not None
    whole = make_node("ReduceSum", x, keepdims=0)
    offers = (pattern.offer([whole]) for pattern in backend.patterns(whole))
    inner = next((offer for offer in offers if offer is not None), None)
    if inner is None:
        return None
    need, made = Workspace(), inner

    def plan(space: Workspace) -> tuple[Any, Any]:
        return space.take((), x.dtype), space.take((made.workspace,), np.uint8)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        total, space = plan(Workspace(workspace))
        add = made.bind(inputs[:1], [total], space if made.workspace else None)
        bound, result = inputs[1], outputs[0]

        def run() -> None:
            if bound <= LIMIT:
                result.fill(0)
                return
            add()
            result[...] = total

        return run

    return Offer(f"{made.kernel} or nothing", bind, workspace=need.used)
