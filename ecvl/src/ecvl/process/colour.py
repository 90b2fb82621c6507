"""Colour spaces, over the channel axis, by OpenCV. Held by `tests/ecvl/process/test_colour.py`.

| space | channels, of a real image | of an integer one |
|---|---|---|
| RGB, RGBA, BGR | 0 to 1 | the whole range |
| grey | luma, 0 to 1: .299 R + .587 G + .114 B (ITU-R BT.601) | the whole range |
| YCbCr | luma, then (B - Y) .564 + .5 and (R - Y) .713 + .5 (JPEG) | the whole range |
| HSV | hue 0 to 360 degrees, saturation and value 0 to 1 | real |
| HLS | hue 0 to 360 degrees, lightness and saturation 0 to 1 | real |
| XYZ | CIE 1931, D65 white | real |
| LAB, LUV | CIE 1976: L* 0 to 100, the others about -130 to 220 | real |
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import GeometryError, KindError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.dtypes import in_type
from ecvl.process.registry import processing

CHANNELS = {"RGB": 3, "BGR": 3, "RGBA": 4, "grey": 1, "YCbCr": 3,
            "HSV": 3, "HLS": 3, "XYZ": 3, "LAB": 3, "LUV": 3}  # fmt: skip
# Spaces whose channels all run over the same range, so that integers can hold them.
EVEN = ("RGB", "BGR", "RGBA", "grey", "YCbCr")
# OpenCV's names of the ways to and from RGB; BGR and RGBA are slices, grey goes one way only.
CODES = {"HSV": "HSV", "HLS": "HLS", "XYZ": "XYZ", "LAB": "Lab", "LUV": "Luv", "YCbCr": "YCrCb"}


@processing("image", "image", dtype="own", each=False)
def convert_colour(image: Image, to: str, source: str | None = None) -> Image:
    """Convert an image to another colour space.

    Args:
        image: an image with a channel axis (or without one for grey). Integers, and real numbers
            with a value range, stand for 0 to 1; HSV, HLS, XYZ, LAB and LUV are real and taken as
            they are.
        to: "RGB", "BGR", "RGBA", "grey", "YCbCr", "HSV", "HLS", "XYZ", "LAB" or "LUV".
        source: the same for the image; by default RGB, RGBA or grey by the number of channels.

    Returns:
        An image of the same data type where both spaces have one range for all channels (see the
        table above), else float32. The channel axis stays where it was, last where there was
        none; grey has none.

    Raises:
        KindError: labels were given.
        GeometryError: the image has not the channels of its space.
        ParameterError: the space is not known.

    Example:
        >>> red = Image(np.array([[[255, 0, 0]]], np.uint8), "yxc")
        >>> np.asarray(convert_colour(red, "HSV")).round(2), np.asarray(convert_colour(red, "grey"))
        (array([[[0., 1., 1.]]], dtype=float32), array([[76]], dtype=uint8))
    """
    require_kind(image, "image", "convert_colour")
    channels = image.shape[image.axes.index("c")] if "c" in image.axes else 1
    if source is None:
        source = {1: "grey", 3: "RGB", 4: "RGBA"}.get(channels)
    for space in (to, source):
        if space not in CHANNELS:
            raise ParameterError(f"expected a space among {', '.join(CHANNELS)}, got {space!r}")
    assert source is not None
    if channels != CHANNELS[source]:
        raise GeometryError(
            f"expected {CHANNELS[source]} channels of {source}, received {channels} "
            f"(axes {image.axes!r}, shape {image.shape})"
        )
    last = (
        np.moveaxis(image.array, image.axes.index("c"), -1)
        if "c" in image.axes
        else (image.array[..., None])
    )
    low, high = unit_ends(image)
    even = source in EVEN and to in EVEN
    if source in EVEN:
        unit = ((last.astype(np.float64) - low) / ((high - low) or 1.0)).astype(np.float32)
    elif image.dtype.kind == "f":
        unit = last.astype(np.float32)
    else:
        raise KindError(f"expected real numbers for {source}, received {image.dtype}")
    changed = _from_rgb(_to_rgb(np.ascontiguousarray(unit), source), to)
    if even:
        values = in_type(changed.astype(np.float64) * (high - low) + low, image.dtype)
        ends: Any = (low, high)
    else:
        values, ends = changed, (0, 1) if to in EVEN else None
    axes = image.axes.replace("c", "")
    if to == "grey":
        return image.replace(array=values[..., 0], axes=axes, value_range=ends)
    place = image.axes.index("c") if "c" in image.axes else len(axes)
    return image.replace(
        array=np.moveaxis(values, -1, place),
        axes=axes[:place] + "c" + axes[place:],
        value_range=ends,
    )


def unit_ends(image: Image) -> tuple[float, float]:
    """Return what stands for 0 and 1: a range that was given, or the data type's own.

    Example:
        >>> unit_ends(Image(np.zeros((2, 2, 3), np.uint8), "yxc"))
        (0.0, 255.0)
    """
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        return 0.0, float(limits.max)
    given = image.replace(array=np.zeros_like(image.array)).value_range
    return given if given[1] > given[0] else (0.0, 1.0)


def _to_rgb(values: NDArray[np.float32], space: str) -> NDArray[np.float32]:
    if space in ("RGB", "BGR"):
        return values if space == "RGB" else values[..., ::-1]
    if space == "RGBA":
        return values[..., :3]
    if space == "grey":
        return np.repeat(values, 3, axis=-1)
    if space == "YCbCr":
        values = values[..., [0, 2, 1]]
    return _opencv(values, f"COLOR_{CODES[space]}2RGB")


def _from_rgb(values: NDArray[np.float32], space: str) -> NDArray[np.float32]:
    if space in ("RGB", "BGR"):
        return values if space == "RGB" else values[..., ::-1]
    if space == "RGBA":
        return np.concatenate([values, np.ones_like(values[..., :1])], axis=-1)
    if space == "grey":
        return _opencv(values, "COLOR_RGB2GRAY")
    changed = _opencv(values, f"COLOR_RGB2{CODES[space]}")
    return changed[..., [0, 2, 1]] if space == "YCbCr" else changed


def _opencv(values: NDArray[np.float32], code: str) -> NDArray[np.float32]:
    import cv2

    rows = np.ascontiguousarray(values).reshape(1, -1, values.shape[-1])
    changed = cv2.cvtColor(rows, getattr(cv2, code))
    return np.asarray(changed, np.float32).reshape(*values.shape[:-1], -1)
