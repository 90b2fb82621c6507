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
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import SAME, Grid, Recount, recount_of
from ecvl.image import Image
from ecvl.process.copying import copied
from ecvl.process.dtypes import in_type, number_in_type, working_type
from ecvl.process.fields import Field, Map
from ecvl.process.volumes import separated, stacked
from ecvl.process.warping import stays_in_plane, warped_planes, warped_volume

Fill = float | Literal["edge"] | None
Interpolation = Literal["nearest", "linear", "cubic"]

PREFILTER_STEP = 1.5
GAUSSIAN_REACH = 4
LEAST_FOR_CUBIC = 4
WHOLE = slice(None)
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
    _require_sane(grid.shape)
    a, b, c, d = matrix[2].tolist()
    leaves = max(abs(a), abs(b), abs(c - 1), abs(d)) > 1e-3 or grid.shape[0] != 1
    if "z" not in image.axes and leaves:
        raise GeometryError(
            "expected a 2-D image to stay in its plane, received a grid that leaves it; "
            "give it a z axis first: Image(array[None], axes='zyx')"
        )
    method = checked_interpolation(interpolation, image)
    if field is not None and method == "cubic":
        raise ParameterError("a field of displacements takes interpolation 'linear' or 'nearest'")
    recount = recount_of(matrix, grid.shape) if field is None else None
    if recount is not None:
        moved = recounted(image, grid.shape, recount, fill).array
    else:
        moved = _interpolated(image, grid, Map(matrix, field), _filling(image, fill), method)
    return image.with_array(moved, np.array(grid.affine, np.float64))


def recounted(image: Image, shape: tuple[int, int, int], recount: Recount, fill: Fill) -> Image:
    """Return `pull` of a map that is known to move whole voxels, quickly.

    Args:
        image: an image or labels; without a z axis, one that is not moved along z.
        shape: the new sizes z, y, x.
        recount: from new voxels to those of `image`.
        fill: as of `pull`.

    Example:
        >>> import numpy as np
        >>> image = Image(np.array([[1, 2, 3]]), "yx")
        >>> np.asarray(recounted(image, (1, 1, 2), ((0, 1, 1), (1, 1, 0), (2, 1, 0)), None))
        array([[2, 3]])
    """
    axes, array, straight, swapped = image.axes, image.array, True, False
    sizes = array.shape
    cuts = [WHOLE] * len(sizes)
    for old, at in _places(axes):
        new, step, start = move = recount[old]
        if move == SAME[old] and shape[2 - old] == sizes[at]:
            continue
        end = start + step * shape[2 - new]
        if step > 0:
            inside = start >= 0 and end <= sizes[at]
            cuts[at] = slice(start, end)
        else:
            inside = start < sizes[at] and end >= -1
            cuts[at] = slice(start, end if end >= 0 else None, -1)
            straight = False
        if not inside:
            _require_sane(shape)
            moved = _reaching_out(image, shape, recount, _filling(image, fill))
            return image.recounted(moved, recount)
        if new != old:
            swapped = True
    moved = array[tuple(cuts)]
    if swapped:
        moved = copied(moved.transpose(_order(axes, recount)))
    else:
        moved = moved.copy() if straight else copied(moved)
    return image.recounted(moved, recount)


def _require_sane(shape: tuple[int, int, int]) -> None:
    z, y, x = shape
    if z * y * x > MOST_VOXELS:
        raise GeometryError(
            f"expected a grid of at most {MOST_VOXELS:,} voxels, received one of "
            f"{' x '.join(f'{size:,}' for size in shape)}; check the spacing, in mm"
        )


def _filling(image: Image, fill: Fill) -> Any:
    """Return what stands where an image does not reach: a number, or "edge"."""
    if image.kind == "labels":
        return 0
    return image.value_range[0] if fill is None else fill


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


def _reaching_out(
    image: Image, shape: tuple[int, int, int], recount: Recount, fill: Any
) -> NDArray[Any]:
    """Copy voxels where some of the new ones lie outside."""
    array, order = image.array, _order(image.axes, recount)
    cuts, before = [slice(None)] * image.ndim, [0] * image.ndim
    sizes = [array.shape[at] for at in order]
    for old, at in _places(image.axes):
        new, step, shift = recount[old]
        old_size, new_size = array.shape[at], shape[2 - new]
        if step > 0:
            start, stop = max(0, -shift), min(new_size, old_size - shift)
            cut = slice(start + shift, stop + shift)
        else:
            start, stop = max(0, shift - old_size + 1), min(new_size, shift + 1)
            cut = slice(shift - start, shift - stop if stop <= shift else None, -1)
        if start >= stop:
            start, cut = 0, slice(0, 0)
        cuts[at], sizes[order.index(at)], before[order.index(at)] = cut, new_size, start
    moved = array[tuple(cuts)].transpose(order)
    if fill == "edge" and moved.size:
        widths = [(b, n - b - m) for b, n, m in zip(before, sizes, moved.shape, strict=True)]
        return np.pad(moved, widths, mode="edge")
    value = array.flat[0] if fill == "edge" else number_in_type(fill, image.dtype)
    result = np.full(sizes, value, dtype=image.dtype)
    into = tuple(slice(b, b + m) for b, m in zip(before, moved.shape, strict=True))
    result[into] = moved
    return result


def _order(axes: str, recount: Recount) -> list[int]:
    """Return which old place each new one among axes is."""
    order = list(range(len(axes)))
    for old, at in _places(axes):
        order[axes.index("xyz"[recount[old][0]])] = at
    return order


@cache
def _places(axes: str) -> list[tuple[int, int]]:
    """Return, for x, y and z as far as they are there, the number and the place among axes."""
    return [(number, axes.index(letter)) for number, letter in enumerate("xyz") if letter in axes]


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
