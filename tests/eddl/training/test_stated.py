"""What happens where something is wrong with a batch, or where networks share: as it is stated."""

import signal
import warnings

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.errors import EddlError, GradientError, StateError
from eddl.graph import Type

R = np.random.default_rng(5)
DATA = R.standard_normal((12, 3, 6, 6)).astype("float32")
LABELS = R.integers(0, 2, (12, 6, 6))
POISON = DATA[:4].copy()
POISON[1, 2, 3, 4] = np.nan


def built(**options):
    x = eddl.Input((3, 6, 6))
    y = layers.batch_norm(layers.conv(x, 4, 3, name="conv"), name="norm")
    y = layers.dropout(layers.relu(y), 0.2, name="drop")
    net = eddl.Model(x, layers.conv(y, 2, 1, name="last"))
    net.build(**{"optimizer": eddl.Adam(0.01), "loss": "dice_cross_entropy", "metrics": ["dice"],
                 "ema": 0.9, **options})  # fmt: skip
    return net


def everything(net):
    """Weights, averages, statistics, slots and counts."""
    state = net.built().state
    found = net.all_weights()
    for group in state.groups:
        found["count"] = group.count.copy()
        for number, unit in enumerate(group.units):
            found.update({f"{number} {name}": a.copy() for name, a in unit.slots.items()})
    return found


def assert_same(first, second):
    assert set(first) == set(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"clip_norm": 1.0}, {"clip_value": 1.0},
                                     {"optimizer": eddl.SGD(0.1)}])  # fmt: skip
def test_a_batch_with_a_nan_changes_nothing_and_is_counted_and_named_once(options):
    net = built(**options)
    net.train_batch(DATA[:4], LABELS[:4])
    before = everything(net)
    with pytest.warns(RuntimeWarning, match="step 2: the loss or a gradient is not finite") as seen:
        net.train_batch(POISON, LABELS[:4])
    assert len(seen) == 1
    assert_same(everything(net), before)
    # No second warning: those are errors in the tests.
    assert np.isnan(net.train_batch(POISON, LABELS[:4])["loss"])
    assert_same(everything(net), before)
    assert net.skipped_steps == 2
    net.train_batch(DATA[:4], LABELS[:4])
    assert int(net.built().state.groups[0].count) == 2


def test_in_fit_it_is_as_if_the_batch_had_not_been_there():
    batches = [(DATA[i : i + 4], LABELS[i : i + 4]) for i in (0, 4, 8)]
    clean, spoiled = built(), built()
    expected = clean.fit(batches, epochs=2)
    with pytest.warns(RuntimeWarning, match="skipped"):
        found = spoiled.fit([batches[0], (POISON, LABELS[:4]), *batches[1:]], epochs=2)
    assert found == expected
    assert_same(everything(spoiled), everything(clean))
    assert spoiled.skipped_steps == 2


def test_with_raise_it_is_an_error_that_names_the_step():
    net = built(nonfinite="raise")
    net.train_batch(DATA, LABELS)
    before = everything(net)
    with pytest.raises(GradientError, match="step 2"):
        net.train_batch(POISON, LABELS[:4])
    assert_same(everything(net), before)


def test_an_epoch_of_nothing_else_is_an_error():
    net = built()
    with (
        pytest.warns(RuntimeWarning, match="skipped"),
        pytest.raises(StateError, match="no step had a finite loss"),
    ):
        net.fit([(POISON, LABELS[:4])], epochs=2)


def test_a_gradient_that_is_not_finite_under_a_finite_loss_is_found_too():
    x = eddl.Input((1,))
    net = eddl.Model(x, layers.dense(x, 1, use_bias=False))
    net.build(optimizer=eddl.SGD(0.1), loss=lambda p, t: mean(abs_root(p)), nonfinite="raise")
    weight = net.weights()
    with pytest.raises(GradientError):
        net.train_batch(np.zeros((2, 1), "float32"), np.zeros((2, 1), "float32"))
    assert_same(net.weights(), weight)


def mean(value):
    from eddl.ops import apply

    return apply("ReduceMean", value, keepdims=0)


def abs_root(value):
    """|x|^(1/2), whose slope at 0 has no end."""
    from eddl.ops import apply

    return apply("Sqrt", apply("Abs", value))


@pytest.mark.parametrize("wrong", [2, -1])
def test_a_label_out_of_range_is_one_clear_error_and_nothing_changes(wrong):
    net = built()
    net.train_batch(DATA, LABELS)
    before, labels = everything(net), LABELS.copy()
    labels[7, 1, 2] = wrong
    for act in (
        lambda: net.train_batch(DATA, labels),
        lambda: net.loss_and_gradients(DATA, labels),
        lambda: net.evaluate(DATA, labels),
        lambda: net.fit(DATA[7:8], labels[7:8]),
    ):
        with pytest.raises(EddlError, match=f"label {wrong} .* expected 0 to 1"):
            act()
        assert_same(everything(net), before)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_empty_batch_is_one_clear_error_and_nothing_changes(accumulate):
    net = built(accumulate=accumulate)
    net.train_batch(DATA, LABELS)
    before = everything(net)
    for act in (
        lambda: net.train_batch(DATA[:0], LABELS[:0]),
        lambda: net.fit([(DATA[:0], LABELS[:0])]),
        lambda: net.fit([(DATA[:0], LABELS[:0]), (DATA, LABELS)]),
        lambda: net.evaluate([(DATA[:0], LABELS[:0])]),
        lambda: net.fit(DATA[:0], LABELS[:0]),
    ):
        with pytest.raises(EddlError, match=r"nothing|above 0"):
            act()
        assert_same(everything(net), before)


def test_a_batch_of_one_trains():
    net = built(accumulate=2)  # there is no second part
    before = net.weights()
    assert np.isfinite(net.train_batch(DATA[:1], LABELS[:1])["loss"])
    assert any((a != before[n]).any() for n, a in net.weights().items())


def test_batch_norm_of_a_single_element_gives_its_bias():
    """One sample without space has no variance: the output is the bias, no gradient passes."""
    x = eddl.Input((3,))
    y = layers.batch_norm(layers.dense(x, 4, name="before"), momentum=0.5, name="norm")
    net = eddl.Model(x, y)
    net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error")
    _, gradients = net.loss_and_gradients(np.ones((1, 3)), np.ones((1, 4)))
    assert not gradients["before.weight"].any() and gradients["norm.bias"].any()
    net.train_batch(np.ones((1, 3)), np.ones((1, 4)))
    np.testing.assert_array_equal(net.weights()["norm.variance"], 0.5)  # halfway from 1 to 0


def test_two_models_that_share_weights_under_two_optimizers():
    x = eddl.Input((3,))
    body = eddl.Model(x, layers.tanh(layers.dense(x, 4, name="body")))
    first = eddl.Model(x, layers.dense(body(x), 2, name="first"))
    second = eddl.Model(x, layers.dense(body(x), 1, name="second"))
    first.build(optimizer=eddl.Adam(0.01), loss="categorical_cross_entropy")
    second.build(optimizer=eddl.SGD(0.25), loss="mean_squared_error")
    data, labels, target = DATA[:, :, 0, 0], LABELS[:, 0, 0], DATA[:, :1, 1, 1]
    for _ in range(3):
        first.train_batch(data, labels)
        weights = second.weights()
        np.testing.assert_array_equal(weights["body.weight"], first.weights()["body.weight"])
        gradients = second.loss_and_gradients(data, target)[1]
        slots = everything(first)
        second.train_batch(data, target)
        assert all((slots[n] == a).all() for n, a in everything(first).items() if "0 " in n)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(
                second.weights()[name], weights[name] - 0.25 * gradient, rtol=1e-5, atol=1e-7
            )


def test_a_model_called_twice_gets_the_gradient_of_both():
    a, b = eddl.Input((3,), name="a"), eddl.Input((3,), name="b")
    x = eddl.Input((3,))
    encoder = eddl.Model(x, layers.dense(x, 2, name="encoder"))
    difference = encoder(a) - encoder(b)
    net = eddl.Model([a, b], difference)
    net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error")
    first, second = DATA[:, :, 0, 0], DATA[:, :, 1, 1]
    _, gradients = net.loss_and_gradients([first, second], np.zeros((12, 2)))
    weight = encoder.weights()["encoder.weight"].astype("float64")
    apart = (first - second).astype("float64")
    expected = 2 * (apart @ weight.T).T @ apart / 24  # of mean((W (a - b))^2)
    np.testing.assert_allclose(gradients["encoder.weight"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradients["encoder.bias"], 0, atol=1e-6)


def test_a_loss_with_a_second_derivative():
    """The square of the input gradient's norm: its own gradient needs the second derivative."""
    x = eddl.Input((3,), dtype="float64")
    net = eddl.Model(x, layers.dense(layers.tanh(layers.dense(x, 5)), 1))

    def flat(prediction, target):
        (slope,) = eddl.gradients(prediction, [x])
        return eddl.losses.mean_squared_error(prediction, target) + mean(slope * slope)

    net.build(optimizer=eddl.SGD(0.1), loss=flat)
    data, target = DATA[:, :, 0, 0].astype("float64"), DATA[:, :1, 1, 1].astype("float64")
    _, gradients = net.loss_and_gradients(data, target)
    weights, h = net.weights(), 1e-6
    for name, gradient in gradients.items():
        for place in np.ndindex(*gradient.shape[:2]):
            sides = []
            for sign in (1, -1):
                moved = weights[name].copy()
                moved[place] += sign * h
                net.set_weights({name: moved})
                sides.append(net.evaluate(data, target)["loss"])
            net.set_weights(weights)
            slope = (sides[0] - sides[1]) / (2 * h)
            assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-8)
    losses = [net.train_batch(data, target)["loss"] for _ in range(20)]
    assert losses[-1] < losses[0]


def test_the_keyboard_within_an_update_waits_until_it_is_whole(monkeypatch):
    pressed, left = built(), built()
    step = pressed.built().find([LABELS], training=True).step
    types = [Type(array.dtype, array.shape) for array in (DATA, LABELS)]
    update = step.programs(*types)["update"]
    run = update.run

    def press(inputs):
        signal.raise_signal(signal.SIGINT)
        return run(inputs)

    monkeypatch.setattr(update, "run", press)
    with pytest.raises(KeyboardInterrupt):
        pressed.train_batch(DATA, LABELS)
    left.train_batch(DATA, LABELS)
    assert_same(everything(pressed), everything(left))


def test_nothing_of_this_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built().fit(DATA, LABELS, epochs=2, validation=(DATA, LABELS))


def test_a_steep_gradient_is_a_finite_one():
    """Its square is beyond float32, which once passed for infinite."""
    x = eddl.Input((1,))
    net = eddl.Model(x, layers.dense(x, 1, use_bias=False))
    net.build(optimizer=eddl.SGD(1e-24), loss=lambda prediction, _: layers.reduce_sum(prediction))
    before = net.weights()["dense.weight"]
    net.train_batch(np.full((1, 1), 1e24, "float32"), np.zeros((1, 1), "float32"))
    np.testing.assert_allclose(net.weights()["dense.weight"], before - 1, rtol=1e-5)
