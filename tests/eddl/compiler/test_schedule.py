"""The order of calls: the same results from the same calls, and never more memory."""

import numpy as np
import pytest

import eddl
from eddl.backends.array import ArrayBackend
from eddl.compiler import Slabs, compile_graph, lives, schedule, select
from eddl.graph import Graph, Input, Type
from eddl.ops import apply

from .graphs import random_graph

BACKEND = ArrayBackend(threads=1)


def orders(graph):
    calls = select(graph, BACKEND)

    def living(order):
        return lives(graph, order)

    return calls, schedule(calls, living), living


@pytest.mark.parametrize("seed", range(20))
def test_every_call_once_after_what_it_reads_and_no_higher_peak(seed):
    x, values = random_graph(seed, 20)
    outputs = [values[-1], *eddl.gradients(apply("ReduceSum", values[-1], keepdims=0), [x])]
    graph = Graph([x], outputs)
    first, order, living = orders(eddl.compiler.simplify(eddl.compiler.differentiate(graph)))
    assert {id(call) for call in order} == {id(call) for call in first}
    assert len(order) == len(first)
    made = {x}
    for call in order:
        for value in call.inputs:
            assert value is None or value.node is None or value in made
        made.update(call.outputs)
    assert living(order).peak <= living(first).peak


def test_what_waits_is_made_before_its_reader_and_what_frees_goes_first():
    x = Input(Type("float32", (1000,)), name="x")
    copies = [apply("Expand", apply("ReduceSum", x * float(i), keepdims=1), np.array([1000]))
              for i in range(1, 9)]  # fmt: skip
    total = apply("ReduceSum", copies[-1], keepdims=0)
    for copy in reversed(copies[:-1]):
        total = total + apply("ReduceSum", apply("Exp", copy), keepdims=0)
    first, order, living = orders(Graph([x], [total]))
    assert living(first).peak > 8 * 4000
    assert living(order).peak < 3 * 4000


def test_a_value_is_cut_whole_before_its_first_part_is_read():
    x = Input(Type("float32", (1000,)), name="x")
    whole = apply("Exp", x)
    first, second = (apply("Slice", whole, np.array([i]), np.array([i + 500])) for i in (0, 500))
    wide = apply("Expand", apply("ReduceSum", first, keepdims=1), np.array([2000]))
    total = apply("ReduceSum", wide, keepdims=0) + apply("ReduceSum", second, keepdims=0)
    _, order, _ = orders(Graph([x], [total]))
    names = [call.nodes[0].op for call in order]
    assert names[1:4] == ["Slice", "Slice", "ReduceSum"]


def test_the_gradient_of_a_weight_comes_before_that_of_the_data():
    """The input of a layer is given up before the gradient that flows on from it takes memory."""
    x, y = eddl.Input((64, 16, 16)), eddl.Input((64, 16, 16))
    tensor = x
    for _ in range(3):
        tensor = eddl.layers.batch_norm(eddl.layers.conv(tensor, 64, 3))
    net = eddl.Model(x, tensor)
    loss = eddl.losses.mean_squared_error(net.outputs[0], y)
    step = eddl.Step([x, y], [loss], [(loss, net.parameters, eddl.SGD(0.1))], device="cpu:array")
    types = [Type("float32", (2, 64, 16, 16))] * 2
    plan = step.program(*types).plan
    ops = [call.nodes[-1].op for call in plan.calls]
    for index, op in enumerate(ops):
        if op == "ConvTranspose":
            assert "ConvWeightGrad" in ops[:index]
            assert ops[:index].count("ConvWeightGrad") >= ops[: index + 1].count("ConvTranspose")


def test_programs_run_in_the_new_order():
    x, values = random_graph(7, 25)
    program = compile_graph(
        Graph([x], [values[-1]]), {x: x.type}, BACKEND, Slabs(BACKEND), memory_of=lambda s: None,
        poison=True,
    )  # fmt: skip
    data = np.random.default_rng(1).standard_normal((4, 6)) * 0.3
    (expected,) = BACKEND.evaluate_graph(program.graph, [data])
    np.testing.assert_array_equal(program.run([data])[0], expected)
