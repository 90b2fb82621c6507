"""The `Gradients` pass: sums over uses, nesting, zeros, bodies."""

import numpy as np
import pytest

from eddl.backends.array import ArrayBackend
from eddl.compiler import Slabs, compile_graph
from eddl.errors import EddlError
from eddl.graph import Graph, Input, Type
from eddl.ops import apply, make_node
from eddl.ops.differentiation import gradients

BACKEND = ArrayBackend(threads=1)


def evaluate(outputs, fed):
    types = {v: Type(a.dtype, a.shape) for v, a in fed.items()}
    program = compile_graph(
        Graph(list(fed), outputs), types, BACKEND, Slabs(BACKEND), memory_of=lambda s: None,
        poison=True,
    )  # fmt: skip
    return program.run(list(fed.values()))


def scalar(name="x"):
    return Input(Type("float64", ()), name=name)


def test_a_value_used_twice_sums_its_gradients():
    x = scalar()
    y = x * x + 3.0 * x
    (g,) = evaluate(gradients(y, [x]), {x: np.array(2.0)})
    assert g == pytest.approx(7.0)


def test_derivatives_nest_to_any_order():
    x = scalar()
    y, expected = x**5.0, [80.0, 160.0, 240.0, 240.0, 120.0, 0.0]
    found = []
    for _ in expected:
        (y,) = gradients(y, [x])
        found.append(y)
    values = evaluate(found, {x: np.array(2.0)})
    np.testing.assert_allclose([float(v) for v in values], expected)


def test_what_y_does_not_depend_on_has_gradient_zero():
    x, z = Input(Type("float64", (2, 3)), name="x"), scalar("z")
    g = gradients(z * z, [x, z])
    values = evaluate(g, {x: np.ones((2, 3)), z: np.array(3.0)})
    np.testing.assert_array_equal(values[0], np.zeros((2, 3)))
    assert values[1] == 6.0


def test_the_gradient_of_an_intermediate_value_can_be_asked_for():
    x = scalar()
    middle = x * x
    y = apply("Exp", middle)
    (g,) = evaluate(gradients(y, [middle]), {x: np.array(0.5)})
    assert g == pytest.approx(np.exp(0.25))


def test_a_gradient_penalty_trains():
    """The shape of a Wasserstein critic's penalty: (|dD/dx| - 1)^2, differentiated again."""
    x = Input(Type("float64", (4, 3)), name="x")
    w = Input(Type("float64", (3, 5)), name="w")
    critic = apply("ReduceSum", apply("Tanh", apply("MatMul", x, w)), keepdims=0)
    (dx,) = gradients(critic, [x])
    norm = apply("Sqrt", apply("ReduceSum", dx * dx, np.array([1]), keepdims=0))
    penalty = apply("ReduceMean", (norm - 1.0) ** 2.0, keepdims=0)
    (dw,) = gradients(penalty, [w])
    r = np.random.default_rng(0)
    data, weights = r.standard_normal((4, 3)), r.standard_normal((3, 5))
    (exact,) = evaluate([dw], {x: data, w: weights})
    direction, step = r.standard_normal((3, 5)), 1e-6
    high, low = (
        evaluate([penalty], {x: data, w: weights + s * direction})[0] for s in (step, -step)
    )
    assert (exact * direction).sum() == pytest.approx((high - low) / (2 * step), rel=1e-6)


def test_differentiating_an_integer_is_refused():
    x = Input(Type("int64", (3,)), name="x")
    with pytest.raises(EddlError, match="floating value"):
        make_node("Gradients", x, x, domain="eddl")
