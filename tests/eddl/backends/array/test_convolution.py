"""Convolutions cut into blocks in every way, against windows written out, whatever the threads."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from eddl.backends.array import KERNELS, ArrayBackend, transposed, unfolding
from eddl.backends.array.convolution import LARGE
from eddl.graph import Input, Type
from eddl.ops.table import apply

CASES = {
    "slides in 2-D": ((2, 3, 9, 70), 4, (3, 3), {"pads": (1, 1, 1, 1)}),
    "slides by two": ((1, 2, 11, 140), 3, (5, 3), {"strides": (2, 2)}),
    "slides in 3-D": ((1, 2, 6, 9, 40), 3, (3, 3, 3), {"pads": (1,) * 6}),
    "slides in groups": ((2, 4, 5, 80), 6, (3, 1), {"group": 2}),
    "dilated in 3-D": ((1, 2, 7, 9, 8), 3, (3, 2, 3), {"dilations": (2, 1, 2)}),
    "steps as long as the window": ((2, 3, 8, 64), 4, (2, 2), {"strides": (2, 2)}),
    "joins samples": ((5, 3, 4, 4), 4, (3, 3), {"pads": (1, 1, 1, 1)}),
    "many filters": ((3, 4, 5, 5), 130, (3, 3), {}),
    "a channel a group": ((2, 6, 7, 7), 6, (3, 3), {"group": 6, "pads": (1, 1, 1, 1)}),
    "pointwise": ((2, 5, 12, 12), 7, (1, 1), {}),
    "pointwise of small maps": ((4, 6, 3, 3), 4, (1, 1), {"group": 2}),
    "1-D": ((3, 4, 50), 5, (7,), {"strides": (3,), "pads": (2, 4)}),
    "large": ((3, 64, 5, 5), 160, (5, 6), {"pads": (2, 3, 2, 3)}),
    "large and slides": ((1, 32, 4, 66), 160, (5, 6), {"pads": (2, 3, 2, 3)}),
}


def node_of(op, types, domain="", **attributes):
    inputs = [Input(Type("float64", shape)) for shape in types]
    return apply(op, *inputs, domain=domain, **attributes).node


def run(node, arrays, threads):
    offer = KERNELS[node.domain, node.op](ArrayBackend(threads), node)
    output = np.full(node.outputs[0].type.sizes, np.nan)
    space = np.full(offer.workspace + 64, 0xFF, np.uint8)
    space = space[-space.ctypes.data % 64 :][: offer.workspace]
    offer.bind(arrays, [output], space if offer.workspace else None)()
    return output


def windows(x, kernel, strides, dilations, pads):
    """[N, C, output..., kernel...]"""
    rank = len(kernel)
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    found = sliding_window_view(x, extent, tuple(range(2, 2 + rank)))
    every = [slice(None, None, s) for s in strides]
    return found[(slice(None), slice(None), *every, *[slice(None, None, d) for d in dilations])]


def written_out(x, w, kernel, options):
    """The convolution, and a function that gives the weights' gradient."""
    rank = len(kernel)
    group = options.get("group", 1)
    seen = windows(
        x, kernel, options.get("strides", (1,) * rank), options.get("dilations", (1,) * rank),
        options.get("pads", (0,) * (2 * rank)),
    )  # fmt: skip
    seen = seen.reshape(x.shape[0], group, -1, *seen.shape[2:])
    grouped = w.reshape(group, -1, *w.shape[1:])
    out, tap = "hij"[:rank], "uvw"[:rank]
    y = np.einsum(f"ngc{out}{tap},gfc{tap}->ngf{out}", seen, grouped, optimize=True)
    y = y.reshape(x.shape[0], -1, *y.shape[3:])

    def weight_gradient(g):
        flow = g.reshape(g.shape[0], group, -1, *g.shape[2:])
        found = np.einsum(f"ngc{out}{tap},ngf{out}->gfc{tap}", seen, flow, optimize=True)
        return found.reshape(w.shape)

    return y, weight_gradient


@pytest.mark.parametrize("small", [False, True], ids=["usual blocks", "small blocks"])
@pytest.mark.parametrize("case", CASES)
def test_all_passes(case, small, monkeypatch):
    if small:
        monkeypatch.setattr(unfolding, "BLOCK_BYTES", 1 << 12)
        monkeypatch.setattr(transposed, "BLOCK_BYTES", 1 << 12)
        monkeypatch.setattr(unfolding, "COLUMNS", 8)
    shape, filters, kernel, options = CASES[case]
    rng = np.random.default_rng(0)
    group = options.get("group", 1)
    x, b = rng.standard_normal(shape), rng.standard_normal(filters)
    w = rng.standard_normal((filters, shape[1] // group, *kernel))
    expected, weight_gradient = written_out(x, w, kernel, options)
    g = rng.standard_normal(expected.shape)
    forward = node_of("Conv", [x.shape, w.shape, b.shape], **options)
    gradient = node_of("ConvWeightGrad", [x.shape, g.shape], "eddl", kernel_shape=kernel, **options)
    if case.startswith("large"):
        assert w.nbytes > LARGE
    for threads in (1, 3):
        found = run(forward, [x, w, b], threads)
        bias = b.reshape(-1, *[1] * len(kernel))
        np.testing.assert_allclose(found, expected + bias, rtol=1e-11, atol=1e-11)
        found = run(gradient, [x, g], threads)
        np.testing.assert_allclose(found, weight_gradient(g), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("small", [False, True], ids=["usual blocks", "small blocks"])
@pytest.mark.parametrize("case", CASES)
def test_the_data_gradient_is_the_adjoint(case, small, monkeypatch):
    if small:
        monkeypatch.setattr(unfolding, "BLOCK_BYTES", 1 << 12)
        monkeypatch.setattr(transposed, "BLOCK_BYTES", 1 << 12)
    shape, filters, kernel, options = CASES[case]
    rng = np.random.default_rng(1)
    w = rng.standard_normal((filters, shape[1] // options.get("group", 1), *kernel))
    x = rng.standard_normal(shape)
    y, _ = written_out(x, w, kernel, options)
    rank = len(kernel)
    strides, dilations, pads = (
        options.get(name, (default,) * count)
        for name, default, count in (("strides", 1, rank), ("dilations", 1, rank),
                                     ("pads", 0, 2 * rank))
    )  # fmt: skip
    reached = [
        (size - 1) * s + d * (k - 1) + 1 - low - high
        for size, s, d, k, low, high in zip(
            y.shape[2:], strides, dilations, kernel, pads[:rank], pads[rank:], strict=True
        )
    ]
    missing = [n - size for n, size in zip(shape[2:], reached, strict=True)]
    g = rng.standard_normal(y.shape)
    node = node_of("ConvTranspose", [g.shape, w.shape], output_padding=tuple(missing), **options)
    found = [run(node, [g, w], threads) for threads in (1, 3)]
    np.testing.assert_array_equal(*found)
    assert np.vdot(found[0], x) == pytest.approx(np.vdot(g, y), rel=1e-9)


@pytest.mark.parametrize("case", ["slides in 3-D", "joins samples", "large", "a channel a group"])
def test_bits_do_not_depend_on_the_number_of_threads(case):
    shape, filters, kernel, options = CASES[case]
    rng = np.random.default_rng(2)
    x = rng.standard_normal(shape)
    w = rng.standard_normal((filters, shape[1] // options.get("group", 1), *kernel))
    g = rng.standard_normal(written_out(x, w, kernel, options)[0].shape)
    for node, arrays in (
        (node_of("Conv", [x.shape, w.shape], **options), [x, w]),
        (node_of("ConvWeightGrad", [x.shape, g.shape], "eddl", kernel_shape=kernel, **options),
         [x, g]),
    ):  # fmt: skip
        first, *others = [run(node, arrays, threads) for threads in (1, 2, 5)]
        for other in others:
            np.testing.assert_array_equal(first, other)
