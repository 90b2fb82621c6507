"""The fast path on x86-64 processors: oneDNN through ctypes, the array backend for the rest."""

from eddl.backends.onednn import (
    activations,
    concatenation,
    conversion,
    convolution,
    groups,
    linear,
    near,
    normalization,
    pooling,
    recurrent,
    reduction,
    resampling,
    slopes,
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
    "concatenation",
    "conversion",
    "convolution",
    "find",
    "groups",
    "linear",
    "load",
    "near",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "resampling",
    "slopes",
    "softmax",
    "standardization",
]
