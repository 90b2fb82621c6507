"""Copies in C order of pixels that lie backwards or across, quicker than NumPy's.

Only bits are moved, so every data type comes through as it is. Held by
`tests/ecvl/process/test_copying.py`.
"""

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.process.planes import MOST_CHANNELS

# Below this many values NumPy's own copying is as quick as any.
QUICK_SIZE = 1 << 12
WORDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.int32, 8: np.float64}
TAKEN = "BbHhifd"


def copied(view: NDArray[Any]) -> NDArray[Any]:
    """Return a copy in C order; quicker than NumPy's where the last axis runs backwards or across.

    Example:
        >>> import numpy as np
        >>> copied(np.arange(3)[::-1])
        array([2, 1, 0])
    """
    shape, steps, pixel = view.shape, view.strides, view.itemsize
    axis = len(shape) - 1
    if axis and steps[axis] == pixel and shape[axis] <= MOST_CHANNELS:
        pixel *= shape[axis]
        axis -= 1
    step = steps[axis]
    if step == pixel or view.size < QUICK_SIZE:
        return view.copy(order="C")
    if step == -pixel:
        return _turned_round(view, axis)
    if pixel in steps[:axis] and 1 not in shape[: axis + 1]:
        return _transposed(view, steps.index(pixel), axis)
    return view.copy(order="C")


def _turned_round(view: NDArray[Any], axis: int) -> NDArray[Any]:
    """Copy where an axis, behind which there are channels only, runs backwards."""
    flip = _flip()
    # OpenCV drops a last axis of one channel, and takes rows from the first to the last only.
    if axis == 1 and view.dtype.char in TAKEN and view.shape[-1] > 1:
        if view.strides[0] > 0:
            return flip(view[:, ::-1], 1)
        return flip(view[::-1, ::-1], -1)
    forward = view[..., ::-1] if axis == view.ndim - 1 else view[..., ::-1, :]
    turned = flip(_words(forward).reshape(-1, *view.shape[axis:]), 1)
    return turned.view(view.dtype).reshape(view.shape)


@cache
def _flip() -> Callable[..., NDArray[Any]]:
    """Return OpenCV's, kept: to import it again takes as long as a small picture."""
    import cv2

    return cv2.flip


def _transposed(view: NDArray[Any], inner: int, axis: int) -> NDArray[Any]:
    """Copy where the pixels of one axis are neighbours in memory and another comes last."""
    import cv2

    result = np.empty(view.shape, view.dtype)
    source, target = (np.moveaxis(_words(array), inner, axis - 1) for array in (view, result))
    for index in product(*map(range, source.shape[: axis - 1])):
        cv2.transpose(source[index].swapaxes(0, 1), dst=target[index])
    return result


def _words(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as of a type that OpenCV takes; only bits are moved."""
    return array if array.dtype.char in TAKEN else array.view(WORDS[array.itemsize])
