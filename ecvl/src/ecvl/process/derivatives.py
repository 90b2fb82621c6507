"""Derivatives per mm, from neighbouring voxels along all spatial axes. Labels are refused.

Borders repeat their last voxel. Along axes of one voxel nothing changes. Held by
`tests/ecvl/process/test_filters.py` against scipy.ndimage.
"""

from typing import Any

import numpy as np

from ecvl.errors import ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.dtypes import working_type
from ecvl.process.registry import processing
from ecvl.process.volumes import Volume, each_volume, require_straight, separated


@processing("image", "image", dtype="float")
def laplacian(image: Image) -> Image:
    """Return the sum of second derivatives along the spatial axes, in values per mm².

    Central differences, `(v[-1] - 2 v[0] + v[1]) / spacing ** 2`.

    Args:
        image: an image; smooth it first against noise.

    Returns:
        float32, or float64 for input of 32 bits and more.

    Raises:
        KindError: labels were given.
        GeometryError: the voxel axes are not at right angles.

    Example:
        >>> np.asarray(laplacian(Image(np.array([[0, 1, 4, 9, 16]], np.uint8), "yx")))
        array([[ 1.,  2.,  2.,  2., -7.]], dtype=float32)
    """
    require_kind(image, "image", "laplacian")
    require_straight(image, "laplacian")
    sizes = image.grid.spacing

    def summed(volume: Volume) -> Volume:
        result = np.zeros_like(volume)
        for axis, size in enumerate(sizes):
            if volume.shape[axis] > 1:
                result += separated(volume, _along(axis, np.array([1.0, -2.0, 1.0]) / size**2))
        return result

    return derived(image, summed)


@processing("image", "image", dtype="float")
def sobel(image: Image, axis: str | None = None) -> Image:
    """Return the gradient's length, or one of its components, by Sobel's differences, per mm.

    Central differences along an axis, averaged over neighbours with weights 1 2 1 along the others,
    and divided so that a ramp of one unit per mm gives 1 (Sobel's own sums are `8 * spacing` times
    as large in 2-D, `32 * spacing` in 3-D).

    Args:
        image: an image.
        axis: "x", "y" or "z" for the derivative towards higher indices of this axis; by default
            the length over all spatial axes.

    Returns:
        float32, or float64 for input of 32 bits and more.

    Raises:
        KindError: labels were given.
        GeometryError: there is no such axis, or axes are not at right angles.

    Example:
        >>> ramp = Image(np.tile(np.arange(4, dtype=np.float32), (3, 1)), "yx")
        >>> np.asarray(sobel(ramp, "x"))[1]
        array([0.5, 1. , 1. , 0.5], dtype=float32)
    """
    require_kind(image, "image", "sobel")
    require_straight(image, "sobel")
    if axis is not None and (not isinstance(axis, str) or axis not in tuple(image.spatial_axes)):
        raise ParameterError(
            f"expected axis among {', '.join(image.spatial_axes)} or None, received {axis!r}"
        )
    sizes = image.grid.spacing
    wanted = range(3) if axis is None else ("zyx".index(axis),)

    def component(volume: Volume, direction: int) -> Volume:
        if volume.shape[direction] == 1:
            return np.zeros_like(volume)
        kernels = [np.array([1, 2, 1]) / 4 if size > 1 else np.ones(1) for size in volume.shape]
        kernels[direction] = np.array([-1, 0, 1]) / (2 * sizes[direction])
        return separated(volume, kernels)

    def gradient(volume: Volume) -> Volume:
        parts = [component(volume, direction) for direction in wanted]
        if axis is not None:
            return parts[0]
        return np.asarray(np.sqrt(sum((part * part for part in parts), np.zeros_like(volume))))

    return derived(image, gradient)


def derived(image: Image, function: Any) -> Image:
    """Return an image after a function of volumes in real numbers, on another scale than before.

    Example:
        >>> np.asarray(derived(Image(np.array([[1, 2]], np.uint8), "yx"), lambda v: v / 2))
        array([[0.5, 1. ]], dtype=float32)
    """
    kind = working_type(image.dtype)
    array = each_volume(image, lambda volume: function(volume.astype(kind, copy=False)))
    return image.replace(array=array, value_range=None)


def _along(axis: int, kernel: Any) -> list[Any]:
    kernels = [np.ones(1)] * 3
    kernels[axis] = kernel
    return kernels
