"""Filters against scipy.ndimage and brute force."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi

import ecvl
from ecvl import Image, ParameterError

RNG = np.random.default_rng(3)
AFFINE = np.diag([0.8, 1.1, 2.5, 1.0])
SPACING = (2.5, 1.1, 0.8)


def _volume(dtype: Any = np.float32, shape: Any = (7, 12, 15)) -> Image:
    return Image(RNG.uniform(0, 200, shape).astype(dtype), "zyx", AFFINE)


@pytest.mark.parametrize("sigma", [1.0, (2.0, 0.9, 0.0)])
def test_gaussian_in_mm(sigma: Any) -> None:
    image = _volume()
    voxels = np.broadcast_to(sigma, 3) / np.array(SPACING)
    theirs = ndi.gaussian_filter(image.array.astype(float), voxels, mode="nearest", truncate=4)
    # The kernels are cut off at slightly different places: a part of 1e-4 lies beyond.
    np.testing.assert_allclose(ecvl.gaussian(image, sigma).array, theirs, atol=0.05)
    again = ecvl.gaussian(image, tuple(voxels), unit="voxels")
    np.testing.assert_allclose(again.array, theirs, atol=0.05)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("size", [3, (1, 5, 5), (3, 1, 5)])
def test_average_and_median(dtype: Any, size: Any) -> None:
    image = _volume(dtype)
    mean = ndi.uniform_filter(image.array.astype(float), size, mode="nearest")
    ours = ecvl.average(image, size).array
    assert np.abs(ours - mean).max() <= (1e-3 if np.dtype(dtype).kind == "f" else 0.5 + 1e-3)
    middle = ndi.median_filter(image.array, size, mode="nearest")
    assert np.array_equal(ecvl.median(image, size).array, middle)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.float16, np.int64])
@pytest.mark.parametrize("size", [3, 5, 9])
def test_median_of_pictures(dtype: Any, size: int) -> None:
    values = RNG.integers(-100 if np.dtype(dtype).kind == "i" else 0, 100, (20, 23)).astype(dtype)
    ours = ecvl.median(Image(values, "yx"), size).array
    assert np.array_equal(ours, ndi.median_filter(values.astype(float), size, mode="nearest"))


def test_linear_and_separable_filters() -> None:
    image = _volume()
    kernel = RNG.normal(size=(3, 5, 3))
    theirs = ndi.correlate(image.array.astype(float), kernel, mode="nearest")
    np.testing.assert_allclose(ecvl.linear_filter(image, kernel).array, theirs, atol=1e-3)
    plane = ndi.correlate(image.array.astype(float), kernel[:1], mode="nearest")
    np.testing.assert_allclose(ecvl.linear_filter(image, kernel[0]).array, plane, atol=1e-3)
    parts = [RNG.normal(size=n) for n in (3, 5, 7)]
    whole = np.einsum("i,j,k->ijk", *parts)
    np.testing.assert_allclose(
        ecvl.separable_filter(image, parts).array, ecvl.linear_filter(image, whole).array, atol=1e-2
    )
    real = ecvl.linear_filter(_volume(np.uint8), [[-1]], keep_type=False)
    assert real.dtype == np.float32
    assert real.array.min() < -100


def test_derivatives_are_per_mm() -> None:
    image = _volume(np.float64)
    second = sum(
        ndi.correlate1d(image.array, [1, -2, 1], axis, mode="nearest") / SPACING[axis] ** 2
        for axis in range(3)
    )
    np.testing.assert_allclose(ecvl.laplacian(image).array, second, atol=1e-9)
    parts = [ndi.sobel(image.array, axis, mode="nearest") / 32 / SPACING[axis] for axis in range(3)]
    for letter, part in zip("zyx", parts, strict=True):
        np.testing.assert_allclose(ecvl.sobel(image, letter).array, part, atol=1e-9)
    length = np.sqrt(sum(part**2 for part in parts))
    np.testing.assert_allclose(ecvl.sobel(image).array, length, atol=1e-9)


def test_bilateral_is_brute_force() -> None:
    image = _volume(shape=(5, 8, 9))
    ours = ecvl.bilateral(image, 1.2, 40).array
    radius = [int(np.ceil(2.5 * 1.2 / s)) for s in SPACING]
    padded = np.pad(image.array.astype(float), [(r, r) for r in radius], mode="edge")
    total, weights = np.zeros(image.shape), np.zeros(image.shape)
    for offset in np.ndindex(*(2 * r + 1 for r in radius)):
        place = tuple(slice(o, o + n) for o, n in zip(offset, image.shape, strict=True))
        there = padded[place]
        distance = np.linalg.norm((np.array(offset) - radius) * SPACING) / 1.2
        weight = np.exp(-0.5 * distance**2 - 0.5 * ((there - image.array) / 40) ** 2)
        # The library cuts values that differ by over four deviations.
        weight[np.abs(there - image.array) > 4 * 40] = 0
        total, weights = total + weight * there, weights + weight
    np.testing.assert_allclose(ours, total / weights, atol=0.3)


def test_anisotropic_is_perona_and_malik() -> None:
    """One step of the textbook's scheme, with the library's scale of conductance."""
    image = Image(RNG.uniform(0, 200, (12, 15)), "yx")
    ours = ecvl.anisotropic(image, 1, 2.0, method="gradient", time_step=0.1).array
    values = image.array.astype(float)
    padded = np.pad(values, 1, mode="edge")
    # The conductance is measured in root mean square gradients (of central differences).
    down, right = padded[:, 1:-1], padded[1:-1]
    centre = [(down[2:] - down[:-2]) / 2, (right[:, 2:] - right[:, :-2]) / 2]
    scale = -2 * 2.0**2 * np.mean(centre[0] ** 2 + centre[1] ** 2)
    wide = [np.pad(part, 1, mode="edge") for part in centre]
    flow = np.zeros_like(values)
    for axis in (0, 1):
        for side in (-1, 1):
            neighbour = np.roll(padded, -side, axis)[1:-1, 1:-1]
            other = wide[1 - axis]
            across = (other + np.roll(other, -side, axis))[1:-1, 1:-1] / 2
            step = neighbour - values
            flow += step * np.exp((step**2 + across**2) / scale)
    np.testing.assert_allclose(ours, values + 0.1 * flow, atol=0.5)
    assert np.abs(ours - values).max() > 5


def test_diffusion_keeps_edges_that_a_blur_loses() -> None:
    step = np.repeat([0.0, 100.0], 10)[None] + RNG.normal(0, 3, (20, 20))
    image = Image(step.astype(np.float32), "yx")
    for method in ("curvature", "gradient"):
        result = ecvl.anisotropic(image, 20, 1.0, method=method).array
        assert result[:, :9].std() < 2
        assert (result[:, 10] - result[:, 9]).mean() > 80


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda i: ecvl.gaussian(i, -1), "sigma"),
        (lambda i: ecvl.gaussian(i, (1, 1)), "each of 'zyx'"),
        (lambda i: ecvl.gaussian(i, 1, unit="cm"), "unit"),
        (lambda i: ecvl.gaussian(i, np.nan), "sigma"),
        (lambda i: ecvl.gaussian(i, 1e9), "10,000"),
        (lambda i: ecvl.average(i, 2), "odd"),
        (lambda i: ecvl.median(i, 3.5), "odd"),
        (lambda i: ecvl.median(i, 1 << 20 | 1), "at most"),
        (lambda i: ecvl.bilateral(i, 1e9), "at most"),
        (lambda i: ecvl.median(i, 0), "at least 1"),
        (lambda i: ecvl.bilateral(i, 0), "above 0"),
        (lambda i: ecvl.bilateral(i, 1, 0), "range_sigma"),
        (lambda i: ecvl.anisotropic(i, -1), "iterations"),
        (lambda i: ecvl.anisotropic(i, conductance=0), "conductance"),
        (lambda i: ecvl.anisotropic(i, method="magic"), "method"),
        (lambda i: ecvl.anisotropic(i, time_step=5), "stable"),
        (lambda i: ecvl.sobel(i, "w"), "axis"),
        (lambda i: ecvl.linear_filter(i, [[1, 2]]), "odd"),
        (lambda i: ecvl.linear_filter(i, [1, 2, 1]), "axis for each"),
        (lambda i: ecvl.linear_filter(i, "sharp"), "weights"),
        (lambda i: ecvl.separable_filter(i, [[1]]), "one kernel"),
    ],
)
def test_wrong_arguments_are_said(act: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        act(_volume())
