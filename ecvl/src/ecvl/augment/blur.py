"""Blurs; borders repeat their last pixel, and axes of one pixel are left alone."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.intensity import Amounts, Intensity
from ecvl.errors import ParameterError
from ecvl.image import Image
from ecvl.process.dtypes import in_type, working_type
from ecvl.process.planes import in_planes
from ecvl.process.pull import GAUSSIAN_REACH, gaussian_kernel

Array = NDArray[Any]

# The types that OpenCV takes means of: 8 to 16 bits, and real ones from 32.
TAKEN = "BHhfd"

# In pixels; a Gaussian below it changes an 8-bit pixel by less than one level.
LEAST_SIGMA = 0.25


@dataclass(frozen=True)
class GaussianBlur(Intensity):
    """Blur along all spatial axes.

    Args:
        sigma: the range of standard deviations, in mm (for a picture without geometry, pixels).
        p: the probability.

    Example:
        >>> image = Image(np.eye(5, dtype=np.float32), "yx")
        >>> bool(np.asarray(GaussianBlur(1)(image, seed=1)).max() < 1)
        True
    """

    sigma: tuple[float, float] = (0.0, 1.5)
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(sigma=(0, 1000))

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the blurred image."""
        sigmas = [amounts["sigma"] / size for size in image.grid.spacing]
        deep = image.grid.shape[0] > 1 and sigmas[0] >= LEAST_SIGMA
        values = image.array
        if deep or values.dtype not in (np.uint8, np.float32, np.float64):
            values = values.astype(working_type(values.dtype))
        values = in_planes(values, image.axes, lambda plane: _gaussian(plane, sigmas[1:]))
        if deep:
            values = _along_z(values, image.axes, gaussian_kernel(sigmas[0]))
        return image.with_array(in_type(values, image.dtype))


@dataclass(frozen=True)
class AverageBlur(Intensity):
    """Give every pixel the mean of a square around it, in every y-x plane.

    Args:
        size: the range of the square's side, in pixels; odd numbers are drawn.
        p: the probability.

    Example:
        >>> image = Image(np.array([[0, 9, 0]] * 3, np.uint8), "yx")
        >>> np.asarray(AverageBlur(3)(image, seed=1))[1]
        array([3, 3, 3], dtype=uint8)
    """

    size: tuple[int, int] = (3, 7)
    p: float = 1.0

    def __post_init__(self) -> None:
        _store_odd(self)
        self._check()

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return the side."""
        return {"size": _odd(rng, self.size)}

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the blurred image."""
        import cv2

        side = amounts["size"]
        values = image.array
        if values.dtype.char not in TAKEN:
            values = values.astype(working_type(values.dtype))
        values = in_planes(
            values,
            image.axes,
            lambda plane: cv2.blur(plane, (side, side), borderType=cv2.BORDER_REPLICATE),
        )
        if values.dtype.kind == "f":
            # A running sum in float32 may end a little outside.
            low, high = image.value_range
            np.clip(values, low, high, out=values)
        return image.with_array(in_type(values, image.dtype))


@dataclass(frozen=True)
class MedianBlur(Intensity):
    """Give every pixel the median of a square around it, in every y-x plane.

    Args:
        size: the range of the square's side, in pixels; odd numbers are drawn.
        p: the probability.

    Example:
        >>> image = Image(np.array([[5, 5, 5], [5, 99, 5], [5, 5, 5]], np.uint8), "yx")
        >>> np.asarray(MedianBlur(3)(image, seed=1))[1]
        array([5, 5, 5], dtype=uint8)
    """

    size: tuple[int, int] = (3, 5)
    p: float = 1.0

    def __post_init__(self) -> None:
        _store_odd(self)
        self._check()

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return the side."""
        return {"size": _odd(rng, self.size)}

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the filtered image."""
        side = amounts["size"]
        return image.with_array(
            in_planes(image.array, image.axes, lambda plane: _median(plane, side))
        )


def _gaussian(plane: Array, sigmas: list[float]) -> Array:
    import cv2

    y, x = (sigma if sigma >= LEAST_SIGMA else 0 for sigma in sigmas)
    if not x and not y:
        return plane.copy()
    if plane.dtype == np.float32 and x and y:
        sides = [2 * int(np.ceil(GAUSSIAN_REACH * sigma)) + 1 for sigma in (x, y)]
        return np.asarray(
            cv2.GaussianBlur(plane, sides, sigmaX=x, sigmaY=y, borderType=cv2.BORDER_REPLICATE)
        )
    make = whole_kernel if plane.dtype == np.uint8 else gaussian_kernel
    along_x = make(x)
    along_y = along_x if y == x else make(y)
    blurred = cv2.sepFilter2D(plane, -1, along_x, along_y, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred)


def whole_kernel(sigma: float) -> NDArray[np.float64]:
    """Return a Gaussian whose weights are multiples of 1/256 and sum to 1, without those of 0.

    OpenCV sums with such weights exactly, in whole numbers. What rounding takes from a weight it
    gives to the next one towards the centre.

    Example:
        >>> (256 * whole_kernel(0.5)).tolist()
        [27.0, 202.0, 27.0]
    """
    if sigma <= 0:
        return np.ones(1)
    # Plain numbers, for they are few. Beyond three deviations are less than 0.7 of 256 parts.
    weights = [math.exp(-0.5 * (n / sigma) ** 2) for n in range(math.ceil(3 * sigma) + 1)]
    part = 256 / (2 * sum(weights) - weights[0])
    side: list[int] = []
    beyond, before = 0.0, 0
    for weight in reversed(weights[1:]):
        beyond += weight * part
        if (rounded := round(beyond)) or side:
            side.append(rounded - before)
            before = rounded
    return np.array([*side, 256 - 2 * before, *reversed(side)]) / 256


def _along_z(values: Array, axes: str, kernel: Array) -> Array:
    """Filter along z: with the other axes flattened, z is the rows of a picture."""
    import cv2

    axis = axes.index("z")
    turned = np.ascontiguousarray(np.moveaxis(values, axis, 0))
    rows = turned.reshape(len(turned), -1)
    filtered = cv2.sepFilter2D(rows, -1, np.ones(1), kernel, borderType=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(np.moveaxis(filtered.reshape(turned.shape), 0, axis))


def _median(plane: Array, side: int) -> Array:
    import cv2

    if plane.dtype == np.uint8 or (side <= 5 and plane.dtype in (np.uint16, np.int16, np.float32)):
        return np.asarray(cv2.medianBlur(plane, side))
    if plane.dtype == np.float16:
        return _median(plane.astype(np.float32), side).astype(np.float16)
    import SimpleITK as sitk

    if plane.ndim == 3:
        channels = [
            _median(np.ascontiguousarray(plane[..., c]), side) for c in range(plane.shape[2])
        ]
        return np.stack(channels, axis=-1)
    picture = sitk.Median(sitk.GetImageFromArray(plane), [side // 2, side // 2])
    return np.asarray(sitk.GetArrayFromImage(picture))


def _store_odd(operation: Any) -> None:
    size = operation.size
    ends = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if (
        len(ends) != 2
        or not all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
        or not 1 <= ends[0] <= ends[1] <= 255
        or (ends[0] == ends[1] and not ends[0] % 2)
    ):
        raise ParameterError(
            f"expected size as an odd number or a range (low, high) from 1 to 255 with an odd "
            f"number in it, received {size!r}"
        )
    object.__setattr__(operation, "size", ends)


def _odd(rng: np.random.Generator, ends: tuple[int, int]) -> int:
    """Return an odd number of a range, each as likely."""
    least, most = ends[0] // 2, (ends[1] - 1) // 2
    return 2 * (least if least == most else int(rng.integers(least, most, endpoint=True))) + 1
