"""Every loss by name: against its formula, its derivatives, its options, its promises."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import pytest
from scipy import special

import eddl
from eddl import layers, losses
from eddl.ops import apply

from .rows import (
    AVERAGES,
    CLASSES,
    NUMBERS,
    PAIRS,
    SHAPES,
    YES_OR_NO,
    data,
    entropy,
    expected,
    gradient,
    one_hot,
    rows,
    slope_along,
    symbols,
    tversky,
    value,
)

IGNORED = 255
FREE = [*CLASSES, *YES_OR_NO, *NUMBERS]
"""Losses of any rank."""


def taking(option):
    """The losses that have an option."""
    return [n for n, (f, _) in losses.NAMED.items() if option in inspect.signature(f).parameters]


def test_every_loss_has_a_row():
    assert set(losses.NAMED) == {*CLASSES, *YES_OR_NO, *NUMBERS, *PAIRS}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FREE)
def test_the_formula_at_each_rank(name, shape, dtype):
    x, t = data(name, shape, dtype)
    close = pytest.approx(expected(name, x, t), rel=2e-5 if dtype == "float32" else 1e-11)
    assert value(name, x, t) == close
    if name in CLASSES and t.dtype.kind == "i":
        assert value(name, x, one_hot(t).astype(dtype)) == close
        assert value(name, x, t.astype("uint8")) == close
    if name in YES_OR_NO and name != "hinge":
        assert value(name, x, t.astype(dtype)) == close
        assert value(name, x, t.astype(bool)) == close


@pytest.mark.parametrize("name", PAIRS)
def test_the_formula_of_pairs(name):
    for shape, seed in (((8, 5), 1), ((7, 3, 2), 2)):
        x, t = data(name, shape, seed=seed)
        assert value(name, x, t) == pytest.approx(expected(name, x, t), rel=1e-9)


def test_yes_or_no_may_lack_the_axis_of_one_channel():
    for name in YES_OR_NO:
        x, t = data(name, (4, 1, 5))
        assert value(name, x, t[:, 0]) == value(name, x, t)
    x, t = data("contrastive")
    assert value("contrastive", x[:, 0], t[:, 0]) == value("contrastive", x, t)


@pytest.mark.parametrize("name", taking("from_logits"))
def test_probabilities_and_logits_agree(name):
    x, t = data(name)
    function, activation = losses.get(name)
    p = special.softmax(x, 1) if activation == "Softmax" else special.expit(x)
    plain = value(name, x, t)
    assert value(partial(function, from_logits=False), p, t) == pytest.approx(plain, rel=1e-10)
    axis = {"axis": 1} if activation == "Softmax" else {}
    for options in ({}, {"from_logits": False}):
        ends = lambda a, b, o=options: function(apply(activation, a, **axis), b, **o)  # noqa: E731
        assert value(ends, x, t) == plain


@pytest.mark.parametrize("name", losses.NAMED)
def test_the_gradient_by_central_differences(name):
    x, t = data(name, seed=3)
    _, slope = gradient(name, x, t)
    for seed in range(2):
        direction = np.random.default_rng(seed).standard_normal(x.shape)
        numeric = slope_along(name, x, t, direction)
        assert (slope * direction).sum() == pytest.approx(numeric, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", losses.NAMED)
def test_the_second_derivative_by_central_differences(name):
    x, t = data(name, seed=4)
    _, slope = gradient(name, x, t, second=True)
    direction = np.random.default_rng(5).standard_normal(x.shape)
    numeric = slope_along(name, x, t, direction, second=True)
    assert (slope * direction).sum() == pytest.approx(numeric, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", taking("ignore_label"))
def test_ignored_positions_count_nowhere(name):
    """The loss is that of the other positions alone; its gradient is zero at the ignored ones."""
    function, _ = losses.get(name)
    loss = partial(function, ignore_label=IGNORED)
    shape = (4, 1, 5, 3) if name in YES_OR_NO else (4, 3, 5, 3)
    x, t = data(name, shape)
    out = np.random.default_rng(6).random(t.shape) < 0.3
    out.reshape(-1)[:3] = False
    keep = ~out.reshape(-1)
    left = rows(x)[keep], (rows(t) if name in YES_OR_NO else t.reshape(-1))[keep]
    holes = np.where(out, IGNORED, t)
    assert value(loss, x, holes) == pytest.approx(value(name, *left), rel=1e-12)
    _, slope = gradient(loss, x, holes)
    assert not slope[np.broadcast_to(out if name in YES_OR_NO else out[:, None], x.shape)].any()
    every = np.full_like(t, IGNORED)
    whole, slope = gradient(loss, x, every)
    assert np.isfinite(whole) and not slope.any()
    if name in AVERAGES:
        assert whole == 0
    if name in CLASSES:
        inside = partial(function, ignore_label=1)
        assert value(inside, x, t) == pytest.approx(
            value(loss, x, np.where(t == 1, IGNORED, t)), rel=1e-12
        )


@pytest.mark.parametrize("name", losses.NAMED)
def test_means_are_marked_and_add_up_over_shares_of_a_batch(name):
    x, t = data(name, seed=7)
    p, y = symbols(x, t)
    end = losses.get(name)[0](p, y)
    assert (end.node.op == "Average" and end.node.domain == "eddl") == (name in AVERAGES)
    if name in AVERAGES and name != "triplet":
        step = eddl.Step([p, y], list(end.node.inputs), training=False)
        parts = np.array([step(x[part], t[part]) for part in (slice(0, 1), slice(1, None))])
        total, count = parts.sum(0)
        assert total / count == pytest.approx(value(name, x, t), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [30.0, 1e4])
@pytest.mark.parametrize("name", [*CLASSES, *YES_OR_NO])
def test_far_logits_stay_finite(name, size, dtype):
    x, t = data(name, dtype=dtype)
    whole, slope = gradient(name, (size * np.sign(x)).astype(dtype), t)
    assert np.isfinite(whole) and np.isfinite(slope).all()


@pytest.mark.parametrize("name", taking("from_logits"))
def test_certain_and_wrong_probabilities_stay_finite(name):
    function, _ = losses.get(name)
    x, t = data(name, dtype="float32")
    certain = np.zeros_like(x)
    certain[:, 0] = 1.0
    whole, slope = gradient(partial(function, from_logits=False), certain, t)
    assert np.isfinite(whole) and np.isfinite(slope).all()


def test_a_small_gradient_of_a_certain_answer_is_kept():
    x, t = np.array([[-30.0], [30.0]], np.float32), np.array([[0], [1]])
    _, slope = gradient("binary_cross_entropy", x, t)
    np.testing.assert_allclose(slope[:, 0], [np.exp(-30) / 2, -np.exp(-30) / 2], rtol=1e-5)


def test_half_precision_is_summed_in_single():
    x = np.full((4, 3, 64, 64), 100.0, np.float16)
    assert value("mean_squared_error", x, np.zeros_like(x)) == pytest.approx(1e4)
    assert value("categorical_cross_entropy", x, np.zeros((4, 64, 64), int)) == pytest.approx(
        np.log(3), rel=1e-5
    )


def test_class_weights():
    x, t = data("categorical_cross_entropy")
    weights = [0.5, 2.0, 3.0]
    p, y = special.softmax(rows(x), 1), t.reshape(-1)
    each, w = -np.log(p[np.arange(len(y)), y]), np.asarray(weights)[y]
    loss = partial(losses.categorical_cross_entropy, class_weights=weights)
    assert value(loss, x, t) == pytest.approx((w * each).sum() / w.sum(), rel=1e-12)
    assert value(loss, x, one_hot(t)) == pytest.approx((w * each).sum() / w.sum(), rel=1e-12)
    loss = partial(losses.focal, class_weights=weights, gamma=1.5)
    share = p[np.arange(len(y)), y]
    assert value(loss, x, t) == pytest.approx((w * (1 - share) ** 1.5 * each).mean(), rel=1e-9)
    loss = partial(losses.binary_cross_entropy, positive_weight=3.0)
    x, t = data("binary_cross_entropy")
    q = special.expit(x)
    each = -(3 * t * np.log(q) + (1 - t) * np.log(1 - q))
    assert value(loss, x, t) == pytest.approx(each.mean(), rel=1e-12)
    channels = np.array([0.5, 2.0, 3.0])
    loss = partial(losses.binary_cross_entropy, positive_weight=list(channels))
    each = -(channels[:, None, None] * t * np.log(q) + (1 - t) * np.log(1 - q))
    assert value(loss, x, t) == pytest.approx(each.mean(), rel=1e-12)
    loss = partial(losses.binary_focal, alpha=0.25, gamma=1.0)
    each = -(0.25 * t * (1 - q) * np.log(q) + 0.75 * (1 - t) * q * np.log(1 - q))
    assert value(loss, x, t) == pytest.approx(each.mean(), rel=1e-12)


def test_label_smoothing():
    x, t = data("categorical_cross_entropy")
    smooth = 0.9 * rows(one_hot(t)) + 0.1 / 3
    loss = partial(losses.categorical_cross_entropy, label_smoothing=0.1)
    assert value(loss, x, t) == pytest.approx(entropy(special.softmax(rows(x), 1), smooth))
    x, t = data("binary_cross_entropy")
    loss = partial(losses.binary_cross_entropy, label_smoothing=0.1)
    assert value(loss, x, t) == pytest.approx(value("binary_cross_entropy", x, 0.9 * t + 0.05))


def test_a_temperature():
    x, t = data("soft_cross_entropy")
    loss = partial(losses.soft_cross_entropy, temperature=4.0)
    assert value(loss, x, t) == pytest.approx(value("soft_cross_entropy", x / 4, t))


@pytest.mark.parametrize("name", taking("per_sample"))
def test_overlaps_of_each_sample(name):
    x, t = data(name, (3, 3, 6, 4))
    if name in CLASSES:
        t[0, :3, 0], t[1] = (0, 1, 2), t[1] % 2  # a class that one sample lacks
        t[2, :3, 0] = 0, 1, 2
    if name == "generalised_dice":
        t[1, :3, 0] = 0, 1, 2
    loss = partial(losses.get(name)[0], per_sample=True)
    each = [expected(name, x[i : i + 1], t[i : i + 1]) for i in range(3)]
    assert value(loss, x, t) == pytest.approx(np.mean(each), rel=1e-10)


def test_options_of_overlaps():
    x, t = data("tversky")
    p, y = special.softmax(rows(x), 1), rows(one_hot(t))
    loss = partial(losses.tversky, alpha=0.2, beta=0.9, gamma=0.75)
    assert value(loss, x, t) == pytest.approx(tversky(p, y, 0.2, 0.9, 0.75))
    even = partial(losses.tversky, alpha=0.5, beta=0.5, smooth=0.5)
    assert value(even, x, t) == pytest.approx(value("dice", x, t))
    whole = partial(losses.dice, include_background=True, smooth=0.5)
    score = (2 * (p * y).sum(0) + 0.5) / (p.sum(0) + y.sum(0) + 0.5)
    assert value(whole, x, t) == pytest.approx(1 - score.mean())


@pytest.mark.parametrize("name", [n for n in CLASSES if n != "soft_cross_entropy"])
def test_a_class_that_is_nowhere(name):
    x, t = data(name)
    whole, slope = gradient(name, x, np.where(t == 2, 0, t))
    assert np.isfinite(whole) and np.isfinite(slope).all()


def test_a_perfect_answer_costs_nothing():
    for name in ("dice", "generalised_dice", "tversky", "lovasz_softmax", "categorical_hinge"):
        _, t = data(name)
        assert value(name, 200 * one_hot(t), t) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", losses.NAMED)
def test_a_model_trains_with_it(name):
    r = np.random.default_rng(8)
    inputs = r.standard_normal((24, 5)).astype("float32")
    x = eddl.Input((5,))
    output = layers.dense(x, 3)
    if name == "contrastive":
        output = losses.distance(layers.dense(x, 3), layers.dense(x, 3))
    net = eddl.Model(x, output)
    net.build(optimizer=eddl.Adam(0.05), loss=name)
    _, target = data(name, (24, 3), "float32")
    if name == "triplet":
        target = r.integers(0, 3, 24)
    elif name == "contrastive":
        target = r.integers(0, 2, (24, 1))
    found = [net.train_batch(inputs, target)["loss"] for _ in range(15)]
    assert found[-1] < found[0]
    shares = net.predict(inputs)
    _, activation = losses.get(name)
    if activation == "Softmax":
        np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    if activation == "Sigmoid":
        assert (shares >= 0).all() and (shares <= 1).all()


def test_losses_of_a_function_know_their_activation():
    assert losses.get(losses.dice)[1] == "Softmax"
    assert (
        losses.get(partial(partial(losses.binary_dice, smooth=0.1), per_sample=True))[1]
        == "Sigmoid"
    )
    assert losses.get(partial(losses.dice, from_logits=False))[1] is None
    assert losses.get(lambda p, t: losses.dice(p, t))[1] is None
    assert losses.get(losses.DeepSupervision("dice"))[1] == "Softmax"
