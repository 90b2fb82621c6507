"""Targets: the shapes and labels that fit, and what is said of those that do not."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import eddl
from eddl import losses
from eddl.errors import EddlError
from eddl.layers import constant

from .rows import CLASSES, YES_OR_NO, data, symbols, value


def check(loss, x, t):
    p, y = symbols(x, t)
    return losses.target_check(loss(p, y), y)


@pytest.mark.parametrize("name", [n for n in CLASSES if n != "soft_cross_entropy"])
def test_a_label_out_of_range_is_named(name):
    x, t = data(name)
    rule = check(losses.get(name)[0], x, t)
    rule(t)
    for wrong in (-1, 3, 255):
        bad = t.copy()
        bad[1, 2, 1] = wrong
        with pytest.raises(EddlError, match=rf"label {wrong} .* \(1, 2, 1\), expected 0 to 2;"):
            rule(bad)


@pytest.mark.parametrize("name", YES_OR_NO)
def test_a_yes_or_no_is_0_or_1(name):
    x, t = data(name)
    with pytest.raises(EddlError, match="expected 0 to 1"):
        check(losses.get(name)[0], x, t)(t + 1)


def test_the_ignored_label_is_allowed_and_no_other():
    x, t = data("dice")
    rule = check(partial(losses.dice_cross_entropy, ignore_label=255), x, t)
    holes = np.where(t == 1, 255, t)
    rule(holes)
    with pytest.raises(EddlError, match="or ignore_label 255"):
        rule(np.where(t == 1, 254, t))
    rule(holes.astype(np.uint8))


def test_small_types_of_labels_hold_many_classes():
    r = np.random.default_rng(1)
    x, t = r.standard_normal((6, 300)), r.integers(0, 127, 6)
    for dtype in ("uint8", "int8", "uint16", "int32"):
        found = value("categorical_cross_entropy", x, t.astype(dtype))
        assert found == pytest.approx(value("categorical_cross_entropy", x, t), rel=1e-12)


def test_functions_of_losses_are_checked_and_others_are_not():
    x, t = data("dice")
    both = check(lambda p, y: losses.dice(p, y) + 0.3 * losses.focal(p, y), x, t)
    with pytest.raises(EddlError, match="received the label 9"):
        both(np.full_like(t, 9))
    deep = check(losses.DeepSupervision("dice"), x, t)
    with pytest.raises(EddlError, match="received the label 9"):
        deep(np.full_like(t, 9))
    own = check(lambda p, y: eddl.ops.apply("ReduceSum", p, keepdims=0), x, t)
    own(np.full_like(t, 9))
    soft = np.zeros_like(x)
    check(losses.dice, x, soft)(soft + 9)


@pytest.mark.parametrize(
    ("loss", "prediction", "target", "words"),
    [
        ("dice", ((3, 5, 6), "float32"), ((5, 6), "float32"), "int64"),
        ("dice", ((3, 5, 6), "float32"), ((3, 5, 6), "int64"), "one index a position"),
        ("dice", ((1, 5, 6), "float32"), ((5, 6), "int64"), "binary_"),
        ("binary_dice", ((2, 5, 6), "float32"), ((5, 6), "int64"), "equal shapes"),
        ("mean_squared_error", ((1,), "float32"), ((), "float32"), "equal shapes"),
        ("mean_squared_error", ((3,), "float32"), ((1,), "float32"), "prediction's shape"),
        ("categorical_cross_entropy", ((3, 5), "float32"), ((4,), "int64"), "without the class"),
        ("soft_cross_entropy", ((3,), "float32"), ((), "int64"), "categorical_cross_entropy"),
        ("triplet", ((3,), "float32"), ((), "float32"), "whole numbers"),
        ("nothing", ((3,), "float32"), ((), "float32"), "expected one of"),
    ],
)
def test_targets_that_do_not_fit_are_refused(loss, prediction, target, words):
    with pytest.raises(EddlError, match=words) as error:
        losses.get(loss)[0](*(eddl.Input(s, dtype=d) for s, d in (prediction, target)))
    assert "received" in str(error.value)


def test_sizes_that_are_known_only_in_a_run_are_checked_there():
    p, t = eddl.Input((None,)), eddl.Input((None,))
    step = eddl.Step([p, t], [losses.mean_squared_error(p, t)], training=False)
    with pytest.raises(EddlError, match="prediction's shape"):
        step(np.zeros((4, 5), "float32"), np.zeros((4, 1), "float32"))


def test_a_constant_target_is_repeated():
    x = np.random.default_rng(0).standard_normal((4, 3))
    loss = lambda p, t: losses.mean_squared_error(p, constant(np.zeros((1, 1))))  # noqa: E731
    assert value(loss, x, np.zeros(4)) == pytest.approx((x**2).mean())


@pytest.mark.parametrize(
    "options",
    [
        ("categorical_cross_entropy", {"class_weights": [1.0, 2.0]}),
        ("categorical_cross_entropy", {"class_weights": [1.0, -2.0, 1.0]}),
        ("categorical_cross_entropy", {"label_smoothing": 1.0}),
        ("binary_cross_entropy", {"positive_weight": 0.0}),
        ("binary_cross_entropy", {"label_smoothing": -0.1}),
        ("focal", {"gamma": -1.0}),
        ("binary_focal", {"alpha": 2.0}),
        ("soft_cross_entropy", {"temperature": 0.0}),
        ("dice", {"smooth": 0.0}),
        ("tversky", {"alpha": -1.0}),
        ("tversky", {"gamma": 0.0}),
        ("huber", {"delta": 0.0}),
        ("mean_relative_error", {"smallest": 0.0}),
        ("contrastive", {"margin": 0.0}),
        ("triplet", {"margin": -1.0}),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused(options):
    name, bound = options
    x, t = data(name)
    with pytest.raises(EddlError, match=r"received .*expected"):
        value(partial(losses.get(name)[0], **bound), x, t)


def test_an_ignored_label_needs_whole_numbers():
    for name in ("dice", "binary_dice"):
        x, _ = data(name)
        with pytest.raises(EddlError, match="integral"):
            value(partial(losses.get(name)[0], ignore_label=255), x, np.zeros_like(x))
