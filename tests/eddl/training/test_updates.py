"""Between gradients and new parameters: micro-batches, clipping, averages, rates, regularizers."""

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.errors import EddlError
from eddl.training.feed import ArrayBatches

R = np.random.default_rng(0)
DATA = R.standard_normal((12, 5)).astype("float32")
LABELS = R.integers(0, 3, 12)


def network(seed=0, ratio=None):
    x = eddl.Input((5,))
    y = layers.dense(x, 7, name="first")
    if ratio:
        y = layers.dropout(y, ratio, name="drop")
    return eddl.Model(x, layers.dense(layers.tanh(y), 3, name="second"), seed=seed)


def built(optimizer=None, loss="categorical_cross_entropy", ratio=None, **options):
    net = network(ratio=ratio)
    net.build(optimizer=optimizer or eddl.SGD(0.5), loss=loss, **options)
    return net


def dice_like(prediction, target):
    """A ratio of sums, which no mean over micro-batches gives."""
    from eddl.losses import dice

    return dice(prediction, target)


def moved(net, *batch):
    """What a step with rate 0.5 subtracts, by name."""
    before = net.weights()
    net.train_batch(*(batch or (DATA, LABELS)))
    return {name: before[name] - array for name, array in net.weights().items()}


def norm(arrays):
    return np.sqrt(sum((a.astype("float64") ** 2).sum() for a in arrays))


def test_unequal_micro_batches_give_the_step_of_the_whole_batch():
    whole, parts = built(), built(accumulate=5)  # 12 samples in parts of 2, 2, 3, 2, 3
    for _ in range(3):
        first, second = (net.train_batch(DATA, LABELS)["loss"] for net in (whole, parts))
        assert first == pytest.approx(second, rel=1e-6)
    for name, array in whole.weights().items():
        np.testing.assert_allclose(parts.weights()[name], array, rtol=2e-5, atol=1e-6)


def test_ignored_labels_weigh_nothing_however_they_fall_into_micro_batches():
    from functools import partial

    loss = partial(eddl.losses.categorical_cross_entropy, ignore_label=9)
    labels = np.where(np.arange(12) < 7, 9, LABELS)  # two micro-batches of four have none at all
    whole, parts = built(loss=loss), built(loss=loss, accumulate=3)
    whole.train_batch(DATA, labels)
    parts.train_batch(DATA, labels)
    for name, array in whole.weights().items():
        np.testing.assert_allclose(parts.weights()[name], array, rtol=2e-5, atol=1e-6)


def test_other_losses_are_weighed_by_their_samples():
    parts, single = built(loss=dice_like, accumulate=2), built(loss=dice_like)
    slices = [slice(0, 6), slice(6, 12)]
    gradients = [single.loss_and_gradients(DATA[s], LABELS[s])[1] for s in slices]
    for name, change in moved(parts).items():
        expected = 0.5 * np.mean([g[name] for g in gradients], axis=0)
        np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-6)


def test_fit_gathers_batches_and_the_rest_at_the_end_of_an_epoch():
    whole, parts = built(), built(accumulate=2)
    batches = [(DATA[s], LABELS[s]) for s in (slice(0, 4), slice(4, 8), slice(8, 12))]
    parts.fit(batches, epochs=2)
    for _ in range(2):
        whole.train_batch(DATA[:8], LABELS[:8])
        whole.train_batch(DATA[8:], LABELS[8:])
    assert int(parts.built().state.groups[0].count) == 4
    for name, array in whole.weights().items():
        np.testing.assert_allclose(parts.weights()[name], array, rtol=2e-5, atol=1e-6)


def test_each_micro_batch_draws_its_own_mask():
    x = eddl.Input((4000,))
    y = layers.dropout(x, 0.5, name="drop")
    model = eddl.Model(x, layers.dense(x, 1))
    loss = eddl.losses.mean_squared_error(model.outputs[0], layers.constant(np.zeros((1, 1))))
    step = eddl.Step([x], [y], [(loss, model.parameters, eddl.SGD(1e-9))], accumulate=True)
    ones = np.ones((1, 4000), "float32")
    first, second = step.add(ones)[0], step.add(ones)[0]
    assert (first != second).any()
    step.discard()
    np.testing.assert_array_equal(step.add(ones)[0], first)
    step.update()
    third = step.add(ones)[0]
    assert (third != first).any() and (third != second).any()


def test_running_statistics_pass_through_every_micro_batch_and_a_failed_one_leaves_no_trace():
    x = eddl.Input((2,))
    net = eddl.Model(x, layers.dense(layers.batch_norm(x, momentum=0.5, name="norm"), 1))
    net.build(optimizer=eddl.SGD(1e-9), loss="mean_squared_error", accumulate=2)
    data = np.repeat(np.array([4.0, 8.0], "float32"), 3)[:, None] * np.ones((1, 2), "float32")
    step = net.built().find([np.zeros((6, 1))], training=True).step
    step.add(100 * data, np.zeros((6, 1)))
    with pytest.raises(EddlError, match="shape"):
        step.add(data[:, :1], np.zeros((6, 1)))
    net.train_batch(data, np.zeros((6, 1)))
    np.testing.assert_allclose(net.weights()["norm.mean"], [5.0, 5.0])  # (0 + 4) / 2, (2 + 8) / 2


@pytest.mark.parametrize("accumulate", [1, 3])
def test_gradients_are_clipped_together_by_their_norm(accumulate):
    free = moved(built(accumulate=accumulate))
    size = norm(free.values()) / 0.5
    limit = float(0.25 * size)
    bound = moved(built(clip_norm=limit, accumulate=accumulate))
    assert norm(bound.values()) / 0.5 == pytest.approx(limit, rel=1e-5)
    for name, change in free.items():
        np.testing.assert_allclose(bound[name], 0.25 * change, rtol=1e-3, atol=1e-7)
    loose = moved(built(clip_norm=float(10 * size), accumulate=accumulate))
    for name, change in free.items():
        np.testing.assert_allclose(loose[name], change, rtol=1e-5, atol=1e-7)


def test_elements_are_clipped_by_value_before_the_norm():
    gradients = built().loss_and_gradients(DATA, LABELS)[1]
    both = moved(built(clip_value=0.01, clip_norm=0.02))
    clipped = {name: np.clip(g, -0.01, 0.01) for name, g in gradients.items()}
    scale = min(1.0, 0.02 / norm(clipped.values()))
    for name, change in both.items():
        np.testing.assert_allclose(change, 0.5 * scale * clipped[name], rtol=1e-3, atol=2e-7)


def test_rates_by_name_and_frozen_at_zero():
    free = moved(built())
    slow = moved(built(rates={"first": 0.125, "first.bias": 0.0}))
    for name, change in free.items():
        factor = {"first.weight": 0.125, "first.bias": 0.0}.get(name, 1.0)
        np.testing.assert_allclose(slow[name], factor * change, rtol=1e-4, atol=1e-7)


def test_neighbours_with_nothing_to_tell_them_apart_stay_one_vector():
    units = lambda net: [u.shape for u in net.built().state.groups[0].units]  # noqa: E731
    assert len(units(built())) == 1
    assert len(units(built(rates={"first": 0.1}))) == 2
    assert units(built(constraints={"first.weight": lambda w: w}))[0] == (7, 5)


def test_regularizers_join_what_is_minimised_and_not_what_is_reported():
    plain, regular = built(), built(regularizers={"second.weight": eddl.constraints.L2(0.5)})
    weight = plain.weights()["second.weight"]
    assert regular.evaluate(DATA, LABELS)["loss"] == plain.evaluate(DATA, LABELS)["loss"]
    free, pulled = moved(plain), moved(regular)
    for name, change in free.items():
        extra = 0.5 * weight if name == "second.weight" else 0.0
        np.testing.assert_allclose(pulled[name], change + extra, rtol=1e-4, atol=1e-6)


def test_constraints_hold_after_every_step():
    chosen = {"first": "unit_norm", "first.bias": eddl.constraints.NonNegative()}
    net = built(optimizer=eddl.Adam(0.1), constraints=chosen)
    for _ in range(3):
        net.train_batch(DATA, LABELS)
        weights = net.weights()
        rows = np.linalg.norm(weights["first.weight"], axis=1)
        np.testing.assert_allclose(rows, 1, rtol=1e-5)
        assert (weights["first.bias"] >= 0).all()


@pytest.mark.parametrize("name", eddl.optimizers.NAMED)
def test_every_optimizer_keeps_all_where_a_step_is_not_finite_and_resumes(name, tmp_path):
    optimizer = eddl.optimizers.NAMED[name]
    options = {"batch_size": 4, "checkpoint": tmp_path / "c.ckpt"}
    whole, parts, resumed = (built(optimizer=optimizer()) for _ in range(3))
    history = whole.fit(DATA, LABELS, epochs=3, batch_size=4)
    parts.fit(DATA, LABELS, epochs=1, **options)
    poison = np.full_like(DATA, np.inf)
    with pytest.warns(RuntimeWarning, match="step 4"):
        parts.train_batch(poison, LABELS)
    assert resumed.fit(DATA, LABELS, epochs=3, resume=True, **options) == history
    for epoch in (1, 2):
        batches = ArrayBatches([DATA], [LABELS], 4, shuffle=True)
        batches.epoch = epoch
        for (data,), (labels,) in batches:
            parts.train_batch(data, labels)
    for net in (parts, resumed):
        for key, array in whole.weights().items():
            np.testing.assert_array_equal(net.weights()[key], array)
        for one, other in zip(*(n.built().state.groups[0].units for n in (whole, net)),
                              strict=True):  # fmt: skip
            for slot, array in one.slots.items():
                np.testing.assert_array_equal(other.slots[slot], array)


def test_averages_follow_their_formula_and_stand_in_on_request():
    x = eddl.Input((5,))
    net = eddl.Model(x, layers.dense(layers.batch_norm(x, name="norm"), 3))
    net.build(optimizer=eddl.Adam(0.1), loss="categorical_cross_entropy", ema=0.6)
    expected = {k: a.astype("float64") for k, a in net.weights().items()}
    for n in range(1, 9):
        net.train_batch(DATA, LABELS)
        decay = min(0.6, (1 + n) / (10 + n))
        for name, array in net.weights().items():
            expected[name] += (array - expected[name]) * (1 - decay)
    raw, plain = net.weights(), net.predict(DATA)
    with net.averaged():
        for name, array in net.weights().items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)
        smooth = net.predict(DATA)
        with pytest.raises(EddlError, match="averaged"):
            net.train_batch(DATA, LABELS)
        with net.averaged():  # nothing more
            np.testing.assert_array_equal(net.predict(DATA), smooth)
    assert np.abs(smooth - plain).max() > 1e-3
    for name, array in net.weights().items():
        np.testing.assert_array_equal(array, raw[name])


def test_averages_of_a_part_leave_the_rest_of_a_shared_network_alone():
    net = built()
    body = net.cut("first")
    body.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error", ema=0.9)
    net.train_batch(DATA, LABELS)
    before = net.weights()
    with body.averaged():
        np.testing.assert_array_equal(net.weights()["second.weight"], before["second.weight"])


def test_a_network_that_is_frozen_whole_still_counts_and_draws():
    net = built()
    net.freeze()
    before = net.weights()
    assert np.isfinite(net.train_batch(DATA, LABELS)["loss"])
    for name, array in net.weights().items():
        np.testing.assert_array_equal(array, before[name])
    assert int(net.built().state.groups[0].count) == 1


def test_two_optimizers_over_one_parameter_of_a_step_are_refused():
    x = eddl.Input((5,))
    net = network()
    loss = eddl.losses.mean_squared_error(net(x), layers.constant(np.ones((1, 3))))
    pair = [(loss, net.parameters, eddl.SGD(0.1)), (loss, net.parameters[:1], eddl.SGD(0.2))]
    with pytest.raises(EddlError, match="two steps"):
        eddl.Step([x], [loss], pair)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"clip_value": -1}, "clip_value"),
        ({"ema": 1.0}, "ema"),
        ({"accumulate": 0}, "accumulate"),
        ({"accumulate": 1.5}, "accumulate"),
        ({"nonfinite": "ignore"}, "skip"),
        ({"rates": {"nowhere": 0.1}}, "'nowhere'"),
        ({"rates": {"first": -1.0}}, "at least"),
    ],
)
def test_rules_that_cannot_be_are_refused_at_build(options, words):
    with pytest.raises(EddlError, match=words):
        built(**options)


def test_the_plan_counts_gradients_slots_averages_and_waiting_states():
    x = eddl.Input((64,))
    net = eddl.Model(x, layers.dense(layers.batch_norm(x), 16))

    def plan(optimizer, **options):
        net.build(optimizer=optimizer, loss="categorical_cross_entropy", **options)
        return net.memory_plan((2, 64))

    parameters = 4 * (64 * 16 + 16 + 2 * 64)
    statistics = 4 * 2 * 64
    plain = plan(eddl.SGD(0.1))
    assert plain.optimizer == pytest.approx(statistics, abs=256)
    assert parameters <= plain.transient
    rich = plan(eddl.Adam(0.1), ema=0.9)
    assert rich.optimizer == pytest.approx(3 * parameters + 2 * statistics, abs=512)
    gathered = plan(eddl.SGD(0.1), accumulate=2)
    assert gathered.optimizer == pytest.approx(parameters + statistics, abs=256)
