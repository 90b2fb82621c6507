"""Thresholds against brute force over their criteria."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, KindError, ParameterError
from ecvl.process.thresholds import METHODS

RNG = np.random.default_rng(2)
PARTS = [RNG.normal(m, s, n) for m, s, n in ((30, 6, 4000), (110, 12, 2500), (200, 9, 1500))]
IMAGE = Image(
    np.clip(np.concatenate(PARTS), 0, 255).round().reshape(80, 100).astype(np.uint8), "yx"
)


def _between(values: Any, bounds: Any) -> float:
    """The variance between classes that Otsu's method makes as great as it can."""
    classes = np.digitize(values, bounds)
    mean = values.mean()
    return sum(
        (classes == k).mean() * (values[classes == k].mean() - mean) ** 2
        for k in range(len(bounds) + 1)
        if (classes == k).any()
    )


def test_intervals_hold_both_ends() -> None:
    image = Image(np.array([[-5, 0, 5, 10]], np.int16), "yx")
    assert ecvl.threshold(image, 0, 5).array.tolist() == [[0, 1, 1, 0]]
    assert ecvl.threshold(image, upper=0).array.tolist() == [[1, 1, 0, 0]]
    assert ecvl.threshold(image, 10).array.tolist() == [[0, 0, 0, 1]]
    assert ecvl.multi_threshold(image, (0, 6)).array.tolist() == [[0, 1, 1, 2]]
    assert ecvl.multi_threshold(image, tuple(range(-300, 0))).dtype == np.uint16


def test_otsu_is_the_best_of_all_thresholds() -> None:
    values = IMAGE.array.reshape(-1).astype(float)
    best = max(_between(values, [bound]) for bound in range(1, 256))
    found = ecvl.threshold_value(IMAGE)
    assert _between(values, [found]) == pytest.approx(best, rel=1e-9)
    assert np.array_equal(ecvl.threshold(IMAGE, "otsu").array, IMAGE.array >= found)


def test_multi_otsu_is_nearly_the_best_of_all_pairs() -> None:
    values = IMAGE.array.reshape(-1).astype(float)
    best = max(_between(values, pair) for pair in combinations(range(10, 250, 4), 2))
    found = ecvl.multi_otsu_values(IMAGE, 3)
    assert _between(values, found) >= best * (1 - 1e-3)
    classes = ecvl.multi_threshold(IMAGE, 3).array.reshape(-1)
    truth = np.repeat([0, 1, 2], [4000, 2500, 1500])
    assert (classes == truth).mean() > 0.995


def test_li_is_a_fixed_point_of_its_iteration() -> None:
    values = IMAGE.array.reshape(-1).astype(float) + 1e-9
    found = ecvl.threshold_value(IMAGE, "li")
    low, high = values[values < found].mean(), values[values >= found].mean()
    assert abs((low - high) / (np.log(low) - np.log(high)) - found) < 2


@pytest.mark.parametrize("method", METHODS)
def test_every_method_parts_two_far_peaks(method: str) -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(50, 8, 6000), rng.normal(180, 8, 4000)]).reshape(100, 100)
    found = ecvl.threshold_value(Image(values.astype(np.float32), "yx"), method)
    # The triangle's corner is at the foot of the greater peak.
    assert 55 < found < 175


def test_masks_choose_what_counts() -> None:
    mask = Image((IMAGE.array < 150).astype(np.uint8), "yx", kind="labels")
    assert 50 < ecvl.threshold_value(IMAGE, mask=mask) < 90
    empty = mask.replace(array=np.zeros(mask.shape, np.uint8))
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.threshold_value(IMAGE, mask=empty), ParameterError, "none"),
        (lambda: ecvl.threshold_value(IMAGE, mask=IMAGE), KindError, "labels"),
        (
            lambda: ecvl.threshold_value(IMAGE, mask=ecvl.crop(mask, [(0, 3), (0, 3)])),
            GeometryError,
            "one grid",
        ),
        (lambda: ecvl.threshold_value(IMAGE, "best"), ParameterError, "method"),
        (lambda: ecvl.threshold_value(IMAGE, bins=1), ParameterError, "bins"),
        (lambda: ecvl.multi_otsu_values(IMAGE, 9), ParameterError, "2 to 5"),
        (lambda: ecvl.multi_otsu_values(empty.replace(kind="image")), ParameterError, "different"),
        (lambda: ecvl.threshold(IMAGE), ParameterError, "neither"),
        (lambda: ecvl.threshold(IMAGE, 5, 2), ParameterError, "lower <= upper"),
        (lambda: ecvl.threshold(IMAGE, np.nan), ParameterError, "finite"),
        (lambda: ecvl.multi_threshold(IMAGE, (3, 3)), ParameterError, "ascending"),
        (lambda: ecvl.multi_threshold(IMAGE, ()), ParameterError, "finite"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()


def test_infinite_values_do_not_count() -> None:
    image = Image(np.array([[1.0, 2, 9, np.nan, np.inf]], np.float32), "yx")
    assert 2 < ecvl.threshold_value(image) <= 9
