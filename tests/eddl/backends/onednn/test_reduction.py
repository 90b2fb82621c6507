"""Sums of all elements on oneDNN."""

import numpy as np
import pytest

from eddl.ops import apply

from .oracle import ARRAY, ONEDNN, compiled, data


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean"])
@pytest.mark.parametrize("shape", [(1 << 15,), (100_003,), (3, 17, 60, 61), (2, 5, 33, 20, 11)])
def test_sums_of_all_elements(op, shape):
    inputs, arrays = data(shape)
    y = apply(op, *inputs, keepdims=0)
    program = compiled(inputs, [y], arrays, ONEDNN, poison=True)
    assert [c.offer.host for c in program.plan.calls if c.nodes[0].op == op] == [None]
    for _ in range(2):
        (found,) = program.run(arrays)
        exact = arrays[0].astype("float64")
        expected = exact.sum() if op == "ReduceSum" else exact.mean()
        share = 1 if op == "ReduceSum" else exact.size
        assert abs(found - expected) * share <= 1e-6 * np.abs(exact).sum()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 77_777, 100_002])
def test_what_is_not_finite_shows_in_the_sum(bad, place):
    inputs, arrays = data((100_003,))
    arrays[0][place] = bad
    y = apply("ReduceSum", *inputs, keepdims=0)
    ours, theirs = (compiled(inputs, [y], arrays, b).run(arrays)[0] for b in (ONEDNN, ARRAY))
    np.testing.assert_array_equal(ours, theirs)
