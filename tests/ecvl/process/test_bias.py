"""Bias field correction on a head with a known shading."""

from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, ParameterError

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def _shaded(shape: Any = (20, 40, 44)) -> tuple[Image, Any, Any]:
    rng = np.random.default_rng(0)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = sum(axis**2 for axis in grid)
    tissue = np.where(radius < 0.8, 100.0, 0) + np.where(radius < 0.3, 60.0, 0)
    field = np.exp(0.4 * grid[-1] + 0.3 * grid[-2] ** 2)
    values = tissue * field + np.where(tissue > 0, rng.normal(0, 2, shape), 0)
    image = Image(values.clip(0).astype(np.float32), "zyx"[-len(shape) :], AFFINE)
    return image, tissue, field


@pytest.mark.parametrize("shape", [(20, 40, 44), (60, 64)])
def test_a_known_field_is_taken_out(shape: Any) -> None:
    image, tissue, field = _shaded(shape)
    result = ecvl.correct_bias(image, shrink=2)
    for level in (100.0, 160.0):
        inside = tissue == level
        before, after = (
            np.std(i.array[inside]) / np.mean(i.array[inside]) for i in (image, result)
        )
        assert before > 0.1 and after < before / 3
    inside = tissue > 0
    found = np.log(image.array[inside] / result.array[inside])
    assert np.corrcoef(found, np.log(field[inside]))[0, 1] > 0.98
    # The mean of the logarithm stays, over the mask that was taken.
    assert abs(found.mean()) < 0.02
    assert result.dtype == np.float32


def test_masks_channels_and_types() -> None:
    image, tissue, _ = _shaded((24, 26, 28))
    mask = Image((tissue > 0).astype(np.uint8), "zyx", AFFINE, kind="labels")
    alone = ecvl.correct_bias(image, mask, shrink=2, iterations=(10, 10))
    both = Image(np.stack([image.array, 2 * image.array]), "czyx", AFFINE)
    result = ecvl.correct_bias(both, mask, shrink=2, iterations=(10, 10)).array
    assert np.array_equal(result[0], alone.array)
    np.testing.assert_allclose(result[1], 2 * alone.array, rtol=1e-3, atol=1e-2)
    whole = image.replace(array=image.array.astype(np.int16))
    assert ecvl.correct_bias(whole, mask, iterations=(2,)).dtype == np.int16


def test_what_does_not_fit_is_refused() -> None:
    image, _, _ = _shaded((12, 14, 16))
    empty = Image(np.zeros(image.shape, np.uint8), "zyx", AFFINE, kind="labels")
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.correct_bias(image, empty), GeometryError, "none"),
        (lambda: ecvl.correct_bias(image, shrink=0), ParameterError, "at least 1"),
        (lambda: ecvl.correct_bias(image, control_points=2), ParameterError, "at least 4"),
        (lambda: ecvl.correct_bias(ecvl.crop(image, [(0, 4), (0, 9), (0, 9)])), GeometryError, "8"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
