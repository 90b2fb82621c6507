"""Every operator on NumPy arrays: the reference, the fallback and the evaluator."""

from eddl.backends.array import (
    arrangement,
    control,
    convolution,
    elementwise,
    linear,
    normalization,
    pooling,
    random,
    reduction,
)
from eddl.backends.array.backend import KERNELS, ArrayBackend

__all__ = [
    "KERNELS",
    "ArrayBackend",
    "arrangement",
    "control",
    "convolution",
    "elementwise",
    "linear",
    "normalization",
    "pooling",
    "random",
    "reduction",
]
