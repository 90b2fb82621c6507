"""Short convolutions with fewer products: the matrices.

`m` results of a convolution with `r` weights need m r products, or only a few more than the
m + r - 1 of Toom and Cook, as Winograd (Arithmetic Complexity of Computations, 1980) showed: data
and weights are transformed, multiplied place by place, and the products transformed back,

    y = outputs ((weights w) * (inputs x)).

Polynomials are evaluated at points; the usual ones (0, 1, -1, 2, -2, 1/2, ...) make numbers of very
different size, and float32 then loses digits. Here they are 0, infinity and roots of unity, each
pair of conjugate roots costing three real products instead of two: results are then as exact as
those of the sum of products itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Algorithm:
    """`results` of a convolution with `taps` weights; float32 matrices.

    `inputs` [products, results + taps - 1], `weights` [products, taps] and `outputs` [results,
    products].
    """

    results: int
    taps: int
    inputs: Array
    weights: Array
    outputs: Array

    @property
    def span(self) -> int:
        """The inputs that the results depend on."""
        return self.results + self.taps - 1

    @property
    def products(self) -> int:
        """The products that are made."""
        return len(self.weights)


@lru_cache
def algorithm(results: int, taps: int) -> Algorithm:
    """The matrices for a number of results and of taps, each at least 2, or both 1.

    The product of two polynomials, of `results` and of `taps` coefficients, is known from its
    values at as many points as it has coefficients; the convolution is its transpose.

    >>> short = algorithm(4, 3)
    >>> x, w = np.arange(6.0), np.array([1.0, 2.0, 3.0])
    >>> y = short.outputs @ ((short.weights @ w) * (short.inputs @ x))
    >>> [round(float(value), 3) for value in y]
    [8.0, 14.0, 20.0, 26.0]
    """
    if results == taps == 1:
        one = np.ones((1, 1), np.float32)
        return Algorithm(1, 1, one, one, one)
    span = results + taps - 1
    angles = np.arange(span - 2) * 2 * np.pi / (span - 2)
    upper = [angle for angle in angles if 0 < angle < np.pi - 1e-9]
    real = [1.0] if span % 2 else [1.0, -1.0]

    def values(size: int, *, summed: bool) -> Array:
        """The values of a polynomial at all points, by its coefficients; complex ones as real and
        imaginary parts and, with `summed`, the sum of both."""
        powers = np.arange(size)
        rows = [(powers == 0).astype(float), *(point**powers for point in real)]
        for angle in upper:
            parts = [np.cos(angle * powers), np.sin(angle * powers)]
            rows += [*parts, parts[0] + parts[1]] if summed else parts
        return np.array([*rows, powers == size - 1], float)

    first = 1 + len(real)
    count = 2 + len(real) + 3 * len(upper)
    gathered = np.zeros((span, count))  # the values of the product by the products that are made
    gathered[:first, :first] = np.eye(first)
    for pair in range(len(upper)):
        row, column = first + 2 * pair, first + 3 * pair
        gathered[row, column : column + 2] = 1, -1
        gathered[row + 1, column : column + 3] = -1, -1, 1
    gathered[-1, -1] = 1
    back = np.linalg.solve(values(span, summed=False), gathered)
    made = (back.T, values(taps, summed=True), values(results, summed=True).T)
    return Algorithm(results, taps, *(np.ascontiguousarray(m, np.float32) for m in made))
