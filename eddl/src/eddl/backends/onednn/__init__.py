"""The fast path on x86-64 processors: oneDNN through ctypes, the array backend for the rest."""

from eddl.backends.onednn import (
    activations,
    conversion,
    convolution,
    joining,
    linear,
    normalization,
    pooling,
    recurrent,
    reduction,
    resampling,
    softmax,
    standardization,
)
from eddl.backends.onednn.backend import KERNELS, OneDnnBackend
from eddl.backends.onednn.library import Library, Refused, find, load

__all__ = [
    "KERNELS",
    "Library",
    "OneDnnBackend",
    "Refused",
    "activations",
    "conversion",
    "convolution",
    "find",
    "joining",
    "linear",
    "load",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "resampling",
    "softmax",
    "standardization",
]
