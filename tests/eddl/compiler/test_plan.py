"""The memory plan: no two living values overlap, ever, and the bound is reached or nearly so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eddl
from eddl.backends.array import ArrayBackend
from eddl.compiler import Plan, Slabs, compile_graph, plan_memory, select
from eddl.compiler.plan import FOREVER, Buffer, _place
from eddl.errors import EddlError
from eddl.graph import Graph, Input, Type
from eddl.ops import apply

from .graphs import overlaps, random_graph

BACKEND = ArrayBackend(threads=1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 25), st.booleans())
def test_any_graph_runs_the_same_with_dead_memory_poisoned(seed, length, differentiate):
    x, values = random_graph(seed, length)
    outputs = [values[-1], values[len(values) // 2]]
    if differentiate:
        outputs += eddl.gradients(apply("ReduceSum", values[-1], keepdims=0), [x])
    data = np.random.default_rng(1).standard_normal((4, 6)) * 0.3
    program = compile_graph(
        Graph([x], outputs), {x: x.type}, BACKEND, Slabs(BACKEND), memory_of=lambda s: None,
        poison=True,
    )  # fmt: skip
    assert not overlaps(program.plan)
    assert program.plan.transient <= program.plan.peak * 1.5 + 64 * len(program.plan.calls)
    found = program.run([data])
    alone = [
        compile_graph(
            Graph([x], [o]), {x: x.type}, BACKEND, Slabs(BACKEND), memory_of=lambda s: None
        ).run([data])[0]
        for o in outputs
    ]
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(found[0]).all()


def test_a_chain_of_elementwise_operators_lives_in_one_buffer():
    x = Input(Type("float32", (1000,)), name="x")
    y = apply("Tanh", apply("Exp", -x))
    graph = Graph([x], [y])
    plan = plan_memory(graph, select(graph, BACKEND))
    buffers = {id(plan.buffers[call.outputs[0]]) for call in plan.calls}
    assert len(buffers) == 1


def test_inputs_are_never_overwritten():
    x = Input(Type("float32", (1000,)), name="x")
    data = np.linspace(-1, 1, 1000, dtype="float32")
    before = data.copy()
    program = compile_graph(
        Graph([x], [apply("Exp", -x)]), {x: x.type}, BACKEND, Slabs(BACKEND),
        memory_of=lambda s: None,
    )  # fmt: skip
    program.run([data])
    np.testing.assert_array_equal(data, before)


def test_slabs_are_no_larger_than_the_device_allows():
    x = Input(Type("float32", (1024,)), name="x")
    parts = [apply("Exp", x * float(i)) for i in range(8)]
    total = parts[0]
    for part in reversed(parts):
        total = total + part
    graph = Graph([x], [total])
    plan = plan_memory(graph, select(graph, BACKEND), max_slab=10_000)
    assert len(plan.slabs) > 1
    assert max(plan.slabs) <= 10_000
    assert not overlaps(plan)
    with pytest.raises(EddlError, match="more than one allocation"):
        plan_memory(graph, select(graph, BACKEND), max_slab=1000)


def test_little_is_lost_between_buffers():
    lost = []
    for seed in range(6):
        random = np.random.default_rng(seed)
        plan = Plan([None] * 40)
        for index in range(400):  # every other one is small, as biases are
            birth = int(random.integers(40))
            death = min(39, birth + int(random.geometric(0.25)))
            size = 64 * int(random.integers(1, 40) if index % 2 else random.integers(2000, 90000))
            plan.workspaces[index] = Buffer(size, birth, death)
        plan.peak = max(plan.alive())
        _place(plan, 64, FOREVER)
        assert not overlaps(plan)
        lost.append(plan.transient / plan.peak)
    assert np.mean(lost) < 1.012


def test_the_plan_of_a_unet_step_is_close_to_its_bound():
    x = eddl.Input((1, 64, 64))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=3, filters=8))
    net.build(optimizer=eddl.Adam(1e-3), loss="dice_cross_entropy")
    report = net.memory_plan((2, 1, 64, 64))
    assert report.transient <= 1.1 * report.peak
    assert "MiB" in str(report)
