"""Rows of elementwise operators, activations, bits, reductions, products and creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .row import Generator, Row, ints, positive, spread

SHAPES = ((3, 4), (2, 3, 4, 5), ())


def _wide(r: Generator, *shape: int) -> np.ndarray:
    """Into the saturated parts of activations, and beside their kinks."""
    return 21 * spread(r, *shape)


def _above_one(r: Generator, *shape: int) -> np.ndarray:
    return 1 + positive(r, *shape)


def _off_halves(r: Generator, *shape: int) -> np.ndarray:
    return np.round(r.uniform(-9, 9, shape)) + 0.3


WRONG = ("Erf", "Gelu", "HardSwish", "Softsign")
"""onnx.reference computes these in float32 whatever the type, or takes no scalar: onnxruntime."""


def _unary(op: str, draw: Callable[..., np.ndarray] = spread, **attributes: Any) -> list[Row]:
    oracle = "onnxruntime" if op in WRONG else "onnx.reference"
    return [Row(op, lambda r, s=s: [draw(r, *s)], attributes, oracle=oracle) for s in SHAPES]


def _remainders(r: Generator) -> list[np.ndarray]:
    b = positive(r, 4, 5) * np.where(r.random((4, 5)) > 0.5, 1, -1)
    return [b * (r.integers(-3, 4, (4, 5)) + r.uniform(0.2, 0.8, (4, 5))), b]


def _special(r: Generator) -> list[np.ndarray]:
    return [np.array([1.0, np.nan, -np.inf, np.inf, 0.0, -2.0])]


def _reductions(op: str, draw: Callable[..., np.ndarray] = spread) -> list[Row]:
    return [
        Row(op, lambda r: [draw(r, 2, 3, 4)]),
        Row(op, lambda r: [draw(r, 2, 3, 4), ints(1)], {"keepdims": 0}, constant=(1,)),
        Row(op, lambda r: [draw(r, 2, 3, 4), ints(0, -1)], constant=(1,)),
        Row(op, lambda r: [draw(r, 2, 3)], {"noop_with_empty_axes": 1}),
    ]


def _cumulative(op: str, draw: Callable[..., np.ndarray]) -> list[Row]:
    return [
        Row(op, lambda r, a=axis: [draw(r, 3, 4, 2), np.array(a)],
            {"exclusive": exclusive, "reverse": reverse}, constant=(1,))
        for axis, exclusive, reverse in ((0, 0, 0), (1, 1, 0), (-1, 0, 1), (1, 1, 1))
    ]  # fmt: skip


def _einsum(equation: str, *shapes: tuple[int, ...]) -> Row:
    return Row("Einsum", lambda r: [spread(r, *s) for s in shapes], {"equation": equation})


def _bits(r: Generator, *shape: int) -> np.ndarray:
    return r.integers(-100, 100, shape).astype(np.int32)


ROWS: list[Row] = [
    *(row for op in ("Erf", "Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan", "Asinh", "Atanh")
      for row in _unary(op)),
    *_unary("Erf", lambda r, *s: 10 * spread(r, *s)),
    *_unary("Acosh", _above_one),
    *_unary("Round", _off_halves),
    Row("Round", lambda r: [np.array([0.5, 1.5, 2.5, -0.5, -1.5])], constant=(0,)),
    Row("Mod", _remainders, {"fmod": 1}),
    Row("Mod", _remainders),
    Row("Mod", lambda r: [_bits(r, 3, 4), r.integers(1, 9, 4).astype(np.int32)]),
    Row("IsNaN", _special),
    *(Row("IsInf", _special, a) for a in ({}, {"detect_negative": 0}, {"detect_positive": 0},
                                          {"detect_negative": 0, "detect_positive": 0})),
    Row("Xor", lambda r: [r.random((4, 5)) > 0.5, r.random(5) > 0.5]),
    Row("Pow", lambda r: [r.integers(0, 5, 6), positive(r, 6)], constant=(1,)),
    Row("CastLike", lambda r: [spread(r, 3, 4), spread(r, 2)]),
    Row("CastLike", lambda r: [r.integers(-3, 3, (3, 4)), spread(r, 2)]),
    Row("CastLike", lambda r: [r.integers(-3, 3, (3, 4)), r.integers(0, 2, 3).astype(np.int8)]),
    Row("BitCast", lambda r: [_bits(r, 3, 4)], {"to": np.dtype("float32")}),
    Row("BitCast", lambda r: [_bits(r, 3, 4).astype(np.int8)], {"to": np.dtype("uint8")}),
    *(Row("BitShift", lambda r: [_bits(r, 3, 4), r.integers(0, 9, 4).astype(np.int32)],
          {"direction": direction}) for direction in ("LEFT", "RIGHT")),
    *(Row(op, lambda r: [_bits(r, 3, 4), _bits(r, 4)]) for op in
      ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    Row("BitwiseNot", lambda r: [_bits(r, 3, 4)]),
    *(row for op in ("Mish", "Softsign", "HardSwish") for row in _unary(op, _wide)),
    *_unary("Elu", _wide, alpha=1.3),
    *_unary("Selu", _wide),
    *_unary("Celu", _wide, alpha=0.7),
    *_unary("Gelu", _wide),
    *_unary("Gelu", _wide, approximate="tanh"),
    *_unary("HardSigmoid", _wide),
    *_unary("HardSigmoid", _wide, alpha=0.3, beta=0.4),
    *_unary("Shrink", _wide, lambd=0.51, bias=0.2),
    *_unary("Swish", _wide, alpha=1.5),
    *(Row(f"{op}Grad", lambda r: [_wide(r, 3, 4), spread(r, 3, 4)], how, domain="eddl")
      for op, how in (("Gelu", {}), ("Gelu", {"approximate": "tanh"}), ("HardSwish", {}),
                      ("LeakyRelu", {"alpha": 0.2}), ("Mish", {}), ("Swish", {"alpha": 1.5}))),
    Row("PRelu", lambda r: [spread(r, 2, 3, 4), spread(r, 4)]),
    Row("PRelu", lambda r: [spread(r, 2, 3, 4), spread(r, 3, 1)]),
    *(Row("PReluGrad", lambda r, s=s: [spread(r, 2, 3, 4), spread(r, *s), spread(r, 2, 3, 4)],
          domain="eddl") for s in ((3, 1), (4,), (1, 1, 1))),
    Row("SwiGLU", lambda r: [_wide(r, 3, 4), spread(r, 3, 4)], {"alpha": 1.5}),
    Row("Binarizer", lambda r: [spread(r, 3, 4)], {"threshold": 0.05}, domain="ai.onnx.ml"),
    Row("ArrayFeatureExtractor", lambda r: [spread(r, 3, 4), np.array([[2, 0, 2]])],
        domain="ai.onnx.ml"),
    *(row for op in ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare")
      for row in _reductions(op)),
    *(row for op in ("ReduceProd", "ReduceLogSum") for row in _reductions(op, positive)),
    Row("ReduceLogSumExp", lambda r: [900 + 20 * spread(r, 3, 4), ints(1)], constant=(1,)),
    Row("ReduceMin", lambda r: [r.random((3, 4)) > 0.3, ints(1)], constant=(1,)),
    *_cumulative("CumSum", spread),
    *_cumulative("CumProd", positive),
    *(Row("Hardmax", lambda r: [spread(r, 3, 4, 5)], {"axis": axis}) for axis in (0, 1, -1)),
    *(Row("LpNormalization", lambda r: [spread(r, 3, 4, 5)], {"axis": axis, "p": p},
          oracle="onnxruntime" if p == 1 else "onnx.reference")  # which sums without absolutes
      for axis, p in ((0, 1), (-1, 2), (1, 2))),
    _einsum("ij,jk->ik", (3, 4), (4, 5)),
    _einsum("bij,bjk->bki", (2, 3, 4), (2, 4, 5)),
    _einsum("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
    _einsum("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)),
    _einsum("ii->i", (4, 4)),
    _einsum("iij", (3, 3, 4)),
    _einsum("ba", (3, 4)),
    _einsum("ij->j", (3, 4)),
    _einsum("i,j->ij", (3,), (4,)),
    Row("Det", lambda r: [np.eye(3) + spread(r, 2, 3, 3)]),
    Row("Inverse", lambda r: [2 * np.eye(3) + spread(r, 2, 3, 3)], domain="eddl"),
    Row("Trilu", lambda r: [spread(r, 2, 3, 4)]),
    Row("Trilu", lambda r: [spread(r, 4, 3), np.array(-1)], {"upper": 0}, constant=(1,)),
    Row("Trilu", lambda r: [spread(r, 3, 4), np.array(1)], constant=(1,)),
    Row("MatMul", lambda r: [_bits(r, 3, 4), _bits(r, 4, 2)]),
    *(Row("Product", lambda r, a=a, b=b: [spread(r, *a), spread(r, *b)], how, domain="eddl")
      for a, b, how in (((4, 3), (4, 2), {"transA": 1}), ((3, 4), (2, 4), {"transB": 1}),
                        ((5, 4, 3), (2, 4), {"transA": 1, "transB": 1}),
                        ((3, 4), (5, 2, 4), {"transB": 1}))),
    Row("Gemm", lambda r: [_bits(r, 3, 4), _bits(r, 4, 2), _bits(r, 2)], {"alpha": 2.0}),
    *(Row("Range", lambda r, n=n: [np.asarray(x) for x in n], constant=(0, 1, 2))
      for n in ((1, 10, 3), (10, 4, -2), (3, 1, 1), (0.5, 3.1, 0.25))),
    Row("EyeLike", lambda r: [spread(r, 3, 4)], {"k": 1}),
    Row("ConstantOfShape", lambda r: [ints(2, 3)], constant=(0,)),
    Row("Size", lambda r: [spread(r, 3, 4)]),
]  # fmt: skip
