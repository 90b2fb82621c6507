"""Rows of quantization and of products of quantized tensors."""

from __future__ import annotations

import numpy as np

from .row import Generator, Row, positive, spread


def _bytes(r: Generator, *shape: int) -> np.ndarray:
    return r.integers(0, 256, shape).astype(np.uint8)


def _product(r: Generator) -> list[np.ndarray]:
    return [_bytes(r, 3, 4), np.array(0.02), np.uint8(120), _bytes(r, 4, 5), np.array(0.03),
            np.uint8(100), np.array(0.8), np.uint8(110)]  # fmt: skip


def _convolution(r: Generator) -> list[np.ndarray]:
    return [_bytes(r, 2, 3, 6, 5), np.array(0.02), np.uint8(120), _bytes(r, 4, 3, 3, 3),
            positive(r, 4) * 0.03, _bytes(r, 4), np.array(4.1), np.uint8(110),
            r.integers(-100, 100, 4).astype(np.int32)]  # fmt: skip


# onnxruntime: onnx.reference does not spread a zero point a column, and rounds after the shift.
ROWS: list[Row] = [
    Row("QuantizeLinear", lambda r: [spread(r, 3, 4), np.array(0.011), np.uint8(9)]),
    Row("QuantizeLinear", lambda r: [spread(r, 3, 4, 2), positive(r, 4) * 0.01,
                                     r.integers(-9, 9, 4).astype(np.int8)]),
    Row("QuantizeLinear", lambda r: [spread(r, 7, 4), positive(r, 3, 4) * 0.01],
        {"axis": 0, "block_size": 3}),
    Row("DequantizeLinear", lambda r: [_bytes(r, 3, 4), np.array(0.011), np.uint8(9)]),
    Row("DequantizeLinear", lambda r: [_bytes(r, 3, 4, 2), positive(r, 4), _bytes(r, 4)]),
    Row("DequantizeLinear", lambda r: [_bytes(r, 3, 7), positive(r, 3, 3), _bytes(r, 3, 3)],
        {"axis": -1, "block_size": 3}),
    Row("MatMulInteger", lambda r: [_bytes(r, 3, 4), _bytes(r, 4, 5)]),
    Row("MatMulInteger", lambda r: [_bytes(r, 3, 4), _bytes(r, 4, 5), np.uint8(9),
                                    _bytes(r, 5)], oracle="onnxruntime"),
    Row("QLinearMatMul", _product),
    Row("ConvInteger", lambda r: [_bytes(r, 2, 3, 6, 5), _bytes(r, 4, 3, 3, 3), np.uint8(7),
                                  np.uint8(3)], {"pads": (1, 1, 1, 1)}),
    Row("QLinearConv", _convolution, {"pads": (1, 1, 1, 1)}, oracle="onnxruntime"),
]  # fmt: skip
