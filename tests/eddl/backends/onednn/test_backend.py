"""oneDNN's kernels against the array backend's, over shapes that no table of rows holds."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eddl
from eddl.errors import EddlError
from eddl.graph import Input, Type
from eddl.ops import apply, make_node

from .oracle import ARRAY, ONEDNN, check, compiled, data, followed, with_gradients


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_convolutions_of_any_geometry(draw):
    pick = lambda *choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    rank, group = pick(1, 2, 3), pick(1, 1, 2, 3)
    each, filters = pick(1, 2, 5, 16), group * pick(1, 2, 7, 16)
    kernel = [pick(1, 2, 3, 4) for _ in range(rank)]
    dilations = [pick(1, 1, 2) for _ in range(rank)]
    strides = [pick(1, 1, 2, 3) for _ in range(rank)]
    pads = [pick(0, 1, 2) for _ in range(2 * rank)]
    sizes = [d * (k - 1) + 1 + pick(0, 1, 4, 6) for k, d in zip(kernel, dilations, strict=True)]
    inputs, arrays = data((pick(1, 2, 3), group * each, *sizes), (filters, each, *kernel),
                          (filters,))  # fmt: skip
    given_bias = inputs if pick(True, False) else inputs[:2]
    y = apply("Conv", *given_bias, group=group, dilations=tuple(dilations),
              strides=tuple(strides), pads=tuple(pads))  # fmt: skip
    y, inputs, arrays = followed(draw, y, given_bias, arrays[: len(given_bias)])
    check(inputs, [y] if pick(True, False) else with_gradients(y, inputs), arrays)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_transposed_convolutions_of_any_geometry(draw):
    pick = lambda *choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    rank, group = pick(1, 2, 3), pick(1, 1, 2)
    each, filters = pick(1, 3, 16), pick(1, 2, 16)
    kernel = [pick(1, 2, 3) for _ in range(rank)]
    strides = [pick(1, 2, 3) for _ in range(rank)]
    extra = [pick(*range(s)) for s in strides]
    pads = [pick(*range(k)) for k in kernel] * 2
    inputs, arrays = data((pick(1, 2), group * each, *[pick(2, 3, 6) for _ in range(rank)]),
                          (group * each, filters, *kernel), (group * filters,))  # fmt: skip
    given_bias = inputs if pick(True, False) else inputs[:2]
    try:
        y = apply("ConvTranspose", *given_bias, group=group, strides=tuple(strides),
                  pads=tuple(pads), output_padding=tuple(extra))  # fmt: skip
    except EddlError:
        return  # paddings that leave nothing
    y, inputs, arrays = followed(draw, y, given_bias, arrays[: len(given_bias)])
    check(inputs, [y] if pick(True, False) else with_gradients(y, inputs), arrays)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_pools_of_any_geometry(draw):
    pick = lambda *choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    rank = pick(1, 2, 3)
    kernel = [pick(1, 2, 3) for _ in range(rank)]
    pads = [pick(*range(k)) for k in kernel] * 2
    inputs, arrays = data((pick(1, 3), pick(1, 3, 16, 17), *[pick(3, 5, 8) for _ in range(rank)]))
    node = make_node(
        "MaxPool", *inputs, kernel_shape=tuple(kernel), pads=tuple(pads),
        strides=tuple(pick(1, 2, 3) for _ in kernel), ceil_mode=pick(0, 1),
    )  # fmt: skip
    check(inputs, [*with_gradients(node.outputs[0], inputs), node.outputs[1]], arrays)


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 3, 3), (2, 16, 4, 4), (3, 5, 7), (1, 33, 3, 2, 4), (2, 8, 1, 1), (4, 3), (33, 48)],
)
@pytest.mark.parametrize("relu", [False, True])
def test_batch_normalization_in_training(shape, relu):
    inputs, arrays = data(shape, *[(shape[1],)] * 4)
    arrays[4] = np.abs(arrays[4]) + 0.1
    node = make_node("BatchNormalization", *inputs, training_mode=1)
    y = apply("Relu", node.outputs[0]) if relu else node.outputs[0]
    check(inputs, [*with_gradients(y, inputs[:3]), *node.outputs[1:3]], arrays, 1e-4)


def test_what_lies_between_kernels_is_not_reordered():
    """A residual block with a concatenation: one reorder of data at each end, the rest weights'."""
    inputs, arrays = data((2, 16, 9, 8), (16, 16, 3, 3), (8, 32, 3, 3))
    x, w, v = inputs
    first = apply("Conv", x, w, pads=(1, 1, 1, 1))
    joined = apply("Concat", apply("Relu", first) + first, apply("Sigmoid", first), axis=1)
    y = apply("Conv", joined * 0.5, v, pads=(1, 1, 1, 1))
    program = compiled(inputs, [y], arrays, ONEDNN)
    moved = [
        call.inputs[0].type.sizes
        for call in program.plan.calls
        if call.nodes[0].op == "Identity" and call.inputs[0].rank == 4
    ]
    weights = [w.type.sizes, v.type.sizes]
    assert sorted(s for s in moved if s not in weights) == [(2, 8, 9, 8), (2, 16, 9, 8)]
    check(inputs, [y], arrays)


def test_a_skips_gradient_is_added_by_the_convolution():
    inputs, arrays = data((2, 16, 16, 16), (16, 16, 3, 3))
    x, w = inputs
    first = apply("Conv", x, w, pads=(1, 1, 1, 1))
    pooled = apply("MaxPool", first, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    ends = with_gradients(apply("Conv", first, w, pads=(1, 1, 1, 1)) + pooled, inputs)
    program = compiled(inputs, ends, arrays, ONEDNN)
    chains = [tuple(node.op for node in call.nodes) for call in program.plan.calls]
    assert {("Conv", "Add"), ("ConvTranspose", "Add")} <= set(chains)
    check(inputs, ends, arrays)


def test_arrays_may_lie_in_any_way():
    inputs, arrays = data((2, 4, 6, 6), (3, 4, 3, 3))
    y = apply("Conv", *inputs)
    program = compiled(inputs, [y], arrays, ONEDNN)
    (expected,) = program.run(arrays)
    turned = np.asfortranarray(arrays[0])
    reversed_twice = arrays[0][:, ::-1].copy()[:, ::-1]
    for other in (turned, reversed_twice):
        np.testing.assert_array_equal(program.run([other, arrays[1]])[0], expected)


def test_bits_are_the_same_from_run_to_run():
    x = eddl.Input((1, 32, 32))
    images = np.random.default_rng(0).standard_normal((3, 1, 32, 32)).astype("float32")
    labels = (images[:, 0] > 0).astype("int64")
    found = []
    for _ in range(2):
        net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=8, depth=3), seed=1)
        net.build(optimizer=eddl.Adam(1e-3), loss="dice_cross_entropy", device="cpu:onednn")
        found.append([net.train_batch(images, labels)["loss"] for _ in range(4)])
    assert found[0] == found[1]


def smooth_unet(x):
    """A U-Net that goes down by strides: no maximum to be decided by rounding."""
    norm, conv, relu = eddl.layers.batch_norm, eddl.layers.conv, eddl.layers.relu
    top = relu(norm(conv(x, 8, 3, use_bias=False)))
    low = relu(norm(conv(top, 16, 3, strides=2, use_bias=False)))
    up = eddl.layers.conv_transpose(low, 8, 2, strides=2)
    return conv(relu(norm(conv(eddl.layers.concat([top, up]), 8, 3, use_bias=False))), 2, 1)


@pytest.mark.parametrize("space", [(32, 32), (16, 16, 16)])
@pytest.mark.parametrize(
    ("network", "tolerance"),
    # Where two elements of a window are equal but for rounding, the gradient goes either way.
    [(smooth_unet, 1e-4), (lambda x: eddl.zoo.unet(x, classes=2, filters=8), 5e-3)],
)
def test_a_unet_learns_as_on_the_array_backend(space, network, tolerance):
    x = eddl.Input((1, *space))
    images = np.random.default_rng(0).standard_normal((2, 1, *space)).astype("float32")
    labels = (images[:, 0] > 0).astype("int64")
    losses = {}
    for device in ("cpu:array", "cpu:onednn"):
        net = eddl.Model(x, network(x), seed=1)
        net.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy", device=device)
        losses[device] = [net.train_batch(images, labels)["loss"] for _ in range(10)]
    assert losses["cpu:onednn"][0] == pytest.approx(losses["cpu:array"][0], rel=1e-5)
    np.testing.assert_allclose(losses["cpu:onednn"], losses["cpu:array"], rtol=tolerance)


def test_programs_of_several_shapes_share_memory():
    x = eddl.Input((2, "height", "width"))
    model = eddl.Model(x, eddl.layers.relu(eddl.layers.conv(x, 5, 3)))
    plain = eddl.Model(x, model(x))
    for net, device in ((model, "cpu:onednn"), (plain, "cpu:array")):
        net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error", device=device)
    r = np.random.default_rng(0)
    for n, h, w in itertools.product((1, 3), (5, 8), (4, 7)):
        images = r.standard_normal((n, 2, h, w)).astype("float32")
        np.testing.assert_allclose(model.predict(images), plain.predict(images), atol=2e-6)


@pytest.mark.parametrize("count", [1 << 14, 100_003])
def test_exact_formulas_have_the_array_backends_bits(count):
    """Chains over blocks, the last one shorter, against NumPy's passes; in place and beside."""
    inputs, arrays = data((count,), (count,), (count,), (1,))
    x, y, z, c = inputs
    arrays[2] = np.abs(arrays[2])
    arrays[0][:4] = 0, -0.0, np.inf, np.nan
    flag = Input(Type("bool", ()), name="flag")
    root = apply("Sqrt", z / c + 0.5) + 1e-8
    outputs = [
        x - c * ((y / 0.1) / root), -x * y - z, (x + y) * (x - y), c * x - 2.0,
        apply("Where", flag, x * 0.9 + y * 0.1, y), apply("Sqrt", z), 3.0 - x * x,
        x - c * (apply("Reciprocal", apply("Sqrt", z * c) + 1e-8) * y * c),
        apply("Reciprocal", x + 0.0),
    ]  # fmt: skip
    for value in (True, False):
        given = [*arrays, np.asarray(value)]
        results = [
            compiled([*inputs, flag], outputs, given, backend, poison=True).run(given)
            for backend in (ARRAY, ONEDNN)
        ]
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    program = compiled([*inputs, flag], outputs, given, ONEDNN)
    assert [call.offer.kernel for call in program.plan.calls].count("chains") == len(outputs)


@pytest.mark.parametrize("last", [False, True])
def test_a_flag_that_is_not_set_leaves_a_state_alone(last):
    """As an optimizer's update does it: the new state is written over the old one."""
    x, arrays = data((20_000,))
    flag = Input(Type("bool", ()), name="flag")
    y = apply("Where", flag, apply("Exp", x[0]) * 2.0 + 1.0, apply("Exp", x[0]))
    given = [*arrays, np.asarray(last)]
    check([*x, flag], [y], given)
