"""How parameters begin: functions `(shape, dtype, generator) -> array`.

A weight of a convolution or dense layer has the shape (filters, channels, kernel...): its fan-in is
the product of all sizes but the first. Values are drawn on the host in float64 and rounded, from a
counter-based generator keyed by the model's seed and the parameter's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError

Array = np.ndarray[Any, Any]
Initializer = Callable[[Sequence[int], Any, np.random.Generator], Array]


def zeros(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """All 0.

    >>> import numpy as np
    >>> zeros((2,), "float32", np.random.default_rng(0))
    array([0., 0.], dtype=float32)
    """
    return np.zeros(shape, dtype)


def ones(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """All 1.

    >>> import numpy as np
    >>> ones((2,), "float32", np.random.default_rng(0))
    array([1., 1.], dtype=float32)
    """
    return np.ones(shape, dtype)


def he_normal(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """Normal with deviation sqrt(2 / fan-in). Source: He et al. 2015, equation 10.

    >>> import numpy as np
    >>> weights = he_normal((64, 32, 3, 3), "float32", np.random.default_rng(0))
    >>> bool(abs(weights.std() - 0.083) < 2e-3)
    True
    """
    deviation = math.sqrt(2.0 / max(math.prod(shape[1:]), 1))
    return (generator.standard_normal(tuple(shape)) * deviation).astype(dtype)


def glorot_uniform(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """Uniform within sqrt(6 / (fan-in + fan-out)). Source: Glorot and Bengio 2010, equation 16.

    >>> import numpy as np
    >>> bool(abs(glorot_uniform((50, 50), "float32", np.random.default_rng(0))).max() <= 0.245)
    True
    """
    receptive = math.prod(shape[2:])
    fans = receptive * (shape[0] + (shape[1] if len(shape) > 1 else shape[0]))
    limit = math.sqrt(6.0 / max(fans, 1))
    return generator.uniform(-limit, limit, tuple(shape)).astype(dtype)


NAMED: dict[str, Initializer] = {
    "zeros": zeros,
    "ones": ones,
    "he_normal": he_normal,
    "glorot_uniform": glorot_uniform,
}


def get(initializer: str | Initializer) -> Initializer:
    """An initializer by name, or the function itself.

    >>> get("zeros") is zeros
    True
    """
    if not isinstance(initializer, str):
        return initializer
    if initializer not in NAMED:
        raise AttributeValueError(
            f"received the initializer {initializer!r}, expected one of {sorted(NAMED)} or a "
            "function (shape, dtype, generator)"
        )
    return NAMED[initializer]
