"""Imitated flaws of acquisition against their definitions, by whole Fourier transforms."""

from typing import Any

import numpy as np
import pytest
import scipy.stats

from ecvl import Image, ParameterError, Sample, augment
from ecvl.grids import Grid
from ecvl.process.pull import pull


def scan(shape: Any = (6, 20, 24), seed: int = 0) -> Image:
    axes = "zyx" if len(shape) == 3 else "yx"
    array = np.random.default_rng(seed).uniform(0.3, 0.7, shape).astype(np.float32)
    return Image(array, axes, value_range=(0, 5))


def test_a_bias_field_is_the_exponential_of_its_polynomial() -> None:
    image = scan()
    sample = augment.BiasField(0.4)(Sample(image), seed=1)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij")
    coefficients = sample.history[0]["coefficients"]
    assert len(coefficients) == 20
    field = sum(c * x**i * y**j * z**k for i, j, k, c in coefficients)
    np.testing.assert_allclose(sample.image.array, image.array * np.exp(field), rtol=1e-4)


def test_rician_noise_has_its_distribution() -> None:
    image = Image(np.full((400, 400), 0.2, np.float32), "yx", value_range=(0, 2))
    values = augment.RicianNoise(0.05)(image, seed=1).array.reshape(-1)
    assert scipy.stats.kstest(values, scipy.stats.rice(2, scale=0.1).cdf).pvalue > 1e-3


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_ghosting_weakens_lines_of_k_space(axis: str) -> None:
    image = scan((12, 20, 24))
    sample = augment.Ghosting((0.5, 0.8), (2, 4), axis, restore=0.2)(Sample(image), seed=1)
    drawn, at = sample.history[0], "zyx".index(axis)
    spectrum = np.fft.fftn(image.array)
    size = image.shape[at]
    line = np.abs(np.fft.fftfreq(size, 1 / size))
    weights = np.where((line % drawn["ghosts"] == 0) & (line > 0.1 * size),
                       1 - drawn["intensity"], 1)  # fmt: skip
    shape = [1, 1, 1]
    shape[at] = size
    theirs = np.abs(np.fft.ifftn(spectrum * weights.reshape(shape)))
    np.testing.assert_allclose(sample.image.array, theirs, atol=1e-4)


@pytest.mark.parametrize("axes", ["yx", "zyx"])
def test_motion_joins_k_space_of_several_places(axes: str) -> None:
    from ecvl.augment.affine import turned_about
    from ecvl.augment.spatial import around_centre

    image = scan((8, 20, 24))
    sample = augment.Motion((-8, 8), (-3, 3), 2, "y", axes)(Sample(image), seed=4)
    drawn = sample.history[0]
    places = [image.array]
    for degrees, shifts in zip(drawn["degrees"], drawn["translate"], strict=True):
        linear = np.eye(3)
        for letter, angle in degrees.items():
            linear = linear @ turned_about(angle, letter)
        shift = np.array([shifts.get(letter, 0) for letter in "xyz"])
        matrix = around_centre(linear, image.grid, -linear @ shift)
        places.append(pull(image, Grid(image.shape, image.affine), matrix, 0).array)
    ends = np.array([0, *(round(t * 20) for t in drawn["times"]), 20])
    middle = int(np.searchsorted(ends, 10, side="right")) - 1
    order = [*range(1, middle + 1), 0, *range(middle + 1, 3)]
    spectrum = np.zeros(image.shape, complex)
    for index, pose in enumerate(order):
        part = np.fft.fftshift(np.fft.fftn(places[pose]), axes=1)
        spectrum[:, ends[index] : ends[index + 1]] = part[:, ends[index] : ends[index + 1]]
    theirs = np.abs(np.fft.ifftn(np.fft.ifftshift(spectrum, axes=1)))
    np.testing.assert_allclose(sample.image.array, theirs, atol=1e-4)


def test_who_lies_still_is_sharp() -> None:
    image = scan()
    np.testing.assert_allclose(augment.Motion(0, 0)(image, seed=1).array, image.array, atol=1e-5)
    np.testing.assert_allclose(augment.Ghosting(0)(image, seed=1).array, image.array, atol=1e-5)
    for axes in ("yx", "zyx"):
        same = augment.LowResolution(1, axes)(image, seed=1)
        np.testing.assert_allclose(same.array, image.array, atol=1e-5)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_low_resolution_is_means_and_lines_between(axis: str) -> None:
    image = scan((12, 12, 12))
    found = augment.LowResolution(3, axis)(image, seed=1).array
    at = "zyx".index(axis)
    values = np.moveaxis(image.array, at, -1)
    means = values.reshape(12, 12, 4, 3).mean(axis=-1)
    places = (np.arange(12) + 0.5) / 3 - 0.5
    theirs = np.apply_along_axis(lambda row: np.interp(places, np.arange(4), row), -1, means)
    np.testing.assert_allclose(np.moveaxis(found, at, -1), theirs, atol=1e-5)


@pytest.mark.parametrize(
    "act",
    [
        lambda: augment.BiasField(order=-1),
        lambda: augment.Ghosting(ghosts=(1, 4)),
        lambda: augment.Ghosting(ghosts=(5, 4)),
        lambda: augment.Ghosting(axis="c"),
        lambda: augment.Ghosting(restore=2),
        lambda: augment.Motion(movements=0),
        lambda: augment.Motion(axes="xy"),
        lambda: augment.LowResolution(0.5),
        lambda: augment.LowResolution(axes=""),
    ],
)
def test_wrong_arguments_are_said(act: Any) -> None:
    with pytest.raises(ParameterError):
        act()
