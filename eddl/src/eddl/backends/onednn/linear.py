"""Matrix products, of single matrices or of stacks, in either order of their axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.onednn.backend import CHAINS, OneDnnBackend, Packing, Yielded, kernel, packed
from eddl.backends.onednn.handles import Descriptor, describe, row_major
from eddl.backends.onednn.kernels import Attributes, Kernel, attributes, rectified
from eddl.backends.onednn.library import BIAS, DST, FLOATS, SRC, WEIGHTS, Refused
from eddl.compiler.keep import is_kept
from eddl.compiler.protocol import PLAIN, Arrangement, Offer, Pattern, Thunk
from eddl.graph import Node, Value

LEAST = 8
"""Rows below which BLAS, which then multiplies a matrix by vectors, is faster."""

NARROW, NARROWEST = 16, 8
"""Columns and inner sizes below which it is, too: of small products, and of all."""

LIGHT = 1 << 19
"""Multiplications of a small product."""


@kernel("MatMul")
@kernel("Product", domain="eddl")
def matmul(backend: OneDnnBackend, node: Node) -> Offer:
    """One product; the batch axes of a stack are repeated where they are 1."""
    return _product(backend, node)


def _product(
    backend: OneDnnBackend, node: Node, bias: Value | None = None, *, relu: bool = False
) -> Offer:
    """A product, to whose columns a bias is added and which is rectified in the same pass."""
    a, b = node.inputs
    assert a is not None and b is not None
    y = node.outputs[0].type
    if a.dtype != b.dtype or a.dtype.name not in FLOATS:
        raise Refused(f"received {a.type} and {b.type}, expected one of {FLOATS} for both")
    if a.rank < 2 or b.rank < 2:
        raise Yielded("vectors")
    turned = [bool(node.attributes.get(key, 0)) for key in ("transA", "transB")]
    sizes, others, result = list(a.type.sizes), list(b.type.sizes), list(y.sizes)
    if len(others) == 2 and not turned[0]:  # a stack of rows is one matrix
        sizes, result = [[math.prod(s[:-1]), s[-1]] for s in (sizes, result)]
    rank, (rows, columns) = len(result), result[-2:]
    inner = sizes[-2] if turned[0] else sizes[-1]
    kept = is_kept(b) and b.rank == 2
    narrow = NARROW if rows * columns * inner < LIGHT else NARROWEST
    if rank > 12 or (not kept and (rows < LEAST or columns < narrow or inner < narrow)):
        raise Yielded("a product that BLAS is better at")
    left, right = (
        _matrices(backend, [1] * (rank - len(s)) + s, way, a.dtype.name)
        for s, way in zip((sizes, others), turned, strict=True)
    )
    wanted = describe(backend.library, right.dims, None, a.dtype.name) if kept else right
    target = describe(backend.library, result, row_major(result), y.dtype.name)
    row = [1] * (rank - 1) + [columns]
    shift = None if bias is None else describe(backend.library, row, row_major(row),
                                               bias.dtype.name)  # fmt: skip

    def make(attribute: Attributes) -> Kernel:
        return Kernel(backend.library, "matmul", backend.library.engine, left, wanted, shift,
                      target, attribute)  # fmt: skip

    if relu:
        made = rectified(lambda way: make(attributes(backend.library, lambda o: way(o, rank))))
    else:
        made = make(attributes(backend.library))

    packing = Packing(made.descriptor(WEIGHTS, right.dims) if kept else right, right)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        first, second, *rest = map(np.ascontiguousarray, inputs)  # the caller's lie in any way
        arguments = {SRC: (left, first), WEIGHTS: (packing.packed, second),
                     DST: (target, outputs[0])}  # fmt: skip
        if shift is not None:
            arguments[BIAS] = (shift, rest[0])
        return made.bind(arguments, workspace)

    layouts = (PLAIN, packed(packing), PLAIN)[: 2 if bias is None else 3]
    chosen = Arrangement(layouts, (PLAIN,))
    return Offer(made.implementation, bind, workspace=made.scratch, arrangements=(chosen,))


FORMULAS = {"X0 + X1": False, "maximum(X0 + X1, 0)": True}
"""What a fused operator behind a product may compute, and whether that rectifies."""


def _chains(backend: OneDnnBackend, node: Node) -> Sequence[Pattern]:
    def offer(nodes: Sequence[Node]) -> Offer | None:
        product, follower = nodes
        formula = follower.attributes.get("formula", "X0 + X1")
        others = [v for v in follower.inputs if v is not None and v is not product.outputs[0]]
        columns = product.outputs[0].type.sizes[-1:]
        if formula not in FORMULAS or [v.type.sizes for v in others] != [columns]:
            return None
        first = follower.op == "Add" or follower.inputs[0] is product.outputs[0]
        if not first or follower.outputs[0].type != product.outputs[0].type:
            return None
        try:
            return _product(backend, product, others[0], relu=FORMULAS[formula])
        except Refused:
            return None

    return [Pattern((node.op, op), offer) for op in ("Fused", "Add")]


CHAINS["", "MatMul"] = CHAINS["eddl", "Product"] = _chains


def _matrices(backend: OneDnnBackend, sizes: list[int], turned: bool, dtype: str) -> Descriptor:
    strides = row_major(sizes)
    if turned:
        sizes = [*sizes[:-2], sizes[-1], sizes[-2]]
        strides = [*strides[:-2], strides[-1], strides[-2]]
    return describe(backend.library, sizes, strides, dtype)
