"""specialise, simplify, lower, select: each on the smallest graph that shows it."""

import numpy as np
import pytest

from eddl.backends.array import ArrayBackend
from eddl.compiler import Offer, Pattern, differentiate, lower, select, simplify, specialise
from eddl.errors import EddlError
from eddl.graph import Constant, Graph, Input, Node, Type
from eddl.ops import apply, make_node

BACKEND = ArrayBackend(threads=1)


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def test_specialise_folds_shape_arithmetic():
    x = Input(Type("float32", ("batch", 3, None)), name="x")
    size = apply("Gather", apply("Shape", x), np.array([2]))
    halves = apply("Div", size, 2)
    target = apply("Concat", np.array([-1]), halves, np.array([6]), axis=0)
    y = apply("Reshape", x, target)
    graph, mapping = specialise(Graph([x], [y]), {x: Type("float32", (2, 3, 8))}, BACKEND.evaluate)
    assert ops(graph) == ["Reshape"]
    assert graph.outputs[0].type == Type("float32", (2, 4, 6))
    assert mapping[x].type.static


def test_specialise_names_a_node_whose_shape_depends_on_data():
    x = Input(Type("float32", (6,)), name="x")
    shape = Input(Type("int64", (2,)), name="shape")
    y = apply("Reshape", x, shape)
    types = {x: x.type, shape: shape.type}
    with pytest.raises(EddlError, match=r"Reshape: input shape depends on data"):
        specialise(Graph([x, shape], [y]), types, BACKEND.evaluate)


def test_simplify_merges_equal_nodes_and_drops_neutral_ones():
    x = Input(Type("float32", (2, 3)), name="x")
    a = apply("Exp", apply("Identity", x * 1.0 + 0.0))
    b = apply("Exp", x)
    y = apply("Transpose", a + b, perm=(0, 1))
    graph = simplify(Graph([x], [y]))
    assert ops(graph) == ["Exp", "Add"]


def test_simplify_keeps_what_changes_the_type():
    x = Input(Type("float32", (1, 3)), name="x")
    y = x + np.zeros((2, 1), "float32")
    assert ops(simplify(Graph([x], [y]))) == ["Add"]


def test_lower_inlines_a_body_where_there_is_no_kernel():
    x = Input(Type("float32", (2, 3, 4, 4)), name="x")
    y = apply("GlobalAveragePool", x)
    assert ops(lower(Graph([x], [y]), BACKEND)) == ["ReduceMean"]


class Toy:
    """A backend that fuses Exp + Neg, and refuses Neg of more than 10 elements by itself."""

    name = "toy"
    alignment, max_slab = 1, 1 << 30

    def patterns(self, node: Node):
        def offer(name):
            return lambda nodes: Offer(name, lambda i, o, w: lambda: None)

        def small(nodes):
            return offer("small neg")(nodes) if nodes[0].outputs[0].type.count <= 10 else None

        table = {
            "Exp": [Pattern(("Exp", "Neg"), offer("fused")), Pattern(("Exp",), offer("exp"))],
            "Neg": [Pattern(("Neg",), small), Pattern(("Neg",), offer("big neg"))],
        }
        return table.get(node.op, [])


def kernels(y, x):
    return [call.offer.kernel for call in select(Graph([x], [y]), Toy())]


def test_the_longest_pattern_wins_and_a_refused_offer_falls_to_the_next():
    x = Input(Type("float32", (4,)), name="x")
    assert kernels(-apply("Exp", x), x) == ["fused"]
    assert kernels(-x, x) == ["small neg"]
    big = Input(Type("float32", (40,)), name="big")
    assert kernels(-big, big) == ["big neg"]


def test_a_chain_is_not_fused_over_a_value_that_others_need():
    x = Input(Type("float32", (4,)), name="x")
    middle = apply("Exp", x)
    graph = Graph([x], [-middle, middle])
    assert [call.offer.kernel for call in select(graph, Toy())] == ["exp", "small neg"]


def test_a_node_without_kernel_or_body_is_an_error_naming_the_backend():
    x = Input(Type("float32", (4,)), name="x")
    with pytest.raises(EddlError, match="toy backend has no kernel for Sin"):
        lower(Graph([x], [apply("Sin", x)]), Toy())


def test_constants_of_a_graph_are_leaves():
    c = Constant(np.zeros(3, "float32"))
    x = Input(Type("float32", (3,)), name="x")
    graph = Graph([x], [x + c])
    assert set(graph.leaves) == {x, c}


@pytest.mark.parametrize(
    ("op", "inputs", "counted", "of", "most"),
    [
        # Each step's product, one back to the state, two for the inputs and their gradient.
        ("LSTM", [(90, 2, 3), (1, 32, 3), (1, 32, 8), (1, 64), "lengths"], "MatMul", 0, 182),
        ("GridSample", [(2, 3, 20, 30), (2, 20, 30, 2)], "GatherND", 1, 4),
    ],
)
def test_values_and_their_gradient_share_what_a_body_computes(op, inputs, counted, of, most):
    """A body is written out for both; nothing of it may be computed twice."""
    values = [
        Input(Type("int32", (2,)), name="n") if i == "lengths" else Input(Type("float32", i))
        for i in inputs
    ]
    how = {"hidden_size": 8, "clip": 9.0} if op == "LSTM" else {}  # no kernel clips
    y = make_node(op, *values, **how).outputs[0]
    loss = apply("ReduceSum", y * y, keepdims=0)
    (gradient,) = make_node("Gradients", loss, values[of], domain="eddl").outputs
    graph = simplify(differentiate(Graph(values, [loss, gradient])))
    assert ops(simplify(lower(graph, BACKEND))).count(counted) <= most
