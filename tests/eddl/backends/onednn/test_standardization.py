"""Normalizations of instances, groups and layers on oneDNN."""

import numpy as np
import pytest

from eddl.ops import apply, make_node

from .oracle import ARRAY, ONEDNN, check, compiled, data, with_gradients

SHAPES = [(1, 1, 3, 3), (2, 16, 9, 7), (3, 5, 37), (1, 33, 3, 2, 4), (2, 3, 1, 8), (4, 64, 6, 6)]


def shifted(arrays):
    """Data far from zero, where a variance that is a difference of squares would be wrong."""
    return [arrays[0] * 0.5 + 3, *arrays[1:]]


@pytest.mark.parametrize("shape", SHAPES)
def test_instances(shape):
    inputs, arrays = data(shape, (shape[1],), (shape[1],))
    y = apply("InstanceNormalization", *inputs, epsilon=1e-3)
    outputs = with_gradients(y, inputs)
    check(inputs, outputs, shifted(arrays), 2e-4)
    assert not compiled(inputs, outputs, arrays, ONEDNN).shares.fallbacks


@pytest.mark.parametrize("shape", SHAPES)
def test_groups_of_channels(shape):
    channels = shape[1]
    inputs, arrays = data(shape, (channels,), (channels,))
    arrays = shifted(arrays)
    arrays[0] *= np.linspace(1, 9, channels).reshape(-1, *[1] * (len(shape) - 2))  # means differ
    for groups in {1, channels} | {g for g in (2, 3, 8) if not channels % g}:
        node = make_node("GroupNormalization", *inputs, num_groups=groups, epsilon=1e-3)
        outputs = with_gradients(node.outputs[0], inputs)
        check(inputs, [*outputs, *node.outputs[1:]], arrays, 2e-4)
        assert not compiled(inputs, outputs, arrays, ONEDNN).shares.fallbacks


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("shape", "axis"), [((33, 40), -1), ((2, 5, 33), 1), ((3, 4, 5, 6), 2),
                                             ((7, 1), 1), ((1, 129), 1)])  # fmt: skip
def test_layers(shape, axis, bias):
    inputs, arrays = data(shape, shape[axis:], shape[axis:])
    inputs, arrays = (inputs, arrays) if bias else (inputs[:2], arrays[:2])
    node = make_node("LayerNormalization", *inputs, axis=axis, epsilon=1e-3)
    kernels = check(inputs, with_gradients(node.outputs[0], inputs), shifted(arrays), 2e-4)
    assert sum(kernel == "jit:uni" for kernel in kernels) >= 2
    check(inputs, list(node.outputs), shifted(arrays), 2e-4)


def test_gradients_flow_through_the_statistics_of_layers():
    inputs, arrays = data((6, 40), (40,), (40,))
    node = make_node("LayerNormalization", *inputs)
    total = node.outputs[0] + node.outputs[1] * 2.0 + node.outputs[2]
    check(inputs, with_gradients(total, inputs), shifted(arrays), 2e-4)


KINDS = {
    "InstanceNormalization": {},
    "GroupNormalization": {"num_groups": 2},
    "LayerNormalization": {},
}


@pytest.mark.parametrize("op", KINDS)
def test_second_derivatives(op):
    inputs, arrays = data((2, 4, 6), *[(6,) if op[0] == "L" else (4,)] * 2)
    first = with_gradients(apply(op, *inputs, **KINDS[op]), inputs)[1]
    check(inputs, with_gradients(first, inputs[:2]), shifted(arrays), 1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("op", KINDS)
def test_what_is_not_finite_shows(op, bad):
    inputs, arrays = data((2, 4, 33), *[(33,) if op[0] == "L" else (4,)] * 2)
    arrays[0][1, 2, 5] = bad
    y = apply(op, *inputs, **KINDS[op])
    ours, theirs = (compiled(inputs, [y], arrays, b).run(arrays)[0] for b in (ONEDNN, ARRAY))
    np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs))
    assert not np.isfinite(ours).all()
