"""Losses, metrics, optimizers, schedules and initializers: each against its formula in NumPy."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import special, stats

import eddl
from eddl import initializers, losses
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
