"""Every operator of the table: its kernel against an oracle, its body, its gradients."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnxruntime import InferenceSession

import eddl
from eddl import devices
from eddl.backends.array import ArrayBackend
from eddl.compiler import Slabs, compile_graph
from eddl.errors import EddlError
from eddl.graph import Constant, Graph, Input, Node, Type, Value
from eddl.onnx.load import to_model
from eddl.onnx.names import to_onnx
from eddl.onnx.save import to_proto
from eddl.ops import TABLE, apply, entry, make_node

from .rows import ROWS, Row

BACKEND = ArrayBackend(threads=2)
BACKENDS = ["array", "onednn"]
WITHOUT_ROW = {
    "Gradients": "expanded by a pass; tests/eddl/compiler/test_differentiate.py",
    "Fused": "made by a pass; tests/eddl/compiler/test_fuse.py",
    "Uniform": "random; the known answer stands in eddl.backends.array.random",
    **dict.fromkeys(
        ("RNNGrad", "GRUGrad", "LSTMGrad"), "gradients; tests/eddl/backends/test_recurrent.py"
    ),
    "RandomDropout": "random; tests/eddl/training/test_dropout.py",
    **dict.fromkeys(
        ("GaussianNoise", "AlphaDropout", "RandomAffine"), "random; tests/eddl/layers/test_noise.py"
    ),
}
WITHOUT_GRADIENT = {
    "ArgMax": "integer result", "ArgMin": "integer result", "Shape": "integer result",
    "OneHot": "integer input",
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or",
                     "Not", "IsNaN", "IsInf"), "boolean result"),
    **dict.fromkeys(("QuantizeLinear", "QLinearMatMul", "QLinearConv"), "whole numbers result"),
    "Size": "integer result", "Labels": "integer result", "Binarizer": "constant in pieces",
    "SquareBound": "a bound, which need not be near",
}  # fmt: skip


def backend_of(name: str) -> Any:
    """A backend by name; the test is skipped where the machine lacks it."""
    if name == "array":
        return BACKEND
    try:
        return devices.backend(f"cpu:{name}")
    except EddlError as error:
        pytest.skip(str(error))


def typed(array: Any, dtype: str) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(dtype) if array.dtype.kind == "f" else array


def build(row: Row, dtype: str, seed: int = 0) -> tuple[Node, list[Value], list[np.ndarray]]:
    """The node of a row, its symbolic inputs and the arrays for them."""
    arrays = [typed(a, dtype) for a in row.inputs(np.random.default_rng(seed))]
    attributes = {
        k: float(np.float32(v)) if isinstance(v, float) else v  # as files hold them
        for k, v in {**TABLE[row.domain, row.op].attributes, **row.attributes}.items()
    }
    values: list[Value] = [
        Constant(a) if i in row.constant else Input(Type(a.dtype, a.shape), name=f"x{i}")
        for i, a in enumerate(arrays)
    ]
    node = make_node(row.op, *values, domain=row.domain, **attributes)
    fed = [(v, a) for v, a in zip(values, arrays, strict=True) if isinstance(v, Input)]
    return node, [v for v, _ in fed], [a for _, a in fed]


def run(
    inputs: list[Value], outputs: list[Value], arrays: list[np.ndarray], backend: Any = BACKEND
) -> list[np.ndarray]:
    types = {v: Type(a.dtype, a.shape) for v, a in zip(inputs, arrays, strict=True)}
    program = compile_graph(
        Graph(inputs, outputs), types, backend, Slabs(backend), memory_of=lambda s: None,
        poison=True,
    )  # fmt: skip
    return program.run(arrays)


def reference(row: Row, dtype: str) -> list[np.ndarray]:
    arrays = [typed(a, dtype) for a in row.inputs(np.random.default_rng(0))]
    names = [f"x{i}" if a.size else "" for i, a in enumerate(arrays)]  # empty: left out
    outputs = [f"y{i}" for i in range(row.outputs)]
    attributes = {
        k: to_onnx(v) if k == "to" else (list(v) if isinstance(v, tuple) else v)
        for k, v in row.attributes.items()
        if v is not None
    }
    graph = helper.make_graph(
        [helper.make_node(row.op, names, outputs, **attributes)],
        "row",
        [helper.make_tensor_value_info(n, to_onnx(a.dtype), a.shape)
         for n, a in zip(names, arrays, strict=True) if n],
        [onnx.ValueInfoProto(name=o) for o in outputs],
    )  # fmt: skip
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", row.opset)], ir_version=10
    )
    fed = {n: a for n, a in zip(names, arrays, strict=True) if n}
    if row.oracle == "onnxruntime":
        return InferenceSession(model.SerializeToString()).run(None, fed)
    return ReferenceEvaluator(model).run(None, fed)


def ids(rows: list[Row]) -> list[str]:
    return [f"{i}-{row.name}" for i, row in enumerate(rows)]


STANDARD = [row for row in ROWS if not row.domain]
BODIES = [row for row in ROWS if TABLE[row.domain, row.op].body is not None]
SMOOTH = [
    row
    for row in ROWS
    if row.op not in WITHOUT_GRADIENT
    and any(np.asarray(a).dtype.kind == "f" and i not in row.constant
            for i, a in enumerate(row.inputs(np.random.default_rng(0))))
    and not (row.op == "Cast" and np.dtype(row.attributes["to"]).kind != "f")
]  # fmt: skip


def test_every_operator_has_a_row():
    compiled = {op for (_, op), operator in TABLE.items() if not operator.host}
    assert compiled - {row.op for row in ROWS} == set(WITHOUT_ROW)


@pytest.mark.parametrize("row", STANDARD, ids=ids(STANDARD))
@pytest.mark.parametrize(
    ("dtype", "backend"), [("float32", "array"), ("float32", "onednn"), ("float64", "array")]
)
def test_against_the_reference(row: Row, dtype: str, backend: str):
    if row.oracle == "onnxruntime" and dtype == "float64":
        pytest.skip("onnxruntime computes this operator in float32 alone")
    node, inputs, arrays = build(row, dtype)
    expected = reference(row, dtype)
    found = run(inputs, list(node.outputs[: row.outputs]), arrays, backend_of(backend))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype or row.op == "Cast"
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5 if dtype == "float32" else 1e-11,
                                   atol=1e-5 if dtype == "float32" else 1e-12)  # fmt: skip


@pytest.mark.parametrize("row", BODIES, ids=ids(BODIES))
def test_the_kernel_equals_the_body(row: Row):
    node, inputs, arrays = build(row, "float64")
    body = entry(node).body
    assert body is not None
    count = len(body(node))
    for ours, theirs in zip(
        run(inputs, list(node.outputs[:count]), arrays), run(inputs, list(body(node)), arrays),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_other_backends_give_what_the_array_backend_gives(row: Row):
    """In float32, which the others are for; the saved outputs and the gradients, too."""
    other = backend_of("onednn")
    node, inputs, arrays = build(row, "float32")
    outputs = list(node.outputs)
    if row.op == "BatchNormalization" and not row.attributes.get("training_mode"):
        outputs = outputs[:1]  # the batch's statistics are not computed
    if (body := entry(node).body) is not None:
        outputs = outputs[: len(body(node))]  # what is saved is a kernel's own affair
    if row in SMOOTH and outputs[0].dtype == np.float32:
        weight = Constant(np.random.default_rng(5).standard_normal(outputs[0].type.sizes))
        loss = apply("ReduceSum", outputs[0] * apply("Cast", weight, to="float32"), keepdims=0)
        floats = [v for v in inputs if v.dtype == np.float32]
        outputs += make_node("Gradients", loss, *floats, domain="eddl").outputs
    expected, found = run(inputs, outputs, arrays), run(inputs, outputs, arrays, other)
    again = run(inputs, outputs, arrays, other)
    for value, ours, theirs, same in zip(outputs, found, expected, again, strict=True):
        finite = theirs[np.isfinite(theirs)] if theirs.dtype.kind == "f" else np.zeros(1)
        scale = np.abs(finite).max(initial=0)
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5 * max(scale, 1),
                                   err_msg=f"{value}")  # fmt: skip
        np.testing.assert_array_equal(ours, same)


@pytest.mark.parametrize("row", SMOOTH, ids=ids(SMOOTH))
def test_gradients_by_central_differences(row: Row):
    node, inputs, arrays = build(row, "float64")
    check_gradients(node.outputs[0], inputs, arrays)


@pytest.mark.parametrize("row", SMOOTH, ids=ids(SMOOTH))
def test_second_derivatives_by_central_differences(row: Row):
    """The gradient of the gradient's squared length: every gradient expression has gradients."""
    node, inputs, arrays = build(row, "float64")
    weight = Constant(np.random.default_rng(5).standard_normal(node.outputs[0].type.sizes))
    if node.outputs[0].dtype != np.float64:
        pytest.skip("the row narrows the type")
    floats = [v for v in inputs if v.dtype.kind == "f"]
    y = node.outputs[0]
    loss = apply("ReduceSum", y * y * weight, keepdims=0)
    first = make_node("Gradients", loss, *floats, domain="eddl").outputs
    parts = [apply("ReduceSum", g * g, keepdims=0) for g in first]
    check_gradients(apply("Sum", *parts), inputs, arrays, tolerance=1e-5)


def check_gradients(
    y: Value, inputs: list[Value], arrays: list[np.ndarray], tolerance: float = 1e-6
) -> None:
    """Directional derivatives along random directions, one for each input and one for all."""
    floats = [(i, v) for i, v in enumerate(inputs) if v.dtype.kind == "f"]
    r = np.random.default_rng(1)
    weight = Constant(r.standard_normal(y.type.sizes).astype(y.dtype))
    loss = apply("ReduceSum", y * weight, keepdims=0)
    grads = make_node("Gradients", loss, *(v for _, v in floats), domain="eddl").outputs
    exact = run(inputs, list(grads), arrays)
    for chosen in itertools.chain([[n] for n in range(len(floats))], [range(len(floats))]):
        direction = [np.zeros_like(a) for a in arrays]
        for n in chosen:
            i = floats[n][0]
            direction[i] = r.standard_normal(arrays[i].shape)
        slope = sum(float((g * direction[i]).sum())
                    for g, (i, _) in zip(exact, floats, strict=True))  # fmt: skip
        step = 1e-3 if y.dtype == np.float32 else 1e-5
        ends = [
            run(inputs, [loss], [a + s * d if a.dtype.kind == "f" else a
                                 for a, d in zip(arrays, direction, strict=True)])[0]
            for s in (step, -step)
        ]  # fmt: skip
        numeric = float(ends[0] - ends[1]) / (2 * step)
        limit = 2e-2 if y.dtype == np.float32 else tolerance
        assert slope == pytest.approx(numeric, rel=limit, abs=limit * 10)


def test_an_operator_without_gradient_says_which(monkeypatch):
    monkeypatch.setitem(TABLE, ("", "Gather"), replace(TABLE["", "Gather"], gradient=None))
    x = Input(Type("float64", (4, 3)))
    rows = apply("Gather", x, np.asarray([1, 2]))
    loss = apply("ReduceSum", apply("Exp", rows), keepdims=0)
    grad = make_node("Gradients", loss, x, domain="eddl").outputs[0]
    with pytest.raises(EddlError, match=r"Gather.*no gradient.*Gather -> Exp -> ReduceSum"):
        run([x], [grad], [np.ones((4, 3))])


@pytest.mark.parametrize(
    ("name", "shapes", "attributes", "expected"),
    [
        ("Add", [(3,), (4,)], {}, "broadcast"),
        ("Conv", [(1, 3, 5, 5), (2, 4, 3, 3)], {}, "channels"),
        ("Conv", [(1, 3, 2, 2), (2, 3, 3, 3)], {}, "at least as large as the kernel"),
        ("MatMul", [(3, 4), (5, 6)], {}, "last axis"),
        ("Concat", [(2, 3), (3, 3)], {"axis": 1}, "equal sizes"),
        ("Softmax", [(2, 3)], {"axis": 2}, "axis in"),
        ("MaxPool", [(1, 2, 5, 5)], {"kernel_shape": (2,)}, "2 numbers"),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, shapes, attributes, expected):
    inputs = [Input(Type("float32", shape)) for shape in shapes]
    with pytest.raises(EddlError, match=expected) as error:
        apply(name, *inputs, **attributes)
    assert "received" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("row", STANDARD, ids=ids(STANDARD))
def test_a_file_keeps_the_operator(row: Row):
    node, inputs, arrays = build(row, "float32")
    outputs = [v for v in node.outputs[: row.outputs] if v is not None]
    model = eddl.Model(inputs, outputs)
    opset = max(21, entry(node).since, row.opset)
    proto = to_proto(model, metadata={}, opset=opset)
    onnx.checker.check_model(proto)
    again = to_model(proto)
    for ours, theirs in zip(
        run(inputs, outputs, arrays), run(list(again.inputs), list(again.outputs), arrays),
        strict=True,
    ):  # fmt: skip
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
