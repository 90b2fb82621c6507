"""Short convolutions with fewer products: the matrices.

`m` results of a convolution with `r` weights need m r products, or only a few more than the
m + r - 1 of Toom and Cook, as Winograd (Arithmetic Complexity of Computations, 1980) showed: data
and weights are transformed, multiplied place by place, and the products transformed back,

    y = outputs ((weights w) * (inputs x)).

Polynomials are evaluated at points; the usual ones (0, 1, -1, 2, -2, 1/2, ...) make numbers of very
different size, and float32 then loses digits. Here all points but 0 and infinity lie on the unit
circle or near it; a pair of conjugate ones costs three real products instead of two, a product of
residues along each of three directions 60 degrees apart, which lose fewer digits than the real and
imaginary parts and their sum. How many points are real is a choice between products and digits: the
errors are below those of a direct sum of all products in its usual order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

POINTS = {
    5: ((0.8, -0.8, 1.65), (104,)),
    6: ((0.72, -0.72, 1.385, -1.385), (90,)),
    7: ((0.85, -0.85, 1.5), (72, 128)),
    8: ((0.77, -0.77, 1.3, -1.3), (65, 115)),
    9: ((0.87, -0.87, 1.43), (56, 98, 140)),
    10: ((0.8, -0.8, 1.25, -1.25), (51, 90, 129)),
    12: ((0.82, -0.82, 1.22, -1.22), (42, 74, 106, 138)),
}
"""Real points, and the angles in degrees of complex ones on the unit circle, by how many points
there are besides 0 and infinity: of least error among all with so many real ones. Other numbers
take roots of unity."""

DIRECTIONS = np.array([(np.cos(angle), np.sin(angle)) for angle in np.arange(3) * np.pi / 3])
"""Along which products of complex numbers are made."""


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
    real, upper = _points(span - 2, exact=taps < 3)

    def values(size: int, *, directed: bool) -> Array:
        """The values of a polynomial at all points, by its coefficients; complex ones as real and
        imaginary parts, or along the directions."""
        powers = np.arange(size)
        rows = [(powers == 0).astype(float), *(point**powers for point in real)]
        for angle in upper:
            parts = np.array([np.cos(angle * powers), np.sin(angle * powers)])
            rows += list(DIRECTIONS @ parts if directed else parts)
        return np.array([*rows, powers == size - 1], float)

    first = 1 + len(real)
    gathered = np.zeros((span, 2 + len(real) + 3 * len(upper)))  # values of the product by products
    gathered[:first, :first] = np.eye(first)
    cosine, sine = DIRECTIONS.T
    squares = np.linalg.inv(np.array([cosine**2, cosine * sine, sine**2]))
    for pair in range(len(upper)):
        row, column = first + 2 * pair, first + 3 * pair
        gathered[row, column : column + 3] = squares[:, 0] - squares[:, 2]
        gathered[row + 1, column : column + 3] = squares[:, 1]
    gathered[-1, -1] = 1
    back = np.linalg.solve(values(span, directed=False), gathered)
    made = (back.T, values(taps, directed=True), values(results, directed=True).T)
    return Algorithm(results, taps, *(np.ascontiguousarray(m, np.float32) for m in made))


def _points(count: int, *, exact: bool) -> tuple[list[float], list[float]]:
    """Real points, and the angles of complex ones above the real axis; `exact` ones are roots of
    unity: sums of two products are so exact that nothing else is as good."""
    if count in POINTS and not exact:
        real, degrees = POINTS[count]
        return list(real), [float(np.deg2rad(angle)) for angle in degrees]
    angles = np.arange(count) * 2 * np.pi / count
    upper = [float(angle) for angle in angles if 0 < angle < np.pi - 1e-9]
    return ([1.0] if count % 2 else [1.0, -1.0]), upper
