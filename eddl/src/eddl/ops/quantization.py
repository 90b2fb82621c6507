"""Quantization and what computes with quantized tensors, as bodies in ordinary operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from eddl.graph import Node, Type, Value
from eddl.ops.bits import NARROW, coded, floating
from eddl.ops.shapes import known, positive_axis
from eddl.ops.table import Call, Operator, apply, find, integers, make_node, register

FLOAT32 = np.dtype(np.float32)
INT32 = np.dtype(np.int32)


def _need(value: Value | None) -> Value:
    assert value is not None
    return value


def _optional(node: Node, index: int) -> Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least and the greatest whole number of a type."""
    kind: Any = ml_dtypes.iinfo if dtype in NARROW else np.iinfo
    info = kind(dtype)
    return float(info.min), float(info.max)


def _check(call: Call) -> None:
    """Scales are one number, one an element of `axis`, or one a block along it."""
    x, scale = call.type(0), call.type(1)
    block = call.attributes["block_size"]
    one = scale.shape in ((), (1,))
    if call.given(2) and not (one and call.type(2).shape in ((), (1,))):
        zero = call.type(2).shape
        if len(zero) != scale.rank or (known(*zero, *scale.shape) and zero != scale.shape):
            raise call.fail("a zero point of the scale's shape")
    if one:
        return
    axis = positive_axis(call, call.attributes["axis"], x.rank)
    size = x.shape[axis]
    if not block:
        if scale.rank != 1 or (isinstance(size, int) and scale.shape[0] not in (size, None)):
            raise call.fail(f"a scale of one number or of {size}, one an element of axis {axis}")
        return
    blocks = -(-size // block) if isinstance(size, int) else None
    wanted = [*x.shape[:axis], blocks, *x.shape[axis + 1 :]]
    if (
        block < 0
        or scale.rank != x.rank
        or any(
            isinstance(a, int) and isinstance(b, int) and a != b
            for a, b in zip(wanted, scale.shape, strict=True)
        )
    ):
        raise call.fail(f"a scale of shape {wanted} for blocks of {block} along axis {axis}")


def _quantize(call: Call) -> list[Type]:
    _check(call)
    named, x = call.attributes["output_dtype"], call.type(0)
    dtype = coded(named) if named else (call.type(2).dtype if call.given(2) else np.dtype("uint8"))
    if call.given(2) and call.type(2).dtype != dtype:
        raise call.fail(f"a zero point of output_dtype {dtype.name}")
    return [x.with_dtype(dtype)]


def _dequantize(call: Call) -> list[Type]:
    _check(call)
    if call.given(2) and call.type(2).dtype != call.type(0).dtype:
        raise call.fail("a zero point of x's element type")
    named = call.attributes["output_dtype"]
    return [call.type(0).with_dtype(coded(named) if named else call.type(1).dtype)]


def _spread(node: Node, scale: Value) -> Value:
    """Scales (or zero points) so that they broadcast to x."""
    sizes = _need(node.inputs[0]).type.sizes
    if scale.rank == 0 or scale.type.sizes == (1,):
        return apply("Reshape", scale, integers([]))
    axis, block = node.attributes["axis"] % len(sizes), node.attributes["block_size"]
    if not block:
        return apply(
            "Reshape", scale, integers([-1 if i == axis else 1 for i in range(len(sizes))])
        )
    shape = scale.type.sizes
    wide = [*shape[: axis + 1], block, *shape[axis + 1 :]]
    repeated = apply("Expand", apply("Unsqueeze", scale, integers([axis + 1])), integers(wide))
    joined = [*shape[:axis], shape[axis] * block, *shape[axis + 1 :]]
    whole = apply("Reshape", repeated, integers(joined))
    return apply("Slice", whole, integers([0]), integers([sizes[axis]]), integers([axis]))


def _to(value: Value, dtype: Any, **rules: Any) -> Value:
    return apply("Cast", value, to=np.dtype(dtype), **rules)


def _quantize_body(node: Node) -> Sequence[Value]:
    x, scale, zero = _need(node.inputs[0]), _need(node.inputs[1]), _optional(node, 2)
    named = node.attributes["precision"]
    precision = coded(named) if named else scale.dtype
    ratio = _to(x, precision) / _spread(node, _to(scale, precision))
    dtype = node.outputs[0].dtype
    if floating(dtype):
        if zero is not None:
            ratio = ratio + _spread(node, _to(zero, precision))
        return [_to(ratio, dtype, saturate=node.attributes["saturate"])]
    return [_saturated(ratio, None if zero is None else _spread(node, _to(zero, FLOAT32)), dtype)]


def _saturated(value: Value, zero: Value | None, dtype: np.dtype[Any]) -> Value:
    """The nearest whole number, the even one of two, shifted and clipped to a type's range."""
    whole = _to(apply("Round", value), FLOAT32)
    if zero is not None:
        whole = whole + zero
    low, high = (np.asarray(limit, np.float32) for limit in limits(dtype))
    return _to(apply("Clip", whole, low, high), dtype)


def _dequantize_body(node: Node) -> Sequence[Value]:
    x, scale, zero = _need(node.inputs[0]), _need(node.inputs[1]), _optional(node, 2)
    work = scale.dtype if scale.dtype == np.float64 else FLOAT32
    value = _to(x, work)
    if zero is not None:
        value = value - _spread(node, _to(zero, work))
    return [_to(value * _spread(node, _to(scale, work)), node.outputs[0].dtype)]


def _columns(value: Value, rank: int) -> Value:
    """A number for each row of a matrix, set beside its elements."""
    return value if value.rank != 1 or rank < 2 else apply("Unsqueeze", value, integers([1]))


def _filters(value: Value, rank: int) -> Value:
    return apply("Reshape", value, integers([-1, *[1] * (rank - 1)])) if value.rank else value


def _centred(x: Value, zero: Value | None) -> Value:
    return _to(x, INT32) if zero is None else _to(x, INT32) - _to(zero, INT32)


def _product_type(call: Call, a: int, b: int, dtype: Any) -> list[Type]:
    rule, whole = find("MatMul"), np.dtype(dtype)
    types = (call.type(a).with_dtype(whole), call.type(b).with_dtype(whole))
    return list(rule.infer(Call(rule, types, (None, None), {})))


def _matmul_integer_body(node: Node) -> Sequence[Value]:
    a, b = _need(node.inputs[0]), _need(node.inputs[1])
    zero_a, zero_b = _optional(node, 2), _optional(node, 3)
    left = _centred(a, None if zero_a is None else _columns(zero_a, a.rank))
    return [apply("MatMul", left, _centred(b, zero_b))]


def _qlinear_matmul_body(node: Node) -> Sequence[Value]:
    a, scale_a, zero_a, b, scale_b, zero_b, scale, zero = map(_need, node.inputs)
    total = apply("MatMul", _centred(a, _columns(zero_a, a.rank)), _centred(b, zero_b))
    factor = _columns(_to(scale_a, FLOAT32), a.rank) * _to(scale_b, FLOAT32)
    factor = factor / _to(scale, FLOAT32)
    return [_saturated(_to(total, FLOAT32) * factor, _to(zero, FLOAT32), zero.dtype)]


def _convolved(call: Call, x: int, w: int, bias: int | None, dtype: Any) -> list[Type]:
    whole = np.dtype(dtype)
    types = [call.type(x).with_dtype(whole), call.type(w).with_dtype(whole)]
    if bias is not None and call.given(bias):
        types.append(call.type(bias))
    return list(find("Conv").infer(Call(call.operator, tuple(types), (), call.attributes)))


def _conv_integer_body(node: Node) -> Sequence[Value]:
    x, w = _need(node.inputs[0]), _need(node.inputs[1])
    zero_w = _optional(node, 3)
    kernels = _centred(w, None if zero_w is None else _filters(zero_w, w.rank))
    return [apply("Conv", _centred(x, _optional(node, 2)), kernels, **node.attributes)]


def _qlinear_conv_body(node: Node) -> Sequence[Value]:
    x, scale_x, zero_x, w, scale_w, zero_w, scale, zero = map(_need, node.inputs[:8])
    bias = _optional(node, 8)
    kernels = _centred(w, _filters(zero_w, w.rank))
    inputs = (_centred(x, zero_x), kernels, *(() if bias is None else (bias,)))
    total = make_node("Conv", *inputs, **node.attributes).outputs[0]
    factor = _to(scale_x, FLOAT32) * _to(scale_w, FLOAT32) / _to(scale, FLOAT32)
    if factor.rank:
        factor = apply("Reshape", factor, integers([-1, *[1] * (x.rank - 2)]))
    return [_saturated(_to(total, FLOAT32) * factor, _to(zero, FLOAT32), zero.dtype)]


_WINDOWS = dict(find("Conv").attributes)

register(
    Operator(
        name="QuantizeLinear",
        inputs=("x", "y_scale", "y_zero_point?"),
        infer=_quantize,
        body=_quantize_body,
        attributes={"axis": 1, "block_size": 0, "output_dtype": 0, "precision": 0, "saturate": 1},
        since=10,
    )
)
register(
    Operator(
        name="DequantizeLinear",
        inputs=("x", "x_scale", "x_zero_point?"),
        infer=_dequantize,
        body=_dequantize_body,
        attributes={"axis": 1, "block_size": 0, "output_dtype": 0},
        since=10,
    )
)
register(
    Operator(
        name="MatMulInteger",
        inputs=("A", "B", "a_zero_point?", "b_zero_point?"),
        infer=lambda call: _product_type(call, 0, 1, INT32),
        body=_matmul_integer_body,
        since=10,
    )
)
register(
    Operator(
        name="QLinearMatMul",
        inputs=("a", "a_scale", "a_zero_point", "b", "b_scale", "b_zero_point", "y_scale",
                "y_zero_point"),
        infer=lambda call: _product_type(call, 0, 3, call.type(7).dtype),
        body=_qlinear_matmul_body,
        since=10,
    )
)  # fmt: skip
register(
    Operator(
        name="ConvInteger",
        inputs=("x", "w", "x_zero_point?", "w_zero_point?"),
        infer=lambda call: _convolved(call, 0, 1, None, INT32),
        body=_conv_integer_body,
        attributes=_WINDOWS,
        since=10,
    )
)
register(
    Operator(
        name="QLinearConv",
        inputs=("x", "x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale",
                "y_zero_point", "B?"),
        infer=lambda call: _convolved(call, 0, 3, 8, call.type(7).dtype),
        body=_qlinear_conv_body,
        attributes=_WINDOWS,
        since=10,
    )
)  # fmt: skip
