"""Elementwise kernels where the output takes an operand's memory."""

from __future__ import annotations

import numpy as np
import pytest

import eddl
from eddl.ops import apply


@pytest.mark.parametrize("samples", [1, 2])
def test_a_choice_over_its_own_memory_with_an_axis_of_one(samples):
    """A broadcast view of an axis of size 1 has other strides than its own memory."""
    mask = eddl.Input((1, 5), dtype="float64")
    data = eddl.Input((3, 5), dtype="float64")
    made = apply("Where", apply("Greater", data, 0.0), np.int8(1), np.int8(0))
    kept = apply("Where", apply("Greater", mask, 0.0), made, np.int8(-1))
    step = eddl.Step([mask, data], [kept], training=False)
    r = np.random.default_rng(0)
    m, d = r.standard_normal((samples, 1, 5)), r.standard_normal((samples, 3, 5))
    np.testing.assert_array_equal(step(m, d)[0], np.where(m > 0, np.where(d > 0, 1, 0), -1))


def test_a_choice_of_a_computed_number_is_not_taken_for_zero():
    """What lies in the memory of a value when calls are bound says nothing of what will."""
    data = eddl.Input((3,), dtype="float64")
    greatest = apply("ReduceMax", apply("Abs", data), keepdims=0)
    y = apply("Where", apply("Greater", data, 0.0), data, greatest)
    step = eddl.Step([data], [y], training=False)
    for scale in (0.0, 1.0):  # the first run binds, and leaves zeros behind
        d = scale * np.array([[1.0, -2.0, 3.0]])
        np.testing.assert_array_equal(step(d)[0], np.where(d > 0, d, abs(d).max()))
