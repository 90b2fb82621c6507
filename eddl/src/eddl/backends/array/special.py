"""Special functions that NumPy lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eddl.backends.array.backend import Array

# Source: the rational minimax approximation of Eigen (SpecialFunctions), off by less than 4 ulp.
_SINGLE = (
    (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
     -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
    (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
     -1.42647390514189e-02),
)  # fmt: skip
# Source: W. J. Cody, Rational Chebyshev approximations for the error function, 1969; as in CALERF.
_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
     1.23033935480374942e3),
)  # fmt: skip
_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip
_INVERSE_ROOT_PI = 0.56418958354775628695


def _horner(coefficients: Sequence[float], x: Any) -> Any:
    total = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        total += coefficient
        total *= x
    total += coefficients[-1]
    return total


def erf(xp: Any, x: Array, out: Array) -> None:
    """The error function, in float64 to a few 1e-16, otherwise in float32 to a few 1e-7."""
    xp.copyto(out, _double(xp, x) if x.dtype == "float64" else _single(xp, x), casting="unsafe")


def _single(xp: Any, x: Array) -> Any:
    x = xp.clip(x.astype("float32"), -4.0, 4.0)
    square = x * x
    upper, lower = (_horner(part, square) for part in _SINGLE)
    upper *= x
    upper /= lower
    return upper


def _double(xp: Any, x: Array) -> Any:
    size = xp.minimum(xp.abs(x), 6.0)
    square = size * size
    near, middle, far = (size <= 0.46875), (size <= 4.0), size > 4.0
    result = xp.zeros_like(x)
    if near.any():
        upper, lower = (_horner(part, square[near]) for part in _NEAR)
        result[near] = size[near] * upper / lower
    middle = middle & ~near
    if middle.any():
        upper, lower = (_horner(part, size[middle]) for part in _MIDDLE)
        result[middle] = 1 - xp.exp(-square[middle]) * upper / lower
    if far.any():
        inverse = 1 / square[far]
        upper, lower = (_horner(part, inverse) for part in _FAR)
        tail = (_INVERSE_ROOT_PI - inverse * upper / lower) / size[far]
        result[far] = 1 - xp.exp(-square[far]) * tail
    return xp.where(xp.isnan(x), x, xp.copysign(result, x))
