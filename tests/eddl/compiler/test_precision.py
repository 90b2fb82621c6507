"""Half precision: which operators compute in it, and that a training in it stays a training."""

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.compiler import differentiate, lower_precision, simplify, specialise, training_form
from eddl.devices import backend
from eddl.errors import EddlError, GradientError
from eddl.graph import Graph, State, Type
from eddl.training.store import flat_state

R = np.random.default_rng(0)
DATA = R.standard_normal((4, 1, 16, 16)).astype("float32")
LABELS = (DATA[:, 0] + 0.3 * R.standard_normal((4, 16, 16)) > 0).astype("int64")


def network(seed=0):
    x = eddl.Input((1, 16, 16))
    y = eddl.zoo.unet(x, classes=6, filters=4, depth=3)
    y = layers.dropout(layers.relu(y), 0.2, name="drop")
    return eddl.Model(x, layers.conv(y, 2, 1, name="head"), seed=seed)


def built(net=None, precision="float16", **options):
    net = net or network()
    net.build(**{"optimizer": eddl.Adam(0.01), "loss": "dice_cross_entropy",
                 "precision": precision, "device": "cpu:array", **options})  # fmt: skip
    return net


def lowered(net):
    """The gradients of a network's step in half precision."""
    target = eddl.Input((16, 16), dtype="int64", name="target")
    loss = eddl.losses.dice_cross_entropy(net.logits, target)
    graph = Graph([*net.inputs, target], [loss, *eddl.gradients(loss, net.parameters)])
    graph = training_form(graph, flat_state(np.zeros((), np.int64), "step"))
    types = {graph.inputs[0]: Type("float32", DATA.shape), target: Type("int64", LABELS.shape)}
    static, _ = specialise(graph, types, backend("cpu:array").evaluate)
    whole = simplify(differentiate(static))
    return simplify(lower_precision(whole, np.dtype("float16"), backend("cpu:array")))


def test_products_are_halved_and_what_needs_float32_keeps_it():
    graph = lowered(network())
    found = {}
    for node in graph.nodes:
        kinds = found.setdefault(node.op, set())
        kinds |= {v.dtype.name for v in (*node.inputs[:2], node.outputs[0])
                  if v is not None and v.dtype.kind == "f"}  # fmt: skip
    for op in ("Conv", "ConvWeightGrad", "ConvTranspose", "MaxPool", "MaxPoolGrad", "Concat"):
        assert found[op] == {"float16"}, op
    for op in (
        "BatchNormalization",
        "BatchNormalizationGrad",
        "LogSoftmax",
        "ReduceSum",
        "Average",
    ):
        assert found.get(op, {"float32"}) == {"float32"}, op
    assert all(v.dtype == np.float32 for v in graph.outputs)
    assert all(v.dtype == np.float32 for v in graph.updates.values() if v.dtype.kind == "f")
    assert all(v.dtype == np.float32 for v in graph.leaves
               if isinstance(v, State) and v.trainable)  # fmt: skip


def test_it_learns_as_float32_does():
    half, full = built(), built(precision="float32")
    for _ in range(12):
        losses = [net.train_batch(DATA, LABELS)["loss"] for net in (half, full)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[1] < 0.9 * built(precision="float32").evaluate(DATA, LABELS)["loss"]
    assert all(a.dtype == np.float32 for a in half.weights().values())


def test_gradients_are_those_of_float32_to_a_half():
    half, full = built(), built(precision="float32")
    _, first = half.loss_and_gradients(DATA, LABELS)
    _, second = full.loss_and_gradients(DATA, LABELS)
    one, other = (np.concatenate([g.ravel() for g in found.values()]) for found in (first, second))
    assert np.linalg.norm(one - other) < 0.05 * np.linalg.norm(other)


def test_the_scale_keeps_gradients_that_a_half_would_lose():
    def small(prediction, target):
        return eddl.losses.mean_squared_error(prediction, target) * 1e-6

    x = eddl.Input((8,))
    data, target = R.standard_normal((4, 8)), R.standard_normal((4, 2))

    def gradients(precision):
        net = eddl.Model(x, layers.dense(x, 2, name="d"))
        return built(net, precision, loss=small).loss_and_gradients(data, target)[1]["d.weight"]

    np.testing.assert_allclose(gradients("float16"), gradients("float32"), rtol=0.02, atol=1e-12)


def test_the_scale_falls_where_gradients_overflow_and_rises_after_a_while(monkeypatch):
    monkeypatch.setattr("eddl.training.updates.PATIENCE", 3)

    def steep(prediction, target):
        return eddl.losses.mean_squared_error(prediction, target) * 300.0

    x = eddl.Input((4,))
    net = built(eddl.Model(x, layers.dense(x, 2)), loss=steep, optimizer=eddl.SGD(1e-6))
    scale, before = net.built().state, net.weights()
    data, target = np.ones((2, 4), "float32"), np.full((2, 2), -9.0, "float32")
    seen = []
    for _ in range(20):
        net.train_batch(data, target)
        seen.append((float(scale.scale.scale), net.skipped_steps))
        if net.skipped_steps == len(seen):  # no step was finite yet, and nothing is said of it
            for name, array in net.weights().items():
                np.testing.assert_array_equal(array, before[name])
    scales = [value for value, _ in seen]
    first = next(i for i, (_, skipped) in enumerate(seen) if skipped <= i)
    assert first > 2 and scales[first - 1] == 2.0 ** (16 - first)
    assert scales[first + 2] == 2 * scales[first - 1]
    assert any(a != before[n].all() for n, a in ((n, w.all()) for n, w in net.weights().items()))


def test_a_loss_that_is_not_finite_is_still_named():
    poison = np.full_like(DATA, np.nan)
    net = built()
    with pytest.warns(RuntimeWarning, match="step 1"):
        net.train_batch(poison, LABELS)
    with pytest.raises(GradientError):
        built(nonfinite="raise").train_batch(poison, LABELS)


def test_with_micro_batches_averages_and_a_checkpoint_it_resumes_bit_for_bit(tmp_path):
    options = {"accumulate": 2, "ema": 0.9, "clip_norm": 1.0}
    whole, parts, resumed = (built(**options) for _ in range(3))
    path = tmp_path / "c.ckpt"
    history = whole.fit(DATA, LABELS, epochs=4, batch_size=1)
    parts.fit(DATA, LABELS, epochs=2, batch_size=1, checkpoint=path)
    found = resumed.fit(DATA, LABELS, epochs=4, batch_size=1, checkpoint=path, resume=True)
    assert found == history
    for name, array in whole.all_weights().items():
        np.testing.assert_array_equal(resumed.all_weights()[name], array)
    scales = [net.built().state.scale for net in (whole, resumed)]
    assert scales[0].scale == scales[1].scale and scales[0].calm == scales[1].calm


def test_what_no_backend_computes_is_refused():
    with pytest.raises(EddlError, match=r"bfloat16.*NumPy"):
        built(precision="bfloat16")
    with pytest.raises(EddlError, match="'float8'"):
        built(precision="float8")


def test_an_epoch_in_which_the_scale_is_still_looked_for_is_no_error():
    def steep(prediction, target):
        return eddl.losses.mean_squared_error(prediction, target) * 300.0

    x = eddl.Input((4,))
    net = built(eddl.Model(x, layers.dense(x, 2)), loss=steep, optimizer=eddl.SGD(1e-6))
    history = net.fit(np.ones((2, 4)), np.full((2, 2), -9.0), epochs=16, batch_size=2)
    assert len(history["loss"]) == 16
    assert np.isnan(history["loss"][0]) and np.isfinite(history["loss"][-1])
