"""Less memory for more time, and never another bit: on random graphs, and on whole trainings."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eddl
from eddl import layers
from eddl.backends.array import ArrayBackend
from eddl.compiler import Slabs, compile_graph
from eddl.errors import MemoryLimitError
from eddl.graph import Graph
from eddl.ops import apply

from .graphs import overlaps, random_graph

BACKEND = ArrayBackend(threads=1)
R = np.random.default_rng(5)
IMAGES = R.standard_normal((4, 2, 16, 16)).astype("float32")
LABELS = (IMAGES[:, 0] > 0).astype("int64")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(4, 30), st.floats(0.0, 1.0))
def test_any_graph_gives_the_same_bits_in_any_budget(seed, length, share):
    x, values = random_graph(seed, length)
    outputs = [values[-1], *eddl.gradients(apply("ReduceSum", values[-1], keepdims=0), [x])]

    def compiled(memory):
        return compile_graph(
            Graph([x], outputs), {x: x.type}, BACKEND, Slabs(BACKEND), memory_of=lambda s: None,
            memory=memory, poison=True,
        )  # fmt: skip

    data = R.standard_normal((4, 6)) * 0.3
    fast, low = compiled("fast"), compiled("low")
    expected = fast.run([data])
    programs = [low]
    budget = int(share * fast.plan.transient)
    with contextlib.suppress(MemoryLimitError):
        programs.append(compiled(budget))
    assert all(program.plan.transient <= budget for program in programs[1:])
    assert low.plan.peak <= fast.plan.peak
    for program in programs:
        assert not overlaps(program.plan)
        for found, wanted in zip(program.run([data]), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def unet(x):
    y = layers.relu(layers.batch_norm(layers.conv(x, 6, 3)))
    y = layers.dropout(y, 0.3, name="first")
    return eddl.zoo.unet(layers.dropout(y, 0.2, name="second"), classes=2, filters=4, depth=3)


def recurrent(x):
    steps = layers.reshape(x, (8, 64))
    steps = layers.dropout(layers.lstm(steps, 8, return_sequences=True), 0.2, name="between")
    flat = layers.dense(layers.gru(steps, 6), 2 * 16 * 16)
    return layers.reshape(flat, (2, 16, 16))


def residual(x):
    y = layers.conv(x, 8, 3)
    for name in ("a", "b", "c"):
        z = layers.conv(layers.relu(layers.batch_norm(y)), 8, 3, strides=1)
        y = y + layers.dropout(layers.conv(layers.relu(layers.batch_norm(z)), 8, 1), 0.1, name=name)
    twice = eddl.Model(*(lambda i: (i, layers.tanh(layers.batch_norm(i))))(eddl.Input((8, 16, 16))))
    return layers.conv(twice(layers.max_pool(twice(y), 3, strides=1, padding="same")), 2, 1)


NETWORKS = {"unet": unet, "recurrent": recurrent, "residual": residual}


def trained(network, memory, *, poison=False, **options):
    """Losses and states after some steps."""
    x = eddl.Input((2, 16, 16))
    net = eddl.Model(x, NETWORKS[network](x), seed=3)
    net.build(optimizer=eddl.Adam(1e-2), loss="categorical_cross_entropy", metrics=["accuracy"],
              memory=memory, ema=0.9, **options)  # fmt: skip
    step = net.built().find([LABELS], training=True).step
    step._compiled.poison = poison
    found = [net.train_batch(IMAGES, LABELS) for _ in range(3)]
    return net, found


def budget_of(network, share, **options):
    """A budget between the least of `low` and what `fast` takes."""
    sizes = []
    for memory in ("low", "fast"):
        x = eddl.Input((2, 16, 16))
        net = eddl.Model(x, NETWORKS[network](x), seed=3)
        net.build(optimizer=eddl.Adam(1e-2), loss="categorical_cross_entropy", memory=memory,
                  metrics=["accuracy"], ema=0.9, **options)  # fmt: skip
        batch = 4 // options.get("accumulate", 1)
        sizes.append(net.memory_plan((batch, 2, 16, 16)).total)
    return int(sizes[0] + share * (sizes[1] - sizes[0]))


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"device": "cpu:array"}], ids=str)
@pytest.mark.parametrize("network", NETWORKS)
def test_training_is_the_same_to_the_bit(network, options):
    whole, expected = trained(network, "fast", **options)
    for memory in ("low", budget_of(network, 0.5, **options)):
        net, found = trained(network, memory, poison=True, **options)
        assert found == expected
        assert np.isfinite([row["loss"] for row in found]).all()
        for name, array in whole.all_weights().items():
            np.testing.assert_array_equal(net.all_weights()[name], array, err_msg=name)
        assert net.skipped_steps == 0


def test_something_is_computed_again_and_less_memory_used():
    reports = {}
    for memory in ("fast", "low"):
        x = eddl.Input((2, 16, 16))
        net = eddl.Model(x, unet(x))
        net.build(optimizer=eddl.Adam(1e-2), loss="dice_cross_entropy", memory=memory)
        reports[memory] = net.memory_plan((4, 2, 16, 16))
    assert reports["fast"].again == 0
    assert "computed again" not in str(reports["fast"])
    assert 0 < reports["low"].again < 0.3
    assert "computed again" in str(reports["low"])
    assert reports["low"].transient < 0.6 * reports["fast"].transient


def test_two_updates_of_an_adversarial_pair_are_the_same():
    found = []
    for memory in ("fast", "low"):
        noise, real = eddl.Input((8, 1, 1)), eddl.Input((1, 16, 16))
        generator = eddl.Model(noise, eddl.zoo.dcgan_generator(noise, 1, size=16, filters=8))
        critic = eddl.Model(real, eddl.zoo.dcgan_discriminator(real, filters=8))
        fake = generator(noise)
        says = [layers.reduce_mean(critic(value) * critic(value), axes=None)
                for value in (real, fake)]  # fmt: skip
        blame, praise = says[0] - says[1] * 0.1, says[1]
        learn = eddl.Step([noise, real], [blame], [(blame, critic.parameters, eddl.Adam(1e-3))],
                          memory=memory, poison=True)  # fmt: skip
        fool = eddl.Step([noise], [praise], [(praise, generator.parameters, eddl.Adam(1e-3))],
                         memory=memory, poison=True)  # fmt: skip
        r = np.random.default_rng(0)
        said = []
        for _ in range(3):
            z, truth = r.standard_normal((4, 8, 1, 1)), r.standard_normal((4, 1, 16, 16))
            said += [learn(z, truth)[0], fool(z)[0]]
        found.append((said, [*generator.weights().values(), *critic.weights().values()]))
    for one, other in zip(*map(lambda pair: [*pair[0], *pair[1]], found), strict=True):
        np.testing.assert_array_equal(one, other)


def test_second_derivatives_are_the_same():
    x = eddl.Input((6,))
    y = layers.tanh(layers.dense(layers.tanh(layers.dense(x, 32)), 32))
    net = eddl.Model(x, y)
    slope = eddl.gradients(layers.reduce_sum(net.outputs[0], axes=None), [x])[0]
    loss = layers.reduce_mean(slope * slope, axes=None)
    data = R.standard_normal((64, 6)).astype("float32")
    found = []
    for memory in ("fast", "low"):
        step = eddl.Step([x], [loss], [(loss, net.parameters, eddl.SGD(0.1))], memory=memory,
                         poison=True)  # fmt: skip
        found.append(step.gradients(data))
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_smaller_the_budget_the_less_is_planned_and_the_more_done_again():
    x = eddl.Input((2, 32, 32))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=8))

    def plan(memory):
        net.build(optimizer=eddl.Adam(1e-2), loss="categorical_cross_entropy", memory=memory)
        return net.memory_plan((4, 2, 32, 32))

    fast = plan("fast")
    fixed = fast.states + fast.optimizer
    totals, shares = [fast.total], [0.0]
    for part in (1.0, 0.9, 0.75, 0.6, 0.5, 0.45):
        budget = int(fixed + part * fast.transient)
        report = plan(budget)
        assert report.total <= budget
        totals.append(report.total)
        shares.append(report.again)
    assert shares[1] == 0  # where all fits, nothing is done again
    assert totals == sorted(totals, reverse=True)
    assert shares == sorted(shares)


def test_a_budget_that_cannot_be_met_says_the_least_that_can():
    x = eddl.Input((2, 16, 16))
    net = eddl.Model(x, unet(x))

    def build(memory):
        net.build(optimizer=eddl.Adam(1e-2), loss="categorical_cross_entropy", memory=memory)

    build(1000)
    before = net.weights()
    with pytest.raises(MemoryLimitError, match=r"memory=1,000 bytes.*at least ([\d,]+)") as caught:
        net.train_batch(IMAGES, LABELS)
    for name, array in net.weights().items():
        np.testing.assert_array_equal(array, before[name])
    least = int(str(caught.value).split("at least ")[1].split(":")[0].replace(",", ""))
    build(least)
    assert net.memory_plan(IMAGES.shape).total <= least
    assert np.isfinite(net.train_batch(IMAGES, LABELS)["loss"])


def test_a_training_goes_on_in_another_memory_mode(tmp_path):
    def made(memory):
        x = eddl.Input((2, 16, 16))
        net = eddl.Model(x, unet(x), seed=1)
        net.build(optimizer=eddl.Adam(1e-2), loss="categorical_cross_entropy", memory=memory)
        return net

    options = {"batch_size": 2, "seed": 4}
    whole = made("fast")
    expected = whole.fit(IMAGES, LABELS, epochs=3, **options)
    path = tmp_path / "state.safetensors"
    for number, memory in enumerate(("low", "fast", "low"), 1):
        net = made(memory)
        history = net.fit(IMAGES, LABELS, epochs=number, checkpoint=path, resume=True, **options)
    assert history == expected
    for name, array in whole.weights().items():
        np.testing.assert_array_equal(array, net.weights()[name])
