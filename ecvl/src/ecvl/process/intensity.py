"""Functions that change what voxels say and not where they stand. Labels are refused.

Held by `tests/ecvl/process/test_contract.py` and `test_intensity.py` beside it.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ecvl.errors import ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.registry import processing
from ecvl.process.volumes import finite_values, is_real, mask_of


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
    method: Literal["z-score", "range", "percentile"] = "z-score",
    *,
    mean: float | Sequence[float] | None = None,
    deviation: float | Sequence[float] | None = None,
    percentiles: tuple[float, float] = (0.5, 99.5),
    mask: Image | None = None,
    per_channel: bool = False,
) -> Image:
    """Bring values to a common scale.

    Args:
        image: an image.
        method: "z-score" subtracts the mean and divides by the standard deviation; "range" maps the
            image's value range to 0 to 1; "percentile" maps two of its percentiles to 0 to 1 and
            cuts off the rest.
        mean: for "z-score", a fixed mean (of a training set) in place of the image's own, or one a
            channel.
        deviation: for "z-score", a fixed standard deviation in place of the image's own, or one a
            channel.
        percentiles: for "percentile", the two, from 0 to 100.
        mask: labels on the same grid; means, deviations and percentiles are those of voxels above
            0 (a brain, say). All voxels are mapped.
        per_channel: whether each channel is measured alone.

    Returns:
        float32. What has no spread becomes 0. The value range is (0, 1) for "range" and
        "percentile", else the old one mapped in the same way (the widest of several channels').

    Raises:
        KindError: labels were given.
        ParameterError: the method is not known, an argument belongs to another one, a deviation is
            not above 0, or the mask is empty.

    Example:
        >>> np.asarray(normalise(Image(np.array([[1.0, 3.0]]), "yx")))
        array([[-1.,  1.]], dtype=float32)
    """
    require_kind(image, "image", "normalise")
    if method not in ("z-score", "range", "percentile"):
        raise ParameterError(
            f"expected method 'z-score', 'range' or 'percentile', received {method!r}"
        )
    if method != "z-score" and (mean is not None or deviation is not None):
        raise ParameterError("normalise takes mean= and deviation= with method='z-score' only")
    if method == "range" and mask is not None:
        raise ParameterError("normalise takes mask= with 'z-score' and 'percentile' only")
    inside = None if mask is None else mask_of(image, mask)
    several = "c" in image.axes and (
        per_channel or isinstance(mean, Sequence) or isinstance(deviation, Sequence)
    )
    axis = image.axes.find("c")
    count = image.shape[axis] if several else 1
    means, deviations = _for_each(mean, count, "mean"), _for_each(deviation, count, "deviation")
    result = np.empty(image.shape, np.float32)
    low, high = image.value_range
    ranges = []
    for index in range(count):
        place = (slice(None),) * axis + (index,) if several else ()
        values = image.array[place]
        if method == "range":
            offset, scale = low, high - low
        else:
            counted = finite_values(values, None if inside is None else inside[place])
            if method == "percentile":
                first, last = _checked_percentiles(percentiles)
                offset, end = (float(v) for v in np.percentile(counted, (first, last)))
                scale = end - offset
            else:
                own_mean, own = means[index], deviations[index]
                offset = float(counted.mean(dtype=np.float64)) if own_mean is None else own_mean
                scale = float(counted.std(dtype=np.float64)) if own is None else own
        scale = scale or 1.0
        result[place] = np.subtract(values, offset, dtype=np.float32) / np.float32(scale)
        ranges += [(low - offset) / scale, (high - offset) / scale]
    if method == "z-score":
        return image.replace(array=result, value_range=(min(ranges), max(ranges)))
    return image.replace(array=np.clip(result, 0, 1, out=result), value_range=(0, 1))


def _for_each(value: Any, count: int, name: str) -> list[float | None]:
    given = list(value) if isinstance(value, Sequence) else [value] * count
    if len(given) != count or not all(v is None or is_real(v) for v in given):
        raise ParameterError(
            f"expected {name} as a finite number, or one for each of the channels, received "
            f"{value!r}"
        )
    if name == "deviation" and any(v is not None and v <= 0 for v in given):
        raise ParameterError(f"expected a deviation above 0, received {value}")
    return given


def _checked_percentiles(percentiles: Any) -> tuple[float, float]:
    try:
        first, last = percentiles
    except (TypeError, ValueError):
        first = last = None
    if not is_real(first) or not is_real(last) or not 0 <= first < last <= 100:
        raise ParameterError(
            f"expected percentiles as (low, high) from 0 to 100, received {percentiles!r}"
        )
    return first, last
