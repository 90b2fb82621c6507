"""Intensities as part of the network, so that a model travels with its preprocessing."""

from __future__ import annotations

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.layers.build import tensor
from eddl.ops.table import apply


def clip(x: Value, low: float, high: float) -> Value:
    """x held between `low` and `high`.

    >>> import eddl
    >>> eddl.layers.clip(eddl.Input((8,)), 0.0, 1.0).shape
    ('batch', 8)
    """
    if not low <= high:
        raise AttributeValueError(f"clip: received [{low}, {high}], expected low <= high")
    return apply("Clip", tensor(x, "clip"), float(low), float(high))


def window(x: Value, *, level: float, width: float) -> Value:
    """An intensity window as part of the network: from level ± width / 2 to 0..1, cut off outside.

    The same curve as `ecvl.window`: a model that begins with it takes raw intensities (HU for CT),
    so that it cannot be separated from its preprocessing.

    >>> import eddl
    >>> eddl.layers.window(eddl.Input((3, None, None)), level=40, width=400).shape
    ('batch', 3, None, None)
    """
    if not width > 0:
        raise AttributeValueError(f"window: received width={width}, expected more than 0")
    low = level - width / 2
    return clip((x - float(low)) / float(width), 0.0, 1.0)


def normalise(x: Value, *, mean: float, deviation: float) -> Value:
    """(x - mean) / deviation, elementwise.

    >>> import eddl
    >>> eddl.layers.normalise(eddl.Input((8,)), mean=0.5, deviation=0.25).shape
    ('batch', 8)
    """
    if not deviation > 0:
        raise AttributeValueError(f"normalise: received deviation={deviation}, expected above 0")
    return (x - float(mean)) / float(deviation)
