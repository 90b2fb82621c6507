"""What every layer promises, on every example: numbers, gradients, files, sharing, free sizes."""

from __future__ import annotations

import numpy as np
import pytest
from onnxruntime import InferenceSession, SessionOptions

import eddl
from eddl import layers

from .examples import EXAMPLES, Example

QUIET = SessionOptions()
QUIET.log_severity_level = 4


def of(condition):
    chosen = [e for e in EXAMPLES if condition(e)]
    ids = [f"{i}-{e.name}" for i, e in enumerate(chosen)]
    return pytest.mark.parametrize("example", chosen, ids=ids)


EVERY = of(lambda e: True)


def test_every_layer_has_an_example():
    assert {e.layer for e in EXAMPLES} | {"input"} == set(layers.__all__)


def inputs_of(example: Example, arrays, free=False):
    return [
        eddl.Input(
            [None if free and axis in example.free else n for axis, n in enumerate(a.shape)][1:],
            dtype=a.dtype, name=f"x{i}",
        )
        for i, a in enumerate(arrays)
    ]  # fmt: skip


def listed(outputs):
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def network(example: Example, arrays, free=False):
    """A model of the layer alone, with weights that are neither 0 nor 1."""
    xs = inputs_of(example, arrays, free)
    net = eddl.Model(xs, listed(example.build(*xs)))
    r = np.random.default_rng(9)
    net.set_weights({n: r.uniform(0.5, 1.5, w.shape) for n, w in net.weights().items()})
    return net


def computed(net, arrays):
    return listed(net.predict(*arrays, batch_size=len(arrays[0])))


@EVERY
def test_numbers_and_shapes(example: Example):
    arrays = example.arrays()
    net = network(example, arrays)
    expected = listed(example.oracle(*arrays, *net.weights().values()))
    for value, ours, theirs in zip(net.outputs, computed(net, arrays), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
        assert ours.dtype == value.dtype
        known = [(n, m) for n, m in zip(value.shape, ours.shape, strict=True) if isinstance(n, int)]
        assert all(n == m for n, m in known)


@of(lambda e: e.smooth)
def test_gradients_of_weights_and_inputs(example: Example):
    """In training form, along one random direction of everything."""
    arrays = example.arrays()
    net, r = network(example, arrays), np.random.default_rng(4)
    loss = None
    for value, array in zip(net.outputs, computed(net, arrays), strict=True):
        if value.dtype.kind == "f":
            head = layers.constant(r.standard_normal(array.shape), "float64")
            part = eddl.ops.apply("ReduceMean", value * value * head, keepdims=0)
            loss = part if loss is None else loss + part
    floats = [i for i, v in enumerate(net.inputs) if v.dtype.kind == "f"]
    xs = [*(net.inputs[i] for i in floats), *net.parameters]
    step = eddl.Step(net.inputs, [loss, *eddl.gradients(loss, xs)])
    found = step.gradients(*arrays)[0][1:]
    base, names = net.weights(), [net.names[p] for p in net.parameters]
    moves = [r.standard_normal(g.shape) for g in found]
    slope = sum((g * m).sum() for g, m in zip(found, moves, strict=True))
    ends = []
    for size in (1e-6, -1e-6):
        net.set_weights({n: base[n] + size * m
                         for n, m in zip(names, moves[len(floats):], strict=True)})  # fmt: skip
        moved = list(arrays)
        for i, m in zip(floats, moves, strict=False):
            moved[i] = arrays[i] + size * m
        ends.append(float(step.gradients(*moved)[0][0]))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=2e-5, abs=1e-7)
    assert any(np.any(g) for g in found)


@EVERY
def test_files_give_equal_bits(example: Example, tmp_path):
    arrays = example.arrays("float32")
    net = network(example, arrays)
    net.save(tmp_path / "layer.onnx")
    again = eddl.load(tmp_path / "layer.onnx")
    for ours, theirs in zip(computed(again, arrays), computed(net, arrays), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@of(lambda e: not e.runtime)
def test_files_run_elsewhere(example: Example, tmp_path):
    arrays = example.arrays("float32")
    net = network(example, arrays, free=True)
    net.save(tmp_path / "layer.onnx")
    session = InferenceSession(tmp_path / "layer.onnx", QUIET, providers=["CPUExecutionProvider"])
    fed = {i.name: a for i, a in zip(session.get_inputs(), arrays, strict=True)}
    for ours, theirs in zip(computed(net, arrays), session.run(None, fed), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


@EVERY
def test_called_twice_it_shares_its_weights(example: Example):
    arrays = example.arrays()
    net = network(example, arrays)
    other = example.arrays(seed=1)
    others = [
        eddl.Input(v.shape[1:], dtype=v.dtype, name=f"z{i}") for i, v in enumerate(net.inputs)
    ]
    both = eddl.Model([*net.inputs, *others], [*net.outputs, *listed(net(*others))])
    assert set(both.states) == set(net.states)
    found = computed(both, [*arrays, *other])
    expected = [*computed(net, arrays), *computed(net, other)]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@of(lambda e: e.free)
def test_sizes_may_be_free(example: Example):
    arrays = example.arrays()
    free = network(example, arrays, free=True)
    expected = computed(network(example, arrays), arrays)
    for ours, theirs in zip(computed(free, arrays), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@of(lambda e: e.steady)
def test_training_changes_nothing(example: Example):
    arrays = example.arrays()
    net = network(example, arrays)
    found = eddl.Step(net.inputs, net.outputs)(*arrays)
    for ours, theirs in zip(found, computed(net, arrays), strict=True):
        np.testing.assert_array_equal(ours, theirs)
