"""Activations on oneDNN."""

import numpy as np
import pytest

from eddl.backends.onednn.activations import ALGORITHMS
from eddl.graph import Input, Type
from eddl.ops import apply

from .oracle import ARRAY, ONEDNN, check, compiled, data, with_gradients

ATTRIBUTES = {
    "Elu": [{"alpha": 1.3}],
    "Gelu": [{}, {"approximate": "tanh"}],
    "LeakyRelu": [{"alpha": 0.2}],
    "Swish": [{}, {"alpha": 1.7}],
}
EVERY = [(op, how) for op in ALGORITHMS for how in ATTRIBUTES.get(op, [{}])]


@pytest.mark.parametrize(("op", "how"), EVERY)
@pytest.mark.parametrize("shape", [(9, 1000), (2, 16, 17, 19), (1 << 13,)])
def test_activations_and_their_gradients(op, how, shape):
    inputs, arrays = data(shape)
    arrays[0] *= 4
    arrays[0].reshape(-1)[:6] = 0, -0.0, 40, -40, 1e-20, -1e-20
    y = apply(op, inputs[0], **how)
    kernels = check(inputs, [y], arrays, 2e-6)
    assert kernels == ["jit:avx512_core"] or kernels[0].startswith("jit")
    check(inputs, with_gradients(y, inputs), arrays, 2e-6)


@pytest.mark.parametrize(("op", "how"), EVERY)
def test_an_activation_stands_apart_from_its_neighbours(op, how):
    """Within a chain of formulas NumPy would compute it."""
    inputs, arrays = data((64, 300), (64, 300))
    y = apply(op, inputs[0] + inputs[1], **how) * inputs[1]
    kernels = check(inputs, [y], arrays, 2e-6)
    assert len(kernels) == 3 and any(name.startswith("jit") for name in kernels)


@pytest.mark.parametrize(("op", "how"), EVERY)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_an_activation_is_given_shows_unless_it_ends_there(op, how, bad):
    """What is not a number stays so; infinity gives its limit, or is not a number, either."""
    inputs, arrays = data((64, 300))
    arrays[0][3, 5] = bad
    y = apply(op, inputs[0], **how)
    ours, theirs = (compiled(inputs, [y], arrays, b).run(arrays)[0] for b in (ONEDNN, ARRAY))
    same = np.isclose(ours[3, 5], theirs[3, 5], equal_nan=True)
    assert same or np.isnan(ours[3, 5])  # oneDNN's of infinity is none where it is inf * 0
    np.testing.assert_allclose(np.delete(ours, 3, 0), np.delete(theirs, 3, 0), atol=2e-6)


def test_a_slope_of_zero_is_left_to_numpy():
    """As a rectifier oneDNN hides what is not a number."""
    inputs, arrays = data((64, 300))
    arrays[0][3, 5] = np.nan
    y = apply("LeakyRelu", *inputs, alpha=0.0)
    (found,) = compiled(inputs, [y], arrays, ONEDNN).run(arrays)
    assert np.isnan(found[3, 5])


def test_few_elements_are_left_to_numpy():
    inputs, arrays = data((4, 5))
    assert check(inputs, [apply("Gelu", *inputs)], arrays) == ["Gelu"]


@pytest.mark.parametrize("shape", [(9, 5000), (2, 16, 33, 17), (1 << 14,)])
@pytest.mark.parametrize("added", [False, True])
def test_what_a_rectifier_lets_through(shape, added):
    inputs, arrays = data(shape, shape, shape)
    y, flow, more = inputs
    whole = flow + more if added else flow
    passed = apply("ReluGrad", y, whole, domain="eddl")
    used = inputs if added else inputs[:2]
    program = compiled(used, [passed], arrays[: len(used)], ONEDNN, poison=True)
    assert [c.offer.kernel for c in program.plan.calls] == ["chains"]
    expected = np.where(arrays[0] > 0, arrays[1] + arrays[2] * added, 0)
    for _ in range(2):
        np.testing.assert_array_equal(program.run(arrays[: len(used)])[0], expected)


@pytest.mark.parametrize("backend", [ARRAY, ONEDNN])
def test_a_gradient_that_is_not_finite_shows_behind_a_rectifier(backend):
    inputs, arrays = data((4, 8192), (4, 8192))
    arrays[1][1], arrays[1][2] = np.inf, np.nan
    (found,) = compiled(inputs, [apply("ReluGrad", *inputs, domain="eddl")], arrays, backend).run(
        arrays
    )
    assert not np.isfinite(found[1:3][arrays[0][1:3] > 0]).any()
    assert np.isfinite(found[[0, 3]]).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_choice_that_hides_what_is_not_finite_hides_it(dtype):
    """Such as a file may hold, to divide where there is something to divide by."""
    if dtype == "bfloat16" and ONEDNN.why_not(dtype):
        pytest.skip("no bfloat16 here")
    x = np.random.default_rng(0).standard_normal((64, 1024)).astype("float32")
    x[:8] = 0
    kind, zero = np.dtype(dtype), np.zeros((), dtype)
    given = Input(Type(kind, x.shape))
    y = apply("Where", apply("Greater", given, zero), apply("Reciprocal", given), zero)
    (found,) = compiled([given], [y], [x.astype(kind)], ONEDNN).run([x.astype(kind)])
    found, x = found.astype("float32"), x.astype(kind).astype("float32")
    assert not found[x <= 0].any()
    np.testing.assert_allclose(found[x > 0], 1 / x[x > 0], rtol=1e-2)
