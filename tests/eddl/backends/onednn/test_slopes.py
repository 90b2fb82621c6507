"""Rectifiers with slopes on oneDNN."""

import numpy as np
import pytest

from eddl.ops import apply

from .oracle import ARRAY, ONEDNN, check, compiled, data, with_gradients


@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize(
    "shape", [(2, 16, 17, 19), (1, 3, 70, 64), (3, 33, 101), (1, 5, 13, 14, 15), (2, 3, 4, 5)]
)
def test_slopes_of_channels(shape, each):
    slopes = (shape[1], *[1] * (len(shape) - 2)) if each else (1,)
    inputs, arrays = data(shape, slopes)
    check(inputs, with_gradients(apply("PRelu", *inputs), inputs), arrays, 1e-4)


def test_slopes_of_another_shape_are_left_to_numpy():
    inputs, arrays = data((2, 16, 17, 19), (17, 1))
    y = apply("PRelu", *inputs)
    kernels = check(inputs, with_gradients(y, inputs), arrays, 1e-4)
    assert "jit_uni" not in kernels


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows(bad):
    inputs, arrays = data((2, 16, 17, 19), (16, 1, 1))
    arrays[0][0, 3, 5, 5] = bad
    y = apply("PRelu", *inputs)
    ours, theirs = (compiled(inputs, [y], arrays, b).run(arrays)[0] for b in (ONEDNN, ARRAY))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("count", [4, 64])
@pytest.mark.parametrize("slopes", [(1,), (8, 1, 1)])
def test_at_zero_the_slope_is_that_of_below(count, slopes):
    inputs, arrays = data((2, 8, count, 16), slopes)
    arrays[0][:, :, ::2] = 0
    outputs = with_gradients(apply("PRelu", *inputs), inputs)
    check(inputs, outputs, arrays)
    flow = compiled(inputs, outputs, arrays, ARRAY).run(arrays)
    weight = np.random.default_rng(0).standard_normal(arrays[0].shape).astype("float32")
    np.testing.assert_allclose(flow[1][:, :, ::2], (weight * arrays[1])[:, :, ::2], rtol=1e-6)
