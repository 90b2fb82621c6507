"""Every constraint and regularizer by name against NumPy, for parameters of each rank."""

from __future__ import annotations

import numpy as np
import pytest

import eddl
from eddl import constraints
from eddl.errors import EddlError
from eddl.graph import Input, Type

SHAPES = [(), (6,), (4, 6), (4, 3, 5), (4, 3, 3, 2), (2, 3, 2, 2, 2)]


def value(function, array):
    x = Input(Type(array.dtype, array.shape), name="x")
    return eddl.Step([x], [function(x)], training=False)(array)[0]


def norms(w, axis=None):
    axes = tuple(range(1, w.ndim)) or tuple(range(w.ndim)) if axis is None else axis
    return np.sqrt((w * w).sum(axes, keepdims=True))


FORMULAS = {
    "max_norm": lambda w: w * np.minimum(1, 2 / norms(w)),
    "unit_norm": lambda w: w / norms(w),
    "min_max_norm": lambda w: w * np.minimum(1, 1 / norms(w)),
    "non_negative": lambda w: np.maximum(w, 0),
    "l1": lambda w: 0.01 * abs(w).sum(),
    "l2": lambda w: 0.01 * (w * w).sum(),
    "l1_l2": lambda w: 0.01 * (abs(w).sum() + (w * w).sum()),
}


def test_every_name_has_a_formula():
    assert {*constraints.CONSTRAINTS, *constraints.REGULARIZERS} == set(FORMULAS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FORMULAS)
def test_the_formula(name, shape, dtype):
    w = np.asarray(2 * np.random.default_rng(1).standard_normal(shape), dtype)
    regular = name in constraints.REGULARIZERS
    function = (constraints.regularizer if regular else constraints.constraint)(name)
    found = value(function, w)
    assert found.dtype == w.dtype
    assert found.shape == (() if regular else w.shape)
    np.testing.assert_allclose(found, FORMULAS[name](w), rtol=1e-5 if dtype == "float32" else 1e-12)


def test_options():
    w = np.random.default_rng(2).standard_normal((4, 6))
    columns = value(constraints.UnitNorm(axis=0), w)
    np.testing.assert_allclose(norms(columns, (0,)), 1)
    whole = value(constraints.MaxNorm(0.5, axis=(0, 1)), w)
    np.testing.assert_allclose(norms(whole, (0, 1)), 0.5)
    lengths = norms(w)
    half = value(constraints.MinMaxNorm(5.0, 6.0, rate=0.5), w)
    np.testing.assert_allclose(norms(half), (5 + lengths) / 2)
    both = value(constraints.L1L2(l1=0.5, l2=2.0), w)
    np.testing.assert_allclose(both, 0.5 * abs(w).sum() + 2 * (w * w).sum())


@pytest.mark.parametrize("name", constraints.CONSTRAINTS)
def test_zeros_and_what_is_allowed_stay(name):
    np.testing.assert_array_equal(value(constraints.constraint(name), np.zeros((2, 3))), 0)
    fine = np.full((2, 4), 0.5)
    np.testing.assert_allclose(value(constraints.constraint(name), fine), fine, rtol=1e-15)


@pytest.mark.parametrize(
    "make",
    [
        lambda: constraints.MaxNorm(0.0),
        lambda: constraints.MinMaxNorm(2.0, 1.0),
        lambda: constraints.MinMaxNorm(rate=0.0),
        lambda: constraints.L1(-1.0),
        lambda: constraints.constraint("max"),
        lambda: constraints.regularizer("l3"),
    ],
)
def test_what_cannot_work_is_refused(make):
    with pytest.raises(EddlError, match=r"received .* expected"):
        make()
