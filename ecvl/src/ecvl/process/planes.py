"""How libraries that know pictures only get at the voxels: plane by plane, channels where they are.

Held by `tests/ecvl/process/test_planes.py`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# What OpenCV's functions take in one picture.
MOST_CHANNELS = 4


def in_planes(array: Array, axes: str, function: Callable[[Array], Array]) -> Array:
    """Return an array after a function has worked on every y-x plane of it.

    Args:
        array: in C order.
        axes: a letter an axis.
        function: from a plane (yx, or yxc of at most four channels) to a plane; all results are of
            one shape.

    Example:
        >>> in_planes(np.array([[[1, 2]]]), "zyx", lambda plane: plane[:, ::-1])
        array([[[2, 1]]])
    """
    if axes == "yx" or (axes == "yxc" and 1 < array.shape[2] <= MOST_CHANNELS):
        return np.ascontiguousarray(function(array))
    last = axes.endswith("yxc") and array.shape[-1] <= MOST_CHANNELS
    if not last and not axes.endswith("yx"):
        order = [axis for axis, letter in enumerate(axes) if letter not in "yx"]
        order += [axes.index("y"), axes.index("x")]
        turned = np.ascontiguousarray(array.transpose(order))
        result = in_planes(turned, "".join(axes[axis] for axis in order), function)
        return np.ascontiguousarray(result.transpose(np.argsort(order)))
    count = 3 if last else 2
    planes = array.reshape(-1, *array.shape[array.ndim - count :])
    # OpenCV drops a last axis of one channel.
    channels = planes.shape[3:]
    first = function(planes[0])
    first = first.reshape(*first.shape[:2], *channels)
    result = np.empty((len(planes), *first.shape), first.dtype)
    result[0] = first
    for index in range(1, len(planes)):
        result[index] = function(planes[index]).reshape(first.shape)
    return result.reshape(*array.shape[: array.ndim - count], *first.shape)
