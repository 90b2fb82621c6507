"""Sums of products of one weight become one product, with the same result."""

import numpy as np
import pytest

from eddl.backends.array import ArrayBackend
from eddl.compiler import differentiate, merge_products, simplify
from eddl.graph import Graph, Input, Type
from eddl.ops.table import apply, make_node

STEPS = 6


def unrolled(op):
    """A network that uses one weight at each of its steps, and the weight's gradient."""
    if op == "MatMul":
        h, w = Input(Type("float64", (3, 4)), name="h"), Input(Type("float64", (4, 4)), name="w")
        step = lambda x: apply("Tanh", apply("MatMul", x, w))  # noqa: E731
    else:
        h = Input(Type("float64", (2, 3, 7)), name="h")
        w = Input(Type("float64", (3, 3, 3)), name="w")
        step = lambda x: apply("Tanh", apply("Conv", x, w, pads=(1, 1)))  # noqa: E731
    y = h
    for _ in range(STEPS):
        y = step(y)
    loss = apply("ReduceSum", y * y, keepdims=0)
    grads = make_node("Gradients", loss, h, w, domain="eddl").outputs
    return Graph([h, w], grads)


@pytest.mark.parametrize(("op", "product"), [("MatMul", "MatMul"), ("Conv", "ConvWeightGrad")])
def test_a_weight_used_often_has_one_product(op, product):
    graph = simplify(differentiate(unrolled(op)))
    joined = merge_products(graph)
    before, after = (sum(n.op == product for n in g.nodes) for g in (graph, joined))
    assert after == before - STEPS + 1
    r = np.random.default_rng(0)
    arrays = [r.standard_normal(v.type.sizes) * 0.5 for v in graph.inputs]
    expected, found = (ArrayBackend().evaluate_graph(g, arrays) for g in (graph, joined))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_few_products_stay():
    x, w = Input(Type("float64", (3, 4))), Input(Type("float64", (4, 4)))
    y = apply("MatMul", apply("MatMul", x, w), w)
    graph = Graph([x, w], [y])
    assert merge_products(graph) is graph


def test_a_value_that_is_added_often_is_no_product():
    x, w = (Input(Type("float64", (3, 3)), name=name) for name in "xw")
    y = total = apply("Tanh", x)
    for _ in range(STEPS):
        total = total + y
        total = total + apply("MatMul", apply("Transpose", x, perm=(1, 0)), w)
    graph = Graph([x, w], [total])
    arrays = [np.ones(v.type.sizes) for v in graph.inputs]
    expected, found = (
        ArrayBackend().evaluate_graph(g, arrays) for g in (graph, merge_products(graph))
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
