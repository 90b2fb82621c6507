"""Arithmetic that saturates, against Python's own integers."""

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecvl
from ecvl import GeometryError, Image, KindError, ParameterError

TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]
EXACT = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
         "minimum": min, "maximum": max}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(TYPES), st.sampled_from(sorted(EXACT)))
def test_integers_saturate(data: Any, dtype: str, name: str) -> None:
    limits = np.iinfo(dtype)
    numbers = st.lists(st.integers(int(limits.min), int(limits.max)), min_size=4, max_size=4)
    a, b = data.draw(numbers), data.draw(numbers)
    first, second = (Image(np.array([v], dtype), "yx") for v in (a, b))
    expected = [
        min(max(EXACT[name](x, y), int(limits.min)), int(limits.max))
        for x, y in zip(a, b, strict=True)
    ]
    result = getattr(ecvl, name)(first, second)
    assert result.dtype == dtype
    assert result.array.tolist() == [expected]


def test_division() -> None:
    image = Image(np.array([[7, -7, 5, 250]], np.int16), "yx")
    by = Image(np.array([[2, 2, 0, 3]], np.int16), "yx")
    assert ecvl.divide(image, by).array.tolist() == [[4, -4, 0, 83]]
    assert ecvl.divide(image.replace(array=image.array.astype(np.float32)), by).array[0, 2] == 0
    with pytest.raises(ParameterError, match="not 0"):
        ecvl.divide(image, 0)


def test_real_numbers_and_channels() -> None:
    colour = Image(np.full((2, 2, 3), 100, np.uint8), "yxc")
    assert ecvl.add(colour, (10, 20, 200)).array[0, 0].tolist() == [110, 120, 255]
    grey = Image(np.array([[1, 2], [3, 4]], np.uint8), "yx")
    assert ecvl.add(colour, grey).array[1, 1].tolist() == [104, 104, 104]
    first = Image(colour.array.transpose(2, 0, 1), "cyx")
    assert np.array_equal(ecvl.add(colour, first).array, np.full((2, 2, 3), 200))
    real = Image(np.array([[0.1, 0.2]]), "yx")
    assert ecvl.multiply(real, real).array.tolist() == [[0.1 * 0.1, 0.2 * 0.2]]
    assert ecvl.blend(real, 1.0, 0.5).array.tolist() == pytest.approx(np.array([[0.55, 0.6]]))


def test_a_given_range_no_longer_holds() -> None:
    image = Image(np.array([[0.0, 1.0]]), "yx", value_range=(0, 1))
    assert ecvl.multiply(image, 5).value_range == (0, 5)
    assert ecvl.blend(image, 3, 0.5).value_range == (0, 1)


def test_what_does_not_fit_is_refused() -> None:
    image = Image(np.zeros((2, 2, 3), np.uint8), "yxc")
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.add(image, "x"), ParameterError, "one number for each"),
        (lambda: ecvl.add(image, (1, 2)), ParameterError, "one number for each"),
        (lambda: ecvl.add(image, np.nan), ParameterError, "finite"),
        (lambda: ecvl.add(image, Image(np.zeros((2, 3)), "yx")), GeometryError, "one grid"),
        (
            lambda: ecvl.add(Image(np.zeros((2, 2)), "yx"), image),
            GeometryError,
            "axes among",
        ),
        (lambda: ecvl.add(image, Image(np.zeros((2, 2, 4)), "yxc")), GeometryError, "of shape"),
        (
            lambda: ecvl.add(image, Image(np.zeros((2, 2), np.uint8), "yx", kind="labels")),
            KindError,
            "image",
        ),
        (lambda: ecvl.blend(image, image, 2), ParameterError, "weight"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
