"""What is not a number, or infinite, shows in the forward pass as on the array backend."""

import numpy as np
import pytest

import eddl
from eddl.graph import Input, Type
from eddl.ops import apply, make_node

from .oracle import ARRAY, ONEDNN, compiled, data

BAD = [np.nan, -np.nan, np.inf, -np.inf]


def both(inputs, outputs, arrays, **options):
    """The results of the array backend and of oneDNN, and oneDNN's kernels."""
    programs = [compiled(inputs, outputs, arrays, b, **options) for b in (ARRAY, ONEDNN)]
    kernels = {call.nodes[0].op: call.offer for call in programs[1].plan.calls}
    return *(program.run(arrays) for program in programs), kernels


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((2, 16, 6, 6), {"kernel_shape": (2, 2), "strides": (2, 2)}),
        ((1, 5, 9, 8), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
        ((2, 3, 17), {"kernel_shape": (2,), "dilations": (2,)}),
        ((1, 17, 4, 5, 6), {"kernel_shape": (2, 1, 3), "strides": (2, 1, 3), "ceil_mode": 1}),
        ((2, 16, 64, 64), {"kernel_shape": (2, 2), "strides": (2, 2)}),
        ((2, 3, 9000), {"kernel_shape": (2,), "strides": (2,)}),
        ((1, 5, 12, 31, 33), {"kernel_shape": (2, 2, 2), "strides": (2, 2, 2)}),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_greatest_elements(shape, attributes, bad, whole):
    inputs, arrays = data(shape)
    arrays[0][(0, 1) if whole else (0, 1, *[-1] * (len(shape) - 2))] = bad
    arrays[0][-1, -1, ..., 0] = bad
    node = make_node("MaxPool", *inputs, **attributes)
    (theirs,), (ours,), kernels = both(inputs, node.outputs[:1], arrays)
    np.testing.assert_array_equal(ours, theirs)
    assert "dilations" in attributes or kernels["MaxPool"].kernel.startswith("jit")


def test_elements_whose_squares_are_too_large_are_pooled_as_others():
    inputs, arrays = data((1, 16, 4, 4))
    arrays[0] *= 1e30
    y = apply("MaxPool", *inputs, kernel_shape=(2, 2))
    theirs, ours, _ = both(inputs, [y], arrays)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(bool(ONEDNN.why_not("bfloat16")), reason="no bfloat16 here")
@pytest.mark.parametrize("bad", BAD)
def test_greatest_elements_in_half(bad):
    half = np.dtype("bfloat16")
    array = np.random.default_rng(0).standard_normal((2, 16, 32, 64)).astype(half)
    array[0, 1, 2, 3] = array[1, 2] = bad
    x = Input(Type(half, array.shape), name="x")
    y = apply("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2))
    (found,) = compiled([x], [y], [array], ONEDNN).run([array])
    windows = array.astype("f4").reshape(2, 16, 16, 2, 32, 2)
    np.testing.assert_array_equal(found.astype("f4"), windows.max((3, 5)))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("shape", [(3, 5, 8, 9), (2, 16, 4, 4), (4, 3, 7), (1, 17, 3, 2, 4)])
def test_normalized_and_rectified(shape, bad):
    inputs, arrays = data(shape, *[(shape[1],)] * 4)
    arrays[4] = np.abs(arrays[4])
    arrays[0][0, 1, ..., 0] = bad
    node = make_node("BatchNormalization", *inputs, training_mode=1)
    y = apply("Relu", node.outputs[0])
    gradients = make_node("Gradients", apply("ReduceSum", y * y), *inputs[:3], domain="eddl")
    outputs = [y, *node.outputs[1:3], *gradients.outputs]
    theirs, ours, kernels = both(inputs, outputs, arrays)
    assert "BatchNormalizationRelu" in kernels
    for one, other in zip(ours, theirs, strict=True):
        assert np.isnan(one[np.isnan(other)]).all()
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_whose_input_is_not_a_number_says_so(training):
    x = eddl.Input((1, 16, 16))
    images = np.random.default_rng(0).standard_normal((2, 1, 16, 16)).astype("float32")
    images[0, 0, 3, 3] = np.nan
    found = []
    for device in ("cpu:array", "cpu:onednn"):
        net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=8, depth=3), seed=1)
        net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy", device=device)
        if training:
            loss, gradients = net.loss_and_gradients(images, (images[:, 0] > 0).astype("int64"))
            found.append(np.isnan([loss, *(np.isnan(g).any() for g in gradients.values())]))
        else:
            found.append(np.isnan(net.predict(images)))
    assert found[0].any()
    np.testing.assert_array_equal(*found)
