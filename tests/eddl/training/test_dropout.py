"""Dropout: off in inference, repeatable in training, resumed bit for bit."""

import numpy as np
import pytest

import eddl
from eddl import layers


def net(ratio=0.25, seed=3):
    x = eddl.Input((400,))
    y = layers.dropout(x, ratio, name="drop")
    model = eddl.Model(x, layers.dense(y, 2), seed=seed)
    model.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy")
    return model


def masked(step, x):
    return step(x)[0]


def training_step(ratio, seed=0):
    x = eddl.Input((5000,))
    weight = layers.dense(x, 1)
    model = eddl.Model(x, weight)
    y = layers.dropout(x, ratio, name="drop")
    loss = eddl.losses.mean_squared_error(weight, layers.constant(np.zeros((1, 1))))
    return eddl.Step([x], [y], [(loss, model.parameters, eddl.SGD(1e-3))], seed=seed)


def test_it_keeps_the_share_and_the_mean():
    step, ones = training_step(0.3), np.ones((4, 5000), "float32")
    kept = masked(step, ones)
    assert set(np.unique(kept)) == {np.float32(0), np.float32(1 / np.float32(0.7))}
    assert (kept > 0).mean() == pytest.approx(0.7, abs=0.01)
    assert kept.mean() == pytest.approx(1.0, abs=0.02)


def test_each_step_draws_anew_and_a_seed_repeats():
    ones = np.ones((2, 5000), "float32")
    first, second = training_step(0.5), training_step(0.5)
    draws = [masked(first, ones) for _ in range(3)]
    assert (draws[0] != draws[1]).any() and (draws[1] != draws[2]).any()
    for draw in draws:
        np.testing.assert_array_equal(draw, masked(second, ones))
    assert (masked(training_step(0.5, seed=1), ones) != draws[0]).any()


def test_inference_passes_everything():
    x = np.random.default_rng(0).standard_normal((3, 400)).astype("float32")
    np.testing.assert_array_equal(net(0.9).predict(x), net(0.1).predict(x))


def test_a_resumed_training_draws_the_same_masks(tmp_path):
    r = np.random.default_rng(0)
    data, labels = r.standard_normal((40, 400)).astype("float32"), r.integers(0, 2, 40)
    whole, parts, path = net(), net(), tmp_path / "c.safetensors"
    expected = whole.fit(data, labels, epochs=4, batch_size=8)
    parts.fit(data, labels, epochs=2, batch_size=8, checkpoint=path)
    fresh = net()
    assert fresh.fit(data, labels, epochs=4, batch_size=8, checkpoint=path, resume=True) == expected


def test_the_gradient_flows_where_the_mask_let_the_value_through():
    x = eddl.Input((50,))
    y = layers.dropout(x, 0.5)
    (g,) = eddl.gradients(y, [x])
    kept, gradient = eddl.Step([x], [y, g])(np.ones((2, 50), "float32"))
    np.testing.assert_array_equal(kept, gradient)
