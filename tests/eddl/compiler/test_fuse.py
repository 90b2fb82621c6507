"""Fusing elementwise chains: the same bits, fewer passes over memory."""

import ast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eddl
from eddl import compiler
from eddl.backends.array import ArrayBackend
from eddl.compiler import Slabs, compile_graph, fuse
from eddl.compiler.fuse import _swapped
from eddl.graph import Graph, Input, Type
from eddl.ops import apply

BACKEND = ArrayBackend(threads=2)


def ops(graph):
    return [node.op for node in graph.nodes]


def x(shape=(3, 4), name="x", dtype="float32"):
    return Input(Type(dtype, shape), name=name)


def test_a_chain_becomes_one_operator():
    a = x()
    graph = fuse(Graph([a], [apply("Relu", apply("Exp", -a) * 2.0 + 1.0)]))
    assert ops(graph) == ["Fused"]
    assert graph.nodes[0].attributes["formula"] == "maximum(exp(-X0) * X1 + X2, 0)"


def test_comparisons_and_attributes_fuse():
    a = x()
    y = apply("Where", apply("Greater", a, 0.0), apply("LeakyRelu", a, alpha=0.25), 0.0)
    graph = fuse(Graph([a], [y]))
    assert ops(graph) == ["Fused"]
    assert "0.25 * X0" in graph.nodes[0].attributes["formula"]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda a: (lambda e: [e * e])(apply("Exp", a)), ["Exp", "Mul"]),  # read twice
        (lambda a: (lambda e: [e, -e])(apply("Exp", a)), ["Exp", "Neg"]),  # itself a result
        (lambda a: [apply("ReduceSum", apply("Exp", a)) + a], ["Exp", "ReduceSum", "Add"]),
        (lambda a: [apply("Cast", apply("Exp", a), to="float64")], ["Exp", "Cast"]),
        (lambda a: [apply("Exp", x((1, 4), "b")) + a], ["Exp", "Add"]),  # smaller than its reader
    ],
)
def test_what_is_not_fused(make, expected):
    a = x()
    assert ops(fuse(Graph([a], make(a)))) == expected


def test_a_function_keeps_its_name_where_an_attribute_has_the_same():
    tree = ast.parse("abs(x) + abs", mode="eval").body
    swapped = _swapped(tree, {"abs": ast.Constant(2), "x": ast.Name("y")})
    assert ast.unparse(swapped) == "abs(y) + 2"


def test_long_chains_are_cut():
    a = y = x()
    for _ in range(100):
        y = apply("Tanh", y + 1.0)
    graph = fuse(Graph([a], [y]))
    assert 1 < len(graph.nodes) < 60


OPS = ["Exp", "Neg", "Tanh", "Sigmoid", "Relu", "Abs", "Softplus", "Sqrt"]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 14), st.sampled_from(["float32", "float64"]))
def test_fused_programs_have_the_same_bits(seed, length, dtype):
    r = np.random.default_rng(seed)
    a, b = x((37, 501), "a", dtype), x((501,), "b", dtype)
    values = [a, b]
    for _ in range(length):
        first, second = (values[i] for i in r.integers(max(0, len(values) - 3), len(values), 2))
        kind = r.integers(0, 5)
        if kind == 0:
            values.append(first + second)
        elif kind == 1:
            values.append(first * second)
        elif kind == 2:
            values.append(apply("Where", apply("Greater", first, second), first, 0.0))
        elif kind == 3:
            values.append(apply("Clip", first, -0.5, 0.75))
        else:
            values.append(apply(OPS[r.integers(0, len(OPS))], first))
    outputs = [values[-1]]
    outputs += eddl.gradients(apply("ReduceSum", values[-1], keepdims=0), [a, b])
    data = [r.standard_normal(v.type.sizes).astype(dtype) for v in (a, b)]
    results = []
    for pass_ in (compiler.fuse, lambda graph, apart: graph):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiler, "fuse", pass_)
            program = compile_graph(
                Graph([a, b], outputs), {a: a.type, b: b.type}, BACKEND, Slabs(BACKEND),
                memory_of=lambda s: None, poison=True,
            )  # fmt: skip
        results.append(program.run(data))
    for fused, plain in zip(*results, strict=True):
        np.testing.assert_array_equal(fused, plain)


def test_an_optimizers_update_is_a_few_passes():
    v = eddl.Input((4,))
    model = eddl.Model(v, eddl.layers.dense(v, 3))
    model.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy")
    model.train_batch(np.zeros((2, 4), "float32"), np.zeros(2, int))
    step = model.built().find([np.zeros(2, int)], training=True).step
    program = step.programs(Type("float32", (2, 4)), Type("int64", (2,)))["update"]
    calls = program.plan.calls
    wide = [c for c in calls if c.outputs[0].type.count > 1]
    assert len(wide) <= 4
