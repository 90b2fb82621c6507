"""predict_windows: what slides, what it weighs, what it holds."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eddl
from eddl import layers
from eddl.errors import EddlError, MemoryLimitError
from eddl.training.windows import run_windows, windows_along

OPTIONS = {"overlap": 0.5, "blending": "gaussian", "batch_size": 1, "padding": "zeros",
           "mirror": (), "reduce": None, "out": None, "progress": False}  # fmt: skip


def free(rank, channels=1):
    return eddl.Input((channels, *[None] * rank))


def run(predict, volume, window, **options):
    rank = len(window)
    channels = volume.shape[0] if len(volume.shape) > rank else 1
    return run_windows(predict, free(rank, channels), volume, window, **{**OPTIONS, **options})


def positional(batch):
    """Two scores that depend on a voxel, on the whole window and on the place in the window."""
    place = np.zeros(batch.shape[2:], np.float32)
    for axis, size in enumerate(batch.shape[2:]):
        ramp = np.arange(size, dtype=np.float32).reshape([-1 if a == axis else 1
                                                         for a in range(place.ndim)])  # fmt: skip
        place = place * 3 + ramp
    mean = batch.mean(axis=tuple(range(1, batch.ndim)), keepdims=True)[:, 0]
    return np.stack([batch[:, 0] * place + mean, batch[:, -1] - place], axis=1)


def brute(predict, volume, window, overlap, blending, padding):
    """Volumes of sums and of weights, a window at a time, in double precision."""
    rank = len(window)
    volume = volume.reshape(-1, *volume.shape[-rank:]).astype(np.float32)
    space = volume.shape[1:]
    extra = [max(w - s, 0) for s, w in zip(space, window, strict=True)]
    widths = [(0, 0), *((e // 2, e - e // 2) for e in extra)]
    padded = np.pad(volume, widths, "edge" if padding == "edge" else "constant")
    starts = [windows_along(s, w, overlap, blending).starts
              for s, w in zip(space, window, strict=True)]  # fmt: skip
    away = np.meshgrid(*(np.arange(w) - (w - 1) / 2 for w in window), indexing="ij")
    squares = sum((8 * a / w) ** 2 for a, w in zip(away, window, strict=True))
    weight = np.exp(-squares / 2) if blending == "gaussian" else np.ones(window)
    sums = total = 0.0
    for corner in itertools.product(*starts):
        part = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        made = predict(padded[(slice(None), *part)][None])[0].astype(float)
        if np.ndim(sums) == 0:
            sums = np.zeros((len(made), *padded.shape[1:]))
            total = np.zeros(padded.shape[1:])
        sums[(slice(None), *part)] += made * weight
        total[part] += weight
    inner = tuple(slice(e // 2, e // 2 + s) for e, s in zip(extra, space, strict=True))
    return (sums / total)[(slice(None), *inner)]


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 3))
    most = (40, 14, 8)[rank - 1]
    space = [draw(st.integers(1, most)) for _ in range(rank)]
    window = [draw(st.integers(1, most)) for _ in range(rank)]
    channels = draw(st.integers(0, 2))
    shape = (channels, *space) if channels else tuple(space)
    volume = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape)
    return volume.astype(np.float32), tuple(window), {
        "overlap": draw(st.sampled_from([0.0, 0.25, 0.5, 0.8])),
        "blending": draw(st.sampled_from(["gaussian", "constant"])),
        "padding": draw(st.sampled_from(["zeros", "edge"])),
    }  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(cases(), st.integers(1, 5))
def test_every_rank_size_and_overlap_equals_brute_force(case, batch_size):
    volume, window, options = case
    found = run(positional, volume, window, batch_size=batch_size, **options)
    expected = brute(positional, volume, window, **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4 * np.abs(expected).max())


@settings(max_examples=60, deadline=None)
@given(cases())
def test_a_pointwise_network_gives_what_it_gives_for_the_whole(case):
    volume, window, options = case
    found = run(lambda batch: batch, volume, window, **options)
    np.testing.assert_allclose(found, volume.reshape(found.shape), rtol=2e-6, atol=1e-30)


@given(st.integers(1, 300), st.integers(1, 90), st.floats(0, 0.95))
def test_windows_cover_an_axis_and_weigh_one(size, window, overlap):
    axis = windows_along(size, window, overlap, "gaussian")
    assert axis.starts[0] == 0 and axis.starts[-1] == axis.padded - window
    steps = np.diff(axis.starts)
    assert (steps > 0).all() and (steps < window * (1 - overlap) + 1).all()
    total = np.zeros(axis.padded)
    for start, row in zip(axis.starts, axis.weights, strict=True):
        assert (row > 0).all()
        total[start : start + window] += row
    np.testing.assert_allclose(total, 1, rtol=1e-6)


def network(rank=3, classes=3, **sizes):
    x = free(rank, **sizes)
    y = layers.conv(layers.relu(layers.batch_norm(layers.conv(x, 4, 3))), classes, 1)
    net = eddl.Model(x, y, seed=1)
    net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
    return net


def scan(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_a_network_with_a_small_view_sees_no_seams():
    """Gaussian weights leave little of what a window's ends, where it sees zeros, get wrong."""
    net, volume = network(2), scan(40, 33)
    whole = net.predict(volume[None, None])[0]
    wrong = {}
    for blending in ("gaussian", "constant"):
        found = net.predict_windows(volume, (16, 12), blending=blending)
        np.testing.assert_allclose(found.sum(0), 1, rtol=1e-5)  # softmax comes first
        wrong[blending] = np.abs(found - whole)[:, 4:-4, 4:-4].mean()
    assert wrong["gaussian"] < 0.15 * wrong["constant"]
    assert net.predict_windows(volume[None], (40, 33)).tobytes() == whole.tobytes()


def test_the_result_does_not_depend_on_the_batch_and_is_the_same_again():
    net, volume = network(), scan(1, 13, 12, 11)
    one = net.predict_windows(volume, 6)
    np.testing.assert_array_equal(net.predict_windows(volume, 6), one)
    for batch_size in (2, 5, 64):
        found = net.predict_windows(volume, 6, batch_size=batch_size)
        np.testing.assert_allclose(found, one, atol=1e-6)


def test_labels_are_those_of_the_scores():
    net, volume = network(), scan(13, 12, 11)
    scores = net.predict_windows(volume, 6)
    labels = net.predict_windows(volume, 6, reduce="labels")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, scores.argmax(0))
    top = net.predict_windows(volume, 6, reduce=lambda s: s.max(0, keepdims=True).astype("f8"))
    np.testing.assert_array_equal(top, scores.max(0, keepdims=True))
    assert top.dtype == np.float64
    single = run(lambda b: b, volume, (6, 6, 6), reduce="labels")
    np.testing.assert_array_equal(single, volume > 0.5)
    many = run(lambda b: np.concatenate([b] * 300, 1), volume, (6, 6, 6), reduce="labels")
    assert many.dtype == np.uint16


def test_reflections_are_averaged():
    net, volume = network(), scan(9, 12, 11)
    found = net.predict_windows(volume, 8, mirror=(0, 2))
    parts = []
    for flip in ((), (0,), (2,), (0, 2)):
        part = net.predict_windows(np.flip(volume, flip), 8)
        parts.append(np.flip(part, [1 + axis for axis in flip]))
    np.testing.assert_allclose(found, np.mean(parts, 0), atol=1e-6)


class Lazy:
    """Voxels that are there when they are sliced along the first axis, and who asked for which."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, []

    def __getitem__(self, key):
        self.read.append((key.start, key.stop))
        return self.array[key]


def test_each_plane_of_a_lazy_volume_is_read_once():
    volume = (scan(30, 9, 8) * 100).astype(np.int16)
    lazy = Lazy(volume)
    found = run(positional, lazy, (8, 4, 4), overlap=0.7)
    planes = [plane for start, stop in lazy.read for plane in range(start, stop)]
    assert planes == list(range(30)) and len(lazy.read) > 5
    np.testing.assert_array_equal(found, run(positional, volume, (8, 4, 4), overlap=0.7))


def test_memory_is_that_of_a_row_of_windows(tmp_path):
    shape, classes = (400, 32, 32), 8
    volume = np.memmap(tmp_path / "in", np.uint8, "w+", shape=shape)
    volume[:] = np.arange(400)[:, None, None] % 200
    out = np.memmap(tmp_path / "out", np.uint8, "w+", shape=shape)

    def predict(batch):
        return np.concatenate([np.abs(batch - 25 * k) * -1 for k in range(classes)], 1)

    tracemalloc.start()
    result = run(predict, volume, (16, 16, 16), reduce="labels", out=out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    row, window = 4 * (1 + classes) * 16 * 32 * 32, 4 * classes * 16**3
    assert result is out
    assert peak < row + 6 * window < 4 * classes * volume.size / 8
    np.testing.assert_array_equal(out[:, 0, 0], np.abs(np.arange(400) % 200 - 25.0 * np.arange(
        classes)[:, None]).argmin(0))  # fmt: skip


def test_progress_is_told_and_may_stop():
    told = []
    run(positional, scan(20, 9), (8, 4), batch_size=3, progress=lambda *a: told.append(a))
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done) and done[-1] == totals[-1] == 4 * 4

    def stop(done, total):
        if done > 4:
            raise KeyboardInterrupt

    out = np.full((2, 20, 9), np.nan, np.float32)
    with pytest.raises(KeyboardInterrupt):
        run(positional, scan(20, 9), (8, 4), progress=stop, out=out)
    written = np.isfinite(out[0]).all(1)
    assert written[0] and not written[-1]


def test_the_window_is_that_of_the_input_where_it_is_fixed():
    x = eddl.Input((1, 8, 6))
    net = eddl.Model(x, layers.conv(x, 2, 3))
    volume = scan(20, 19)
    np.testing.assert_array_equal(net.predict_windows(volume), net.predict_windows(volume, (8, 6)))
    with pytest.raises(EddlError, match=r"window=\(8, 8\).*the input's own"):
        net.predict_windows(volume, (8, 8))


def two_outputs():
    x = free(2)
    return eddl.Model(x, [layers.conv(x, 2, 3), layers.conv(x, 1, 3)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": None}, "window=None"),
        ({"window": (4, 4, 4)}, "a size for each spatial axis"),
        ({"window": (0, 4)}, "a size for each spatial axis"),
        ({"overlap": 1.0}, "overlap=1.0"),
        ({"overlap": (0.5, 0.5, 0.5)}, "one for each of 2 axes"),
        ({"blending": "hann"}, "'gaussian' or 'constant'"),
        ({"padding": "reflect"}, "zeros"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"mirror": (2,)}, "mirror"),
        ({"mirror": (0, 0)}, "mirror"),
        ({"reduce": "argmax"}, "reduce='argmax'"),
        ({"reduce": lambda s: s.sum()}, r"reduce gave \(\)"),
        ({"volume": scan(2, 9, 9)}, r"\(2, 9, 9\).*one sample"),
        ({"volume": scan(1, 1, 9, 9)}, "one sample"),
        ({"volume": np.zeros((0, 9), np.float32)}, "without voxels"),
        ({"volume": np.zeros((9, 9), np.complex64)}, "complex64"),
        ({"out": np.zeros((9, 9), np.float32)}, r"\(3, 9, 9\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_was_received(options, message):
    given = {"volume": scan(9, 9), "window": (4, 4), **options}
    with pytest.raises(EddlError, match=message):
        network(2).predict_windows(given.pop("volume"), given.pop("window"), **given)


def test_networks_that_do_not_fit_are_refused():
    volume = scan(9, 9)
    with pytest.raises(EddlError, match=r"1 inputs and 2 outputs.*cut"):
        two_outputs().predict_windows(volume, 4)
    x = free(2)
    with pytest.raises(EddlError, match=r"expected an output \[1, outputs, 4, 4\]"):
        eddl.Model(x, layers.max_pool(x, 2)).predict_windows(volume, 4)
    with pytest.raises(MemoryLimitError, match="windows of"):
        network(2).predict_windows(volume, (1 << 20, 1 << 20))
