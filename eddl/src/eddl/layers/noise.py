"""Noise that is there in training alone: dropout."""

from __future__ import annotations

from eddl.graph import Label, Value
from eddl.layers.build import fraction, tensor
from eddl.ops.table import apply


def dropout(x: Value, ratio: float = 0.5, *, name: str | None = None) -> Value:
    """In training each element is 0 with probability `ratio`, the others grow by 1 / (1 - ratio);
    elsewhere nothing happens. Source: Srivastava et al. 2014.

    >>> import eddl
    >>> eddl.layers.dropout(eddl.Input((8,)), 0.25).shape
    ('batch', 8)
    """
    share = fraction(ratio, "dropout", "ratio")
    return apply("Dropout", tensor(x, "dropout"), share, label=Label("dropout", name))
