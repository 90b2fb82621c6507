"""Element types and bits: casts, reinterpretation, and operators bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from eddl.graph import Node, Opaque, Type, Value
from eddl.ops.elementwise import elementwise
from eddl.ops.table import REQUIRED, Call, Gradients, Operator, apply, register

NARROW = frozenset(
    np.dtype(t)
    for t in (
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e4m3fnuz,
        ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz,
        ml_dtypes.float8_e8m0fnu,
        ml_dtypes.float4_e2m1fn,
        ml_dtypes.int4,
        ml_dtypes.uint4,
        ml_dtypes.int2,
        ml_dtypes.uint2,
    )
)
"""Types that only store: nothing but casts computes in them."""

_WHOLE = frozenset(
    np.dtype(t) for t in (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)
)


_CODES: dict[int, Any] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
    16: ml_dtypes.bfloat16,
}


def coded(code: Any) -> np.dtype[Any]:
    """The element type that an attribute names, be it by ONNX's code or as it is."""
    named: np.dtype[Any] = np.dtype(_CODES[code] if isinstance(code, int) else code)
    return named


def floating(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of a type have fractions."""
    return bool(dtype.kind in "fV" and dtype not in _WHOLE)


def bit_width(dtype: np.dtype[Any]) -> int:
    """The number of bits of an element as ONNX counts them."""
    if dtype in NARROW:
        info: Any = ml_dtypes.finfo if floating(dtype) else ml_dtypes.iinfo
        return int(info(dtype).bits)
    return 8 * dtype.itemsize


def _cast(call: Call) -> list[Type]:
    to = np.dtype(call.attributes["to"])
    return [Opaque() if to.kind == "O" else call.type(0).with_dtype(to)]


def _cast_formula(node: Node) -> str:
    return "input != 0" if np.dtype(node.attributes["to"]) == bool else "input"


def _cast_gradient(node: Node, g: Value) -> Gradients:
    x = node.inputs[0]
    assert x is not None
    both = floating(x.dtype) and floating(node.outputs[0].dtype)
    return (apply("Cast", g, to=x.dtype) if both else None,)


def _cast_like(call: Call) -> list[Type]:
    to = call.type(1).dtype
    return [Opaque() if to.kind == "O" else call.type(0).with_dtype(to)]


def _cast_like_body(node: Node) -> Sequence[Value]:
    x, like = node.inputs
    assert like is not None
    return [apply("Cast", x, to=like.dtype, **node.attributes)]


def _bit_cast(call: Call) -> list[Type]:
    x, to = call.type(0), np.dtype(call.attributes["to"])
    if bit_width(x.dtype) != bit_width(to) or object in (x.dtype, to):
        raise call.fail(f"an element type as wide as {to.name}")
    return [x.with_dtype(to)]


def _shift(node: Node) -> str:
    return "shift_left(X, Y)" if node.attributes["direction"] == "LEFT" else "shift_right(X, Y)"


_ROUNDING: dict[str, Any] = {"saturate": 1, "round_mode": "up"}

elementwise("Cast", "input", _cast_formula, _cast_gradient, rule=_cast, since=6,
            attributes={"to": REQUIRED, **_ROUNDING})  # fmt: skip
register(
    Operator(
        name="CastLike",
        inputs=("input", "target_type"),
        infer=_cast_like,
        body=_cast_like_body,
        attributes=_ROUNDING,
        since=15,
    )
)
register(
    Operator(
        name="BitCast",
        inputs=("input",),
        infer=_bit_cast,
        attributes={"to": REQUIRED},
        since=26,
    )
)
elementwise("BitShift", "X Y", _shift, since=11, attributes={"direction": REQUIRED})
elementwise("BitwiseAnd", "A B", "bit_and(A, B)", since=18)
elementwise("BitwiseOr", "A B", "bit_or(A, B)", since=18)
elementwise("BitwiseXor", "A B", "bit_xor(A, B)", since=18)
elementwise("BitwiseNot", "X", "bit_not(X)", since=18)
