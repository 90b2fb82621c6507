"""Rows of the operators that networks are mostly made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .row import Generator, Row, ints, positive, spread


def _unary(op: str, draw: Callable[..., np.ndarray] = spread, **attributes: Any) -> list[Row]:
    return [Row(op, lambda r, s=s: [draw(r, *s)], attributes) for s in ((3, 4), (2, 3, 4, 5), ())]


def _binary(op: str, second: Callable[..., np.ndarray] = spread) -> list[Row]:
    shapes = (((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (3, 1)), ((), (5,)))
    first = positive if op == "Pow" else spread
    return [Row(op, lambda r, a=a, b=b: [first(r, *a), second(r, *b)]) for a, b in shapes]


def _compare(op: str) -> list[Row]:
    return [Row(op, lambda r: [r.integers(0, 3, (4, 5)), r.integers(0, 3, (5,))])]


def _logic(op: str) -> list[Row]:
    return [Row(op, lambda r: [r.random((4, 5)) > 0.5, r.random(5) > 0.5])]


def _variadic(op: str) -> list[Row]:
    return [
        Row(op, lambda r: list(spread(r, 3, 4, 5))),
        Row(op, lambda r: [spread(r, 2, 3, 4), spread(r, 1, 4) + 0.003]),
        Row(op, lambda r: [spread(r, 2, 3)]),
    ]


def _reductions(op: str) -> list[Row]:
    return [
        Row(op, lambda r: [spread(r, 2, 3, 4)]),
        Row(op, lambda r: [spread(r, 2, 3, 4), ints(1)], {"keepdims": 0}, constant=(1,)),
        Row(op, lambda r: [spread(r, 2, 3, 4), ints(0, -1)], constant=(1,)),
        Row(op, lambda r: [spread(r, 2, 3)], {"noop_with_empty_axes": 1}),
    ]


def _softmaxes(op: str) -> list[Row]:
    return [
        Row(op, lambda r, s=s: [20 * spread(r, *s)], {"axis": axis})
        for s, axis in (((3, 5), 1), ((2, 5, 3, 4), 1), ((2, 3, 4), -1), ((4, 3), 0))
    ]


CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9), (4, 3, 3), {"pads": (1, 1)}),
    ((2, 3, 8, 7), (4, 3, 3, 3), {"pads": (1, 1, 1, 1)}),
    ((2, 3, 8, 7), (4, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": (2, 2)}),
    ((2, 4, 9, 8), (6, 2, 3, 2), {"group": 2, "strides": (2, 1), "pads": (0, 1, 2, 0)}),
    ((1, 2, 9, 9), (3, 2, 3, 3), {"dilations": (2, 3), "pads": (2, 2, 2, 2)}),
    ((1, 4, 7, 6), (4, 1, 3, 3), {"group": 4, "pads": (1, 1, 1, 1)}),
    ((3, 2, 5, 6), (4, 2, 1, 1), {}),
    ((1, 2, 5, 6, 4), (3, 2, 3, 3, 3), {"pads": (1,) * 6}),
    ((1, 2, 6, 6, 4), (3, 2, 2, 2, 2), {"strides": (2, 2, 2)}),
]
TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 5), (3, 4, 3), {"strides": (2,)}),
    ((2, 3, 4, 5), (3, 4, 2, 2), {"strides": (2, 2)}),
    ((2, 3, 4, 5), (3, 4, 3, 3), {"pads": (1, 1, 1, 1)}),
    ((2, 3, 4, 5), (3, 4, 3, 3), {"strides": (2, 2), "pads": (1, 1, 1, 1),
                                  "output_padding": (1, 1)}),
    ((1, 4, 4, 3), (4, 2, 3, 3), {"group": 2, "strides": (2, 1), "auto_pad": "SAME_UPPER"}),
    ((1, 2, 4, 4), (2, 3, 2, 2), {"strides": (3, 3)}),
    ((1, 2, 4, 4), (2, 3, 2, 2), {"strides": (3, 3), "output_shape": (13, 13)}),
    ((1, 2, 3, 4, 3), (2, 3, 2, 2, 2), {"strides": (2, 2, 2)}),
]  # fmt: skip
POOLS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9), {"kernel_shape": (3,), "strides": (2,)}),
    ((2, 3, 8, 6), {"kernel_shape": (2, 2), "strides": (2, 2)}),
    ((2, 3, 7, 6), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    ((1, 2, 8, 8), {"kernel_shape": (2, 3), "dilations": (2, 2)}),
    ((1, 2, 7, 8), {"kernel_shape": (2, 2), "strides": (2, 2), "ceil_mode": 1}),
    ((1, 2, 5, 5), {"kernel_shape": (3, 3), "auto_pad": "SAME_LOWER", "strides": (2, 2)}),
    ((1, 2, 4, 4, 6), {"kernel_shape": (2, 2, 2), "strides": (2, 2, 2)}),
]


def _norm(r: Generator, *shape: int) -> list[np.ndarray]:
    c = shape[1]
    return [spread(r, *shape), positive(r, c), spread(r, c), spread(r, c), positive(r, c)]


ROWS: list[Row] = [
    *(row for op in ("Identity", "Neg", "Abs", "Sign", "Exp", "Floor", "Ceil", "Sin", "Cos",
                     "Tanh", "Sigmoid", "Relu", "Softplus") for row in _unary(op)),
    *(row for op in ("Log", "Sqrt", "Reciprocal") for row in _unary(op, positive)),
    *_unary("LeakyRelu", alpha=0.2),
    *_unary("ThresholdedRelu", alpha=0.1),
    Row("Cast", lambda r: [spread(r, 3, 4)], {"to": np.dtype("float32")}),
    Row("Cast", lambda r: [10 * spread(r, 3, 4)], {"to": np.dtype("int64")}),
    Row("Cast", lambda r: [r.integers(-1, 2, (3, 4))], {"to": np.dtype("bool")}),
    *(row for op in ("Add", "Sub", "Mul") for row in _binary(op)),
    *_binary("Div", positive),
    *_binary("Pow"),
    Row("Div", lambda r: [r.integers(-9, 9, 20), r.integers(1, 5, 20)]),
    *(row for op in ("Max", "Min", "Sum", "Mean") for row in _variadic(op)),
    Row("Clip", lambda r: [spread(r, 4, 5), np.array(-0.1), np.array(0.12)], constant=(1, 2)),
    Row("Clip", lambda r: [spread(r, 4, 5), np.array(-0.1)], constant=(1,)),
    Row("Where", lambda r: [r.random((3, 4)) > 0.5, spread(r, 3, 4), spread(r, 4)]),
    *(row for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
      for row in _compare(op)),
    *_logic("And"),
    *_logic("Or"),
    Row("Not", lambda r: [r.random((4, 5)) > 0.5]),
    *(row for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
      for row in _reductions(op)),
    *_softmaxes("Softmax"),
    *_softmaxes("LogSoftmax"),
    *(Row(op, lambda r: [spread(r, 3, 4, 5)], a) for op in ("ArgMax", "ArgMin")
      for a in ({"axis": 1}, {"axis": -1, "keepdims": 0}, {"axis": 0, "select_last_index": 1})),
    Row("Reshape", lambda r: [spread(r, 2, 3, 4), ints(0, -1)], constant=(1,)),
    Row("Kept", lambda r: [spread(r, 2, 3, 4)], domain="eddl"),
    Row("Flatten", lambda r: [spread(r, 2, 3, 4)], {"axis": 2}),
    Row("Flatten", lambda r: [spread(r, 2, 3, 4)], {"axis": 0}),
    Row("Squeeze", lambda r: [spread(r, 2, 1, 4), ints(1)], constant=(1,)),
    Row("Squeeze", lambda r: [spread(r, 1, 3, 1)]),
    Row("Unsqueeze", lambda r: [spread(r, 2, 3), ints(0, -1)], constant=(1,)),
    Row("Transpose", lambda r: [spread(r, 2, 3, 4)], {"perm": (2, 0, 1)}),
    Row("Transpose", lambda r: [spread(r, 2, 3, 4)]),
    Row("Concat", lambda r: [spread(r, 2, 3), spread(r, 2, 1), spread(r, 2, 2)], {"axis": 1}),
    Row("Concat", lambda r: [spread(r, 2, 3, 2), spread(r, 1, 3, 2)], {"axis": -3}),
    Row("Slice", lambda r: [spread(r, 4, 5, 6), ints(1, -3), ints(3, 100), ints(0, 2)],
        constant=(1, 2, 3)),
    Row("Slice", lambda r: [spread(r, 4, 7), ints(0, 6), ints(4, 0), ints(0, 1), ints(2, -2)],
        constant=(1, 2, 3, 4)),
    Row("Slice", lambda r: [spread(r, 5), ints(-1), ints(-9), ints(0), ints(-1)],
        constant=(1, 2, 3, 4)),
    Row("SliceGrad", lambda r: [spread(r, 2, 3)], domain="eddl",
        attributes={"shape": (4, 7), "ranges": ((0, 4, 2), (6, 0, -2))}),
    Row("Pad", lambda r: [spread(r, 2, 3, 4), ints(0, 1, 2, 1, 0, 3)], constant=(1,)),
    Row("Pad", lambda r: [spread(r, 3, 4), ints(1, 2), np.array(0.5), ints(1)],
        constant=(1, 2, 3)),
    Row("Expand", lambda r: [spread(r, 3, 1), ints(2, 3, 4)], constant=(1,)),
    Row("Expand", lambda r: [spread(r, 3, 4), ints(3, 1)], constant=(1,)),
    Row("Shape", lambda r: [spread(r, 3, 4, 5)]),
    Row("Shape", lambda r: [spread(r, 3, 4, 5)], {"start": 1, "end": -1}),
    Row("Gather", lambda r: [spread(r, 4, 5), r.integers(-4, 4, (2, 3))]),
    Row("Gather", lambda r: [spread(r, 4, 5), r.integers(0, 5, 3)], {"axis": 1}),
    Row("OneHot", lambda r: [r.integers(-3, 4, (3, 4)), np.array(4), np.array([0.0, 2.0])],
        {"axis": 1}, constant=(1, 2)),
    Row("OneHot", lambda r: [r.integers(0, 4, (3, 4)), np.array(4), np.array([0.0, 1.0])],
        constant=(1, 2)),
    *(Row("MatMul", lambda r, a=a, b=b: [spread(r, *a), spread(r, *b)])
      for a, b in (((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (3, 4, 2)), ((4,), (4, 3)),
                   ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4,)))),
    Row("Gemm", lambda r: [spread(r, 3, 4), spread(r, 4, 5)]),
    Row("Gemm", lambda r: [spread(r, 4, 3), spread(r, 5, 4), spread(r, 5)],
        {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    *(Row("Conv", lambda r, x=x, w=w: [spread(r, *x), spread(r, *w), spread(r, w[0])],
          {"kernel_shape": w[2:], **a}) for x, w, a in CONVOLUTIONS),
    Row("Conv", lambda r: [spread(r, 2, 3, 6, 6), spread(r, 4, 3, 3, 3)]),
    *(Row("ConvTranspose", lambda r, x=x, w=w, a=a: [spread(r, *x), spread(r, *w),
          spread(r, w[1] * a.get("group", 1))], {"kernel_shape": w[2:], **a},
          oracle="onnxruntime" if "auto_pad" in a else "onnx.reference")
      for x, w, a in TRANSPOSED),
    Row("ConvWeightGrad", lambda r: [spread(r, 2, 4, 7, 6), spread(r, 2, 6, 4, 3)], domain="eddl",
        attributes={"kernel_shape": (3, 3), "group": 2, "strides": (2, 2), "pads": (1, 1, 1, 0)}),
    Row("ConvWeightGrad", lambda r: [spread(r, 1, 2, 9, 9), spread(r, 1, 3, 7, 5)], domain="eddl",
        attributes={"kernel_shape": (2, 3), "dilations": (2, 2)}),
    *(Row("MaxPool", lambda r, x=x: [spread(r, *x)], a,
          oracle="onnxruntime" if "auto_pad" in a else "onnx.reference") for x, a in POOLS),
    Row("MaxPoolGrad", lambda r: [spread(r, 1, 2, 4, 3), r.integers(0, 9, (1, 2, 4, 3))
                                  .astype(np.uint8)], domain="eddl",
        attributes={"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1),
                    "shape": (1, 2, 7, 6)}),
    Row("Dropout", lambda r: [spread(r, 3, 4), np.array(0.25)], constant=(1,)),
    Row("Dropout", lambda r: [spread(r, 3, 4)]),
    Row("GlobalAveragePool", lambda r: [spread(r, 2, 3, 4, 5)]),
    Row("BatchNormalization", lambda r: _norm(r, 3, 4, 5), {"epsilon": 1e-3}),
    Row("BatchNormalization", lambda r: _norm(r, 2, 3, 4, 5), {"training_mode": 1}, outputs=3),
    Row("BatchNormalization", lambda r: _norm(r, 6, 3), {"training_mode": 1, "momentum": 0.7},
        outputs=3),
    *(Row("BatchNormalizationGrad", lambda r: [spread(r, 3, 2, 4), positive(r, 2), spread(r, 2),
          positive(r, 2), spread(r, 3, 2, 4)], {"training_mode": mode}, domain="eddl", outputs=3)
      for mode in (0, 1)),
    Row("BatchNormalizationRelu", lambda r: _norm(r, 2, 3, 4, 5), domain="eddl"),
    Row("BatchNormalizationRelu", lambda r: _norm(r, 3, 16, 4, 6), domain="eddl",
        attributes={"epsilon": 1e-3, "momentum": 0.7}),
    Row("BatchNormalizationRelu", lambda r: _norm(r, 2, 24, 3, 4), domain="eddl"),
    Row("BatchNormalizationRelu", lambda r: _norm(r, 6, 3), domain="eddl"),
    Row("BatchNormalizationReluGrad", lambda r: [spread(r, 2, 3, 4, 5), positive(r, 3),
        spread(r, 3), positive(r, 3), spread(r, 2, 3, 4, 5), spread(r, 2, 3, 4, 5) > 0],
        domain="eddl", outputs=3),
]  # fmt: skip
