"""Values in at most sixteen bits, and how far they come back off: what CT and MR images hold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError
from ecvl.io.dicom.modules import decimal


@dataclass(frozen=True, eq=False)
class Stored16:
    """Values as integers of at most sixteen bits, and the way back.

    Attributes:
        values: what is stored.
        slope, intercept: as the file says them.
        error: the greatest difference between a value and what a reader gets.

    Example:
        >>> stored(np.array([[0.0, 1.0]]), 0).error
        0.0
    """

    values: NDArray[Any]
    slope: float
    intercept: float
    error: float


def stored(values: NDArray[Any], bits: int, unsigned: bool = False) -> Stored16:
    """Put values into integers of at most sixteen bits with the smallest greatest error.

    Args:
        values: integers or real numbers.
        bits: 16.
        unsigned: whether 8-bit integers stay so and signed ones are moved (secondary captures).

    Raises:
        FormatError: a value is not finite.

    Example:
        >>> found = stored(np.array([0.0, 0.25, 1.0]), 16)
        >>> found.error < 1e-5
        True
    """
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" and not np.isfinite([low, high]).all():
        raise FormatError("expected finite values, received NaN or infinity; DICOM has no such")
    if values.dtype.kind == "f" and _whole(values):
        values = values.astype(np.int64)
        low, high = int(low), int(high)
    if values.dtype.kind in "iu":
        low, high = int(low), int(high)
        if values.dtype == np.uint8 and unsigned:
            return Stored16(values, 1.0, 0.0, 0.0)
        if low >= -(1 << 15) and high < 1 << 15 and not (unsigned and low < 0):
            return Stored16(values.astype(np.uint16 if unsigned else np.int16), 1.0, 0.0, 0.0)
        if low >= 0 and high < 1 << 16:
            return Stored16(values.astype(np.uint16), 1.0, 0.0, 0.0)
        if high - low < 1 << 16 and abs(low) < 10**15:
            moved = (values.astype(np.int64) - low).astype(np.uint16)
            return Stored16(moved, 1.0, low, 0.0)
    span = float(high) - float(low)
    slope = float(decimal(span / 65535)) or float(np.finfo(np.float32).tiny)
    intercept = float(decimal(float(low)))
    exact = values.astype(np.float64)
    packed = np.clip(np.rint((exact - intercept) / slope), 0, 65535).astype(np.uint16)
    back = (packed.astype(np.float64) * slope + intercept).astype(np.float32)
    return Stored16(packed, slope, intercept, float(np.abs(back - exact).max()))


def _whole(values: NDArray[Any]) -> bool:
    return all(bool((plane == np.rint(plane)).all()) for plane in values) and bool(
        np.abs(values).max() < 1 << 53
    )
