"""Values in the type of an image: whole numbers are rounded and saturate.

Held by `tests/ecvl/process/test_pull.py`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def in_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return real values in a data type; integers are rounded and saturate.

    Example:
        >>> import numpy as np
        >>> in_type(np.array([-3.0, 1.5, 300.0]), np.dtype(np.uint8))
        array([  0,   2, 255], dtype=uint8)
    """
    if values.dtype == dtype:
        return values
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    # The largest float below a 64-bit limit, for the limit itself rounds up and would overflow.
    high = float(limits.max)
    if high > limits.max:
        high = float(np.nextafter(high, 0))
    rounded = np.asarray(np.rint(values))
    np.clip(rounded, float(limits.min), high, out=rounded)
    if rounded.size and np.isnan(rounded.max()):
        rounded = np.nan_to_num(rounded)
    return rounded.astype(dtype)


def number_in_type(value: float, dtype: np.dtype[Any]) -> Any:
    """Return what `in_type` makes of one number, quickly.

    Example:
        >>> import numpy as np
        >>> number_in_type(300.2, np.dtype(np.uint8))
        np.uint8(255)
    """
    if dtype.kind == "f":
        return dtype.type(value)
    limits = np.iinfo(dtype)
    return dtype.type(round(max(min(value, limits.max), limits.min)))


def working_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return the float type that arithmetic on a data type is done in.

    Example:
        >>> import numpy as np
        >>> working_type(np.dtype(np.int16)) is np.float32
        True
    """
    return np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64
