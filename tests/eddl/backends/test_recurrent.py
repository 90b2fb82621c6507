"""RNN, GRU and LSTM by their kernels against the same sequences unrolled, which is their body.

Values, last states and the gradients of all inputs, for every operator, direction and kind of
inputs; with several threads, several spans of steps and a last span that is shorter.
"""

import itertools
import weakref

import numpy as np
import pytest

from eddl import devices
from eddl.backends.array import ArrayBackend, recurrent, spans
from eddl.backends.array.cells import CELLS
from eddl.backends.array.recurrence import Recurrence
from eddl.compiler import Slabs, compile_graph
from eddl.errors import EddlError
from eddl.graph import Constant, Graph, Input, Type
from eddl.ops import apply, make_node

STEPS, BATCH, FEATURES, UNITS = 11, 5, 3, 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
KINDS = {
    "RNN": ("RNN", {}),
    "RNN Relu": ("RNN", {"activations": ("Relu",)}),
    "RNN Sigmoid": ("RNN", {"activations": ("sigmoid",)}),
    "GRU": ("GRU", {}),
    "GRU before": ("GRU", {"linear_before_reset": 1}),
    "LSTM": ("LSTM", {}),
    "LSTM by name": ("LSTM", {"activations": ("sigmoid", "TANH", "Tanh")}),
}
DIRECTIONS = ("forward", "reverse", "bidirectional")


class Unrolled(ArrayBackend):
    """Without the kernels of this room."""

    def patterns(self, node):
        return () if node.op.removesuffix("Grad") in CELLS else super().patterns(node)


def backend_of(name):
    if name == "array":
        return ArrayBackend(threads=3)
    try:
        return devices.backend(f"cpu:{name}")
    except EddlError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def small_work(monkeypatch):
    """Spans of a few steps, and a thread for a few rows."""
    monkeypatch.setattr(spans, "LONGEST", 4)
    monkeypatch.setattr(recurrent, "FEWEST", 1)


def network(op, how, *, bias=True, lengths=True, states=True, flows="Y Y_h Y_c", dtype="float64",
            sizes=(STEPS, BATCH, FEATURES, UNITS)):  # fmt: skip
    """Inputs, arrays, and what is compared: outputs, and gradients of the floating inputs."""
    steps, batch, features, units = sizes
    r = np.random.default_rng(3)
    wide = 2 if how.get("direction") == "bidirectional" else 1
    how = {**how, "activations": how.get("activations", ()) * wide}
    rows = GATES[op] * units
    shapes = [(steps, batch, features), (wide, rows, features), (wide, rows, units)]
    arrays = [0.6 * r.standard_normal(shape).astype(dtype) for shape in shapes]
    arrays.append(r.standard_normal((wide, 2 * rows)).astype(dtype) if bias else None)
    counts = np.resize(np.asarray([steps, 0, 3, steps - 1, 7], np.int32), batch)
    arrays.append(np.minimum(counts, steps) if lengths else None)
    count = 2 if op == "LSTM" else 1
    arrays += [r.standard_normal((wide, batch, units)).astype(dtype) if states else None
               for _ in range(count)]  # fmt: skip
    values = [None if a is None else Input(Type(a.dtype, a.shape)) for a in arrays]
    node = make_node(op, *values, hidden_size=units, **how)
    public = dict(zip(("Y", "Y_h", "Y_c"), node.outputs, strict=False))
    if op != "LSTM":
        public.pop("Y_c", None)
    loss = None
    for name, value in public.items():
        if name in flows.split():
            weight = Constant(r.standard_normal(value.type.sizes).astype(dtype))
            part = apply("ReduceSum", apply("Sin", value) * weight, keepdims=0)
            loss = part if loss is None else loss + part
    given = [v for v in values if v is not None]
    floats = [v for v in given if v.dtype.kind == "f"]
    gradients = make_node("Gradients", loss, *floats, domain="eddl").outputs
    return given, [a for a in arrays if a is not None], [*public.values(), *gradients]


def program(inputs, outputs, backend):
    types = {v: v.type for v in inputs}
    return compile_graph(Graph(inputs, outputs), types, backend, Slabs(backend),
                         memory_of=lambda s: None, poison=True)  # fmt: skip


def check(backend, tolerance, **options):
    dtype = options.setdefault("dtype", "float64")
    inputs, arrays, outputs = network(**options)
    made = program(inputs, outputs, backend)
    assert {"spans"} == {
        call.offer.kernel.split()[0] for call in made.plan.calls
        if call.nodes[0].op.removesuffix("Grad") in CELLS
    }  # fmt: skip
    expected = program(inputs, outputs, Unrolled(threads=1)).run(arrays)
    found = made.run(arrays)
    for ours, theirs, again in zip(found, expected, made.run(arrays), strict=True):
        assert ours.dtype == dtype
        scale = max(1.0, float(np.abs(theirs).max()))
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)
        np.testing.assert_array_equal(ours, again)


@pytest.mark.parametrize("backend", ["array", "onednn"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernels_equal_the_unrolled_sequence(kind, direction, backend):
    op, how = KINDS[kind]
    precise = backend == "array"
    for lengths, states in itertools.product([False, True], repeat=2):
        check(backend_of(backend), 1e-11 if precise else 2e-5,
              dtype="float64" if precise else "float32", op=op,
              how={**how, "direction": direction}, lengths=lengths, states=states)  # fmt: skip


@pytest.mark.parametrize("backend", ["array", "onednn"])
@pytest.mark.parametrize("flows", ["Y", "Y_h", "Y_c", "Y_h Y_c"])
@pytest.mark.parametrize("op", GATES)
def test_gradients_flow_from_each_output_alone(op, flows, backend):
    if flows == "Y_c" and op != "LSTM":
        pytest.skip("no such output")
    check(backend_of(backend), 2e-5, dtype="float32", op=op, how={"direction": "bidirectional"},
          flows=flows, bias=False)  # fmt: skip


@pytest.mark.parametrize("backend", ["array", "onednn"])
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (3, 1, 2, 17), (40, 2, 5, 16), (5, 33, 1, 8), (9, 6, 16, 48)]
)
@pytest.mark.parametrize("op", GATES)
def test_any_size(op, sizes, backend, monkeypatch):
    monkeypatch.setattr(spans, "ROWS", 24)
    check(backend_of(backend), 5e-5, dtype="float32", op=op, how={}, sizes=sizes)


@pytest.mark.parametrize(
    ("op", "how", "why"),
    [
        ("LSTM", {"clip": 1.0}, "clip"),
        ("LSTM", {"input_forget": 1}, "input_forget"),
        ("GRU", {"activations": ("Sigmoid", "Relu")}, "activations"),
        ("RNN", {"activations": ("Softsign",)}, "activations"),
    ],
)
def test_what_no_kernel_computes_is_unrolled(op, how, why):
    inputs, arrays, outputs = network(op, how)
    assert not Recurrence.fits(outputs[0].node)
    for backend in (ArrayBackend(threads=2), backend_of("onednn")):
        made = program(inputs, outputs, backend)
        assert not any(call.nodes[0].op.startswith(op) for call in made.plan.calls), why
        expected = program(inputs, outputs, Unrolled(threads=1)).run(arrays)
        for ours, theirs in zip(made.run(arrays), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


def test_batch_first_is_the_same_kernel():
    r = np.random.default_rng(0)
    arrays = [r.standard_normal(s) for s in ((3, 6, 2), (1, 16, 2), (1, 16, 4))]
    inputs = [Input(Type("float64", a.shape)) for a in arrays]
    turned = apply("Transpose", inputs[0], perm=(1, 0, 2))
    first = make_node("LSTM", *inputs, hidden_size=4, layout=1)
    plain = make_node("LSTM", turned, *inputs[1:], hidden_size=4)
    results = []
    for node, axis in ((first, 0), (plain, 1)):
        y, last = node.outputs[0], node.outputs[1]
        loss = apply("ReduceSum", y * y, keepdims=0) + apply("ReduceSum", last * last, keepdims=0)
        gradients = make_node("Gradients", loss, *inputs, domain="eddl").outputs
        made = program(inputs, [loss, *gradients], ArrayBackend(threads=1))
        assert sum(call.nodes[0].op == "LSTMGrad" for call in made.plan.calls) == 1, axis
        results.append(made.run(arrays))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_inference_plans_no_memory_for_what_only_training_saves():
    r = np.random.default_rng(0)
    arrays = [r.standard_normal(s).astype("float32")
              for s in ((200, 4, 8), (1, 64, 8), (1, 64, 16))]  # fmt: skip
    inputs = [Input(Type("float32", a.shape)) for a in arrays]
    last = make_node("LSTM", *inputs, hidden_size=16).outputs[1]
    made = program(inputs, [last], ArrayBackend(threads=1))
    assert made.plan.transient < 200 * 4 * 16 * 4  # less than the states of all steps


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-2), ("float64", 1e-11)])
@pytest.mark.parametrize("op", GATES)
def test_other_types_than_float32(op, dtype, tolerance):
    inputs, arrays, outputs = network(op, {}, dtype=dtype, lengths=False)
    wide, _, reference = network(op, {}, lengths=False)
    expected = program(wide, reference, Unrolled(threads=1)).run([a.astype("f8") for a in arrays])
    found = program(inputs, outputs, backend_of("onednn")).run(arrays)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("backend", ["array", "onednn"])
@pytest.mark.parametrize("op", GATES)
def test_the_callers_sequence_is_read_anew_and_not_kept(op, backend):
    inputs, arrays, outputs = network(op, {}, dtype="float32")
    made = program(inputs, outputs, backend_of(backend))
    first = made.run(arrays)
    other = [np.flip(arrays[0], 0).copy(), *arrays[1:]]
    held = weakref.ref(other[0])
    found = made.run(other)
    fresh = program(inputs, outputs, backend_of(backend)).run(other)
    for ours, theirs in zip(found, fresh, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(made.run(arrays), first, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    del other
    assert held() is None


@pytest.mark.parametrize("backend", ["array", "onednn"])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_states_alone_are_those_behind_all_steps(kind, lengths, backend):
    op, how = KINDS[kind]
    inputs, arrays, outputs = network(op, how, dtype="float32", lengths=lengths)
    count = 3 if op == "LSTM" else 2
    whole = program(inputs, outputs[:count], backend_of(backend)).run(arrays)
    last = program(inputs, outputs[1:count], backend_of(backend)).run(arrays)
    for ours, theirs in zip(last, whole[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
