"""Functions that change what voxels say and not where they stand. Labels are refused.

Held by `tests/ecvl/process/test_contract.py` and `test_intensity.py` beside it.
"""

from typing import Literal

import numpy as np

from ecvl.errors import ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.registry import processing


@processing("image", "image", dtype="float")
def window(image: Image, level: float, width: float) -> Image:
    """Map the values of a window to 0 to 1; what lies outside becomes 0 or 1.

    `clip((value - (level - width / 2)) / width, 0, 1)`, the display window of radiology. (DICOM
    PS3.3 C.11.2.1.2.1 shifts by half a grey level, to suit integers; this is its "linear exact".)

    Args:
        image: an image, in HU or any unit.
        level: the value in the middle of the window.
        width: the window's width, above 0.

    Returns:
        float32 with value range (0, 1).

    Raises:
        KindError: labels were given.
        ParameterError: the width is not above 0.

    Example:
        >>> import numpy as np
        >>> ct = Image(np.array([[-1000, 40, 240]], np.int16), "yx")
        >>> np.asarray(window(ct, level=40, width=400))
        array([[0. , 0.5, 1. ]], dtype=float32)
    """
    require_kind(image, "image", "window")
    if not (np.isfinite([level, width]).all() and width > 0):
        raise ParameterError(
            f"expected a finite level and a width above 0, received level={level}, width={width}"
        )
    values = np.subtract(image.array, level - width / 2, dtype=np.float32)
    values /= np.float32(width)
    return image.replace(array=np.clip(values, 0, 1, out=values), value_range=(0, 1))


@processing("image", "image", dtype="float", each=False)
def normalise(
    image: Image,
    method: Literal["z-score", "range"] = "z-score",
    *,
    mean: float | None = None,
    deviation: float | None = None,
) -> Image:
    """Bring values to a common scale.

    Args:
        image: an image.
        method: "z-score" subtracts the mean and divides by the standard deviation; "range" maps the
            image's value range to 0 to 1.
        mean: for "z-score", a fixed mean (of a training set) in place of the image's own.
        deviation: for "z-score", a fixed standard deviation in place of the image's own.

    Returns:
        float32. A constant image becomes 0. The value range is (0, 1) for "range", else the old one
        mapped in the same way.

    Raises:
        KindError: labels were given.
        ParameterError: the method is not known, or a deviation is not above 0.

    Example:
        >>> import numpy as np
        >>> np.asarray(normalise(Image(np.array([[1.0, 3.0]]), "yx")))
        array([[-1.,  1.]], dtype=float32)
    """
    require_kind(image, "image", "normalise")
    low, high = image.value_range
    if method == "range":
        if mean is not None or deviation is not None:
            raise ParameterError("normalise takes mean= and deviation= with method='z-score' only")
        offset, scale = low, high - low
    elif method == "z-score":
        if deviation is not None and not (np.isfinite(deviation) and deviation > 0):
            raise ParameterError(f"expected a deviation above 0, received {deviation}")
        offset = float(image.array.mean(dtype=np.float64)) if mean is None else mean
        scale = float(image.array.std(dtype=np.float64)) if deviation is None else deviation
    else:
        raise ParameterError(f"expected method 'z-score' or 'range', received {method!r}")
    scale = scale or 1.0
    values = np.subtract(image.array, offset, dtype=np.float32)
    values /= np.float32(scale)
    if method == "range":
        np.clip(values, 0, 1, out=values)
        return image.replace(array=values, value_range=(0, 1))
    return image.replace(
        array=values, value_range=((low - offset) / scale, (high - offset) / scale)
    )
