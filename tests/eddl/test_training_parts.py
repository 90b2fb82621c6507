"""Losses, metrics, optimizers, schedules and initializers: each against its formula in NumPy."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import special, stats

import eddl
from eddl import initializers, layers, losses, optimizers, schedules
from eddl.errors import EddlError

R = np.random.default_rng(0)
LOGITS = R.standard_normal((4, 3, 5, 6))
LABELS = R.integers(0, 3, (4, 5, 6))
ONE_HOT = np.moveaxis(np.eye(3)[LABELS], -1, 1)
SOFT = special.softmax(R.standard_normal(LOGITS.shape), 1)


def value(loss, prediction, target):
    p = eddl.Input(prediction.shape[1:], dtype=prediction.dtype, name="p")
    t = eddl.Input(target.shape[1:], dtype=target.dtype, name="t")
    step = eddl.Step([p, t], [loss(p, t)], training=False)
    return float(step(prediction, target)[0])


def entropy(p, t):
    return -(t * np.log(p)).sum(1).mean()


def dice(p, t, background=False, smooth=1.0):
    axes = (0, 2, 3)
    score = (2 * (p * t).sum(axes) + smooth) / (p.sum(axes) + t.sum(axes) + smooth)
    return 1 - (score if background else score[1:]).mean()


P = special.softmax(LOGITS, 1)
LOSSES = {
    "categorical_cross_entropy": entropy(P, ONE_HOT),
    "dice": dice(P, ONE_HOT),
    "dice_cross_entropy": dice(P, ONE_HOT) + entropy(P, ONE_HOT),
    "mean_squared_error": ((LOGITS - ONE_HOT) ** 2).mean(),
}


def test_every_loss_has_a_row():
    assert set(LOSSES) <= set(losses.NAMED)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_their_formula(name):
    loss, _ = losses.get(name)
    target = ONE_HOT if name == "mean_squared_error" else LABELS
    assert value(loss, LOGITS, target) == pytest.approx(LOSSES[name], rel=1e-12)
    assert value(loss, LOGITS, ONE_HOT) == pytest.approx(LOSSES[name], rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (partial(losses.categorical_cross_entropy, from_logits=False), entropy(P, SOFT)),
        (partial(losses.dice, from_logits=False, include_background=True, smooth=0.5),
         dice(P, SOFT, background=True, smooth=0.5)),
        (partial(losses.dice_cross_entropy, from_logits=False), dice(P, SOFT) + entropy(P, SOFT)),
    ],
)  # fmt: skip
def test_options_and_soft_labels(loss, expected):
    assert value(loss, P, SOFT) == pytest.approx(expected, rel=1e-12)


def test_a_loss_of_certain_wrong_probabilities_stays_finite():
    wrong = np.array([[1.0, 0.0]])
    loss = partial(losses.categorical_cross_entropy, from_logits=False)
    assert np.isfinite(value(loss, wrong, np.array([1])))


def test_a_floating_target_without_the_class_axis_suggests_the_integral_type():
    with pytest.raises(EddlError, match="int64"):
        losses.dice(eddl.Input((3, 5, 6)), eddl.Input((5, 6)))
    with pytest.raises(EddlError, match="one index a position"):
        losses.dice(eddl.Input((3, 5, 6)), eddl.Input((3, 5, 6), dtype="int64"))


def adam(p, grads, rate, b1=0.9, b2=0.999, eps=1e-8):
    m = v = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        p = p - rate(t - 1) * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return p


def sgd(p, grads, rate):
    for t, g in enumerate(grads):
        p = p - rate(t) * g
    return p


@pytest.mark.parametrize(("make", "formula"), [(eddl.Adam, adam), (eddl.SGD, sgd)])
@pytest.mark.parametrize("rate", [0.05, eddl.OneCycle(peak=0.1, steps=6)])
def test_optimizers_equal_their_formula(make, formula, rate):
    """The loss is the mean of (w - c_t)^2: a dense layer fed with ones."""
    x = eddl.Input((1,), dtype="float64")
    net = eddl.Model(x, layers.dense(x, 7, use_bias=False))
    net.build(optimizer=make(rate), loss="mean_squared_error")
    start, targets = net.weights()["dense.weight"][:, 0], R.standard_normal((6, 7))
    p, grads = start, []
    for t in range(6):
        net.train_batch(np.ones((1, 1)), targets[t : t + 1])
    at = rate if callable(rate) else lambda t: rate
    p = start
    for t in range(6):
        grads.append(2 * (p - targets[t]) / 7)
        p = formula(start, grads, at)
    np.testing.assert_allclose(net.weights()["dense.weight"][:, 0], p, rtol=1e-12)


def test_the_one_cycle_schedule():
    rate = schedules.OneCycle(peak=1.0, steps=100, warm_up=0.25)
    values = [rate(t) for t in range(101)]
    assert values[0] == pytest.approx(1 / 25)
    assert int(np.argmax(values)) == 25
    assert values[25] == 1.0
    assert values[100] == pytest.approx(1e-4)
    assert np.all(np.diff(values[:26]) > 0) and np.all(np.diff(values[25:]) < 0)
    with pytest.raises(EddlError, match="peak"):
        schedules.OneCycle(peak=0.0, steps=1)


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


@pytest.mark.parametrize(
    "make", [lambda: optimizers.Adam(beta_1=1.0), lambda: optimizers.SGD(0.0),
             lambda: optimizers.Adam(epsilon=0.0)],
)  # fmt: skip
def test_optimizers_refuse_what_cannot_work(make):
    with pytest.raises(EddlError, match="received"):
        make()
