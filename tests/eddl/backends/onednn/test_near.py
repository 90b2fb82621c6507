"""Normalization over near channels on oneDNN."""

import numpy as np
import pytest

from eddl.ops import apply

from .oracle import ARRAY, ONEDNN, check, compiled, data, with_gradients


@pytest.mark.parametrize("shape", [(2, 16, 5, 4), (3, 7, 6), (1, 33, 3, 2, 4), (2, 3, 1, 8)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("numbers", [{}, {"alpha": 0.5, "beta": 0.6, "bias": 2.0}])
def test_any_number_of_channels(shape, size, numbers):
    inputs, arrays = data(shape)
    arrays[0] *= 3
    outputs = with_gradients(apply("LRN", *inputs, size=size, **numbers), inputs)
    check(inputs, outputs, arrays, 1e-4)


def test_the_network_that_it_is_for_is_computed_by_onednn():
    inputs, arrays = data((2, 64, 13, 13))
    y = apply("LRN", *inputs, size=5, alpha=1e-4, beta=0.75)
    kernels = check(inputs, with_gradients(y, inputs), arrays, 1e-4)
    assert sum(name.startswith("lrn_jit") for name in kernels) == 2


def test_second_derivatives():
    inputs, arrays = data((2, 5, 4))
    first = with_gradients(apply("LRN", *inputs, size=3, alpha=0.5), inputs)[1]
    check(inputs, with_gradients(first, inputs), arrays, 1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows(bad):
    inputs, arrays = data((2, 16, 4, 4))
    arrays[0][1, 7, 2, 2] = bad
    y = apply("LRN", *inputs, size=5)
    ours, theirs = (compiled(inputs, [y], arrays, b).run(arrays)[0] for b in (ONEDNN, ARRAY))
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.isnan(ours[1, 7, 2, 2])
