"""Soft maxima on oneDNN."""

import numpy as np
import pytest

from eddl.graph import Input, Type
from eddl.ops import apply

from .oracle import ARRAY, ONEDNN, check, compiled, data, with_gradients

CASES = [((128, 10), 1), ((3, 7), -1), ((2, 5, 33), -1), ((2, 5, 33), 1), ((4, 2, 9, 8), 1),
         ((1, 17, 3, 4, 5), 1), ((2, 3, 4, 5), 2), ((6, 3), 0), ((9,), 0), ((4, 1, 3), 1),
         ((2, 3, 1, 1), 1)]  # fmt: skip


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(("shape", "axis"), CASES)
def test_any_axis(op, shape, axis):
    inputs, arrays = data(shape)
    arrays[0] = arrays[0] * 8
    check(inputs, with_gradients(apply(op, *inputs, axis=axis), inputs), arrays)


def test_between_convolutions_nothing_is_reordered():
    inputs, arrays = data((2, 16, 9, 8), (5, 16, 3, 3), (3, 5, 1, 1))
    x, w, v = inputs
    y = apply("Conv", apply("Softmax", apply("Conv", x, w, pads=(1, 1, 1, 1)), axis=1), v)
    program = compiled(inputs, [y], arrays, ONEDNN)
    moved = [c.inputs[0].type.sizes for c in program.plan.calls if c.nodes[0].op == "Identity"]
    assert (2, 5, 9, 8) not in moved
    check(inputs, [y], arrays)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_what_is_not_finite_shows(op, bad):
    inputs, arrays = data((4, 20))
    arrays[0][2, 7] = bad
    y = apply(op, *inputs, axis=1)
    ours, theirs = (compiled(inputs, [y], arrays, b).run(arrays)[0] for b in (ONEDNN, ARRAY))
    rows = [0, 1, 3]
    np.testing.assert_allclose(ours[rows], theirs[rows], rtol=1e-5, atol=2e-6)
    assert np.isnan(ours[2, 7]) == np.isnan(theirs[2, 7])


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_types_are_left_to_numpy(dtype):
    x = Input(Type(dtype, (4, 6)), name="x")
    array = np.arange(24).reshape(4, 6).astype(dtype) / 7
    y = apply("Softmax", x, axis=1)
    ours, theirs = (compiled([x], [y], [array], b).run([array])[0] for b in (ONEDNN, ARRAY))
    np.testing.assert_array_equal(ours, theirs)
