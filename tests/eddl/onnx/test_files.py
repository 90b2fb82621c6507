"""ONNX files: what is saved runs elsewhere, what is loaded trains on, what is damaged is not."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

import eddl
from eddl import layers
from eddl.errors import EddlError
from eddl.onnx.conformance import cases


def unet():
    x = eddl.Input((2, None, None), name="image")
    return eddl.Model(x, eddl.zoo.unet(x, classes=3, filters=4, depth=3), metadata={"who": "me"})


def everything():
    """A network with every layer in it."""
    x = eddl.Input((2, 16, 16), name="image")
    y = layers.window(x, level=0.0, width=6.0)
    y = layers.leaky_relu(layers.normalise(layers.clip(y, 0.0, 0.9), mean=0.4, deviation=0.2))
    y = layers.relu(layers.batch_norm(layers.conv(y, 6, 3, strides=2, group=2)))
    y = layers.add([y, layers.tanh(layers.conv(y, 6, 1))])
    y = layers.concat([y, layers.conv_transpose(layers.max_pool(y), 3, 3, strides=2)])
    y = layers.sigmoid(y) * layers.reshape(layers.global_average_pool(y), (9, 1, 1))
    y = layers.dense(layers.dense(layers.flatten(y), 7), 5)
    return eddl.Model(x, layers.softmax(y + layers.constant(np.arange(5.0))))


@pytest.mark.parametrize("make", [unet, everything])
@pytest.mark.parametrize("opset", [None, 18, 23])
def test_a_saved_file_runs_in_onnxruntime_and_loads_again(tmp_path, make, opset):
    net, path = make(), tmp_path / "net.onnx"
    net.save(path, metadata={"more": "words"}, opset=opset)
    onnx.checker.check_model(str(path), full_check=True)
    data = np.random.default_rng(0).standard_normal((3, 2, 16, 16)).astype("float32")
    expected = net.predict(data)
    (found,) = InferenceSession(path).run(None, {"image": data})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    again = eddl.load(path)
    np.testing.assert_array_equal(again.predict(data), expected)
    assert again.metadata == {**net.metadata, "more": "words"}
    assert {n: a.shape for n, a in again.weights().items()} == {
        n: a.shape for n, a in net.weights().items()
    }
    assert len(again.parameters) == len(net.parameters)
    again.save(tmp_path / "again.onnx")
    np.testing.assert_array_equal(eddl.load(tmp_path / "again.onnx").predict(data), expected)


def test_a_loaded_network_trains_on_and_keeps_its_loss(tmp_path):
    r = np.random.default_rng(0)
    data = r.standard_normal((4, 2, 16, 16)).astype("float32")
    labels = (data[:, 0] > 0).astype("int64")
    net = unet()
    options = {"optimizer": eddl.Adam(1e-2), "loss": "dice_cross_entropy"}
    net.build(**options)
    net.save(tmp_path / "net.onnx")  # with the softmax that the loss implies
    again = eddl.load(tmp_path / "net.onnx")
    again.build(**options)
    assert again.evaluate(data, labels) == net.evaluate(data, labels)
    history = again.fit(data, labels, epochs=10)
    assert history["loss"] == net.fit(data, labels, epochs=10)["loss"]
    again.save(tmp_path / "trained.onnx")
    third = eddl.load(tmp_path / "trained.onnx")
    third.build(**options)
    assert third.evaluate(data, labels) == again.evaluate(data, labels)


def test_axes_as_attributes_are_brought_to_the_internal_form():
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)], "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data = np.arange(6, dtype="float32").reshape(2, 3)
    np.testing.assert_allclose(eddl.load(model.SerializeToString()).predict(data), data.mean(1))


def test_shape_arithmetic_of_exporters_is_folded():
    """Reshape to (Shape(x)[0], -1), as exporters write a flatten."""
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Constant", [], ["zero"], value_ints=[0]),
            helper.make_node("Gather", ["shape", "zero"], ["batch"]),
            helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
            helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
            helper.make_node("Reshape", ["x", "target"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["y"]),
        ],
        "flatten",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((6, 4), "float32"), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    net = eddl.load(model.SerializeToString())
    net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error")
    data = np.ones((5, 3, 2), "float32")
    np.testing.assert_array_equal(net.predict(data), np.full((5, 4), 6.0))
    assert net.train_batch(data, np.zeros((5, 4), "float32"))["loss"] == 36.0


def test_an_operator_without_gradient_is_an_error_when_the_model_is_built():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="body"),
        helper.make_node("Compress", ["m", "keep"], ["y"], name="pick", axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.eye(3, dtype="float32"), "w"),
        numpy_helper.from_array(np.asarray([True, False, True]), "keep"),
    ]
    net = eddl.load(proto(nodes, constants).SerializeToString())
    assert net.predict(np.ones((2, 3), "float32")).shape == (2, 2)
    with pytest.raises(eddl.GradientError, match=r"'pick' \(Compress\).*no gradient.*pick"):
        net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error")
    net.freeze()
    net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error")  # nothing has to flow


def test_a_known_condition_is_folded_and_its_branch_trains():
    """Only the branch that is taken is left, its captured weights learn."""
    branches = [
        helper.make_graph(
            [helper.make_node(op, ["x", "w"], ["out"])], op, [],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        )
        for op in ("MatMul", "Add")
    ]  # fmt: skip
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["width"]),
        helper.make_node("Equal", ["width", "three"], ["square"]),
        helper.make_node("If", ["square"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    constants = [
        numpy_helper.from_array(np.eye(3, dtype="float32"), "w"),
        numpy_helper.from_array(np.asarray(1, np.int64), "one"),
        numpy_helper.from_array(np.asarray(3, np.int64), "three"),
    ]
    net = eddl.load(proto(nodes, constants).SerializeToString())
    x, y = eddl.Input((3,), name="x"), eddl.Input((3,), name="y")
    data = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    np.testing.assert_allclose(net.predict(data), data, rtol=1e-6)
    out = net(x)
    value = eddl.ops.apply("ReduceSum", out * y, keepdims=0)
    step = eddl.Step([x, y], [value], [(value, net.parameters, eddl.SGD(0.1))])
    before = net.weights()["w"]
    step(data, np.ones_like(data))
    np.testing.assert_allclose(
        net.weights()["w"], before - 0.1 * data.T @ np.ones((4, 3)), rtol=1e-5
    )


def proto(nodes, initializers=(), outputs=("y",), opset=17, inputs=None):
    graph = helper.make_graph(
        nodes, "g",
        inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        list(initializers),
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def external():
    tensor = numpy_helper.from_array(np.ones((3, 3), "float32"), "w")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    return proto([helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor])


def lying():
    tensor = numpy_helper.from_array(np.ones(4, "float32"), "w")
    tensor.dims[0] = 1 << 40
    return proto([helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor])


BAD = {
    "unknown operator": (
        lambda: proto([helper.make_node("Frobnicate", ["x"], ["y"], name="f")]), "'f'.*Frobnicate"),
    "another domain": (
        lambda: proto([helper.make_node("Relu", ["x"], ["y"], domain="com.m")]), "com.m"),
    "dangling name": (
        lambda: proto([helper.make_node("Relu", ["z"], ["y"], name="r")]), "'r'.*'z'"),
    "cycle": (
        lambda: proto([helper.make_node("Add", ["x", "y"], ["z"], name="a"),
                       helper.make_node("Relu", ["z"], ["y"])]), "'a'.*'y'"),
    "defined twice": (
        lambda: proto([helper.make_node("Relu", ["x"], ["y"]),
                       helper.make_node("Relu", ["x"], ["y"], name="b")]), "'b'.*already"),
    "missing output": (lambda: proto([helper.make_node("Relu", ["x"], ["z"])]), "'y'"),
    "shapes": (
        lambda: proto([helper.make_node("MatMul", ["x", "w"], ["y"], name="m")],
                      [numpy_helper.from_array(np.ones((4, 4), "float32"), "w")]), "'m'.*MatMul"),
    "types": (
        lambda: proto([helper.make_node("Add", ["x", "w"], ["y"], name="s")],
                      [numpy_helper.from_array(np.ones(3, "int64"), "w")]), "'s'.*element type"),
    "attribute": (
        lambda: proto([helper.make_node("Relu", ["x"], ["y"], name="r", slope=1)]), "'r'.*slope"),
    "too many inputs": (
        lambda: proto([helper.make_node("Relu", ["x", "x"], ["y"], name="r")]), "'r'.*2 inputs"),
    "old opset": (lambda: proto([helper.make_node("Relu", ["x"], ["y"])], opset=0), "opset 0"),
    "new opset": (lambda: proto([helper.make_node("Relu", ["x"], ["y"])], opset=99), "opset 99"),
    "external data": (external, "outside the file"),
    "more than the file holds": (lying, "'w'"),
    "no graph": (onnx.ModelProto, "no graph"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_held_is_refused_and_named(case):
    make, words = BAD[case]
    with pytest.raises(EddlError, match=words) as error:
        eddl.load(make().SerializeToString())
    assert "\n" not in str(error.value)


def test_a_graph_that_does_not_fit_is_refused_before_anything_is_allocated():
    """2^40 elements, asked for by a file of two hundred bytes."""
    size = numpy_helper.from_array(np.asarray([1 << 20, 1 << 20, 3], np.int64), "size")
    nodes = [
        helper.make_node("Expand", ["x", "size"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["y"], keepdims=0),
    ]
    net = eddl.load(proto(nodes, [size]).SerializeToString())
    with pytest.raises(eddl.MemoryLimitError, match="are free"):
        net.predict(np.zeros((1, 3), "float32"))


@pytest.mark.parametrize("op", ["Exp", "NonZero"])
def test_max_bytes_bounds_programs_and_evaluations(op):
    nodes = [helper.make_node("Transpose", ["x"], ["t"]), helper.make_node(op, ["t"], ["y"])]
    content = proto(nodes).SerializeToString()
    data = np.ones((100, 3), "float32")
    net = eddl.load(content, max_bytes=10_000)
    assert net.predict(data, batch_size=100).size
    with pytest.raises(EddlError, match="batch_size=100"):
        net.predict(data)
    with pytest.raises(eddl.MemoryLimitError, match="max_bytes allows 1,000"):
        eddl.load(content, max_bytes=1_000).predict(data, batch_size=100)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "text.onnx"
    with pytest.raises(EddlError, match="cannot be read"):
        eddl.load(path)
    path.write_text("not a network")
    with pytest.raises(EddlError, match="ONNX"):
        eddl.load(path)


def test_a_failed_save_leaves_nothing(tmp_path):
    net = unet()
    with pytest.raises(EddlError, match="opset=6"):
        net.save(tmp_path / "net.onnx", opset=6)
    with pytest.raises(EddlError, match="folder"):
        net.save(tmp_path / "missing" / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def seed_file() -> bytes:
    x = eddl.Input((2, 4, 4), name="image")
    y = layers.max_pool(layers.relu(layers.batch_norm(layers.conv(x, 3, 3))))
    net = eddl.Model(x, layers.softmax(layers.dense(layers.flatten(y), 2)))
    from eddl.onnx.save import to_proto

    return to_proto(net, metadata={}).SerializeToString()


SEED = seed_file()


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_mutated_files_load_or_raise_an_eddl_error(data):
    content = bytearray(SEED)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "repeat"])):
            case "flip":
                content[position] = data.draw(st.integers(0, 255))
            case "cut":
                del content[position : position + data.draw(st.integers(1, 40))]
            case "repeat":
                content[position:position] = content[position : position + 20]
        if not content:
            return
    with contextlib.suppress(EddlError):
        eddl.load(bytes(content))


def mutated(content: bytes, r: random.Random) -> bytes:
    result = bytearray(content)
    for _ in range(r.randint(1, 4)):
        position, kind = r.randrange(len(result)), r.random()
        if kind < 0.5:
            result[position] = r.randrange(256)
        elif kind < 0.8:
            del result[position : position + r.randint(1, 40)]
        else:
            result[position:position] = result[position : position + 20]
        if not result:
            result = bytearray(b"x")
    return bytes(result)


def test_fifty_thousand_mutants_of_the_suites_models():
    """Only an EddlError comes out, whatever stands in a file."""
    seeds = [SEED]
    for case in cases(("simple", "pytorch-converted")):
        content = case.model.SerializeToString()
        seeds += [content] if len(content) < 20_000 else []
    r, loaded = random.Random(0), 0
    for _ in range(50_000):
        content = mutated(r.choice(seeds), r)
        with contextlib.suppress(EddlError):
            eddl.load(content)
            loaded += 1
    assert 0 < loaded < 50_000
