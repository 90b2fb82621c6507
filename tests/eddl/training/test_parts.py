"""The compiled parts of a step: which are kept, and which are one for all types."""

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.graph import Type
from eddl.training.parts import KEEP


def test_programs_of_many_shapes_share_memory_and_are_kept_least_recently_used():
    x = eddl.Input((1, None, None))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=4, depth=2))
    sizes = [(8 + 2 * i, 8) for i in range(12)]
    first = {s: net.predict(np.ones((1, 1, *s), "float32")) for s in sizes}
    for s in reversed(sizes):
        np.testing.assert_array_equal(net.predict(np.ones((1, 1, *s), "float32")), first[s])
    assert len(net._predict._compiled.kept) == KEEP
    kept = [signature[0][1][2:] for signature, _ in net._predict._compiled.kept]
    assert kept == sizes[KEEP - 1 :: -1]


@pytest.mark.parametrize("accumulate", [False, True])
def test_what_was_gathered_has_one_update_for_all_types(accumulate):
    x, y = eddl.Input((5,)), eddl.Input((3,))
    net = eddl.Model(x, layers.dense(x, 3))
    loss = eddl.losses.mean_squared_error(net.outputs[0], y)
    minimize = [(loss, net.parameters, eddl.SGD(0.1))]
    step = eddl.Step([x, y], [loss], minimize, accumulate=accumulate)
    updates = [
        step.programs(Type("float32", (samples, 5)), Type("float32", (samples, 3)))["update"]
        for samples in (2, 4)
    ]
    assert (updates[0] is updates[1]) == accumulate


def test_gradients_that_are_asked_for_have_parts_of_their_own_where_some_are_left_to_the_update():
    x = eddl.Input((300,))
    net = eddl.Model(x, layers.dense(x, 1000, use_bias=False))
    net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error", memory="low")
    data, target = np.ones((6, 300), "float32"), np.zeros((6, 1000), "float32")
    net.train_batch(data, target)
    step = net.built().find([target], training=True).step
    net.loss_and_gradients(data, target)
    (_, usual), (_, whole) = step._compiled.kept.items()
    assert usual.left.tails and usual.update
    assert not whole.left.tails and whole.update is None
    assert [name.endswith("every gradient made") for name in step.kernels] == [False, False, True]
