"""Step: the one primitive under fit, and what two of them may share."""

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.errors import ShapeError


def test_two_optimizers_over_parts_of_one_graph():
    x = eddl.Input((3,))
    first = eddl.Model(x, layers.dense(x, 4, name="first"))
    both = eddl.Model(x, layers.dense(first(x), 2, name="second"))
    loss = eddl.losses.mean_squared_error(both.outputs[0], layers.constant(np.ones((1, 2))))
    own = [p for p in both.parameters if p not in first.parameters]
    step = eddl.Step(
        [x], [loss],
        [(loss, first.parameters, eddl.SGD(0.0625)), (loss, own, eddl.SGD(0.125))],
    )  # fmt: skip
    data = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    before = both.weights()
    _, gradients = step.gradients(data)
    step(data)
    rates = [0.0625] * 2 + [0.125] * 2
    for state, rate, gradient in zip([*first.parameters, *own], rates, gradients, strict=True):
        name = both.names[state]
        np.testing.assert_allclose(
            both.weights()[name], before[name] - np.float32(rate) * gradient, rtol=1e-6, atol=1e-7
        )


def test_frozen_parameters_stay():
    x = eddl.Input((3,))
    net = eddl.Model(x, layers.dense(layers.dense(x, 4), 2))
    loss = eddl.losses.mean_squared_error(net.outputs[0], layers.constant(np.ones((1, 2))))
    step = eddl.Step([x], [loss], [(loss, net.parameters[2:], eddl.Adam(0.1))])
    before = net.weights()
    step(np.ones((4, 3), "float32"))
    changed = [n for n, a in net.weights().items() if (a != before[n]).any()]
    assert changed == [net.names[p] for p in net.parameters[2:]]


def test_results_own_their_memory():
    x = eddl.Input((1000,))
    step = eddl.Step([x], [layers.relu(x), x], training=False)
    data = np.ones((2, 1000), "float32")
    first, same = step(data)
    kept = first.copy()
    step(-data)
    np.testing.assert_array_equal(first, kept)
    assert first.base is None
    assert not np.shares_memory(same, data)


@pytest.mark.parametrize("training", [True, False])
def test_dead_memory_is_never_read(training):
    """The whole U-Net step with every dead buffer poisoned gives the same bits."""
    r = np.random.default_rng(0)
    data = r.standard_normal((2, 1, 32, 32)).astype("float32")
    labels = (data[:, 0] > 0).astype("int64")
    results = []
    for poison in (False, True):
        x, y = eddl.Input((1, 32, 32)), eddl.Input((32, 32), dtype="int64", name="y")
        net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=4, depth=3))
        loss = eddl.losses.dice_cross_entropy(net.outputs[0], y)
        minimize = [(loss, net.parameters, eddl.Adam(1e-2))] if training else []
        step = eddl.Step([x, y], [loss], minimize, training=training, poison=poison)
        losses = [float(step(data, labels)[0]) for _ in range(3)]
        results.append((losses, net.weights()))
    assert results[0][0] == results[1][0]
    assert np.isfinite(results[1][0]).all()
    for name, array in results[0][1].items():
        np.testing.assert_array_equal(array, results[1][1][name])


def test_the_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    from eddl import devices
    from eddl.backends.array import ArrayBackend

    r = np.random.default_rng(0)
    data = r.standard_normal((3, 2, 24, 32)).astype("float32")
    labels = (data[:, 0] > 0).astype("int64")
    found = []
    for threads in (1, 2, 3):
        backend = ArrayBackend(threads)
        monkeypatch.setattr(devices, "_cpu", lambda backend=backend: backend)
        x = eddl.Input((2, 24, 32))
        net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=8, depth=3))
        net.build(optimizer=eddl.Adam(1e-2), loss="dice_cross_entropy")
        losses = [net.train_batch(data, labels)["loss"] for _ in range(3)]
        found.append((losses, net.weights()))
    for losses, weights in found[1:]:
        assert losses == found[0][0]
        for name, array in weights.items():
            np.testing.assert_array_equal(array, found[0][1][name])


def test_a_step_of_ones_own_checks_labels_averages_and_clips():
    x, y = eddl.Input((3,)), eddl.Input((), dtype="int64", name="y")
    net = eddl.Model(x, layers.dense(layers.batch_norm(x), 2))
    loss = eddl.losses.categorical_cross_entropy(net.outputs[0], y)
    rules = eddl.Rules(clip_norm=1e-3, ema=0.5)
    step = eddl.Step([x, y], [loss], [(loss, net.parameters, eddl.SGD(1.0))], rules=rules)
    data, labels = np.random.default_rng(0).standard_normal((4, 3)), np.array([0, 1, 1, 0])
    before = net.weights()
    with pytest.raises(eddl.EddlError, match="label 2"):
        step(data, labels + 1)
    assert all((before[n] == a).all() for n, a in net.weights().items())
    step(data, labels)
    change = [before[net.names[p]] - net.weights()[net.names[p]] for p in net.parameters]
    assert np.sqrt(sum((c**2).sum() for c in change)) == pytest.approx(1e-3, rel=1e-3)
    averages = step.state.averages
    assert set(averages.states) == set(net.states)
    raw = net.weights()
    with averages.swapped():
        for name, array in net.weights().items():  # 1 - 2 / 11 of the way
            expected = before[name] + (raw[name] - before[name]) * 9 / 11
            np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-7)


def test_arrays_of_other_kinds_and_types_take_turns():
    """A step remembers the types that it was given last, but of plain arrays alone."""

    class Named(np.ndarray):
        pass

    x = eddl.Input((None,))
    step = eddl.Step([x], [x * 2.0], training=False)
    wide, long = np.ones((2, 3), "float32"), np.ones((5, 4), "float32")
    given = [wide, wide, long, wide.view(Named), long.view(Named), long, wide.astype("float64"),
             [[1.0, 1.0]], wide, np.asfortranarray(long)]  # fmt: skip
    for array in given:
        (found,) = step(array)
        assert found.shape == np.shape(array)
        assert (found == 2).all()
    for wrong in (np.ones(3, "float32"), np.ones((0, 3), "float32")):
        with pytest.raises(ShapeError):
            step(wrong)
