"""Whether a gradient that is not made yet is finite is told by a bound, as if it had been read."""

import warnings

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.compiler import bound
from eddl.ops import apply
from eddl.ops.bounds import LIMIT

SAMPLES, INPUTS, UNITS = 6, 300, 1000
X = np.random.default_rng(0).standard_normal((SAMPLES, INPUTS)).astype("float32")
FACTORS = np.ones((SAMPLES, UNITS), "float32")


def nothing(shape, dtype, generator):
    return np.zeros(shape, dtype)


def linear(device, rate=1e-3, **options):
    """The sum of a layer's outputs, each times a factor: the flow into the layer is the factors."""
    x = eddl.Input((INPUTS,))
    y = layers.dense(x, UNITS, use_bias=False, initializer=nothing)
    net = eddl.Model(x, y)
    net.build(optimizer=eddl.SGD(rate), device=device,
              loss=lambda p, t: layers.reduce_sum(p * t), **options)  # fmt: skip
    return net


def weight(net):
    return net.weights()["dense.weight"]


def bounds(net):
    (one,) = net.built()._passes.values()
    return one.step._part.bounds


def test_a_common_step_has_a_small_bound(device):
    net = linear(device)
    net.train_batch(X, FACTORS)
    assert 0 < bounds(net)[0] < LIMIT
    np.testing.assert_allclose(np.sort(weight(net).ravel())[0], -1e-3 * X.sum(0).max(), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_changes_nothing(device, bad):
    net = linear(device)
    net.train_batch(X, FACTORS)
    before = weight(net)
    spoiled = X.copy()
    spoiled[2, 3] = bad
    with pytest.warns(RuntimeWarning, match="step 2: the loss or a gradient is not finite"):
        net.train_batch(spoiled, FACTORS)
    np.testing.assert_array_equal(weight(net), before)
    net.train_batch(X, FACTORS)
    assert not np.array_equal(weight(net), before)
    assert net.skipped_steps == 1


def test_a_flow_that_is_not_finite_under_a_finite_loss_changes_nothing(device):
    net = linear(device)
    flow = FACTORS.copy()
    net.build(optimizer=eddl.SGD(1e-3), device=device,
              loss=lambda p, t: layers.reduce_sum(apply("Sqrt", apply("Abs", p)) * t))  # fmt: skip
    with pytest.warns(RuntimeWarning, match="not finite"):
        assert net.train_batch(X, flow)["loss"] == 0
    assert not weight(net).any()


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize(("size", "taken"), [(1e10, True), (1e21, False)])
def test_a_large_bound_has_the_gradient_itself_decide(device, size, taken, memory):
    """The loss is 0, and each operand of the gradient is finite."""
    net = linear(device, rate=1e-23, memory=memory)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        loss = net.train_batch(np.full_like(X, size), FACTORS * np.float32(size))["loss"]
    assert loss == 0
    assert bounds(net)[0] > LIMIT
    assert len(seen) == net.skipped_steps == (not taken)
    expected = -SAMPLES * 1e-23 * size * size if taken else 0
    np.testing.assert_allclose(weight(net), np.full((UNITS, INPUTS), expected), rtol=1e-5)


def deep(device, **options):
    x = eddl.Input((INPUTS,))
    y = layers.relu(layers.dense(x, UNITS, name="first"))
    net = eddl.Model(x, layers.dense(y, 3, name="last"), seed=3)
    net.build(**{"optimizer": eddl.Adam(1e-3), "loss": "categorical_cross_entropy",
                 "device": device, **options})  # fmt: skip
    return net


LABELS = np.arange(SAMPLES) % 3


@pytest.mark.parametrize("options", [
    {}, {"clip_norm": 0.1}, {"ema": 0.9}, {"memory": "low"}, {"memory": "6 MB"}, {"accumulate": 2},
    {"memory": "low", "ema": 0.9, "clip_value": 0.01, "rates": {"first.bias": 0.5}},
    {"precision": "float16"}, {"rates": {"first.weight": 0.5}},
    {"regularizers": {"first.weight": lambda w: layers.reduce_sum(w * w)}},
])  # fmt: skip
def test_training_is_the_same_to_the_bit_with_all_gradients_made(device, options, monkeypatch):
    if options.get("precision") and "onednn" in device:
        pytest.skip("no float16 there")
    batches = [(X, LABELS), (X * np.float32(np.nan), LABELS), (X[:4], LABELS[:4]), (X, LABELS)]

    def trained():
        net = deep(device, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for batch in batches:
                net.train_batch(*batch)
        return net

    found = trained()
    together = options.keys() & {"clip_norm", "accumulate", "precision"}
    assert (bounds(found)[0] > 0) == (not together)  # else nothing is tried
    monkeypatch.setattr(bound, "FEWEST", 1 << 60)
    expected = trained()
    assert bounds(expected)[0] == 0
    assert found.skipped_steps == expected.skipped_steps == 1
    for name, array in expected.weights().items():
        np.testing.assert_array_equal(found.weights()[name], array)


def test_shapes_with_and_without_a_bound_take_turns(device):
    """A bound that one program found is none for the gradients of another."""
    net = linear(device)
    net.train_batch(X, FACTORS)
    assert bounds(net)[0] > 0
    many = np.tile(X, (40, 1))
    many[100, 7] = np.nan
    with pytest.warns(RuntimeWarning, match="not finite"):
        net.train_batch(many, np.tile(FACTORS, (40, 1)))
    assert bounds(net)[0] == 0
    net.train_batch(X, FACTORS)
    assert net.skipped_steps == 1


def test_each_optimizer_has_a_bound(device):
    x, t = eddl.Input((INPUTS,)), eddl.Input((UNITS,))
    nets = [eddl.Model(x, layers.dense(x, UNITS, use_bias=False, initializer=nothing))
            for _ in range(2)]  # fmt: skip
    losses = [layers.reduce_sum(net.outputs[0] * t * factor)
              for net, factor in zip(nets, (1.0, 1e25), strict=True)]  # fmt: skip
    pairs = [(loss, net.parameters, eddl.SGD(1e-3)) for loss, net in zip(losses, nets, strict=True)]
    step = eddl.Step([x, t], losses, pairs, device=device)
    step(X, FACTORS)
    assert step._part.bounds[0] < LIMIT < step._part.bounds[1]
    assert all(weight(net).any() for net in nets)
    before = [weight(net) for net in nets]
    with pytest.warns(RuntimeWarning, match="not finite"):
        step(X, FACTORS * np.float32(1e14))  # the second one's gradient overflows, the losses not
    for net, array in zip(nets, before, strict=True):
        np.testing.assert_array_equal(weight(net), array)
