"""Convolutions with fewer products, against the array backend's sums of products."""

import itertools
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eddl
from eddl import devices
from eddl.backends.onednn import OneDnnBackend, tiled, tiles
from eddl.backends.onednn.winograd import algorithm
from eddl.compiler import Slabs, compile_graph
from eddl.graph import Graph, Type
from eddl.ops import apply
from eddl.ops.windows import Windows

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
    monkeypatch.setattr(tiles, "GAIN", np.inf)
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


@pytest.mark.parametrize(
    ("sizes", "filters", "kernel"),
    [
        ((1, 32, 32, 32, 32), 32, 5),
        ((1, 64, 16, 16, 16), 64, 3),
        ((4, 64, 32, 32), 64, 5),
        ((4, 64, 64, 64), 64, 3),
        ((8, 128, 28, 28), 128, 3),
    ],
)
def test_convolutions_take_fewer_products_by_themselves(sizes, filters, kernel):
    rank = len(sizes) - 2
    inputs, arrays = data(sizes, (filters, sizes[1], *[kernel] * rank))
    outputs = with_gradients(apply("Conv", *inputs, pads=(kernel // 2,) * 2 * rank), inputs)
    program = compiled(inputs, outputs, arrays, OneDnnBackend(2, ONEDNN.library))
    names = [call.offer.kernel for call in program.plan.calls]
    assert sum(name.startswith("tiles") for name in names) == 3


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


def test_predictions_take_weights_that_were_transformed_once(monkeypatch):
    small_parts(monkeypatch)
    x = eddl.Input((16, 12, 10))
    shared = eddl.Model(x, eddl.layers.conv(x, 16, 3, use_bias=False))
    hidden = eddl.layers.batch_norm(eddl.layers.conv(eddl.layers.relu(shared(x)), 24, (5, 3)))
    transposed = eddl.layers.conv_transpose(hidden, 16, 3, padding="same")
    net = eddl.Model(x, shared(transposed))
    data = np.random.default_rng(0).standard_normal((3, 16, 12, 10)).astype("f4")
    net.build(optimizer=eddl.SGD(1e-3), loss="mean_squared_error", device="cpu:onednn")
    array = devices.backend("cpu:array")
    graph = Graph(net.inputs, net.outputs)
    given = {v: Type("float32", data.shape) for v in net.inputs}
    backend = OneDnnBackend(2, ONEDNN.library)
    program = compile_graph(graph, given, backend, Slabs(backend),
                            memory_of=lambda state: state.storage.view())  # fmt: skip
    assert program.kernels["Identity: transform"] == 3  # the shared ones once
    for _ in range(2):
        expected = array.evaluate_graph(graph, [data])[0]
        for found in (program.run([data])[0], net.predict(data)):
            np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
        net.train_batch(data, data)


def names_of(sizes, kernel, attributes):
    inputs, arrays = data(sizes, kernel)
    y = apply("Conv", *inputs, **attributes)
    return check(inputs, with_gradients(y, inputs), arrays)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(2, 16, 11, 9, 7), (3, 16, 23, 19)])
def test_bits_do_not_depend_on_when_threads_run(monkeypatch, sizes, threads):
    small_parts(monkeypatch, 1 << 18)
    kernel = (3, 5, 3)[: len(sizes) - 2]
    inputs, arrays = data(sizes, (32, 16, *kernel))
    outputs = with_gradients(apply("Conv", *inputs, pads=tuple(k // 2 for k in kernel) * 2), inputs)
    backend = OneDnnBackend(threads, ONEDNN.library)
    turn, given = itertools.count(), type(backend.threads).run

    def late(self, tasks):
        """Every other time, the first tasks end last."""
        waits = [0.003 if (next(turn) // 3 + i) % 2 else 0 for i in range(len(tasks))]
        given(self, [partial(slowly, task, wait) for task, wait in zip(tasks, waits, strict=True)])

    def slowly(task, wait):
        time.sleep(wait)
        task()

    monkeypatch.setattr(type(backend.threads), "run", late)
    found = []
    for _ in range(2):
        program = compiled(inputs, outputs, arrays, backend)
        found += [program.run(arrays) for _ in range(3)]
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("sizes", "filters", "kernel"),
    [
        ((4, 32, 48, 48), 32, (3, 3)),
        ((2, 128, 16, 16), 64, (3, 3)),
        ((2, 32, 24, 20), 32, (5, 5)),
        ((1, 32, 24, 24, 16), 32, (3, 3, 3)),
    ],
)
@pytest.mark.parametrize("results", tiles.RESULTS)
def test_errors_are_not_above_those_of_the_direct_convolution(
    monkeypatch, sizes, filters, kernel, results
):
    inputs, arrays = data(sizes, (filters, sizes[1], *kernel))
    outputs = with_gradients(apply("Conv", *inputs, pads=tuple(k // 2 for k in kernel) * 2), inputs)
    monkeypatch.setattr(tiles, "RESULTS", (results,))
    found = []
    for gain in (-1, np.inf):
        monkeypatch.setattr(tiles, "GAIN", gain)
        program = compiled(inputs, outputs, arrays, ONEDNN)
        found.append(program.run(arrays))
    ratios = [
        np.std(tiled - true) / np.std(direct - true)
        for direct, tiled, true in zip(*found, exactly(*arrays), strict=True)
    ]
    # The direct gradient by the weights sums all positions in turn, and loses digits by them.
    positions = sizes[0] * np.prod(sizes[2:])
    assert max(ratios[:2]) < 1.05
    assert ratios[2] < (1.05 if positions >= 8192 else 1.6)


def exactly(x, w):
    """A convolution that keeps sizes and its gradients, as `with_gradients` makes them."""
    x, w = x.astype(float), w.astype(float)
    space, kernel = x.shape[2:], w.shape[2:]
    padded = np.pad(x, [(0, 0), (0, 0), *[(k // 2, k // 2) for k in kernel]])
    y = np.zeros((len(x), len(w), *space))
    dy = np.random.default_rng(0).standard_normal(y.shape).astype("float32").astype(float)
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    for tap in np.ndindex(*kernel):
        seen = (..., *(slice(t, t + size) for t, size in zip(tap, space, strict=True)))
        at = w[(..., *tap)]
        y += np.moveaxis(np.tensordot(padded[seen], at, (1, 1)), -1, 1)
        dx[seen] += np.moveaxis(np.tensordot(dy, at, (1, 0)), -1, 1)
        sums = (0, *range(2, y.ndim))
        dw[(..., *tap)] = np.tensordot(dy, padded[seen], (sums, sums))
    inside = tuple(slice(k // 2, k // 2 + size) for k, size in zip(kernel, space, strict=True))
    return y, dx[(..., *inside)], dw


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


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_what_is_added_to_is_overwritten_where_it_ends(monkeypatch, operator):
    small_parts(monkeypatch)
    inputs, arrays = data((1, 16, 9, 7, 8), (16, 16, 3, 3, 3), (1, 16, 9, 7, 8))
    y = apply(operator, *inputs[:2], pads=(1,) * 6) + apply("Neg", inputs[2])
    whole = tiled.offer
    found = []
    for over in (True, False):
        if not over:
            apart = lambda *a, **k: replace(whole(*a, **k), overwrites={})  # noqa: E731
            monkeypatch.setattr(tiled, "offer", apart)
        program = compiled(inputs, [y], arrays, ONEDNN)
        (call,) = (c for c in program.plan.calls if c.offer.kernel.startswith("tiles"))
        made, added = (program.plan.buffers[v] for v in (call.outputs[0], call.inputs[2]))
        assert (made is added) == over
        found.append(program.run(arrays)[0])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", ["forward", "data", "weights"])
def test_strips_bound_what_a_thread_holds(monkeypatch, kind):
    volume = (32,) * 3
    windows = Windows((5,) * 3, (1,) * 3, (1,) * 3, (2,) * 3, (2,) * 3, volume)
    find = partial(tiles.shape, 1, 32, 32, volume, volume, windows, kind, 2)
    whole = find()
    assert whole.strips == 1
    monkeypatch.setattr(tiles, "GAIN", np.inf)
    monkeypatch.setattr(tiles, "GROUP", 1 << 20)
    narrow = find()
    assert narrow.strips > 1
    assert narrow.held <= 1 << 20 < whole.held
    for axis in (whole.inner, narrow.inner):
        for strips in (n for n in range(1, axis.tiles + 1) if axis.tiles % n == 0):
            parts = axis.strips(strips)
            assert [tile for part in parts for tile in part] == list(range(axis.tiles))
            assert [row for part in parts for row in axis.written(part)] == list(range(32))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_tile_may_read_nothing_but_padding(monkeypatch, rank):
    small_parts(monkeypatch)
    monkeypatch.setattr(tiles, "RESULTS", (4,))
    inputs, arrays = data((1, 16, *[2] * rank), (16, 16, *[2] * rank))
    y = apply("Conv", *inputs, pads=(2,) * 2 * rank)
    check(inputs, with_gradients(y, inputs), arrays)
