"""Every operator on NumPy arrays: the reference, the fallback and the evaluator."""

from eddl.backends.array import (
    arrangement,
    bits,
    control,
    convolution,
    creation,
    einsum,
    elementwise,
    indexing,
    linear,
    normalization,
    pooling,
    random,
    reduction,
    resize,
    sampling,
    signal,
)
from eddl.backends.array.backend import KERNELS, ArrayBackend

__all__ = [
    "KERNELS",
    "ArrayBackend",
    "arrangement",
    "bits",
    "control",
    "convolution",
    "creation",
    "einsum",
    "elementwise",
    "indexing",
    "linear",
    "normalization",
    "pooling",
    "random",
    "reduction",
    "resize",
    "sampling",
    "signal",
]
