"""Activations on oneDNN."""

import numpy as np
import pytest

from eddl.backends.onednn.activations import ALGORITHMS
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
