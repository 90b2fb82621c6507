"""The error function against the C library's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eddl.backends.array.special import erf

POINTS = np.concatenate([np.linspace(-7, 7, 4001), [0.0, -0.0, 1e-20, -1e-9, np.inf, -np.inf]])


@pytest.mark.parametrize(("dtype", "limit"), [("float64", 5e-16), ("float32", 5e-7),
                                              ("float16", 5e-4)])  # fmt: skip
def test_erf(dtype: str, limit: float):
    x = POINTS.astype(dtype)
    found = np.empty_like(x)
    erf(np, x, found)
    expected = np.array([math.erf(float(value)) for value in x])
    np.testing.assert_allclose(found.astype("float64"), expected, rtol=limit, atol=0)


def test_erf_of_nothing_known():
    for dtype in ("float64", "float32"):
        found = np.empty(1, dtype)
        erf(np, np.array([np.nan], dtype), found)
        assert np.isnan(found[0])
