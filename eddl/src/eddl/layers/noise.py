"""Noise that is there in training alone; elsewhere every layer of this file gives its input.

What is drawn depends on the seed, the layer's name and the step's number, so that a training is
repeated, and resumed, with the same numbers.
"""

from __future__ import annotations

import math

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Label, Value
from eddl.layers.build import fraction, rounded, spatial_rank, tensor
from eddl.ops.table import PRIVATE, apply, integers


def dropout(x: Value, ratio: float = 0.5, *, name: str | None = None) -> Value:
    """In training each element is 0 with probability `ratio`, the others grow by 1 / (1 - ratio);
    elsewhere nothing happens. Source: Srivastava et al. 2014.

    >>> import eddl
    >>> eddl.layers.dropout(eddl.Input((8,)), 0.25).shape
    ('batch', 8)
    """
    share = fraction(ratio, "dropout", "ratio")
    return apply("Dropout", tensor(x, "dropout"), share, label=Label("dropout", name))


def spatial_dropout(x: Value, ratio: float = 0.5, *, name: str | None = None) -> Value:
    """As `dropout`, for whole channels of [N, C, space...]: near elements, which say the same, go
    together. Source: Tompson et al. 2015.

    >>> import eddl
    >>> eddl.layers.spatial_dropout(eddl.Input((8, 32, 32)), 0.25).shape
    ('batch', 8, 32, 32)
    """
    layer = "spatial_dropout"
    rank, share = spatial_rank(x, layer), fraction(ratio, layer, "ratio")
    zeros, ones = integers([0] * rank), integers([1] * rank)
    first = apply("Slice", x, zeros, ones, integers(range(2, 2 + rank)))
    one = apply("Where", np.ones((1,) * x.rank, bool), np.ones((), x.dtype), first)
    return x * apply("Dropout", one, share, label=Label(layer, name))


def alpha_dropout(x: Value, ratio: float = 0.5, *, name: str | None = None) -> Value:
    """Dropout for `selu`: what is dropped takes the value far below 0, then mean and deviation are
    restored. Source: Klambauer et al. 2017.

    >>> import eddl
    >>> eddl.layers.alpha_dropout(eddl.Input((8,)), 0.1).shape
    ('batch', 8)
    """
    share = fraction(ratio, "alpha_dropout", "ratio")
    return apply("AlphaDropout", tensor(x, "alpha_dropout"), domain=PRIVATE, ratio=rounded(share),
                 label=Label("alpha_dropout", name))  # fmt: skip


def gaussian_noise(x: Value, deviation: float, *, name: str | None = None) -> Value:
    """In training plus normal numbers of mean 0 and this deviation.

    >>> import eddl
    >>> eddl.layers.gaussian_noise(eddl.Input((8,)), 0.1).shape
    ('batch', 8)
    """
    layer = "gaussian_noise"
    if not (deviation >= 0 and math.isfinite(deviation)):
        raise AttributeValueError(f"{layer}: received deviation={deviation}, expected at least 0")
    return apply("GaussianNoise", tensor(x, layer), domain=PRIVATE, deviation=rounded(deviation),
                 label=Label(layer, name))  # fmt: skip


def gaussian_dropout(x: Value, ratio: float = 0.5, *, name: str | None = None) -> Value:
    """In training times normal numbers of mean 1 and deviation sqrt(ratio / (1 - ratio)), as great
    as dropout's. Source: Srivastava et al. 2014, section 10.

    >>> import eddl
    >>> eddl.layers.gaussian_dropout(eddl.Input((8,)), 0.25).shape
    ('batch', 8)
    """
    layer = "gaussian_dropout"
    share = fraction(ratio, layer, "ratio")
    deviation = rounded(math.sqrt(share / (1 - share)))
    return apply("GaussianNoise", tensor(x, layer), domain=PRIVATE, deviation=deviation, relative=1,
                 label=Label(layer, name))  # fmt: skip
