"""Element types between NumPy and ONNX, and the versions that files are written in."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from eddl.errors import TypeMismatchError

OLDEST_OPSET = 1
"""Every opset is read; what forms of before opset 7 mean stands in `eddl.onnx.legacy`."""

OLDEST_WRITTEN = 7
"""Files are written in this opset or a later one."""

DEFAULT_OPSET = 21
"""What is written unless another is asked for: every current runtime reads it."""

IR_VERSION = 10
"""The file format version that goes with the default opset."""

_PAIRS = (
    (np.float32, TensorProto.FLOAT),
    (np.float64, TensorProto.DOUBLE),
    (np.float16, TensorProto.FLOAT16),
    (np.int8, TensorProto.INT8),
    (np.int16, TensorProto.INT16),
    (np.int32, TensorProto.INT32),
    (np.int64, TensorProto.INT64),
    (np.uint8, TensorProto.UINT8),
    (np.uint16, TensorProto.UINT16),
    (np.uint32, TensorProto.UINT32),
    (np.uint64, TensorProto.UINT64),
    (np.bool_, TensorProto.BOOL),
    (ml_dtypes.bfloat16, TensorProto.BFLOAT16),
    (ml_dtypes.float8_e4m3fn, TensorProto.FLOAT8E4M3FN),
    (ml_dtypes.float8_e4m3fnuz, TensorProto.FLOAT8E4M3FNUZ),
    (ml_dtypes.float8_e5m2, TensorProto.FLOAT8E5M2),
    (ml_dtypes.float8_e5m2fnuz, TensorProto.FLOAT8E5M2FNUZ),
    (ml_dtypes.float8_e8m0fnu, TensorProto.FLOAT8E8M0),
    (ml_dtypes.float4_e2m1fn, TensorProto.FLOAT4E2M1),
    (ml_dtypes.int4, TensorProto.INT4),
    (ml_dtypes.uint4, TensorProto.UINT4),
    (ml_dtypes.int2, TensorProto.INT2),
    (ml_dtypes.uint2, TensorProto.UINT2),
    (np.complex64, TensorProto.COMPLEX64),
    (np.complex128, TensorProto.COMPLEX128),
    (np.object_, TensorProto.STRING),
)
_TO_ONNX = {np.dtype(dtype): code for dtype, code in _PAIRS}
_FROM_ONNX = {code: np.dtype(dtype) for dtype, code in _PAIRS}


def to_onnx(dtype: Any) -> int:
    """The ONNX code of an element type."""
    return int(_TO_ONNX[np.dtype(dtype)])


def from_onnx(code: int, what: str) -> np.dtype[Any]:
    """The element type of an ONNX code."""
    if code not in _FROM_ONNX:
        known = TensorProto.DataType.items()
        name = next((key for key, value in known if value == code), str(code))
        raise TypeMismatchError(
            f"{what}: received the element type {name}, expected one of "
            f"{', '.join(dtype.name for dtype in _TO_ONNX)}"
        )
    return _FROM_ONNX[code]
