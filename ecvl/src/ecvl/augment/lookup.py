"""What a curve makes of an array, by the quickest way: a table, a line, or value by value.

Held by `tests/ecvl/augment/test_contract.py` and `test_augment.py` beside it.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.intensity import Floats
from ecvl.augment.randoms import blocks
from ecvl.process.dtypes import in_type, working_type

# Values that are worked on at once where there is little to do for each.
LINE_BLOCK = 1 << 17
# What a line must be for its ends to be looked for, and how many roundings are tried.
LEAST_SLOPE = 1e-3
MOST_STEPS = 8


def shifted(array: NDArray[np.uint8], levels: int) -> NDArray[Any]:
    """Return 8-bit values a number of levels higher, or lower.

    Example:
        >>> shifted(np.array([10, 250], np.uint8), 10)
        array([ 20, 255], dtype=uint8)
    """
    import cv2

    function = cv2.add if levels >= 0 else cv2.subtract
    return np.asarray(function(array.reshape(1, -1), min(abs(levels), 255))).reshape(array.shape)


def _ends(low: float, high: float, factor: float, summand: float) -> tuple[float, float, float]:
    """Return what a line adds to values times the factor, and where it takes a range's ends."""
    width = high - low
    first, last = low + width * summand, low + width * (factor + summand)
    offset = low * (1 - factor) + summand * width
    return offset, min(max(first, low), high), min(max(last, low), high)


def line_table(
    dtype: np.dtype[Any], low: float, high: float, factor: float, summand: float
) -> NDArray[Any]:
    """Return what a rising line makes of every value of 8 bits, by bit pattern.

    Example:
        >>> line_table(np.dtype(np.uint8), 0, 255, 2.0, 0.0)[[10, 200]]
        array([ 20, 255], dtype=uint8)
    """
    import cv2

    offset, first, last = _ends(low, high, factor, summand)
    values = _every_value(dtype.str)
    if dtype.char == "B" and not low and high == 255:
        return np.asarray(cv2.addWeighted(values, factor, values, 0, offset)).reshape(-1)
    line = values * np.float32(factor)
    line += np.float32(offset)
    return _finished(line, first, last, dtype)


def on_line(
    array: NDArray[Any], low: float, high: float, factor: float, summand: float
) -> NDArray[Any]:
    """Return `curved` of a rising line: cutting off before it is cutting off where its ends go.

    Example:
        >>> on_line(np.array([0.25, 0.75], np.float32), 0, 1, 2.0, 0.0)
        array([0.5, 1. ], dtype=float32)
    """
    kind = array.dtype.type
    offset, first, last = _ends(low, high, factor, summand)

    def line(values: Any) -> Any:
        if factor != 1:
            values *= kind(factor)
        if offset:
            values += kind(offset)
        return values

    result = np.empty(array.shape, array.dtype)
    source, out = array.reshape(-1), result.reshape(-1)
    ends = _leading_to((first, last), line, factor, offset, kind)
    for place in blocks(source.size, LINE_BLOCK):
        if ends is None:
            out[place] = source[place]
            values = line(out[place])
            values.clip(first, last, out=values)
        else:
            line(source[place].clip(*ends, out=out[place]))
    return result


def _leading_to(
    ends: tuple[float, float], line: Any, factor: float, offset: float, kind: Any
) -> tuple[Any, Any] | None:
    """Return the outermost values that a line takes between two ends, if rounding allows it.

    To cut off there, before the line, is a look at the memory less.
    """
    if factor < LEAST_SLOPE:
        return None
    found = []
    for end, inwards in zip(ends, (np.inf, -np.inf), strict=True):
        value = kind((end - offset) / factor)
        for _ in range(MOST_STEPS):
            reached = line(kind(value))
            if reached >= ends[0] if inwards > 0 else reached <= ends[1]:
                break
            value = np.nextafter(value, kind(inwards))
        else:
            return None
        found.append(value)
    return found[0], found[1]


def curved(
    array: NDArray[Any], low: float, high: float, curve: Callable[[Floats], Floats]
) -> NDArray[Any]:
    """Return an array after a curve over a value range.

    Args:
        array: any real type and shape.
        low: the value that the curve knows as 0.
        high: the value that the curve knows as 1.
        curve: from values to values; may overwrite what it is given.

    Example:
        >>> curved(np.array([0, 51, 255], np.uint8), 0, 255, lambda unit: unit**2)
        array([  0,  10, 255], dtype=uint8)
    """
    bits = 8 * array.dtype.itemsize
    if array.dtype.kind in "iu" and (bits == 8 or (bits == 16 and array.size > 1 << 15)):
        return looked_up(array, _table(array.dtype, low, high, curve))
    result = np.empty(array.shape, array.dtype)
    values, out = np.ascontiguousarray(array).reshape(-1), result.reshape(-1)
    for place in blocks(values.size):
        found = _directly(values[place], low, high, curve, out[place])
        if found.base is not result:
            out[place] = found
    return result


def looked_up(array: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
    """Return what a table of 2**8 or 2**16 entries says of each bit pattern of an array.

    Example:
        >>> looked_up(np.array([[1, 3]], np.uint8), np.arange(256, dtype=np.uint8)[::-1])
        array([[254, 252]], dtype=uint8)
    """
    import cv2

    if array.dtype.itemsize == 1 and (translate := _translate()) is not None:
        values = np.ascontiguousarray(array)
        result = np.empty(values.shape, values.dtype)
        whole, out = values.reshape(-1), result.reshape(-1)
        translate(whole.data, np.ascontiguousarray(table).data, out=out.data)
        return result
    bits = np.dtype(f"u{array.dtype.itemsize}")
    words = np.ascontiguousarray(table).view(bits).reshape(1, -1)
    found = np.asarray(cv2.LUT(np.ascontiguousarray(array).view(bits).reshape(1, -1), words))
    return found.view(array.dtype).reshape(array.shape)


@functools.cache
def _translate() -> Callable[..., Any] | None:
    """Return StringZilla's look-up in tables of 8 bits, seven times as quick, where installed."""
    try:
        translate: Callable[..., Any] = importlib.import_module("stringzilla").translate
        translate(bytes(1), bytes(256), out=bytearray(1))
    except (ImportError, AttributeError, TypeError):
        # Before 5.3 it could not write elsewhere.
        return None
    return translate


def _table(
    dtype: np.dtype[Any], low: float, high: float, curve: Callable[[Floats], Floats]
) -> NDArray[Any]:
    """Return what a curve makes of every value of a whole-number type, by bit pattern."""
    unit = curve(_units(dtype.str, low, high).copy())
    unit *= np.float32(high - low)
    unit += np.float32(low)
    return _finished(unit, low, high, dtype)


def _finished(values: Floats, low: float, high: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values in a whole-number type, cut off at a range; they are overwritten."""
    least, most = _LIMITS[dtype.str]
    # These, unlike others, let no NaN through.
    np.fmax(values, max(low, least), out=values)
    np.fmin(values, min(high, most), out=values)
    return np.rint(values, out=values).astype(dtype)


@functools.cache
def _every_value(code: str) -> NDArray[Any]:
    """Return every value of a type of 8 bits, by bit pattern."""
    return np.arange(256, dtype=np.uint8).view(code)


@functools.lru_cache(maxsize=8)
def _units(code: str, low: float, high: float) -> NDArray[np.float32]:
    """Return every value of a type by bit pattern, on the scale of a curve."""
    dtype = np.dtype(code)
    patterns = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype)
    unit = np.clip(patterns, low, high, dtype=np.float32)
    unit -= np.float32(low)
    unit *= np.float32(1 / (high - low))
    return np.asarray(unit)


_LIMITS = {
    np.dtype(name).str: (float(np.iinfo(name).min), float(np.iinfo(name).max))
    for name in ("u1", "i1", "u2", "i2")
}


def _directly(
    values: NDArray[Any],
    low: float,
    high: float,
    curve: Callable[[Floats], Floats],
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return values after the curve, in `out` if they are computed in its type."""
    kind = working_type(values.dtype)
    if out is not None and out.dtype == kind:
        unit = np.clip(values, low, high, out=out)
    else:
        unit = np.clip(values, low, high, dtype=kind)
    if low:
        unit -= kind(low)
    if high - low != 1:
        unit *= kind(1 / (high - low))
    unit = curve(unit)
    if high - low != 1:
        unit *= kind(high - low)
    if low:
        unit += kind(low)
    # Rounding in float32 must not lead out of the range either.
    return in_type(np.clip(unit, low, high, out=unit), values.dtype)
