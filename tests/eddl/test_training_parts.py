"""Losses, metrics, optimizers, schedules and initializers: each against its formula in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from eddl import initializers
from eddl.errors import EddlError


def test_initializers_have_their_distribution_and_repeat():
    shape = (40, 30, 3, 3)
    draws = {name: f(shape, "float64", np.random.default_rng(1))
             for name, f in initializers.NAMED.items()}  # fmt: skip
    assert (draws["zeros"] == 0).all()
    assert (draws["ones"] == 1).all()
    he = stats.kstest(draws["he_normal"].ravel() / np.sqrt(2 / 270), "norm")
    limit = np.sqrt(6 / (9 * 70))
    glorot = stats.kstest(draws["glorot_uniform"].ravel() / limit, stats.uniform(-1, 2).cdf)
    assert he.pvalue > 1e-3 and glorot.pvalue > 1e-3
    for name, f in initializers.NAMED.items():
        np.testing.assert_array_equal(draws[name], f(shape, "float64", np.random.default_rng(1)))
    with pytest.raises(EddlError, match="orthogonal"):
        initializers.get("orthogonal")
