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


def test_percentiles_and_masks(volume: Any) -> None:
    image = volume(dtype=np.float32)
    result = ecvl.normalise(image, "percentile", percentiles=(10, 90))
    low, high = np.percentile(image.array, (10, 90))
    expected = ((image.array - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(result.array, expected, atol=1e-5)
    assert result.value_range == (0, 1)
    mask = Image((image.array > 0).astype(np.uint8), "zyx", image.affine, kind="labels")
    inside = ecvl.normalise(image, mask=mask).array[mask.array > 0]
    assert abs(inside.mean()) < 1e-5 and abs(inside.std() - 1) < 1e-5
    empty = mask.replace(array=np.zeros_like(mask.array))
    with pytest.raises(ParameterError, match="none"):
        ecvl.normalise(image, mask=empty)


def test_channels_have_means_of_their_own() -> None:
    colours = Image(np.random.default_rng(0).integers(0, 255, (8, 9, 3)).astype(np.uint8), "yxc")
    result = ecvl.normalise(colours, per_channel=True).array
    np.testing.assert_allclose(result.mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std((0, 1)), 1, atol=1e-5)
    fixed = ecvl.normalise(colours, mean=(10, 20, 30), deviation=(1, 2, 3))
    np.testing.assert_allclose(fixed.array, (colours.array - [10, 20, 30.0]) / [1, 2, 3], rtol=1e-5)
    assert fixed.value_range == pytest.approx((-10, 245))
    with pytest.raises(ParameterError, match="each of the channels"):
        ecvl.normalise(colours, mean=(1, 2))


@pytest.mark.parametrize(
    "act",
    [
        lambda i: ecvl.window(i, 0, 0),
        lambda i: ecvl.window(i, np.nan, 1),
        lambda i: ecvl.normalise(i, "max"),
        lambda i: ecvl.normalise(i, deviation=0),
        lambda i: ecvl.normalise(i, "range", mean=3),
        lambda i: ecvl.normalise(i, "percentile", percentiles=(50, 50)),
        lambda i: ecvl.normalise(i, mean=(1, 2)),
    ],
)
def test_wrong_arguments_are_said(volume: Any, act: Any) -> None:
    with pytest.raises(ParameterError, match=r"expected|takes"):
        act(volume())
