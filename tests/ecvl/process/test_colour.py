"""Colour spaces against their formulas and Python's colorsys."""

import colorsys
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, KindError, ParameterError

RNG = np.random.default_rng(6)
PICTURE = Image(RNG.integers(0, 256, (9, 11, 3)).astype(np.uint8), "yxc")
UNIT = PICTURE.array / 255.0


@pytest.mark.parametrize("space", ["HSV", "HLS", "XYZ", "LAB", "LUV", "YCbCr", "BGR", "RGBA"])
def test_there_and_back(space: str) -> None:
    there = ecvl.convert_colour(PICTURE, space)
    back = ecvl.convert_colour(there, "RGB", space)
    if back.dtype != np.uint8:
        back = ecvl.rescale(back, 0, 255, dtype=np.uint8)
    assert np.abs(back.array.astype(int) - PICTURE.array).max() <= 1


def test_hues_are_pythons() -> None:
    hsv = ecvl.convert_colour(PICTURE, "HSV").array
    hls = ecvl.convert_colour(PICTURE, "HLS").array
    for y, x in np.ndindex(9, 11):
        np.testing.assert_allclose(
            hsv[y, x], np.array(colorsys.rgb_to_hsv(*UNIT[y, x])) * (360, 1, 1), atol=2e-3
        )
        np.testing.assert_allclose(
            hls[y, x], np.array(colorsys.rgb_to_hls(*UNIT[y, x])) * (360, 1, 1), atol=2e-3
        )


def test_lab_is_cies() -> None:
    linear = np.where(UNIT > 0.04045, ((UNIT + 0.055) / 1.055) ** 2.4, UNIT / 12.92)
    matrix = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169],
                       [0.019334, 0.119193, 0.950227]])  # fmt: skip
    x, y, z = np.moveaxis(linear @ matrix.T / matrix.sum(1), -1, 0)
    f = [np.where(v > 0.008856, np.cbrt(v), 7.787 * v + 16 / 116) for v in (x, y, z)]
    lab = np.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])], axis=-1)
    np.testing.assert_allclose(ecvl.convert_colour(PICTURE, "LAB").array, lab, atol=0.5)


def test_grey_and_ycbcr_keep_the_type() -> None:
    luma = UNIT @ (0.299, 0.587, 0.114)
    grey = ecvl.convert_colour(PICTURE, "grey")
    assert grey.axes == "yx" and grey.dtype == np.uint8
    assert np.abs(grey.array - 255 * luma).max() <= 0.51
    first = ecvl.rearrange(PICTURE, "cyx")
    ycc = ecvl.convert_colour(first, "YCbCr")
    assert ycc.axes == "cyx" and ycc.dtype == np.uint8
    assert np.abs(ycc.array[1] - 255 * ((UNIT[..., 2] - luma) * 0.564 + 0.5)).max() < 1
    wide = PICTURE.replace(array=PICTURE.array.astype(np.uint16) * 257)
    assert np.abs(ecvl.convert_colour(wide, "grey").array / 257.0 - grey.array).max() <= 0.52


def test_what_does_not_fit_is_refused() -> None:
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.convert_colour(PICTURE, "CMYK"), ParameterError, "space"),
        (lambda: ecvl.convert_colour(PICTURE, "RGB", "grey"), GeometryError, "channels"),
        (lambda: ecvl.convert_colour(PICTURE, "RGB", "LAB"), KindError, "real"),
        (
            lambda: ecvl.convert_colour(Image(np.zeros((3, 3, 2)), "yxc"), "RGB"),
            ParameterError,
            "space",
        ),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
