"""A bound on the squares of gradients holds, and is there for large products of small operands."""

import numpy as np
import pytest

from eddl.backends.array import ArrayBackend
from eddl.compiler import bound_squares, differentiate, lower_precision, simplify
from eddl.graph import Constant, Graph, Input, Type
from eddl.ops.table import apply, make_node

ROWS, INNER, UNITS = 8, 512, 600


def dense(x, weight, bias):
    return apply("Tanh", apply("MatMul", x, weight) + bias)


def leaves(dtype="float32", rows=ROWS, shapes=((INNER, UNITS), (UNITS,))):
    x = Input(Type(dtype, (rows, INNER)), name="x")
    return x, [Input(Type(dtype, shape)) for shape in shapes]


def marked(x, parameters, y, arrange=lambda g: g):
    """The gradients of a sum of squares, and the mark on them."""
    loss = apply("ReduceSum", y * y, keepdims=0)
    flows = make_node("Gradients", loss, *parameters, domain="eddl").outputs
    flows = [arrange(flow) for flow in flows]
    bound = apply("SquareBound", *flows, domain="eddl")
    return simplify(differentiate(Graph([x, *parameters], [bound, *flows])))


def values(graph, scale=1.0):
    r = np.random.default_rng(0)
    arrays = [r.standard_normal(v.type.sizes).astype(v.dtype) * scale for v in graph.inputs]
    return ArrayBackend().evaluate_graph(graph, arrays)


def squares(graph):
    return [node for node in graph.nodes if node.op == "Squares"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1e-20, 30.0])
@pytest.mark.parametrize("arrange", [
    lambda g: g,
    lambda g: apply("Identity", apply("Reshape", g, np.asarray([-1]))),
    lambda g: apply("Transpose", g, perm=(1, 0)) if g.rank == 2 else g,
])  # fmt: skip
def test_no_square_of_a_bounded_output_exceeds_it(dtype, scale, arrange):
    x, parameters = leaves(dtype)
    graph, bounded = bound_squares(marked(x, parameters, dense(x, *parameters), arrange))
    assert bounded == {1}  # the weight; what is small is read
    found = values(graph, scale)
    assert np.square(found[1].astype("float64")).max() <= found[0] * (1 + 1e-6) < np.inf


def test_a_convolution_of_few_positions_is_bounded_too():
    x = Input(Type("float32", (2, 64, 4, 4)))
    weight = Input(Type("float32", (64, 64, 5, 5)))
    y = apply("Conv", x, weight, pads=(2, 2, 2, 2))
    graph, bounded = bound_squares(marked(x, [weight], y))
    assert bounded == {1}
    bound, gradient = values(graph)
    assert 0 < np.square(gradient).max() <= bound


def test_it_reads_what_is_multiplied_and_not_the_product():
    x, parameters = leaves()
    graph, _ = bound_squares(marked(x, parameters, dense(x, *parameters)))
    (node,) = squares(graph)
    assert node.attributes["product"] == 1
    assert {v.type.sizes for v in node.inputs} == {(ROWS, INNER), (ROWS, UNITS)}
    for value in node.inputs:  # no turned copy is made for it
        assert value.node is None or value.node.op != "Transpose"
    (maker,) = (n for n in graph.nodes if n.op == "MatMul" and n.outputs[0].shape == (INNER, UNITS))
    assert node.order < maker.order  # so that the operands need not live longer


def test_the_same_product_under_two_marks_is_read_once():
    x, (weight, bias) = leaves()
    loss = apply("ReduceSum", dense(x, weight, bias), keepdims=0)
    (flow,) = make_node("Gradients", loss, weight, domain="eddl").outputs
    marks = [apply("SquareBound", *flows, domain="eddl") for flows in ([flow], [flow, flow])]
    graph, bounded = bound_squares(simplify(differentiate(Graph([x, weight, bias], marks))))
    assert len(squares(graph)) == 1 and not bounded
    one, two = values(graph)
    assert one == two > 0


def unbounded(graph):
    made, bounded = bound_squares(graph)
    assert not squares(made) and not bounded
    return isinstance(made.outputs[0], Constant) and made.outputs[0].data == 0


def test_where_operands_are_as_large_as_the_product_there_is_none():
    x, parameters = leaves(rows=200)
    assert unbounded(marked(x, parameters, dense(x, *parameters)))


def test_where_there_is_little_to_make_there_is_none():
    x, parameters = leaves(shapes=((INNER, 100), (100,)))
    assert unbounded(marked(x, parameters, dense(x, *parameters)))


def test_products_in_half_precision_have_none():
    """Rounded to a half an operand may be infinite that is finite as it is read."""
    x, parameters = leaves()
    graph = marked(x, parameters, dense(x, *parameters))
    halved = simplify(lower_precision(graph, np.dtype("float16"), ArrayBackend()))
    assert unbounded(halved)


def test_an_operand_that_is_not_finite_shows_in_it():
    x, parameters = leaves()
    graph, _ = bound_squares(marked(x, parameters, dense(x, *parameters)))
    arrays = [np.ones(v.type.sizes, "float32") for v in graph.inputs]
    for bad in (np.nan, np.inf, 1e30):
        arrays[0][3, 5] = bad
        (bound, *_) = ArrayBackend().evaluate_graph(graph, arrays)
        assert not np.isfinite(bound)
