"""Convolutions with fewer products, against the array backend's sums of products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eddl.backends.onednn import OneDnnBackend, tiles
from eddl.backends.onednn.winograd import algorithm
from eddl.ops import apply

from .oracle import ONEDNN, check, compiled, data, followed, with_gradients


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
    for gain in ("GAIN", "PLANE_GAIN", "PLANE_WEIGHTS_GAIN"):
        monkeypatch.setattr(tiles, gain, np.inf)
    monkeypatch.setattr(tiles, "GROUP", group)


def more_of(draw, y, inputs, arrays):
    y, inputs, arrays = followed(draw, y, inputs, arrays)
    return inputs, [y], arrays


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_planes_and_volumes_of_any_geometry(draw):
    pick = lambda *choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    kernel = [pick(2, 3, 4, 5) for _ in range(pick(1, 2))] + [pick(1, 2, 3, 5)]
    pads = [pick(0, 1, 2) for _ in range(2 * len(kernel))]
    sizes = [k + pick(0, 1, 5, 12) for k in kernel]
    channels, filters = pick(16, 19, 32), pick(16, 21)
    inputs, arrays = data((pick(1, 2, 3), channels, *sizes), (filters, channels, *kernel),
                          (filters,))  # fmt: skip
    given_bias = inputs if pick(True, False) else inputs[:2]
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch, pick(1, 1 << 17, 1 << 25))
        y = apply("Conv", *given_bias, pads=tuple(pads))
        if pick(True, False):
            check(*more_of(draw, y, given_bias, arrays[: len(given_bias)]))
        kernels = check(given_bias, with_gradients(y, given_bias), arrays[: len(given_bias)])
    assert sum(name.startswith("tiles") for name in kernels) == 3


@pytest.mark.parametrize(("sizes", "count"), [((1, 32, 16, 16, 16), 3), ((4, 64, 32, 32), 2)])
def test_large_kernels_take_fewer_products_by_themselves(sizes, count):
    rank = len(sizes) - 2
    inputs, arrays = data(sizes, (32, sizes[1], *[5] * rank))
    y = apply("Conv", *inputs, pads=(2,) * 2 * rank)
    kernels = check(inputs, with_gradients(y, inputs), arrays)
    assert sum(name.startswith("tiles") for name in kernels) == count


@pytest.mark.parametrize(
    ("sizes", "kernel", "attributes"),
    [
        ((1, 16, 9, 9, 9), (16, 16, 3, 3, 3), {"strides": (2, 2, 2)}),
        ((1, 16, 9, 9, 9), (16, 16, 3, 3, 3), {"dilations": (1, 2, 1)}),
        ((1, 32, 9, 9, 9), (32, 16, 3, 3, 3), {"group": 2}),
        ((1, 8, 9, 9, 9), (16, 8, 3, 3, 3), {}),
        ((1, 16, 9, 9, 9), (16, 16, 1, 1, 1), {}),
        ((1, 16, 160), (16, 16, 5), {}),
    ],
)
def test_others_are_left_to_the_direct_convolution(monkeypatch, sizes, kernel, attributes):
    small_parts(monkeypatch)
    assert not any(name.startswith("tiles") for name in names_of(sizes, kernel, attributes))


def test_so_are_those_that_would_be_slower():
    names = names_of((1, 32, 8, 8, 8), (32, 32, 3, 3, 3), {})
    assert not any(name.startswith("tiles") for name in names)


def names_of(sizes, kernel, attributes):
    inputs, arrays = data(sizes, kernel)
    y = apply("Conv", *inputs, **attributes)
    return check(inputs, with_gradients(y, inputs), arrays)


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


@pytest.mark.parametrize("last", ["Relu", "PRelu"])
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_what_follows_is_done_in_the_same_pass(monkeypatch, operator, last):
    small_parts(monkeypatch)
    inputs, arrays = data((1, 16, 9, 7, 8), (16, 16, 3, 3, 3), (16,), (1, 16, 9, 7, 8),
                          (16, 1, 1, 1))  # fmt: skip
    y = apply(operator, *inputs[:3], pads=(1,) * 6) + inputs[3]
    y = apply(last, y, *inputs[4:]) if last == "PRelu" else apply(last, y)
    names = check(inputs, [y], arrays)
    assert [name for name in names if not name.startswith("reorder")] == [
        name for name in names if name.startswith("tiles")
    ]


@pytest.mark.parametrize("rank", [2, 3])
def test_a_tile_may_read_nothing_but_padding(monkeypatch, rank):
    small_parts(monkeypatch)
    monkeypatch.setattr(tiles, "RESULTS", (4,))
    inputs, arrays = data((1, 16, *[2] * rank), (16, 16, *[2] * rank))
    y = apply("Conv", *inputs, pads=(2,) * 2 * rank)
    check(inputs, with_gradients(y, inputs), arrays)
