"""Matrix products; `Product` reads its operands turned, as a pass of the compiler makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.shapes import broadcast, like, same, sum_to
from eddl.ops.table import PRIVATE, Call, Gradients, Operator, apply, integers, register


def _matmul(call: Call) -> list[Type]:
    a, b = call.type(0), call.type(1)
    if a.dtype != b.dtype or not a.rank or not b.rank:
        raise call.fail("two tensors of one element type and at least one axis")
    left = a.shape if a.rank > 1 else (1, *a.shape)
    right = b.shape if b.rank > 1 else (*b.shape, 1)
    same(call, left[-1], right[-2], what="the last axis of A as long as the last but one of B")
    shape: list[Dim] = [*broadcast(call, [left[:-2], right[:-2]])]
    shape += [left[-2]] if a.rank > 1 else []
    shape += [right[-1]] if b.rank > 1 else []
    return [a.with_shape(shape)]


def _turned(x: Value) -> Value:
    perm = (*range(x.rank - 2), x.rank - 1, x.rank - 2)
    return apply("Transpose", x, perm=perm)


def _matmul_gradient(node: Node, g: Value) -> Gradients:
    a, b = node.inputs
    assert a is not None and b is not None
    left = a if a.rank > 1 else apply("Reshape", a, integers([1, *a.type.sizes]))
    right = b if b.rank > 1 else apply("Reshape", b, integers([*b.type.sizes, 1]))
    rows, columns = left.type.sizes[-2], right.type.sizes[-1]
    batch = g.type.sizes[: g.rank - (a.rank > 1) - (b.rank > 1)]
    g = apply("Reshape", g, integers([*batch, rows, columns]))
    da = _shaped(sum_to(apply("MatMul", g, _turned(right)), left), a)
    if left.rank > 2 and right.type.count == right.type.sizes[-2] * columns:
        # One matrix for all: the sum over the batch is one product, and its terms are never held.
        left, g = (apply("Reshape", x, integers([-1, x.type.sizes[-1]])) for x in (left, g))
        return (da, _shaped(apply("MatMul", _turned(left), g), b))
    return (da, _shaped(sum_to(apply("MatMul", _turned(left), g), right), b))


def _shaped(value: Value, like: Value) -> Value:
    return apply("Reshape", value, integers(like.type.sizes))


def _product(call: Call) -> list[Type]:
    turned = [
        t if t is None or not call.attributes[key] or t.rank < 2
        else t.with_shape([*t.shape[:-2], t.shape[-1], t.shape[-2]])
        for t, key in zip(call.types, ("transA", "transB"), strict=True)
    ]  # fmt: skip
    if any(t is not None and t.rank < 2 for t in turned):
        raise call.fail("matrices or stacks of them")
    return _matmul(replace(call, types=tuple(turned)))


def _product_body(node: Node) -> Sequence[Value]:
    a, b = node.inputs
    assert a is not None and b is not None
    return [
        apply(
            "MatMul",
            _turned(a) if node.attributes["transA"] else a,
            _turned(b) if node.attributes["transB"] else b,
        )
    ]


def _det_gradient(node: Node, g: Value) -> Gradients:
    """d det(X) = det(X) tr(X^-1 dX): defined where X has an inverse."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    scale = apply("Reshape", g * y, integers([*y.type.sizes, 1, 1]))
    return (scale * _turned(apply("Inverse", x, domain=PRIVATE)),)


def _inverse_gradient(node: Node, g: Value) -> Gradients:
    """dY = -Y dX Y."""
    turned = _turned(node.outputs[0])
    return (-apply("MatMul", turned, apply("MatMul", g, turned)),)


def _gemm(call: Call) -> list[Type]:
    a, b = call.type(0), call.type(1)
    if a.rank != 2 or b.rank != 2:
        raise call.fail("two matrices")
    rows, inner = reversed(a.shape) if call.attributes["transA"] else a.shape
    depth, columns = reversed(b.shape) if call.attributes["transB"] else b.shape
    same(call, inner, depth, what="inner sizes that are equal")
    return [a.with_shape([rows, columns])]


def _gemm_body(node: Node) -> Sequence[Value]:
    a, b, c = (*node.inputs, None)[:3]
    assert a is not None and b is not None
    product = apply(
        "MatMul",
        _turned(a) if node.attributes["transA"] else a,
        _turned(b) if node.attributes["transB"] else b,
    )
    alpha, beta = (np.asarray(node.attributes[key], a.dtype) for key in ("alpha", "beta"))
    if alpha != 1:
        product = product * alpha
    if c is not None:
        product = product + (c if beta == 1 else c * beta)
    return [product]


def _trilu(call: Call) -> list[Type]:
    if call.type(0).rank < 2:
        raise call.fail("at least two axes")
    return [call.type(0)]


def _trilu_body(node: Node) -> Sequence[Value]:
    x, k = (*node.inputs, None)[:2]
    assert x is not None
    offset = int(k.data.reshape(-1)[0]) if isinstance(k, Constant) else 0
    rows, columns = x.type.sizes[-2:]
    distance = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    kept = distance >= offset if node.attributes["upper"] else distance <= offset
    return [apply("Where", kept, x, np.zeros((), x.dtype))]


def _det(call: Call) -> list[Type]:
    x = call.type(0)
    if x.rank < 2:
        raise call.fail("square matrices")
    same(call, *x.shape[-2:], what="square matrices")
    return [x.with_shape(x.shape[:-2])]


register(
    Operator(
        name="Trilu",
        inputs=("input", "k?"),
        infer=_trilu,
        body=_trilu_body,
        attributes={"upper": 1},
        since=14,
        constant_inputs=(1,),
    )
)
register(
    Operator(name="Det", inputs=("X",), infer=_det, gradient=_det_gradient, since=11, float32=True)
)
register(
    Operator(
        name="Inverse",
        domain=PRIVATE,
        inputs=("X",),
        infer=like,
        gradient=_inverse_gradient,
        float32=True,
    )
)
register(
    Operator(name="MatMul", inputs=("A", "B"), infer=_matmul, gradient=_matmul_gradient, since=9)
)
register(
    Operator(
        name="Product",
        domain=PRIVATE,
        inputs=("A", "B"),
        infer=_product,
        body=_product_body,
        attributes={"transA": 0, "transB": 0},
    )
)
register(
    Operator(
        name="Gemm",
        inputs=("A", "B", "C?"),
        infer=_gemm,
        body=_gemm_body,
        attributes={"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0},
        since=11,
    )
)
