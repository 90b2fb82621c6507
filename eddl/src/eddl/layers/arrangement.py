"""Layers that move elements without changing them, and constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.graph import Constant, Value
from eddl.ops.table import apply, integers


def flatten(x: Value) -> Value:
    """All axes but the batch's as one: [N, features].

    >>> import eddl
    >>> eddl.layers.flatten(eddl.Input((8, 4, 4))).shape
    ('batch', 128)
    """
    sizes = [s for s in x.shape[1:] if isinstance(s, int)]
    if len(sizes) == x.rank - 1:
        count = 1
        for size in sizes:
            count *= size
        return apply("Reshape", x, integers([0, count]))
    return apply("Flatten", x, axis=1)


def reshape(x: Value, shape: Sequence[int]) -> Value:
    """Another shape of the same elements; `shape` without the batch axis, one -1 allowed.

    >>> import eddl
    >>> eddl.layers.reshape(eddl.Input((8, 4)), (2, 16)).shape
    ('batch', 2, 16)
    """
    return apply("Reshape", x, integers([0, *shape]))


def constant(value: Any, dtype: Any = "float32") -> Value:
    """A value that never changes, for arithmetic with symbolic tensors.

    >>> import eddl
    >>> eddl.layers.constant([1.0, 2.0]).shape
    (2,)
    """
    return Constant(np.asarray(value, dtype))
