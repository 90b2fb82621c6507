"""Loops of known length compile, have gradients, and equal what the evaluator makes of them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

import eddl
from eddl.compiler import Program
from eddl.errors import EddlError
from eddl.graph import Type
from eddl.onnx.backend import EddlBackend

FLOAT = TensorProto.FLOAT


def info(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def scan(**attributes):
    """h = tanh(x w + h), all h kept; w is captured from outside."""
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "w"], ["xw"]),
            helper.make_node("Add", ["xw", "h"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["new"]),
            helper.make_node("Identity", ["new"], ["kept"]),
        ],
        "body", [info("h", [2]), info("x", [2])], [info("new", [2]), info("kept", [2])],
    )  # fmt: skip
    node = helper.make_node(
        "Scan", ["h0", "xs"], ["last", "all"], body=body, num_scan_inputs=1, **attributes
    )
    return model([node], [info("h0", [2]), info("xs", [5, 2]), info("w", [2])],
                 [info("last", [2]), info("all", [5, 2])])  # fmt: skip


def loop(condition="going"):
    """v = v w, as often as the constant says; the step's number is added."""
    body = helper.make_graph(
        [
            helper.make_node("Cast", ["i"], ["number"], to=FLOAT),
            helper.make_node("Mul", ["v", "w"], ["vw"]),
            helper.make_node("Add", ["vw", "number"], ["new"]),
            helper.make_node("Identity", [condition], ["next"]),
            helper.make_node("Identity", ["new"], ["kept"]),
        ],
        "body",
        [info("i", [], TensorProto.INT64), info("going", [], TensorProto.BOOL), info("v", [3])],
        [info("next", [], TensorProto.BOOL), info("new", [3]), info("kept", [3])],
    )
    constants = [
        helper.make_tensor("count", TensorProto.INT64, [], [4]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
    ]
    return model([helper.make_node("Loop", ["count", "yes", "v0"], ["last", "all"], body=body)],
                 [info("v0", [3]), info("w", [3])], [info("last", [3]), info("all", [4, 3])],
                 constants)  # fmt: skip


CASES = {
    "scan": (scan(), [(2,), (5, 2), (2,)]),
    "scan backwards": (
        scan(scan_input_directions=[1], scan_output_directions=[1]), [(2,), (5, 2), (2,)]),
    "loop": (loop(), [(3,), (3,)]),
}  # fmt: skip


def arrays(shapes):
    r = np.random.default_rng(0)
    return [r.uniform(0.3, 0.9, s).astype("float32") for s in shapes]


@pytest.mark.parametrize("name", CASES)
def test_a_program_equals_the_evaluator(name):
    proto, shapes = CASES[name]
    net, data = eddl.onnx.load.to_model(proto), arrays(shapes)
    step = eddl.Step(net.inputs, net.outputs, training=False)
    found = step(*data)
    types = [Type(array.dtype, array.shape) for array in data]
    assert isinstance(step.program(*types), Program)
    for ours, theirs in zip(found, EddlBackend.prepare(proto).run(data), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradients_flow_through_every_turn(name):
    proto, shapes = CASES[name]
    net, data = eddl.onnx.load.to_model(proto), arrays(shapes)
    loss = eddl.ops.apply("ReduceSum", net.outputs[1], keepdims=0)
    if loss.type.opaque:  # what a loop gives is known once its length is
        net = net.cut(net.names[net.outputs[1]])
        loss = net.outputs[0]
    grads = eddl.gradients(loss, net.inputs)
    exact = eddl.Step(net.inputs, grads, training=False)(*data)
    value = eddl.Step(net.inputs, [loss], training=False)
    for i, gradient in enumerate(exact):
        direction = np.random.default_rng(i).standard_normal(data[i].shape).astype("float32")
        ends = []
        for size in (1e-2, -1e-2):
            moved = [d + size * direction if j == i else d for j, d in enumerate(data)]
            ends.append(float(np.sum(value(*moved)[0])))
        slope = (ends[0] - ends[1]) / 2e-2
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-2, abs=2e-2)


def test_a_loop_that_data_ends_is_evaluated_and_has_no_gradient():
    proto = loop(condition="stop")
    proto.graph.input.append(info("stop", [], TensorProto.BOOL))
    net = eddl.onnx.load.to_model(proto)
    data = [*arrays([(3,), (3,)]), np.asarray(True)]
    last, _ = eddl.Step(net.inputs, net.outputs, training=False)(*data)
    assert last.shape == (3,)
    total = eddl.ops.apply("ReduceSum", net.inputs[0] * 1.0, keepdims=0)
    grads = eddl.gradients(total, net.inputs[:1])
    step = eddl.Step(net.inputs, [*net.outputs, *grads], training=False)
    with pytest.raises(EddlError, match="Loop"):
        step(*data)


@pytest.mark.parametrize("name", CASES)
def test_loops_survive_a_file(name, tmp_path):
    proto, shapes = CASES[name]
    net, data = eddl.onnx.load.to_model(proto), arrays(shapes)
    net.save(tmp_path / "net.onnx")
    onnx.checker.check_model(str(tmp_path / "net.onnx"))
    expected = EddlBackend.prepare(proto).run(data)
    again = eddl.load(tmp_path / "net.onnx")
    session = InferenceSession(tmp_path / "net.onnx")
    fed = dict(zip([i.name for i in session.get_inputs()], data, strict=True))
    for found in (
        eddl.Step(again.inputs, again.outputs, training=False)(*data), session.run(None, fed)
    ):  # fmt: skip
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
