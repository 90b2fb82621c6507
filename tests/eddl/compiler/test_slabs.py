"""What one program leaves in the slabs for another: gradients, which live from call to update."""

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.backends.array import ArrayBackend
from eddl.compiler import Handover, Slabs
from eddl.errors import StateError
from eddl.graph import Type

from .graphs import overlaps

R = np.random.default_rng(0)
DATA, TARGET = R.standard_normal((8, 9)).astype("float32"), R.standard_normal((8, 7))


def network(seed=0):
    """Sizes that leave gaps between parameters."""
    x, y = eddl.Input((9,)), eddl.Input((7,))
    net = eddl.Model(x, layers.dense(layers.tanh(layers.dense(x, 13)), 7), seed=seed)
    return net, [x, y], eddl.losses.mean_squared_error(net.outputs[0], y)


def made(seed=0, **options):
    net, inputs, loss = network(seed)
    return net, eddl.Step(inputs, [loss], [(loss, net.parameters, eddl.Adam(0.1))], **options)


def assert_equal(one, other):
    for name, array in one.weights().items():
        np.testing.assert_array_equal(array, other.weights()[name], err_msg=name)


@pytest.mark.parametrize("device", ["cpu", "cpu:array"])
def test_what_runs_in_between_finds_the_slabs_and_leaves_the_gradients(device):
    slabs = Slabs(eddl.devices.backend(device))
    (first, learn), (second, other) = (
        made(seed, slabs=slabs, device=device, poison=True) for seed in (0, 1)
    )
    (alone, apart), (beside, away) = (made(seed, device=device) for seed in (0, 1))
    x = eddl.Input((1000,))
    big = eddl.Step([x], [layers.tanh(x * x) + x], slabs=slabs, device=device, training=False)
    for _ in range(3):
        learn.add(DATA, TARGET)
        other.add(DATA, TARGET)
        big.compute(np.ones((64, 1000), "float32"))
        assert other.update() and learn.update()
        for step in (apart, away):
            step(DATA, TARGET)
    assert_equal(first, alone)
    assert_equal(second, beside)


def test_data_that_ask_the_network_while_it_trains_change_nothing():
    def trained(ask):
        x = eddl.Input((9,))
        net = eddl.Model(x, layers.dense(layers.tanh(layers.dense(x, 13)), 3), seed=0)
        net.build(optimizer=eddl.Adam(0.1), loss="categorical_cross_entropy")

        def batches():
            for _ in range(4):
                yield DATA, np.arange(8) % 3
                if ask:
                    net.predict(np.ones((100, 9), "float32"), batch_size=100)

        net.fit(batches(), epochs=1, steps_per_epoch=4, progress=False)
        return net

    assert_equal(trained(True), trained(False))


def test_an_update_wants_the_gradients_of_its_own_step():
    net, inputs, loss = network()
    pair = [(loss, net.parameters, eddl.SGD(0.1))]
    one = eddl.Step(inputs, [loss], pair)
    other = eddl.Step(inputs, [loss], pair, state=one.state)
    one.add(DATA, TARGET)
    before = net.weights()
    with pytest.raises(StateError, match="received no gradients"):
        other.update()
    for name, array in net.weights().items():
        np.testing.assert_array_equal(array, before[name])
    assert one.update()


def test_gradients_that_are_one_value_or_are_returned_have_places_of_their_own():
    x = eddl.Input((5,))
    net = eddl.Model(x, layers.dense(x, 5) + layers.dense(x, 5))
    a, b = (p for p in net.parameters if p.type.rank == 1)
    loss = layers.reduce_mean(net.outputs[0], axes=None)
    (flow,) = eddl.gradients(loss, [a])
    step = eddl.Step([x], [loss, flow], [(loss, net.parameters, eddl.SGD(1.0))], poison=True)
    before = [p.storage.view().copy() for p in (a, b)]
    _, returned = step(DATA[:, :5])
    np.testing.assert_allclose(returned, 0.2, rtol=1e-6)
    for parameter, old in zip((a, b), before, strict=True):
        np.testing.assert_array_equal(parameter.storage.view(), old - returned)


def test_gradients_and_values_that_are_no_longer_needed_share_memory():
    x = eddl.Input((4, 64, 64))
    tensor = layers.relu(layers.conv(x, 32, 3))
    tensor = layers.relu(layers.conv(layers.max_pool(tensor, 8), 64, 3))
    net = eddl.Model(x, layers.dense(layers.dense(layers.flatten(tensor), 64), 3))
    net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
    report = net.memory_plan((4, 4, 64, 64))
    assert report.optimizer < 1024
    assert report.transient <= 1.05 * report.peak
    step = net.built().find([np.zeros(4, "int64")], training=True).step
    plan = step.program(Type("float32", (4, 4, 64, 64)), Type("int64", (4,))).plan
    assert not overlaps(plan)
    fixed = [buffer for buffer in plan.inside() if buffer.fixed]
    assert len(fixed) == len(net.parameters)
    assert sum(b.nbytes for b in fixed) == sum(p.type.nbytes for p in net.parameters)
    others = [b for b in plan.inside() if not b.fixed and b.nbytes]
    assert min(b.offset for b in others) < max(b.offset + b.nbytes for b in fixed)


def test_memory_is_put_aside_once_and_forgotten():
    slabs = Slabs(ArrayBackend(threads=1))
    slabs.reserve([256])
    left = Handover({}, 128)
    slabs.memory[0][:] = 7
    slabs.leave(left)
    slabs.reserve([512])
    assert slabs.here is None and slabs.holds(left)
    slabs.memory[0][:] = 0
    slabs.take(left)
    np.testing.assert_array_equal(slabs.memory[0][:128], 7)
    assert slabs.here is left and slabs.holds(left)
    slabs.forget(left)
    assert not slabs.holds(left)
    with pytest.raises(StateError, match="has not run"):
        slabs.take(left)
