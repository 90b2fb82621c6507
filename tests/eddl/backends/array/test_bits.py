"""Casts against the tables of ONNX's Cast, strings both ways, and reinterpretation."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from eddl.backends.array.bits import convert, reinterpret
from eddl.errors import AttributeValueError


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
                                  "float8_e5m2fnuz"])  # fmt: skip
def test_float8_saturates_or_not(name: str):
    to = np.dtype(getattr(ml_dtypes, name))
    most = float(ml_dtypes.finfo(to).max)
    x = np.array([0.0, 1.0, 1e6, -1e6, np.inf, -np.inf, np.nan], np.float32)
    kept = convert(x, to).astype("float32")
    np.testing.assert_array_equal(kept, [0, 1, most, -most, most, -most, np.nan])
    lost = convert(x, to, saturate=False).astype("float32")
    beyond = [np.inf, -np.inf] * 2 if name == "float8_e5m2" else [np.nan] * 4
    np.testing.assert_array_equal(lost, [0, 1, *beyond, np.nan])


def test_powers_of_two():
    x = np.array([0.0, 1.0, 1.2, 1.5, 1.7, np.inf, 3e38, np.nan, 2.0**-127], np.float32)
    top, low = 2.0**127, 2.0**-127
    for mode, expected in {
        "up": [low, 1, 2, 2, 2, top, top, np.nan, low],
        "nearest": [low, 1, 1, 2, 2, top, top, np.nan, low],
        "down": [low, 1, 1, 1, 1, top, top, np.nan, low],
    }.items():
        found = convert(x, ml_dtypes.float8_e8m0fnu, True, mode).astype("float64")
        np.testing.assert_array_equal(found, expected)
    found = convert(x, ml_dtypes.float8_e8m0fnu, False, "nearest").astype("float64")
    np.testing.assert_array_equal(found[[0, 5, 6]], np.nan)


def test_strings_both_ways():
    text = np.array(["1.5", "-2", "+INF", "-inf", "NaN", "1E3"], object)
    found = convert(text, np.float32)
    np.testing.assert_array_equal(found, np.array([1.5, -2, np.inf, -np.inf, np.nan, 1000], "f4"))
    assert convert(np.array(["9007199254740993", "7.9"], object), np.int64).tolist() == [
        9007199254740993,
        7,
    ]
    back = convert(np.array([0.1, 2.5], np.float32), object)
    assert back.dtype == object and back.tolist() == ["0.1", "2.5"]
    with pytest.raises(AttributeValueError, match="received the string 'Hello'"):
        convert(np.array(["Hello"], object), np.float32)


def test_whole_numbers_lose_their_high_bits():
    assert convert(np.array([200, -9], np.int16), np.int8).tolist() == [-56, -9]
    assert convert(np.array([300, -9]), ml_dtypes.int4).astype(int).tolist() == [-4, 7]


def test_bits_are_kept():
    x = np.array([1.0, -2.0], np.float32)
    assert reinterpret(x, np.int32).tolist() == [0x3F800000, -0x40000000]
    nibbles = np.arange(16, dtype=np.uint8).astype(ml_dtypes.uint4)
    signed = reinterpret(nibbles, ml_dtypes.int4).astype(int)
    assert signed.tolist() == [*range(8), *range(-8, 0)]
    assert reinterpret(reinterpret(nibbles, ml_dtypes.int4), ml_dtypes.uint4).tolist() == [
        *nibbles.tolist()
    ]
    assert reinterpret(nibbles, ml_dtypes.float4_e2m1fn).astype(float)[2] == 1.0
