"""The one place where voxels move: fill a new grid from an image, through a map of indices.

* Whole-voxel permutations, flips, shifts, crops and pads are index operations: values are copied.
* Everything else is one interpolation in index space, so that no library has to hold our affine:
  linear for images unless asked otherwise, nearest for labels (`ecvl.process.warping`).
* A 2-D image is a volume one slice thick, so both give the same numbers.
* An interpolation that steps over more than `PREFILTER_STEP` voxels is smoothed first.
* The data type stays; integers are rounded and saturate.

Held by `tests/ecvl/process/test_pull.py` against scipy.ndimage and by the contract tests.
"""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import Grid, is_index_operation
from ecvl.image import Image
from ecvl.process.fields import Field, Map
from ecvl.process.volumes import separated, stacked
from ecvl.process.warping import stays_in_plane, warped_planes, warped_volume

Fill = float | Literal["edge"] | None
Interpolation = Literal["nearest", "linear", "cubic"]

PREFILTER_STEP = 1.5
GAUSSIAN_REACH = 4
LEAST_FOR_CUBIC = 4
# Below this many values NumPy's own copying is as quick as any.
QUICK_SIZE = 1 << 12
# A whole body at half a millimetre has 2e9 voxels; more is a wrong number in a file.
MOST_VOXELS = 1 << 32


def pull(
    image: Image,
    grid: Grid,
    matrix: Affine,
    fill: Fill = None,
    field: Field | None = None,
    interpolation: Interpolation | None = None,
) -> Image:
    """Return `image` on `grid`.

    Args:
        image: an image or labels with any axes.
        grid: the new grid; for an image without a z axis it must be one slice thick.
        matrix: 4x4 from voxel indices x, y, z of `grid` to those of `image`.
        fill: what stands where the image does not reach: a number, "edge" for the nearest voxel, or
            `None` for the low end of the value range. Labels are filled with 0, always.
        field: displacements over `grid`, in voxels of `image`, that are added to what the matrix
            gives.
        interpolation: "nearest", "linear" or "cubic" (B-splines); linear for images by default.
            Labels take the nearest voxel, always.

    Raises:
        GeometryError: a 2-D image would have to leave its plane, or the grid is absurdly large.
        ParameterError: labels would have to be interpolated, or a field is given with "cubic".

    Example:
        >>> import numpy as np
        >>> from ecvl.grids import boxed
        >>> image = Image(np.array([[1, 2], [3, 4]], np.uint8), "yx")
        >>> np.asarray(pull(image, *boxed(image.grid, [(0, 1), (0, 2), (1, 3)])))
        array([[2, 0],
               [4, 0]], dtype=uint8)
    """
    if math.prod(grid.shape) > MOST_VOXELS:
        raise GeometryError(
            f"expected a grid of at most {MOST_VOXELS:,} voxels, received one of "
            f"{' x '.join(f'{size:,}' for size in grid.shape)}; check the spacing, in mm"
        )
    a, b, c, d = matrix[2].tolist()
    leaves = max(abs(a), abs(b), abs(c - 1), abs(d)) > 1e-3 or grid.shape[0] != 1
    if "z" not in image.axes and leaves:
        raise GeometryError(
            "expected a 2-D image to stay in its plane, received a grid that leaves it; "
            "give it a z axis first: Image(array[None], axes='zyx')"
        )
    if image.kind == "labels":
        fill = 0
    elif fill is None:
        fill = image.value_range[0]
    method = checked_interpolation(interpolation, image)
    if field is not None and method == "cubic":
        raise ParameterError("a field of displacements takes interpolation 'linear' or 'nearest'")
    if field is None and is_index_operation(matrix, grid.shape) is not None:
        moved = _indexed(image, grid.shape, np.rint(matrix).astype(int), fill)
    else:
        moved = _interpolated(image, grid, Map(matrix, field), fill, method)
    return image.with_array(moved, np.array(grid.affine, np.float64))


def checked_fill(fill: Any) -> Fill:
    """Return `fill` if it is a finite number, "edge" or `None`.

    Example:
        >>> checked_fill("edge")
        'edge'
    """
    if fill is None or fill == "edge":
        return fill  # type: ignore[no-any-return]
    if isinstance(fill, int | float) and not isinstance(fill, bool) and np.isfinite(fill):
        return float(fill)
    raise ParameterError(f"expected fill to be a number, 'edge' or None, received {fill!r}")


def checked_interpolation(interpolation: Any, image: Image) -> Interpolation:
    """Return how to find values between voxels: what was asked for, else what fits the kind.

    Example:
        >>> checked_interpolation(None, Image(np.zeros((2, 2), np.uint8), "yx", kind="labels"))
        'nearest'
    """
    if interpolation not in (None, "nearest", "linear", "cubic"):
        raise ParameterError(
            f"expected interpolation 'nearest', 'linear' or 'cubic', received {interpolation!r}"
        )
    if image.kind == "labels":
        if interpolation not in (None, "nearest"):
            raise ParameterError(f"labels take the nearest voxel, received {interpolation!r}")
        return "nearest"
    return interpolation or "linear"


def in_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return real values in a data type; integers are rounded and saturate.

    Example:
        >>> import numpy as np
        >>> in_type(np.array([-3.0, 1.5, 300.0]), np.dtype(np.uint8))
        array([  0,   2, 255], dtype=uint8)
    """
    if values.dtype == dtype or dtype.kind == "f":
        return values.astype(dtype, copy=False)
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


def working_type(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return the float type that arithmetic on a data type is done in.

    Example:
        >>> import numpy as np
        >>> working_type(np.dtype(np.int16)) is np.float32
        True
    """
    return np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64


def smoothed(volume: NDArray[Any], sigmas: tuple[float, float, float]) -> NDArray[Any]:
    """Return a float volume after a Gaussian along each axis; borders repeat their last voxel.

    Args:
        volume: axes zyx, float32 or float64; not changed.
        sigmas: standard deviations along z, y, x in voxels; 0 leaves an axis alone.

    Example:
        >>> import numpy as np
        >>> smoothed(np.eye(3)[None], (0, 0, 1)).sum().round(6)
        np.float64(3.0)
    """
    return separated(
        volume,
        [gaussian_kernel(s if n > 1 else 0) for s, n in zip(sigmas, volume.shape, strict=True)],
    )


def gaussian_kernel(sigma: float) -> NDArray[np.float64]:
    """Return a sampled Gaussian that sums to 1, as far as `GAUSSIAN_REACH` deviations; 0 gives 1.

    Example:
        >>> gaussian_kernel(0.5).round(3)
        array([0.   , 0.106, 0.787, 0.106, 0.   ])
    """
    if sigma <= 0:
        return np.ones(1)
    reach = np.ceil(GAUSSIAN_REACH * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(kernel / kernel.sum())


def _indexed(
    image: Image, shape: tuple[int, int, int], matrix: NDArray[Any], fill: Fill
) -> NDArray[Any]:
    """Copy voxels; the sizes and the matrix are of z, y, x and x, y, z."""
    axes = image.axes
    place = {axis: axes.index(letter) for axis, letter in enumerate("xyz") if letter in axes}
    moved, order = image.array, list(range(image.ndim))
    sizes, before = list(image.shape), [0] * image.ndim
    for old, at in place.items():
        new = int(np.flatnonzero(matrix[old, :3])[0])
        sign, shift = int(matrix[old, new]), int(matrix[old, 3])
        old_size, new_size = image.shape[at], shape[2 - new]
        if sign > 0:
            start, stop = max(0, -shift), min(new_size, old_size - shift)
            first, last = start + shift, stop + shift
        else:
            start, stop = max(0, shift - old_size + 1), min(new_size, shift + 1)
            first, last = shift - start, shift - stop
        if start >= stop:
            start, stop, first, last = 0, 0, 0, 0
        cut = slice(first, None if last < 0 else last, sign)
        moved = moved[(slice(None),) * at + (cut,)]
        order[place[new]] = at
        sizes[place[new]], before[place[new]] = new_size, start
    moved = moved.transpose(order)
    if moved.shape == tuple(sizes):
        return copied(moved)
    if fill == "edge" and moved.size:
        widths = [(b, n - b - m) for b, n, m in zip(before, sizes, moved.shape, strict=True)]
        return np.pad(moved, widths, mode="edge")
    corner = image.array.flat[0]
    value = corner if fill == "edge" else in_type(np.array(fill), image.dtype)
    result = np.full(sizes, value, dtype=image.dtype)
    into = tuple(slice(b, b + m) for b, m in zip(before, moved.shape, strict=True))
    result[into] = moved
    return result


def copied(view: NDArray[Any]) -> NDArray[Any]:
    """Return a copy in C order; quicker than NumPy's where the last axis runs backwards.

    Example:
        >>> import numpy as np
        >>> copied(np.arange(3)[::-1])
        array([2, 1, 0])
    """
    channels = view.ndim > 1 and view.shape[-1] <= 4 and view.strides[-1] > 0
    axis = view.ndim - (2 if channels else 1)
    if view.size < QUICK_SIZE or max(view.shape) > 1 << 15:
        return view.copy(order="C")
    import cv2

    if view.ndim == 3 and view.T.flags.c_contiguous and axis == 2:
        # First z behind the others by OpenCV, then x before y in whole rows.
        z, y, x = view.T.shape
        turned = cv2.transpose(view.T.reshape(z, -1)).reshape(y, x, z)
        return np.ascontiguousarray(turned.swapaxes(0, 1))
    if axis == 1 and view.swapaxes(0, 1).flags.c_contiguous:
        return np.asarray(cv2.transpose(view.swapaxes(0, 1))).reshape(view.shape)
    if view.strides[axis] >= 0:
        return view.copy(order="C")

    forward = np.ascontiguousarray(np.flip(view, axis))
    rows = forward.reshape(-1, *forward.shape[axis:])
    words = {1: np.uint8, 2: np.uint16, 4: np.int32, 8: np.float64}[view.dtype.itemsize]
    if len(rows) > 1 << 15:
        return view.copy(order="C")
    return np.asarray(cv2.flip(rows.view(words), 1).view(view.dtype).reshape(view.shape))


def _interpolated(
    image: Image, grid: Grid, way: Map, fill: Any, method: Interpolation
) -> NDArray[Any]:
    nearest = method == "nearest"
    # Row i of the matrix is how far input axis i advances a voxel of the new grid.
    steps = [math.hypot(*row[:3]) for row in way.matrix.tolist()[:3]]
    sigmas = [(s - 1) / 2 if s > PREFILTER_STEP and not nearest else 0.0 for s in reversed(steps)]
    old = image.grid.shape
    flat = stays_in_plane(way, old, grid.shape) and method != "cubic"
    if flat and not any(sigmas):
        return warped_planes(image.array, image.axes, grid.shape, way, fill, nearest)
    volumes, back = stacked(image)
    moved = []
    for volume in volumes:
        source = volume
        if any(sigmas):
            z, y, x = sigmas
            source = smoothed(volume.astype(working_type(volume.dtype)), (z, y, x))
        if method == "cubic":
            warped = _by_splines(source, grid.shape, way.matrix, fill)
        elif flat:
            warped = warped_planes(source, "zyx", grid.shape, way, fill, nearest)
        else:
            warped = warped_volume(source, grid.shape, way, fill, nearest)
        moved.append(in_type(warped, volume.dtype))
    return back(np.stack(moved))


def _by_splines(
    volume: NDArray[Any], shape: tuple[int, int, int], matrix: Affine, fill: Fill
) -> NDArray[Any]:
    import SimpleITK as sitk

    working = volume.astype(working_type(volume.dtype), copy=False)
    source, matrix = _thick_enough(working, matrix)
    picture, transform = sitk.GetImageFromArray(source), sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    edge = fill == "edge"
    result = sitk.Resample(
        picture,
        shape[::-1],
        transform,
        sitk.sitkBSpline,
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        0.0 if edge or fill is None else float(fill),
        picture.GetPixelID(),
        edge,
    )
    return np.asarray(sitk.GetArrayFromImage(result))


def _thick_enough(volume: NDArray[Any], matrix: Affine) -> tuple[NDArray[Any], Affine]:
    """Repeat the outer voxels of thin axes, for B-splines need four, where nothing moves along."""
    widths = [(0, 0)] * 3
    moved = matrix.copy()
    for axis, size in enumerate(volume.shape):
        if size >= LEAST_FOR_CUBIC:
            continue
        row = 2 - axis
        if not np.allclose(matrix[row], np.eye(4)[row], atol=1e-9):
            raise GeometryError(
                f"expected at least {LEAST_FOR_CUBIC} voxels along {'zyx'[axis]} for cubic "
                f"interpolation, received {size}; use interpolation='linear'"
            )
        widths[axis] = (LEAST_FOR_CUBIC, LEAST_FOR_CUBIC)
        moved[row, 3] += LEAST_FOR_CUBIC
    return np.pad(volume, widths, mode="edge"), moved
