"""How libraries get at the voxels: one volume (zyx) a channel and time point, in mm or in voxels.

* A 2-D image is a volume one slice thick, and what works on a volume leaves axes of size one alone,
  so that both give the same numbers.
* `to_sitk` gives such a slice as a 2-D picture; only spacing goes along, for filters work in the
  grid and not in the world.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import ORTHOGONAL_TOLERANCE, non_orthogonality
from ecvl.errors import GeometryError, KindError, ParameterError
from ecvl.image import Image
from ecvl.sample import require_one_grid
from ecvl.serial import is_number

Volume = NDArray[Any]
Unit = Literal["mm", "voxels"]

GREATEST_EXACT = 1 << 53
# A wider window is a wrong number: it would take hours.
WIDEST = 1023
_ONE_AT_A_TIME = threading.RLock()


def stacked(image: Image) -> tuple[Volume, Callable[[Volume], Volume]]:
    """Return all volumes of an image, axes kzyx, and a function that puts such a stack back.

    The function takes volumes of any size, and gives an array in C order with the image's axes.

    Example:
        >>> import numpy as np
        >>> volumes, back = stacked(Image(np.zeros((4, 5, 3)), "yxc"))
        >>> volumes.shape, back(volumes).shape
        ((3, 1, 4, 5), (4, 5, 3))
    """
    axes, count = image.axes, len(image.spatial_axes)
    order = [index for index, letter in enumerate(axes) if letter not in "zyx"]
    order += [axes.index(letter) for letter in image.spatial_axes]
    stack = image.array.transpose(order)
    lead = stack.shape[: stack.ndim - count]

    def back(volumes: Volume) -> Volume:
        whole = volumes.reshape(*lead, *volumes.shape[4 - count :])
        return np.ascontiguousarray(whole.transpose(np.argsort(order)))

    return stack.reshape(-1, *image.grid.shape), back


def each_volume(image: Image, function: Callable[[Volume], Volume]) -> Volume:
    """Return the array of an image after a function has worked on every volume (zyx) of it.

    Example:
        >>> import numpy as np
        >>> each_volume(Image(np.array([[1, 2]]), "yx"), lambda volume: -volume)
        array([[-1, -2]])
    """
    volumes, back = stacked(image)
    return back(np.stack([function(np.ascontiguousarray(volume)) for volume in volumes]))


def one_value_an_axis(value: Any, image: Image, name: str, *, least: float = 0) -> tuple[Any, ...]:
    """Return a parameter as one number each for z, y and x; a 2-D image has 0 for z.

    Example:
        >>> import numpy as np
        >>> one_value_an_axis(2, Image(np.zeros((3, 3)), "yx"), "sigma")
        (0, 2, 2)
    """
    count = len(image.spatial_axes)
    given = tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,) * count
    if len(given) != count or not all(is_real(number) and number >= least for number in given):
        raise ParameterError(
            f"expected {name} as a number of at least {least}, or one for each of "
            f"{image.spatial_axes!r}, received {value!r}"
        )
    return (0, *given)[-3:]


def in_voxels(
    value: Any, image: Image, unit: Unit, name: str, *, least: float = 0
) -> tuple[float, float, float]:
    """Return a length along z, y and x in voxels, from mm where they are its unit.

    Raises:
        GeometryError: mm are asked for on a grid whose axes are not at right angles.

    Example:
        >>> import numpy as np
        >>> image = Image(np.zeros((3, 3, 3)), "zyx", np.diag([1, 1, 4, 1]))
        >>> in_voxels(2, image, "mm", "sigma")
        (0.5, 2.0, 2.0)
    """
    lengths = one_value_an_axis(value, image, name, least=least)
    if unit == "voxels":
        z, y, x = map(float, lengths)
    elif unit == "mm":
        require_straight(image, name)
        sizes = image.grid.spacing
        z, y, x = (float(length / size) for length, size in zip(lengths, sizes, strict=True))
    else:
        raise ParameterError(f"expected unit 'mm' or 'voxels', received {unit!r}")
    return z, y, x


def odd_sizes(value: Any, image: Image, name: str = "size") -> tuple[int, int, int]:
    """Return the size of a window along z, y and x in voxels: odd whole numbers.

    Example:
        >>> import numpy as np
        >>> odd_sizes(3, Image(np.zeros((5, 5)), "yx"))
        (1, 3, 3)
    """
    sizes = one_value_an_axis(value, image, name, least=1)
    if any(size != int(size) or (size and not size % 2) or size > WIDEST for size in sizes):
        raise ParameterError(
            f"expected {name} as odd whole numbers of at most {WIDEST} voxels, received {value!r}; "
            "a window has a voxel in its middle"
        )
    z, y, x = (max(1, int(size)) for size in sizes)
    return z, y, x


def require_straight(image: Image, what: str) -> None:
    """Refuse a grid whose axes are not at right angles, on which mm cannot be counted in voxels.

    Example:
        >>> import numpy as np
        >>> require_straight(Image(np.zeros((3, 3)), "yx"), "sigma")
    """
    if non_orthogonality(image.affine) > ORTHOGONAL_TOLERANCE:
        raise GeometryError(
            f"{what} in mm needs voxel axes at right angles, received a sheared affine (a tilted "
            "series); put it on a straight grid with ecvl.resample(image, like=...) first"
        )


def separated(volume: Volume, kernels: Sequence[NDArray[Any]]) -> Volume:
    """Return a float volume after one correlation along each axis; borders repeat their last voxel.

    Args:
        volume: axes zyx, float32 or float64; not changed.
        kernels: for z, y and x, of odd length; a single number 1 leaves an axis alone.

    Example:
        >>> import numpy as np
        >>> one = np.ones(1)
        >>> separated(np.eye(3)[None], (one, one, np.ones(3) / 3))[0, 0].round(2)
        array([0.67, 0.33, 0.  ])
    """
    import cv2

    result = volume
    alone = np.ones(1)
    z, y, x = volume.shape
    for axis, kernel in enumerate(kernels):
        if len(kernel) == 1 and kernel[0] == 1:
            continue
        # Each axis becomes the rows, or the columns, of pictures that OpenCV can filter.
        pictures = result.reshape((1, z, y * x) if axis == 0 else (z, y, x))
        along_x, along_y = (kernel, alone) if axis == 2 else (alone, kernel)
        result = np.stack(
            [
                cv2.sepFilter2D(picture, -1, along_x, along_y, borderType=cv2.BORDER_REPLICATE)
                for picture in np.ascontiguousarray(pictures)
            ]
        ).reshape(volume.shape)
    return result


def to_sitk(volume: Volume, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Any:
    """Return a volume (zyx) as a SimpleITK image; one slice becomes a 2-D one.

    Args:
        volume: any type that SimpleITK knows; float16 becomes float32.
        spacing: mm along z, y and x.

    Example:
        >>> import numpy as np
        >>> to_sitk(np.zeros((1, 4, 5)), (3, 2, 1)).GetSize()
        (5, 4)
    """
    import SimpleITK as sitk

    if volume.dtype == np.float16:
        volume = volume.astype(np.float32)
    flat = len(volume) == 1
    picture = sitk.GetImageFromArray(volume[0] if flat else volume)
    picture.SetSpacing([float(size) for size in reversed(spacing)][: 2 if flat else 3])
    return picture


def from_sitk(picture: Any) -> Volume:
    """Return a SimpleITK image as a volume (zyx).

    Example:
        >>> import numpy as np
        >>> from_sitk(to_sitk(np.zeros((1, 4, 5)))).shape
        (1, 4, 5)
    """
    import SimpleITK as sitk

    array = np.asarray(sitk.GetArrayFromImage(picture))
    return array[None] if array.ndim == 2 else array


def exactly_in(volume: Volume, known: Sequence[Any], function: str) -> Volume:
    """Return values in the first of some data types that holds them all, for a library's sake.

    Raises:
        KindError: they are 64-bit integers beyond 2**53, which float64 does not hold.

    Example:
        >>> import numpy as np
        >>> exactly_in(np.array([1], np.int32), (np.uint8, np.int16, np.float64), "erode").dtype
        dtype('float64')
    """
    for dtype in known:
        if np.can_cast(volume.dtype, dtype):
            return volume.astype(dtype, copy=False)
    if volume.dtype.kind in "iu" and np.abs(volume.astype(np.float64)).max() > GREATEST_EXACT:
        raise KindError(
            f"{function} takes integers of at most 2**53, received values beyond; number them anew"
        )
    return volume.astype(np.float64)


def finite_values(values: Volume, inside: NDArray[np.bool_] | None = None) -> Volume:
    """Return the finite values of an array, all or those inside a mask, as a list.

    Raises:
        ParameterError: nothing is left.

    Example:
        >>> import numpy as np
        >>> finite_values(np.array([[1.0, np.nan]]))
        array([1.])
    """
    chosen = values.reshape(-1) if inside is None else values[inside]
    if chosen.dtype.kind == "f":
        chosen = chosen[np.isfinite(chosen)]
    if not chosen.size:
        raise ParameterError("expected finite voxels to count, received none (an empty mask?)")
    return chosen


def mask_of(image: Image, mask: Image) -> NDArray[np.bool_]:
    """Return where a mask is above 0, for every voxel of an image, whatever its further axes.

    Example:
        >>> import numpy as np
        >>> image = Image(np.zeros((1, 2, 3)), "yxc")
        >>> mask_of(image, Image(np.array([[0, 1]]), "yx", kind="labels"))[0, :, 0]
        array([False,  True])
    """
    if not isinstance(mask, Image) or mask.kind != "labels":
        found = mask.kind if isinstance(mask, Image) else type(mask).__name__
        raise KindError(f"expected a mask of kind='labels', received {found}")
    require_one_grid([image, mask])
    inside = mask.array > 0
    if mask.axes == image.axes and mask.shape == image.shape:
        return inside
    if mask.axes != image.spatial_axes:
        raise KindError(
            f"expected a mask with axes {image.axes!r} or {image.spatial_axes!r}, received "
            f"{mask.axes!r}"
        )
    shape = [n if a in "zyx" else 1 for a, n in zip(image.axes, image.shape, strict=True)]
    return np.broadcast_to(inside.reshape(shape), image.shape)


def is_real(value: Any) -> bool:
    """Whether a value is a finite number, of Python's or NumPy's, and not a truth value.

    Example:
        >>> import numpy as np
        >>> is_real(np.float32(1.5)), is_real(True), is_real(np.nan)
        (True, False, False)
    """
    return is_number(value.item() if isinstance(value, np.generic) else value)


def checked_dtype(dtype: Any, kinds: str = "iuf") -> np.dtype[Any]:
    """Return a data type, if it is one of an image ("iuf") or of labels ("iu").

    Raises:
        ParameterError: it is none.

    Example:
        >>> import numpy as np
        >>> checked_dtype(np.uint8)
        dtype('uint8')
    """
    found: np.dtype[Any]
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind not in kinds or found.itemsize > 8:
        wanted = "an integer type" if kinds == "iu" else "an integer or real type"
        raise ParameterError(f"expected {wanted} of at most 64 bits as dtype, received {dtype!r}")
    return found


@contextmanager
def one_thread() -> Iterator[None]:
    """Let SimpleITK work on one thread, so that sums are formed in one order on any machine.

    Example:
        >>> with one_thread():
        ...     pass
    """
    import SimpleITK as sitk

    with _ONE_AT_A_TIME:
        before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
