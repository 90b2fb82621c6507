"""Cutting, new heads, freezing, and what makes a graph less trainable."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import eddl
from eddl import layers
from eddl.errors import EddlError


def network():
    x = eddl.Input((2, 8, 8), name="image")
    y = layers.relu(layers.batch_norm(layers.conv(x, 4, 3, name="stem"), name="norm"))
    y = layers.dense(layers.flatten(layers.global_average_pool(y)), 5, name="head")
    return eddl.Model(x, y)


def batch():
    r = np.random.default_rng(0)
    return r.standard_normal((6, 2, 8, 8)).astype("float32"), r.integers(0, 3, 6)


def test_a_new_head_trains_on_a_frozen_body():
    base = network()
    net = base.replace_head("norm", lambda f: layers.dense(layers.flatten(f), 3, name="new"))
    net.freeze("stem", "norm")
    net.build(optimizer=eddl.Adam(1e-2), loss="categorical_cross_entropy")
    before = net.weights()
    history = net.fit(*batch(), epochs=20)
    assert history["loss"][-1] < history["loss"][0]
    changed = {n for n, a in net.weights().items() if (a != before[n]).any()}
    assert changed == {"new.weight", "new.bias"}  # not even the running statistics
    net.unfreeze()
    net.fit(*batch(), epochs=1)
    assert (net.weights()["norm.mean"] != before["norm.mean"]).any()
    np.testing.assert_array_equal(base.weights()["stem.weight"], net.weights()["stem.weight"])


def test_cut_gives_the_features():
    net = network()
    features = net.cut("norm")
    data, _ = batch()
    assert features.predict(data).shape == (6, 4, 8, 8)
    assert features.states == net.states[: len(features.states)]


@pytest.mark.parametrize(
    "act",
    [lambda n: n.cut("nowhere"), lambda n: n.freeze("nowhere"), lambda n: n.plot("net.png")],
)
def test_names_that_are_not_there_are_answered_with_those_that_are(act):
    with pytest.raises(EddlError, match="expected"):
        act(network())


def exported(batch=2, constant=True):
    """As exporters leave a network: fixed batch, weights as constants, biases everywhere."""
    nodes, initializers, last = [], [], "x"
    for i in range(4):
        weight = numpy_helper.from_array(np.full((3, 3, 1, 1), 0.1, "float32"), f"w{i}")
        if constant:
            nodes.append(helper.make_node("Constant", [], [f"w{i}"], value=weight))
        else:
            initializers.append(weight)
        initializers.append(numpy_helper.from_array(np.zeros(3, "float32"), f"b{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}", f"b{i}"], [f"y{i}"], name=f"c{i}"))
        last = f"y{i}"
    graph = helper.make_graph(
        nodes, "exported",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 4, 4])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)], initializers,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return eddl.load(model.SerializeToString())


def test_what_hinders_training_is_found_and_repaired():
    net = exported()
    kinds = {f.kind: f for f in net.trainability()}
    assert set(kinds) == {"fixed batch size", "constants", "batch norm folded"}
    assert kinds["constants"].where == ("c0", "c1", "c2", "c3")
    assert [p for p in net.names.values() if p.startswith("w")] == []
    mended = net.make_trainable()
    assert {f.kind for f in mended.trainability()} == {"batch norm folded"}
    assert len(mended.parameters) == 8
    data = np.ones((5, 3, 4, 4), "float32")
    np.testing.assert_allclose(mended.predict(data)[:2], net.predict(data[:2]), rtol=1e-6)
    mended.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error")
    losses = [mended.train_batch(data, np.zeros_like(data))["loss"] for _ in range(5)]
    assert losses[-1] < losses[0]


def test_a_network_made_here_has_nothing_to_repair():
    x = eddl.Input((2, 8, 8))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=2, depth=2))
    assert net.trainability() == []


def test_the_picture_is_valid_and_names_every_operator(tmp_path):
    net = network()
    net.plot(tmp_path / "net.svg")
    text = " ".join(ET.parse(tmp_path / "net.svg").getroot().itertext())
    for node in net.graph.nodes:
        assert node.op in text
