"""Arithmetic of images with images and numbers: types stay and saturate, labels are refused.

Sums are formed in real numbers (float32 for up to 16 bits, else float64), then integers are rounded
and held at the ends of their type. The second operand is a number, one number a channel, or an
image on the same grid; the result is of the first one's type and place. A value range that was
given no longer holds and is dropped, but for `blend`.

Held by `tests/ecvl/process/test_arithmetic.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import GeometryError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.dtypes import in_type
from ecvl.process.registry import processing
from ecvl.process.volumes import is_real
from ecvl.sample import require_one_grid

Operand = Image | float | Sequence[float]


@processing("image", "image")
def add(image: Image, other: Operand) -> Image:
    """Add an image, or a number.

    Args:
        image: an image.
        other: an image on the same grid, a number, or one number a channel.

    Raises:
        KindError: labels were given.
        GeometryError: the images do not stand on one grid or have other axes.

    Example:
        >>> np.asarray(add(Image(np.array([[10, 250]], np.uint8), "yx"), 10))
        array([[ 20, 255]], dtype=uint8)
    """
    return _combined("add", image, other, np.add)


@processing("image", "image")
def subtract(image: Image, other: Operand) -> Image:
    """Subtract an image, or a number.

    Args:
        image: an image.
        other: an image on the same grid, a number, or one number a channel.

    Raises:
        KindError: labels were given.
        GeometryError: the images do not stand on one grid or have other axes.

    Example:
        >>> np.asarray(subtract(Image(np.array([[10, 250]], np.uint8), "yx"), 20))
        array([[  0, 230]], dtype=uint8)
    """
    return _combined("subtract", image, other, np.subtract)


@processing("image", "image")
def multiply(image: Image, other: Operand) -> Image:
    """Multiply by an image, or a number.

    Args:
        image: an image.
        other: an image on the same grid, a number, or one number a channel.

    Raises:
        KindError: labels were given.
        GeometryError: the images do not stand on one grid or have other axes.

    Example:
        >>> np.asarray(multiply(Image(np.array([[10, 250]], np.uint8), "yx"), 1.5))
        array([[ 15, 255]], dtype=uint8)
    """
    return _combined("multiply", image, other, np.multiply)


@processing("image", "image")
def divide(image: Image, other: Operand) -> Image:
    """Divide by an image, or a number.

    Args:
        image: an image.
        other: an image on the same grid, a number that is not 0, or one number a channel. Where a
            dividing image is 0 the result is 0.

    Raises:
        KindError: labels were given.
        GeometryError: the images do not stand on one grid or have other axes.
        ParameterError: a number to divide by is 0.

    Example:
        >>> np.asarray(divide(Image(np.array([[10, 250]], np.uint8), "yx"), 4))
        array([[ 2, 62]], dtype=uint8)
    """

    def quotient(first: NDArray[Any], second: Any) -> NDArray[Any]:
        result = np.zeros(np.broadcast_shapes(first.shape, np.shape(second)), first.dtype)
        np.divide(first, second, out=result, where=np.asarray(second != 0))
        return result

    if not isinstance(other, Image) and not np.all(other):
        raise ParameterError(f"expected a number that is not 0 to divide by, received {other!r}")
    return _combined("divide", image, other, quotient)


@processing("image", "image")
def minimum(image: Image, other: Operand) -> Image:
    """Take the lesser of two values, voxel by voxel.

    Args:
        image: an image.
        other: an image on the same grid, a number, or one number a channel.

    Raises:
        KindError: labels were given.
        GeometryError: the images do not stand on one grid or have other axes.

    Example:
        >>> np.asarray(minimum(Image(np.array([[10, 250]], np.uint8), "yx"), 100))
        array([[ 10, 100]], dtype=uint8)
    """
    return _combined("minimum", image, other, np.minimum)


@processing("image", "image")
def maximum(image: Image, other: Operand) -> Image:
    """Take the greater of two values, voxel by voxel.

    Args:
        image: an image.
        other: an image on the same grid, a number, or one number a channel.

    Raises:
        KindError: labels were given.
        GeometryError: the images do not stand on one grid or have other axes.

    Example:
        >>> np.asarray(maximum(Image(np.array([[10, 250]], np.uint8), "yx"), 100))
        array([[100, 250]], dtype=uint8)
    """
    return _combined("maximum", image, other, np.maximum)


@processing("image", "image")
def absolute(image: Image) -> Image:
    """Return the values without their sign.

    Args:
        image: an image.

    Raises:
        KindError: labels were given.

    Example:
        >>> np.asarray(absolute(Image(np.array([[-128, 3]], np.int8), "yx")))
        array([[127,   3]], dtype=int8)
    """
    require_kind(image, "image", "absolute")
    if image.dtype.kind == "i":
        # The least integer has no positive of its own.
        safe = np.maximum(image.array, -np.iinfo(image.dtype).max)
        return image.replace(array=np.abs(safe), value_range=None)
    return image.replace(array=np.abs(image.array), value_range=None)


@processing("image", "image")
def blend(image: Image, other: Operand, weight: float = 0.5) -> Image:
    """Mix two images: `(1 - weight) * image + weight * other`; the value range stays.

    Args:
        image: an image.
        other: an image on the same grid, a number, or one number a channel.
        weight: the other's part, from 0 to 1.

    Raises:
        KindError: labels were given.
        GeometryError: the images do not stand on one grid or have other axes.

    Example:
        >>> np.asarray(blend(Image(np.array([[10, 250]], np.uint8), "yx"), 50, 0.25))
        array([[ 20, 200]], dtype=uint8)
    """
    if not is_real(weight) or not 0 <= weight <= 1:
        raise ParameterError(f"expected a weight from 0 to 1, received {weight!r}")
    result = _combined(
        "blend", image, other, lambda first, second: (1 - weight) * first + weight * second
    )
    return result.replace(value_range=image.value_range)


def _combined(
    name: str, image: Image, other: Any, function: Callable[[Any, Any], NDArray[Any]]
) -> Image:
    require_kind(image, "image", name)
    second: Any
    if isinstance(other, Image):
        require_kind(other, "image", name)
        require_one_grid([image, other])
        second = _aligned(image, other)
    elif is_real(other):
        second = float(other)
    else:
        second = _a_channel(image, other, name)
    small = image.dtype.itemsize <= 2 or image.dtype == np.float32
    if isinstance(other, Image):
        small = small and (other.dtype.itemsize <= 2 or other.dtype == np.float32)
        second = second.astype(np.float32 if small else np.float64)
    kind = np.float32 if small else np.float64
    first = image.array.astype(kind)
    values = function(first, second if isinstance(other, Image) else np.asarray(second, kind))
    return image.replace(array=in_type(values, image.dtype), value_range=None)


def _aligned(image: Image, other: Image) -> NDArray[Any]:
    """Return the other image's array with the axes of the first, missing ones of size one."""
    if not set(other.axes) <= set(image.axes):
        raise GeometryError(
            f"expected a second image with axes among {image.axes!r}, received {other.axes!r}"
        )
    order = [other.axes.index(letter) for letter in image.axes if letter in other.axes]
    array = other.array.transpose(order)
    shape = [
        other.shape[other.axes.index(letter)] if letter in other.axes else 1
        for letter in image.axes
    ]
    if any(mine not in (1, own) for own, mine in zip(image.shape, shape, strict=True)):
        raise GeometryError(
            f"expected a second image of shape {image.shape} ({image.axes}), received "
            f"{other.shape} ({other.axes})"
        )
    return array.reshape(shape)


def _a_channel(image: Image, numbers: Any, name: str) -> NDArray[np.float64]:
    try:
        values = np.asarray(numbers, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    channels = image.shape[image.axes.index("c")] if "c" in image.axes else 0
    if values.shape != (channels,) or not np.isfinite(values).all() or not channels:
        raise ParameterError(
            f"{name} takes an image, a finite number, or one number for each of the {channels} "
            f"channels, received {type(numbers).__name__}"
        )
    return values.reshape([-1 if letter == "c" else 1 for letter in image.axes])
