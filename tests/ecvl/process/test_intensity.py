"""Windows and normalisation, against their formulas."""

from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import Image, ParameterError


def test_window_is_its_formula(volume: Any) -> None:
    image = volume()
    result = ecvl.window(image, level=100, width=80)
    expected = np.clip((image.array - 60.0) / 80, 0, 1)
    np.testing.assert_allclose(result.array, expected, atol=1e-6)
    assert result.value_range == (0, 1)


def test_z_score(volume: Any) -> None:
    result = ecvl.normalise(volume())
    assert result.array.mean() == pytest.approx(0, abs=1e-5)
    assert result.array.std() == pytest.approx(1, rel=1e-5)
    fixed = ecvl.normalise(volume(), mean=50, deviation=25)
    np.testing.assert_allclose(fixed.array, (volume().array - 50) / 25, rtol=1e-6)
    assert fixed.value_range == pytest.approx(
        ((volume().array.min() - 50) / 25, (volume().array.max() - 50) / 25)
    )


def test_range_and_constants(volume: Any) -> None:
    result = ecvl.normalise(volume(), "range")
    assert (result.array.min(), result.array.max()) == (0, 1)
    constant = Image(np.full((2, 2), 7, np.int16), "yx")
    for method in ("z-score", "range"):
        assert not ecvl.normalise(constant, method).array.any()


@pytest.mark.parametrize(
    "act",
    [
        lambda i: ecvl.window(i, 0, 0),
        lambda i: ecvl.window(i, np.nan, 1),
        lambda i: ecvl.normalise(i, "max"),
        lambda i: ecvl.normalise(i, deviation=0),
        lambda i: ecvl.normalise(i, "range", mean=3),
    ],
)
def test_wrong_arguments_are_said(volume: Any, act: Any) -> None:
    with pytest.raises(ParameterError, match=r"expected|takes"):
        act(volume())
