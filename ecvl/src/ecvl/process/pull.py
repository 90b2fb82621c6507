"""The one place where voxels move: fill a new grid from an image, through a matrix of indices.

* Whole-voxel permutations, flips, shifts, crops and pads are index operations: values are copied.
* Everything else is one interpolation by SimpleITK, in index space, so that no library has to hold
  our affine: linear for images, nearest for labels.
* A 2-D image is a volume one slice thick, so both give the same numbers.
* A linear interpolation that steps over more than `PREFILTER_STEP` voxels is smoothed first.
* The data type stays; integers are rounded and saturate.

Held by `tests/ecvl/process/test_pull.py` against scipy.ndimage and by the contract tests.
"""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import GeometryError, KindError, ParameterError
from ecvl.grids import Grid, is_index_operation
from ecvl.image import Image
from ecvl.process.volumes import separated, stacked

Fill = float | Literal["edge"] | None

PREFILTER_STEP = 1.5
GAUSSIAN_REACH = 4
# SimpleITK passes labels through float64.
GREATEST_LABEL = 1 << 53
# A whole body at half a millimetre has 2e9 voxels; more is a wrong number in a file.
MOST_VOXELS = 1 << 32


def pull(image: Image, grid: Grid, matrix: Affine, fill: Fill = None) -> Image:
    """Return `image` on `grid`.

    Args:
        image: an image or labels with any axes.
        grid: the new grid; for an image without a z axis it must be one slice thick.
        matrix: 4x4 from voxel indices x, y, z of `grid` to those of `image`.
        fill: what stands where the image does not reach: a number, "edge" for the nearest voxel, or
            `None` for the low end of the value range. Labels are filled with 0, always.

    Raises:
        GeometryError: a 2-D image would have to leave its plane, or the grid is absurdly large.
        KindError: labels beyond 2**53 would have to be resampled.

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
    flat = "z" not in image.axes
    if flat and (grid.shape[0] != 1 or not np.allclose(matrix[2], (0, 0, 1, 0), atol=1e-3)):
        raise GeometryError(
            "expected a 2-D image to stay in its plane, received a grid that leaves it; "
            "give it a z axis first: Image(array[None], axes='zyx')"
        )
    if image.kind == "labels":
        fill = 0
    elif fill is None:
        fill = image.value_range[0]
    volumes, back = stacked(image)
    if is_index_operation(matrix, grid.shape) is not None:
        moved = _indexed(volumes, grid.shape, np.rint(matrix).astype(int), fill)
    else:
        moved = np.stack(
            [_interpolated(v, grid.shape, matrix, fill, image.kind == "labels") for v in volumes]
        )
    return image.regridded(back(moved), grid.affine)


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


def in_type(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return real values in a data type; integers are rounded and saturate.

    Example:
        >>> import numpy as np
        >>> in_type(np.array([-3.0, 1.5, 300.0]), np.dtype(np.uint8))
        array([  0,   2, 255], dtype=uint8)
    """
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    # The largest float below a 64-bit limit, for the limit itself rounds up and would overflow.
    high = float(limits.max)
    if high > limits.max:
        high = float(np.nextafter(high, 0))
    rounded = np.rint(np.nan_to_num(values))
    return np.asarray(np.clip(rounded, float(limits.min), high).astype(dtype))


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
    volumes: NDArray[Any], shape: tuple[int, int, int], matrix: NDArray[Any], fill: Fill
) -> NDArray[Any]:
    source_of_new = [0, 0, 0]
    into: list[slice] = [slice(None)] * 3
    out_of: list[slice] = [slice(None)] * 3
    for old in range(3):
        new = int(np.flatnonzero(matrix[old, :3])[0])
        sign, shift = int(matrix[old, new]), int(matrix[old, 3])
        # Array axes run z, y, x while the matrix runs x, y, z.
        old_axis, new_axis = 2 - old, 2 - new
        old_size, new_size = volumes.shape[1 + old_axis], shape[new_axis]
        if sign > 0:
            start, stop = max(0, -shift), min(new_size, old_size - shift)
            first, last = start + shift, stop + shift
        else:
            start, stop = max(0, shift - old_size + 1), min(new_size, shift + 1)
            first, last = shift - start, shift - stop
        stop = max(start, stop)
        source_of_new[new_axis] = old_axis
        into[new_axis] = slice(start, stop)
        empty = start >= stop
        out_of[old_axis] = (
            slice(0, 0)
            if empty
            else slice(first, None if last < 0 else last, 1 if sign > 0 else -1)
        )
    moved = volumes[:, *out_of].transpose(0, *(1 + axis for axis in source_of_new))
    if moved.shape[1:] == shape:
        return moved.copy()
    if fill == "edge" and moved.size:
        widths = [(0, 0)] + [(s.start, n - s.stop) for s, n in zip(into, shape, strict=True)]
        return np.pad(moved, widths, mode="edge")
    value = volumes[0, 0, 0, 0] if fill == "edge" else in_type(np.array(fill), volumes.dtype)
    result = np.full((len(volumes), *shape), value, dtype=volumes.dtype)
    result[:, *into] = moved
    return result


def _interpolated(
    volume: NDArray[Any], shape: tuple[int, int, int], matrix: Affine, fill: Fill, labels: bool
) -> NDArray[Any]:
    import SimpleITK as sitk

    source = volume
    if not labels:
        source = volume.astype(working_type(volume.dtype), copy=False)
        # Row i of the matrix is how far input axis i advances a voxel of the new grid.
        steps = np.linalg.norm(matrix[:3, :3], axis=1)
        sigmas = np.where(steps > PREFILTER_STEP, (steps - 1) / 2, 0.0)
        source = smoothed(source, (sigmas[2], sigmas[1], sigmas[0]))
    elif volume.dtype.itemsize == 8 and volume.max() > GREATEST_LABEL:
        raise KindError(
            f"expected labels of at most {GREATEST_LABEL} to resample, received {volume.max()}; "
            "number them anew"
        )
    picture = sitk.GetImageFromArray(source)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    edge = fill == "edge"
    result = sitk.GetArrayFromImage(
        sitk.Resample(
            picture,
            shape[::-1],
            transform,
            sitk.sitkNearestNeighbor if labels else sitk.sitkLinear,
            (0.0, 0.0, 0.0),
            (1.0, 1.0, 1.0),
            (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
            0.0 if edge or fill is None else float(fill),
            picture.GetPixelID(),
            edge,
        )
    )
    return in_type(np.asarray(result), volume.dtype) if not labels else np.asarray(result)
