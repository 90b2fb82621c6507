"""Every initializer by name: its distribution, its repeatability, its shapes and types."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats

import eddl
from eddl import initializers, layers
from eddl.errors import EddlError

SHAPE = (40, 30, 3, 3)
FAN_IN, FAN_OUT = 270, 360


def draw(function, shape=SHAPE, dtype="float64", seed=1):
    return initializers.get(function)(shape, dtype, np.random.default_rng(seed))


def even(limit):
    return stats.uniform(-limit, 2 * limit)


def scaled(variance):
    return even(math.sqrt(3 * variance)), stats.norm(0, math.sqrt(variance))


CUT = stats.truncnorm(-2, 2)
DISTRIBUTIONS = {
    "uniform": even(0.05),
    "normal": stats.norm(0, 0.05),
    "truncated_normal": stats.truncnorm(-2, 2, scale=0.05),
    "variance_scaling": stats.truncnorm(-2, 2, scale=math.sqrt(1 / FAN_IN) / CUT.std()),
    "glorot_uniform": scaled(2 / (FAN_IN + FAN_OUT))[0],
    "glorot_normal": scaled(2 / (FAN_IN + FAN_OUT))[1],
    "he_uniform": scaled(2 / FAN_IN)[0],
    "he_normal": scaled(2 / FAN_IN)[1],
    "lecun_uniform": scaled(1 / FAN_IN)[0],
    "lecun_normal": scaled(1 / FAN_IN)[1],
}
EXACT = {"zeros": 0.0, "ones": 1.0, "constant": 0.0}
OTHERS = {"orthogonal", "identity"}


def test_every_initializer_has_a_row():
    assert {*DISTRIBUTIONS, *EXACT, *OTHERS} == set(initializers.NAMED)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_distribution(name):
    values = draw(name).ravel()
    expected = DISTRIBUTIONS[name]
    assert stats.kstest(values, expected.cdf).pvalue > 1e-3
    assert values.std() == pytest.approx(expected.std(), rel=0.02)
    low, high = expected.support()
    assert values.min() >= low and values.max() <= high


def test_the_deviation_of_a_cut_normal():
    assert pytest.approx(CUT.std(), rel=1e-12) == initializers.TRUNCATED


@pytest.mark.parametrize("name", EXACT)
def test_what_is_constant(name):
    np.testing.assert_array_equal(draw(name), EXACT[name])
    half = partial(initializers.constant, value=0.5)
    np.testing.assert_array_equal(draw(half, (2, 3)), 0.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6, 4), (5, 3, 3), (4, 3, 2, 3), (3, 2, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("name", initializers.NAMED)
def test_shapes_types_and_repeatability(name, shape, dtype):
    values = draw(name, shape, dtype)
    assert values.shape == shape and values.dtype == dtype
    np.testing.assert_array_equal(values, draw(name, shape, dtype))
    np.testing.assert_array_equal(values, draw(name, shape).astype(dtype))
    if name in DISTRIBUTIONS or name == "orthogonal":
        assert (values != draw(name, shape, dtype, seed=2)).any()


@pytest.mark.parametrize("name", [*DISTRIBUTIONS, *EXACT])
def test_vectors_and_scalars(name):
    assert draw(name, (7,)).shape == (7,)
    assert draw(name, ()).shape == ()


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5), (4, 3, 2, 2), (20, 3, 2)], ids=str)
def test_orthogonal_rows_or_columns(shape):
    matrix = draw(partial(initializers.orthogonal, gain=2.0), shape).reshape(shape[0], -1)
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(short @ short.T, 4 * np.eye(len(short)), atol=1e-12)


def test_orthogonal_draws_are_even():
    """Every direction is as likely: each entry of the first row has the mean 0 and variance 1/n."""
    firsts = np.array([draw("orthogonal", (4, 4), seed=s)[0] for s in range(800)])
    np.testing.assert_allclose(firsts.mean(0), 0, atol=0.08)
    np.testing.assert_allclose(firsts.var(0), 0.25, atol=0.04)
    turns = np.array([np.linalg.det(draw("orthogonal", (3, 3), seed=s)) for s in range(400)])
    assert abs((turns > 0).mean() - 0.5) < 0.1


@pytest.mark.parametrize("mode", initializers.MODES)
@pytest.mark.parametrize("distribution", initializers.DISTRIBUTIONS)
def test_variance_scaling(mode, distribution):
    fan = {"fan_in": FAN_IN, "fan_out": FAN_OUT, "fan_avg": (FAN_IN + FAN_OUT) / 2}[mode]
    values = draw(
        partial(initializers.variance_scaling, scale=3.0, mode=mode, distribution=distribution)
    )
    assert values.var() == pytest.approx(3 / fan, rel=0.03)


@pytest.mark.parametrize("space", [(), (7,), (6, 5), (4, 5, 3)], ids=str)
def test_identity_gives_the_input_back(space):
    x = eddl.Input((3, *space), dtype="float64")
    make = partial(initializers.identity)
    if space:
        y = layers.conv(x, 3, 3, initializer=make, use_bias=False)
    else:
        y = layers.dense(x, 3, initializer=make, use_bias=False)
    data = np.random.default_rng(0).standard_normal((2, 3, *space))
    np.testing.assert_allclose(eddl.Model(x, y).predict(data), data, atol=1e-12)


def test_a_model_draws_by_seed_and_name():
    def weights(seed, name):
        x = eddl.Input((4,))
        net = eddl.Model(x, layers.dense(x, 3, name=name), seed=seed)
        return net.weights()[f"{name}.weight"]

    np.testing.assert_array_equal(weights(1, "a"), weights(1, "a"))
    assert (weights(1, "a") != weights(1, "b")).any()
    assert (weights(1, "a") != weights(2, "a")).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: initializers.get("orthogonale"),
        lambda: draw(partial(initializers.uniform, minimum=1.0, maximum=0.0)),
        lambda: draw(partial(initializers.normal, deviation=-1.0)),
        lambda: draw(partial(initializers.truncated_normal, deviation=float("nan"))),
        lambda: draw(partial(initializers.variance_scaling, mode="fan")),
        lambda: draw(partial(initializers.variance_scaling, scale=0.0)),
        lambda: draw("orthogonal", (5,)),
        lambda: draw("identity", ()),
    ],
)
def test_what_cannot_work_is_refused(make):
    with pytest.raises(EddlError, match=r"received .*expected"):
        make()
