"""Folding, preparing and adding in passing: what a program that only infers does less of."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import eddl
from eddl import devices
from eddl.compiler import Slabs, compile_graph
from eddl.graph import Graph, Input, Type
from eddl.layers import add, batch_norm, concat, conv, conv_transpose, dense, prelu, relu
from eddl.ops import apply


def network(x):
    """Every form that folds: with and without bias, transposed, of joined tensors, with a skip."""
    first = relu(batch_norm(conv(x, 8, 3)))
    second = batch_norm(conv_transpose(first, 8, 3, padding="same"))
    third = batch_norm(conv(concat([first, second]), 8, 3, use_bias=False))
    return conv(relu(third + first), 2, 1)


def built(device, seed=1):
    x = eddl.Input((3, 12, 10))
    net = eddl.Model(x, network(x), seed=seed)
    net.build(optimizer=eddl.SGD(0.05), loss="mean_squared_error", device=device)
    return net


def batch():
    r = np.random.default_rng(0)
    images = r.standard_normal((2, 3, 12, 10)).astype("float32")
    return images, r.standard_normal((2, 2, 12, 10)).astype("float32")


def node_by_node(net, images):
    """The stored graph without any pass, in the evaluator."""
    backend = devices.backend("cpu:array")
    return backend.evaluate_graph(Graph(net.inputs, net.outputs), [images])[0]


def test_predictions_follow_the_weights(device):
    net = built(device)
    images, target = batch()
    for _ in range(3):
        np.testing.assert_allclose(net.predict(images), node_by_node(net, images), atol=2e-5)
        net.train_batch(images, target)
    other = built(device, seed=2)
    net.set_weights(other.weights())
    np.testing.assert_allclose(net.predict(images), other.predict(images), atol=1e-6)


def test_what_depends_on_states_alone_is_computed_once(device, monkeypatch):
    net = built(device)
    images, target = batch()
    net.predict(images)
    backend = devices.backend(device)
    runs = []
    plain = type(backend).run
    monkeypatch.setattr(type(backend), "run", lambda self, calls: (runs.append(len(calls)),
                                                                   plain(self, calls)))  # fmt: skip
    net.predict(images)
    assert len(runs) == 1
    net.train_batch(images, target)
    runs.clear()
    net.predict(images)
    assert len(runs) > 1


def test_no_normalization_is_left(device):
    net = built(device)
    images, _ = batch()
    program = compiled(net, device, images)
    names = [node.op for call in program.plan.calls for node in call.nodes]
    assert "BatchNormalization" not in names
    if device == "cpu:onednn":
        assert "Concat" not in names
        assert ("Conv", "Add") in {tuple(n.op for n in call.nodes)[:2]
                                   for call in program.plan.calls}  # fmt: skip
    assert program.plan.kept > 0
    np.testing.assert_allclose(program.run([images])[0], node_by_node(net, images), atol=2e-5)


def compiled(net, device, images):
    backend = devices.backend(device)
    return compile_graph(
        Graph(net.inputs, net.outputs), {net.inputs[0]: Type("float32", images.shape)}, backend,
        Slabs(backend), memory_of=lambda state: state.storage.view(), poison=True,
    )  # fmt: skip


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_what_stands_before_convolutions_and_behind_them_is_one_pass_with_them(device, rank):
    """Pre-activated units, and sums and slopes behind convolutions."""
    x = eddl.Input((3, *(6, 7, 8)[:rank]))
    start = conv(x, 8, 3)
    unit = conv(relu(batch_norm(start)), 8, 3, use_bias=False)
    unit = prelu(add([conv(prelu(batch_norm(unit)), 8, 3), start]))
    net = eddl.Model(x, conv_transpose(batch_norm(unit), 2, 2, strides=2), seed=3)
    r = np.random.default_rng(0)
    net.set_weights({name: a + 0.5 * r.random(a.shape, np.float32)
                     for name, a in net.weights().items()})  # fmt: skip
    images = r.standard_normal((2, *x.shape[1:])).astype("float32")
    program = compiled(net, device, images)
    if device == "cpu:onednn":
        names = {"+".join(n.op for n in call.nodes) for call in program.plan.calls}
        assert {"Conv+Relu", "Conv+PRelu", "Conv+Add+PRelu"} <= names
        assert not names & {"BatchNormalization", "Relu", "PRelu", "Add", "Sum", "Fused"}
    expected = node_by_node(net, images)
    np.testing.assert_allclose(program.run([images])[0], expected, rtol=1e-5,
                               atol=1e-6 * np.abs(expected).max())  # fmt: skip
    images[0, 0] = np.nan
    assert np.isnan(program.run([images])[0][0]).all()


@pytest.mark.parametrize("shape", [(1,), (8, 1, 1), (1, 8, 1, 1), (1, 1, 5), (8, 4, 5)])
def test_slopes_of_any_shape_follow_a_convolution(device, shape):
    x = Input(Type("float32", (2, 3, 4, 5)))
    r = np.random.default_rng(0)
    w, slope = (r.standard_normal(s).astype("float32") for s in ((8, 3, 1, 1), shape))
    y = apply("PRelu", apply("Conv", x, w), slope)
    data = [r.standard_normal((2, 3, 4, 5)).astype("float32")]
    found = []
    for name in ("cpu:array", device):
        backend = devices.backend(name)
        program = compile_graph(Graph([x], [y]), {x: x.type}, backend, Slabs(backend),
                                memory_of=lambda s: None)  # fmt: skip
        found.append(program.run(data)[0])
    np.testing.assert_allclose(*found, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("shape", [(1, 9), (33, 9), (4, 5, 9), (1, 1, 9)])
def test_matrices_of_products_are_brought_into_the_kernels_order_once(device, shape):
    x = eddl.Input(shape[1:])
    hidden = relu(dense(relu(dense(x, 40)), 40))
    net = eddl.Model(x, dense(hidden, 3, use_bias=False))
    data = np.random.default_rng(0).standard_normal(shape).astype("float32")
    program = compiled(net, device, data)
    if device == "cpu:onednn":
        assert [len(call.nodes) for call in program.plan.calls if call.outputs] == [2, 2, 1]
        packed = 4 * (9 * 40 + 40 * 40 + 40 * 3)
        assert program.plan.kept >= packed
    np.testing.assert_allclose(program.run([data])[0], node_by_node(net, data), atol=1e-6)
    net.set_weights({name: -2 * array for name, array in net.weights().items()})
    np.testing.assert_allclose(net.predict(data), node_by_node(net, data), atol=1e-5)


@pytest.mark.parametrize("use_bias", [True, False])
def test_normalizations_of_products_are_folded(device, use_bias):
    x = eddl.Input((9,))
    hidden = batch_norm(dense(x, 20, use_bias=use_bias))
    net = eddl.Model(x, batch_norm(dense(relu(hidden), 20)))
    r = np.random.default_rng(0)
    net.set_weights({name: a + r.random(a.shape, np.float32) for name, a in net.weights().items()})
    data = r.standard_normal((33, 9)).astype("float32")
    program = compiled(net, device, data)
    assert all(n.op != "BatchNormalization" for c in program.plan.calls for n in c.nodes)
    np.testing.assert_allclose(
        program.run([data])[0], node_by_node(net, data), rtol=2e-5, atol=2e-5
    )


@pytest.mark.parametrize("samples", [1, 4000])
def test_the_callers_arrays_are_neither_kept_nor_changed(device, samples):
    """Small ones are copied, large ones are read where they are."""
    x = eddl.Input((9,))
    net = eddl.Model(x, [relu(x), x])
    data = np.random.default_rng(0).standard_normal((samples, 9)).astype("float32")
    before, held = data.copy(), sys.getrefcount(data)
    made, same = net.predict(data, batch_size=samples)
    np.testing.assert_array_equal(data, before)
    np.testing.assert_array_equal(made, np.maximum(before, 0))
    assert sys.getrefcount(data) == held and not np.shares_memory(same, data)
    np.testing.assert_array_equal(same, before)
    turned = np.asfortranarray(data)
    np.testing.assert_array_equal(net.predict(turned, batch_size=samples)[0], made)


def test_a_value_may_be_added_to_itself(device):
    x, w = (Input(Type("float32", s)) for s in ((1, 16, 5, 5), (16, 16, 3, 3)))
    made = apply("Conv", x, w, pads=(1, 1, 1, 1))
    r = np.random.default_rng(0)
    data = [r.standard_normal(v.type.sizes).astype("float32") for v in (x, w)]
    found = []
    for name in ("cpu:array", device):
        backend = devices.backend(name)
        for y in (made + made, apply("Relu", x + made), apply("Relu", made + x) + made):
            program = compile_graph(
                Graph([x, w], [y]), {v: v.type for v in (x, w)}, backend, Slabs(backend),
                memory_of=lambda s: None, poison=True,
            )  # fmt: skip
            found.append(program.run(data)[0])
    for ours, theirs in zip(found[:3], found[3:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-5)


def test_several_threads_may_ask_one_model(device):
    """They take turns: its programs share memory, which grows with the largest batch."""
    net = built(device)
    images, _ = batch()
    expected = net.predict(images)
    sizes = [1, 2, 2, 1, 2, 2, 1, 2]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: net.predict(images[:n]), sizes))
    for n, ours in zip(sizes, found, strict=True):
        np.testing.assert_allclose(ours, expected[:n], atol=2e-6)
