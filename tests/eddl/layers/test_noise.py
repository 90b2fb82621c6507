"""Noise: what is drawn in training, that it is repeated, and that gradients know of it."""

from __future__ import annotations

import numpy as np
import pytest
from onnxruntime import InferenceSession
from scipy import ndimage, stats

import eddl
from eddl import layers

R = np.random.default_rng(0)


def trained(build, x, *, seed=0, runs=1):
    """What a layer gives in training, run after run."""
    given = eddl.Input(x.shape[1:], dtype=x.dtype)
    anchor = layers.dense(given if x.ndim == 2 else layers.flatten(given), 1)
    loss = layers.reduce_mean(anchor * anchor)
    model = eddl.Model(given, anchor)
    step = eddl.Step([given], [build(given)], [(loss, model.parameters, eddl.SGD(1e-3))], seed=seed)
    return [step(x)[0] for _ in range(runs)]


NOISY = {
    "dropout": lambda x: layers.dropout(x, 0.4, name="n"),
    "spatial_dropout": lambda x: layers.spatial_dropout(x, 0.4, name="n"),
    "alpha_dropout": lambda x: layers.alpha_dropout(x, 0.4, name="n"),
    "gaussian_noise": lambda x: layers.gaussian_noise(x, 0.4, name="n"),
    "gaussian_dropout": lambda x: layers.gaussian_dropout(x, 0.4, name="n"),
    "random_affine": lambda x: layers.random_affine(
        x, degrees=20, scale=(0.8, 1.25), translation=0.1, name="n"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOISY)
def test_each_step_draws_anew_and_a_seed_repeats(name):
    x = R.standard_normal((3, 4, 8, 6)).astype("float32")
    first, again = trained(NOISY[name], x, runs=3), trained(NOISY[name], x, runs=3)
    other = trained(NOISY[name], x, seed=1)[0]
    assert (first[0] != first[1]).any() and (first[1] != first[2]).any()
    assert (first[0] != other).any()
    assert (first[0] != x).any()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NOISY)
def test_a_layer_called_twice_draws_twice(name):
    inner = eddl.Input((4, 8, 6))
    noisy = eddl.Model(inner, NOISY[name](inner))
    x = eddl.Input((4, 8, 6))
    data = R.standard_normal((2, 4, 8, 6)).astype("float32")
    a, b = eddl.Step([x], [noisy(x), noisy(x)])(data)
    assert (a != b).any()


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_know_what_was_drawn(name, dtype):
    """The layers are linear in x (a shifted line for alpha dropout): differences are exact."""
    data = R.standard_normal((2, 4, 8, 6)).astype(dtype)
    x = eddl.Input((4, 8, 6), dtype=dtype)
    y = NOISY[name](x)
    head = layers.constant(R.standard_normal(data.shape), dtype)
    step = eddl.Step([x], [layers.reduce_sum(y * head), *eddl.gradients(y * head, [x])])
    move = R.standard_normal(data.shape).astype(dtype)
    start, slope = step(data)
    end, _ = step(data + move)  # without an optimizer the step's number stays
    limit = 1e-9 if dtype == "float64" else 2e-4
    assert float(end - start) == pytest.approx(float((slope * move).sum()), rel=limit, abs=limit)


@pytest.mark.parametrize("name", NOISY)
def test_files_keep_the_layer(name, tmp_path):
    """What is loaded draws as before: the layer is in the file, and other runtimes skip it."""
    data = R.standard_normal((2, 4, 8, 6)).astype("float32")
    x = eddl.Input((4, 8, 6))
    net = eddl.Model(x, layers.flatten(NOISY[name](x)))  # an output's name is the file's
    net.save(tmp_path / "noise.onnx")
    again = eddl.load(tmp_path / "noise.onnx")
    flat = data.reshape(2, -1)
    np.testing.assert_array_equal(again.predict(data), flat)
    session = InferenceSession(tmp_path / "noise.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"input": data})[0], flat)
    ours, theirs = (eddl.Step(n.inputs, n.outputs)(data)[0] for n in (net, again))
    np.testing.assert_array_equal(theirs, ours)
    assert (ours != flat).any()


def test_gaussian_noise_is_normal():
    x = np.zeros((20, 5000), "float32")
    found = trained(lambda v: layers.gaussian_noise(v, 2.0), x)[0].reshape(-1)
    assert stats.kstest(found[:20000] / 2, "norm").pvalue > 0.01
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02


def test_gaussian_dropout_has_the_deviation_of_dropout():
    x = np.full((20, 5000), 3.0, "float32")
    found = trained(lambda v: layers.gaussian_dropout(v, 0.2), x)[0]
    assert found.mean() == pytest.approx(3.0, rel=0.01)
    assert found.std() == pytest.approx(3 * np.sqrt(0.2 / 0.8), rel=0.02)


def test_alpha_dropout_keeps_mean_and_deviation():
    x = R.standard_normal((20, 5000)).astype("float32")
    found = trained(lambda v: layers.alpha_dropout(v, 0.3), x)[0]
    assert found.mean() == pytest.approx(0, abs=0.02)
    assert found.std() == pytest.approx(1, abs=0.02)
    _, counts = np.unique(found, return_counts=True)
    assert counts.max() / found.size == pytest.approx(0.3, abs=0.01)


def test_spatial_dropout_takes_whole_channels():
    x = np.ones((50, 40, 4, 3), "float32")
    found = trained(lambda v: layers.spatial_dropout(v, 0.25), x)[0]
    assert (found == found[:, :, :1, :1]).all()
    assert (found == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert found.max() == pytest.approx(1 / 0.75)


def measured(found):
    """The centre of each image's blobs."""
    return np.asarray([[ndimage.center_of_mass(channel) for channel in image] for image in found])


def blobs(size):
    """Three channels, each with one blob, at corners of a right angle around the middle."""
    grid = np.indices(size)
    middle = (np.asarray(size) - 1) / 2
    at = [middle + np.asarray(move) for move in ((0, 0), (12, 0), (0, 12))]
    return np.stack([
        np.exp(-sum((g - c) ** 2 for g, c in zip(grid, p, strict=True)) / 8) for p in at
    ]), middle  # fmt: skip


def test_random_affine_stays_within_its_limits_and_keeps_right_angles():
    """Also where space is not square: what turns are elements, not normalised coordinates."""
    size = (48, 64)
    image, middle = blobs(size)
    x = np.repeat(image[None].astype("float32"), 64, 0)
    found = trained(lambda v: layers.random_affine(
        v, degrees=25, scale=(0.8, 1.25), translation=0.05), x)[0]  # fmt: skip
    centres = measured(found)
    shift = centres[:, 0] - middle
    first, second = centres[:, 1] - centres[:, 0], centres[:, 2] - centres[:, 0]
    scales = np.hypot(*first.T) / 12
    angles = np.degrees(np.arctan2(first[:, 1], first[:, 0]))
    cosines = (first * second).sum(1) / np.hypot(*first.T) / np.hypot(*second.T)
    np.testing.assert_allclose(np.hypot(*second.T) / 12, scales, rtol=0.02)
    np.testing.assert_allclose(cosines, 0, atol=0.02)
    assert 0.78 < scales.min() < 0.87 and 1.13 < scales.max() < 1.28
    assert 18 < np.abs(angles).max() < 26 and angles.min() < -15 and angles.max() > 15
    assert (np.abs(shift).max(0) < 0.05 * np.asarray(size) * 1.3).all()
    assert len(np.unique(np.round(angles, 3))) > 60


def test_random_affine_turns_volumes():
    x = np.zeros((40, 1, 9, 9, 9), "float32")
    x[:, :, 4, 4, 1:8] = 1
    found = trained(lambda v: layers.random_affine(v, degrees=90), x)[0]
    spreads = np.stack([found.sum((1, *(a for a in (2, 3, 4) if a != axis))).std(1)
                        for axis in (2, 3, 4)])  # fmt: skip
    assert (spreads.argmax(0) == 0).any() and (spreads.argmax(0) == 1).any()
    np.testing.assert_allclose(found.sum((1, 2, 3, 4)), 7, rtol=0.35)


def test_noise_before_what_only_a_run_tells():
    """Such a network is evaluated node by node, where noise passes its input too."""
    x = eddl.Input((4,))
    y = eddl.ops.apply("NonZero", layers.gaussian_noise(x, 0.1))
    data = np.asarray([[0, 1, 0, 2]], "float32")
    np.testing.assert_array_equal(eddl.Model(x, y).predict(data, batch_size=2), [[0, 0], [1, 3]])


REFUSED = [
    (lambda x: layers.gaussian_noise(x, -1.0), "at least 0"),
    (lambda x: layers.gaussian_dropout(x, 1.0), "ratio < 1"),
    (lambda x: layers.random_affine(x, scale=(1.2, 0.8)), "lower one first"),
    (lambda x: layers.random_affine(x, mode="bilinear"), "expected one of"),
    (lambda x: layers.random_affine(layers.flatten(x)), "N, C and space"),
    (lambda x: layers.affine_transform(x, np.eye(3)), "symbolic tensor"),
    (lambda x: layers.grid_sample(x, x), r"\[N, size, size, 2\]"),
]


@pytest.mark.parametrize(("call", "expected"), REFUSED, ids=[e for _, e in REFUSED])
def test_what_cannot_be_is_refused(call, expected):
    with pytest.raises(eddl.EddlError, match=expected):
        call(eddl.Input((3, 8, 6)))


@pytest.mark.parametrize(("op", "attributes"), [
    ("AlphaDropout", {"ratio": 1.0}),
    ("AlphaDropout", {"ratio": "half"}),
    ("GaussianNoise", {"deviation": float("nan")}),
    ("RandomAffine", {"scale": (0.0, 1.0)}),
    ("RandomAffine", {"scale": (1.0,)}),
    ("RandomAffine", {"degrees": (1.0, 2.0)}),
])  # fmt: skip
def test_what_a_file_may_say_is_checked(op, attributes):
    with pytest.raises(eddl.EddlError, match="received"):
        eddl.ops.apply(op, eddl.Input((3, 8, 6)), domain="eddl", **attributes)
