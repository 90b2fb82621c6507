"""How parameters begin: functions `(shape, dtype, generator) -> array`.

A weight of a convolution or dense layer has the shape (filters, channels, kernel...): its fan-in is
the product of all sizes but the first, its fan-out that of all but the second; of a vector both are
its length. Values are drawn on the host in float64 and rounded, from a counter-based generator
keyed by the model's seed and the parameter's name. Options are bound with `functools.partial`:
`partial(normal, deviation=0.02)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError

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


def constant(
    shape: Sequence[int], dtype: Any, generator: np.random.Generator, *, value: float = 0.0
) -> Array:
    """All `value`.

    >>> import numpy as np
    >>> constant((2,), "float32", np.random.default_rng(0), value=0.5)
    array([0.5, 0.5], dtype=float32)
    """
    return np.full(shape, value, dtype)


def uniform(
    shape: Sequence[int],
    dtype: Any,
    generator: np.random.Generator,
    *,
    minimum: float = -0.05,
    maximum: float = 0.05,
) -> Array:
    """Uniform from `minimum` to `maximum`.

    >>> import numpy as np
    >>> bool(abs(uniform((50, 50), "float32", np.random.default_rng(0))).max() <= 0.05)
    True
    """
    if not -math.inf < minimum <= maximum < math.inf:
        raise AttributeValueError(
            f"uniform: received minimum={minimum}, maximum={maximum}; expected minimum <= maximum"
        )
    return generator.uniform(minimum, maximum, tuple(shape)).astype(dtype)


def normal(
    shape: Sequence[int],
    dtype: Any,
    generator: np.random.Generator,
    *,
    mean: float = 0.0,
    deviation: float = 0.05,
) -> Array:
    """Normal with a mean and a standard deviation.

    >>> import numpy as np
    >>> bool(abs(normal((50, 50), "float32", np.random.default_rng(0)).std() - 0.05) < 2e-3)
    True
    """
    _check_deviation("normal", deviation)
    return (mean + deviation * generator.standard_normal(tuple(shape))).astype(dtype)


def truncated_normal(
    shape: Sequence[int],
    dtype: Any,
    generator: np.random.Generator,
    *,
    mean: float = 0.0,
    deviation: float = 0.05,
) -> Array:
    """Normal, with what lies beyond two deviations drawn again; its own deviation is 0.88 of that.

    >>> import numpy as np
    >>> bool(abs(truncated_normal((50, 50), "float32", np.random.default_rng(0))).max() <= 0.1)
    True
    """
    _check_deviation("truncated_normal", deviation)
    values = generator.standard_normal(tuple(shape))
    while (beyond := abs(values) > 2).any():
        values[beyond] = generator.standard_normal(int(beyond.sum()))
    return (mean + deviation * values).astype(dtype)


TRUNCATED = 0.8796256610342398
"""The deviation of a standard normal number that lies within two."""

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("uniform", "normal", "truncated_normal")


def variance_scaling(
    shape: Sequence[int],
    dtype: Any,
    generator: np.random.Generator,
    *,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
) -> Array:
    """Numbers around 0 whose variance is `scale` over the fan-in, the fan-out, or their mean.

    Parameters: `mode`, "fan_in", "fan_out" or "fan_avg"; `distribution`, "uniform", "normal" or
    "truncated_normal", the last of which is widened to have that variance after it was cut.

    >>> import numpy as np
    >>> weights = variance_scaling((100, 400), "float32", np.random.default_rng(0), scale=4.0)
    >>> round(float(weights.std()), 2)
    0.1
    """
    if not 0 < scale < math.inf or mode not in MODES or distribution not in DISTRIBUTIONS:
        raise AttributeValueError(
            f"variance_scaling: received scale={scale}, mode={mode!r}, "
            f"distribution={distribution!r}; expected a scale above 0, one of {MODES} and one of "
            f"{DISTRIBUTIONS}"
        )
    fan_in, fan_out = fans(shape)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    deviation = math.sqrt(scale / fan)
    if distribution == "uniform":
        limit = math.sqrt(3.0) * deviation
        return uniform(shape, dtype, generator, minimum=-limit, maximum=limit)
    if distribution == "normal":
        return normal(shape, dtype, generator, deviation=deviation)
    return truncated_normal(shape, dtype, generator, deviation=deviation / TRUNCATED)


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Fan-in and fan-out of a weight's shape.

    >>> fans((64, 32, 3, 3))
    (288, 576)
    """
    if len(shape) < 2:
        size = max(math.prod(shape), 1)
        return size, size
    kernel = math.prod(shape[2:])
    return max(shape[1] * kernel, 1), max(shape[0] * kernel, 1)


def glorot_uniform(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """Uniform within sqrt(6 / (fan-in + fan-out)). Source: Glorot and Bengio 2010, equation 16.

    >>> import numpy as np
    >>> bool(abs(glorot_uniform((50, 50), "float32", np.random.default_rng(0))).max() <= 0.245)
    True
    """
    return variance_scaling(shape, dtype, generator, mode="fan_avg", distribution="uniform")


def glorot_normal(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """Normal with deviation sqrt(2 / (fan-in + fan-out)). Source: Glorot and Bengio 2010.

    >>> import numpy as np
    >>> glorot_normal((2, 3), "float32", np.random.default_rng(0)).shape
    (2, 3)
    """
    return variance_scaling(shape, dtype, generator, mode="fan_avg", distribution="normal")


def he_uniform(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """Uniform within sqrt(6 / fan-in). Source: He et al. 2015, equation 10.

    >>> import numpy as np
    >>> he_uniform((2, 3), "float32", np.random.default_rng(0)).shape
    (2, 3)
    """
    return variance_scaling(shape, dtype, generator, scale=2.0, distribution="uniform")


def he_normal(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """Normal with deviation sqrt(2 / fan-in). Source: He et al. 2015, equation 10.

    >>> import numpy as np
    >>> weights = he_normal((64, 32, 3, 3), "float32", np.random.default_rng(0))
    >>> bool(abs(weights.std() - 0.083) < 2e-3)
    True
    """
    return variance_scaling(shape, dtype, generator, scale=2.0, distribution="normal")


def lecun_uniform(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """Uniform within sqrt(3 / fan-in). Source: LeCun et al. 1998, section 4.6.

    >>> import numpy as np
    >>> lecun_uniform((2, 3), "float32", np.random.default_rng(0)).shape
    (2, 3)
    """
    return variance_scaling(shape, dtype, generator, distribution="uniform")


def lecun_normal(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Array:
    """Normal with deviation sqrt(1 / fan-in). Source: LeCun et al. 1998, section 4.6.

    >>> import numpy as np
    >>> lecun_normal((2, 3), "float32", np.random.default_rng(0)).shape
    (2, 3)
    """
    return variance_scaling(shape, dtype, generator, distribution="normal")


def orthogonal(
    shape: Sequence[int], dtype: Any, generator: np.random.Generator, *, gain: float = 1.0
) -> Array:
    """Rows of length `gain` at right angles (columns, where there are fewer), evenly distributed.

    All axes but the first are one. Source: Saxe et al. 2014; the signs that make the draw even,
    Mezzadri 2007.

    >>> import numpy as np
    >>> weights = orthogonal((3, 5), "float64", np.random.default_rng(0))
    >>> bool(np.allclose(weights @ weights.T, np.eye(3)))
    True
    """
    _matrix("orthogonal", shape)
    rows, columns = shape[0], math.prod(shape[1:])
    drawn = generator.standard_normal((max(rows, columns), min(rows, columns)))
    basis, triangle = np.linalg.qr(drawn)
    basis = basis * np.where(np.diagonal(triangle) < 0, -1.0, 1.0)
    return (gain * (basis if rows >= columns else basis.T)).reshape(shape).astype(dtype)


def identity(
    shape: Sequence[int], dtype: Any, generator: np.random.Generator, *, gain: float = 1.0
) -> Array:
    """`gain` where filter and channel are equal, at the middle of the kernel; 0 elsewhere.

    A dense layer or a convolution ("same") then gives its input back, in the channels both have.

    >>> import numpy as np
    >>> identity((2, 2, 3), "float32", np.random.default_rng(0))[1]
    array([[0., 0., 0.], [0., 1., 0.]], dtype=float32)
    """
    _matrix("identity", shape)
    weights = np.zeros(shape, dtype)
    middle = tuple((size - 1) // 2 for size in shape[2:])
    for index in range(min(shape[0], shape[1])):
        weights[(index, index, *middle)] = gain
    return weights


NAMED: dict[str, Initializer] = {
    "zeros": zeros,
    "ones": ones,
    "constant": constant,
    "uniform": uniform,
    "normal": normal,
    "truncated_normal": truncated_normal,
    "variance_scaling": variance_scaling,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "orthogonal": orthogonal,
    "identity": identity,
}
"""Initializers by name, with their defaults."""


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


def _check_deviation(name: str, deviation: float) -> None:
    if not 0 <= deviation < math.inf:
        raise AttributeValueError(
            f"{name}: received deviation={deviation}, expected a number of at least 0"
        )


def _matrix(name: str, shape: Sequence[int]) -> None:
    if len(shape) < 2:
        raise ShapeError(
            f"{name}: received the shape {tuple(shape)}, expected at least the axes filters and "
            "channels"
        )
