"""Convolutions of volumes with fewer products, against the array backend's sums of products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eddl import devices
from eddl.backends.array import ArrayBackend
from eddl.backends.onednn import OneDnnBackend, volumes
from eddl.backends.onednn.winograd import algorithm
from eddl.compiler import Slabs, compile_graph
from eddl.errors import DeviceError
from eddl.graph import Graph, Input, Type
from eddl.ops import apply, make_node

try:
    ONEDNN = devices.backend("cpu:onednn")
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)


def data(*shapes):
    random = np.random.default_rng(1)
    arrays = [random.standard_normal(shape).astype("float32") for shape in shapes]
    return [Input(Type("float32", shape), name=f"x{i}") for i, shape in enumerate(shapes)], arrays


def compiled(inputs, outputs, arrays, backend, **options):
    types = {v: Type(a.dtype, a.shape) for v, a in zip(inputs, arrays, strict=True)}
    return compile_graph(
        Graph(inputs, outputs), types, backend, Slabs(backend), memory_of=lambda s: None, **options
    )


def with_gradients(y, inputs):
    weight = np.random.default_rng(0).standard_normal(y.type.sizes).astype("float32")
    loss = apply("ReduceSum", y * apply("Identity", weight), keepdims=0)
    return [y, *make_node("Gradients", loss, *inputs, domain="eddl").outputs]


def check(inputs, outputs, arrays):
    """The names of the kernels, whose results must be the array backend's."""
    expected = compiled(inputs, outputs, arrays, ArrayBackend(threads=1)).run(arrays)
    program = compiled(inputs, outputs, arrays, ONEDNN, poison=True)
    for _ in range(2):  # the second run finds poison wherever the first one left something
        for ours, theirs in zip(program.run(arrays), expected, strict=True):
            scale = max(float(np.abs(theirs).max(initial=0)), 1.0)
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5 * scale)
    return [call.offer.kernel for call in program.plan.calls]


@pytest.mark.parametrize("taps", range(2, 8))
@pytest.mark.parametrize("results", [2, 3, 4, 6, 8, 10, 12])
def test_short_convolutions_are_as_exact_as_sums_of_products(results, taps):
    short = algorithm(results, taps)
    random = np.random.default_rng(results)
    x = random.standard_normal((short.span, 1000))
    w = random.standard_normal((taps, 1000))
    windows = np.lib.stride_tricks.sliding_window_view(x, taps, 0)
    expected = np.einsum("ist,ts->is", windows, w)
    narrow = np.einsum("ist,ts->is", windows.astype("f4"), w.astype("f4"))
    found = short.outputs @ ((short.weights @ w.astype("f4")) * (short.inputs @ x.astype("f4")))
    assert short.products <= 1.6 * short.span
    assert np.std(found - expected) < 4 * max(np.std(narrow - expected), 1e-8)


def small_parts(monkeypatch, group=1):
    monkeypatch.setattr(volumes, "GAIN", np.inf)
    monkeypatch.setattr(volumes, "GROUP", group)


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_volumes_of_any_geometry(draw):
    pick = lambda *choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    kernel = [pick(2, 3, 4, 5) for _ in range(2)] + [pick(1, 2, 3, 5)]
    pads = [pick(0, 1, 2) for _ in range(6)]
    sizes = [k + pick(0, 1, 5, 12) for k in kernel]
    channels, filters = pick(16, 19, 32), pick(16, 21)
    inputs, arrays = data((pick(1, 2, 3), channels, *sizes), (filters, channels, *kernel),
                          (filters,))  # fmt: skip
    given_bias = inputs if pick(True, False) else inputs[:2]
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch, pick(1, 1 << 17, 1 << 25))
        y = apply("Conv", *given_bias, pads=tuple(pads))
        if pick(True, False, False):
            names = check(given_bias, [apply("Relu", y)], arrays[: len(given_bias)])
            assert "Relu" not in names and any(name.startswith("tiles") for name in names)
        kernels = check(given_bias, with_gradients(y, given_bias), arrays[: len(given_bias)])
    assert sum(name.startswith("tiles") for name in kernels) == 3


def test_large_kernels_take_fewer_products_by_themselves():
    inputs, arrays = data((1, 32, 16, 16, 16), (32, 32, 5, 5, 5))
    y = apply("Conv", *inputs, pads=(2,) * 6)
    kernels = check(inputs, with_gradients(y, inputs), arrays)
    assert sum(name.startswith("tiles") for name in kernels) == 3


@pytest.mark.parametrize(
    ("sizes", "kernel", "attributes"),
    [
        ((1, 32, 16, 16, 16), (32, 32, 5, 5, 5), {"strides": (2, 2, 2)}),
        ((1, 32, 16, 16, 16), (32, 32, 5, 5, 5), {"dilations": (1, 2, 1)}),
        ((1, 32, 16, 16, 16), (32, 16, 5, 5, 5), {"group": 2}),
        ((1, 8, 16, 16, 16), (32, 8, 5, 5, 5), {}),
        ((1, 32, 16, 16, 16), (32, 32, 1, 1, 1), {}),
        ((1, 32, 16, 16), (32, 32, 5, 5), {}),
    ],
)
def test_others_are_left_to_the_direct_convolution(sizes, kernel, attributes):
    inputs, arrays = data(sizes, kernel)
    y = apply("Conv", *inputs, **attributes)
    kernels = check(inputs, with_gradients(y, inputs), arrays)
    assert not any(name.startswith("tiles") for name in kernels)


def test_bits_depend_neither_on_the_run_nor_on_the_threads(monkeypatch):
    small_parts(monkeypatch, 1 << 18)
    inputs, arrays = data((2, 16, 11, 9, 7), (32, 16, 3, 5, 3))
    outputs = with_gradients(apply("Conv", *inputs, pads=(1, 2, 1) * 2), inputs)
    found = []
    for threads in (1, 2, 3):
        program = compiled(inputs, outputs, arrays, OneDnnBackend(threads, ONEDNN.library))
        found += [program.run(arrays), program.run(arrays)]
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(first, second)
