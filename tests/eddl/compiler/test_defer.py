"""Gradients larger than their operands are made where they are read, with the same bits."""

import itertools

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.compiler import bound
from eddl.errors import MemoryLimitError
from eddl.graph import State, Type

from .graphs import overlaps

R = np.random.default_rng(0)
DATA = R.standard_normal((6, 64, 4, 4)).astype("float32")
LABELS = np.arange(6) % 3


def network():
    """Convolutions of few positions, one of them transposed, and dense layers."""
    x = eddl.Input((64, 4, 4), name="x")
    y = layers.relu(layers.batch_norm(layers.conv(x, 56, 5)))
    y = layers.relu(layers.conv_transpose(y, 56, 5))
    y = layers.conv(y, 96, 3, use_bias=False)
    y = layers.relu(layers.dense(layers.flatten(y), 200))
    return eddl.Model(x, layers.dense(y, 3), seed=5)


def built(device, **options):
    net = network()
    net.build(**{"optimizer": eddl.Adam(1e-3), "loss": "categorical_cross_entropy",
                 "device": device, "memory": "low", **options})  # fmt: skip
    return net


def trained(device, **options):
    net = built(device, **options)
    losses = [net.train_batch(*batch)["loss"]
              for batch in ((DATA, LABELS), (DATA[:4], LABELS[:4]), (DATA, LABELS))]  # fmt: skip
    return net, losses


def parts(net):
    (one,) = net.built()._passes.values()
    return [found for (_, whole), found in one.step._compiled.kept.items() if not whole]


def deferred(net):
    return [len(found.left.tails if found.left else ()) for found in parts(net)]


@pytest.mark.parametrize("options", [
    *({"optimizer": optimizer()} for optimizer in eddl.optimizers.NAMED.values()),
    {"ema": 0.9}, {"clip_value": 0.01},
    {"rates": {"dense": 0.5}}, {"constraints": {"dense.weight": "unit_norm"}},
    {"regularizers": {"conv.weight": eddl.constraints.L2(0.1)}}, {"memory": "10 MB"},
])  # fmt: skip
def test_the_bits_are_those_of_gradients_made_at_once(device, options, monkeypatch):
    found, losses = trained(device, **options)
    assert all(count >= 3 for count in deferred(found))
    monkeypatch.setattr(bound, "FEWEST", 1 << 60)
    whole = {key: value for key, value in options.items() if key != "memory"}
    expected, same = trained(device, **whole)
    assert not any(deferred(expected)) and losses == same
    for name, array in expected.weights().items():
        np.testing.assert_array_equal(found.weights()[name], array, err_msg=name)


@pytest.mark.parametrize("options", [{"clip_norm": 1.0}, {"accumulate": 2}])
def test_gradients_that_are_wanted_together_are_made(device, options):
    assert not any(deferred(trained(device, **options)[0]))


def test_no_two_of_them_take_memory_at_once(device):
    net, _ = trained(device)
    for found in parts(net):
        plan = found.update.plan
        made = [b for v, b in plan.buffers.items() if isinstance(v, State) and b.outside is None
                and v not in plan.found]  # fmt: skip
        lives = sorted((b.birth, b.death) for b in made)
        assert len(lives) >= 3 and len(lives) == len(found.left.tails)
        assert all(one[1] < next[0] for one, next in itertools.pairwise(lives))
        operands = sum(v.type.nbytes for v in found.left.operands)
        assert 2 * operands <= sum(b.nbytes for b in made)
        assert not overlaps(plan) and not overlaps(found.gradients.plan)


def test_what_was_freed_is_not_read(device):
    """Every buffer is spoiled when its life ends."""
    steps = []
    for poison in (True, False):
        net, target = network(), eddl.Input((), dtype="int64")
        loss = eddl.losses.categorical_cross_entropy(net.outputs[0], target)
        step = eddl.Step([*net.inputs, target], [loss], [(loss, net.parameters, eddl.Adam(1e-3))],
                         device=device, memory="low", poison=poison)  # fmt: skip
        steps.append([step(DATA, LABELS)[0] for _ in range(3)])
    assert steps[0] == steps[1]


def test_gradients_that_are_asked_for_are_whole_and_change_nothing(device):
    net, other = built(device), built(device)
    _, asked = net.loss_and_gradients(DATA, LABELS)
    net.train_batch(DATA, LABELS)
    before = net.weights()
    _, again = net.loss_and_gradients(DATA, LABELS)
    other.train_batch(DATA, LABELS)
    for name, array in other.weights().items():
        np.testing.assert_array_equal(net.weights()[name], array)
        np.testing.assert_array_equal(before[name], array)
    sgd = built(device, optimizer=eddl.SGD(1.0))
    start = sgd.weights()
    sgd.train_batch(DATA, LABELS)
    for name, gradient in asked.items():
        moved = start[name] - sgd.weights()[name]
        np.testing.assert_allclose(moved, gradient, rtol=1e-4, atol=1e-6)
        assert again[name].shape == gradient.shape


def test_a_program_in_between_leaves_the_operands(device):
    """The slabs are written by a prediction, which grows them, before the update reads."""
    (net, _), whole = trained(device), trained(device)[0]
    step = net.built().find([LABELS], training=True).step
    step.add(DATA, LABELS)
    net.predict(np.ones((64, 64, 4, 4), "float32"), batch_size=64)
    assert step.update()
    whole.train_batch(DATA, LABELS)
    for name, array in whole.weights().items():
        np.testing.assert_array_equal(net.weights()[name], array)


def test_a_budget_counts_the_update(device):
    least = built(device).memory_plan((6, 64, 4, 4))
    for share in (0.5, 0.9, 1.0, 1.2):
        net = built(device, memory=int(share * least.total))
        try:
            net.train_batch(DATA, LABELS)
        except MemoryLimitError:
            assert share < 1
        else:
            assert net.memory_plan((6, 64, 4, 4)).total <= share * least.total


def test_what_is_small_beside_all_else_is_kept_in_fast_mode(device):
    net, _ = trained(device, memory="fast")
    assert not any(deferred(net))
    types = Type("float32", (6, 64, 4, 4)), Type("int64", (6,))
    step = net.built().find([LABELS], training=True).step
    assert step.programs(*types)["training"] is parts(net)[-1].gradients
