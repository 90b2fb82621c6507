"""Interpolation by SimpleITK, in index space: nearest, linear or cubic, through its transforms.

`pull` uses it for images where neither an index operation nor linear interpolation is wanted, and
`warp` for displacements of every voxel. Held by `tests/ecvl/process/test_geometry.py` and
`test_transform.py`.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import GeometryError, KindError, ParameterError
from ecvl.image import Image

Interpolation = Literal["nearest", "linear", "cubic"]

LEAST_FOR_CUBIC = 4
# SimpleITK passes values through float64.
GREATEST_EXACT = 1 << 53


def checked_interpolation(interpolation: Any, image: Image) -> Interpolation:
    """Return how to find values between voxels: what was asked for, else what fits the kind.

    Raises:
        ParameterError: it is not known, or not "nearest" for labels.

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


def affine_transform(matrix: Affine) -> Any:
    """Return a 4x4 matrix as a SimpleITK transform.

    Example:
        >>> affine_transform(np.diag([2.0, 1, 1, 1])).TransformPoint((1.0, 1, 1))
        (2.0, 1.0, 1.0)
    """
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def interpolated(
    volume: NDArray[Any],
    shape: tuple[int, int, int],
    transform: Any,
    fill: float | Literal["edge"],
    method: Interpolation,
) -> NDArray[Any]:
    """Return a volume (zyx) on another grid of indices.

    Args:
        volume: any real type; float32 or float64 for "linear" and "cubic".
        shape: the new grid's.
        transform: SimpleITK's, from new voxel indices x, y, z to old ones.
        fill: beyond the volume: a number, or "edge" for the nearest voxel.
        method: how to find values between voxels.

    Raises:
        KindError: there are integers beyond 2**53.

    Example:
        >>> half = affine_transform(np.diag([0.5, 1, 1, 1]))
        >>> interpolated(np.array([[[0.0, 4.0]]]), (1, 1, 3), half, "edge", "linear")
        array([[[0., 2., 4.]]])
    """
    import SimpleITK as sitk

    if volume.dtype.kind in "iu" and volume.itemsize == 8 and volume.max() > GREATEST_EXACT:
        raise KindError(
            f"expected values of at most {GREATEST_EXACT} to resample, received {volume.max()}; "
            "number them anew"
        )
    source = volume.astype(np.float32) if volume.dtype == np.float16 else volume
    picture = sitk.GetImageFromArray(source)
    edge = fill == "edge"
    result = sitk.Resample(
        picture,
        shape[::-1],
        transform,
        {
            "nearest": sitk.sitkNearestNeighbor,
            "linear": sitk.sitkLinear,
            "cubic": sitk.sitkBSpline,
        }[method],
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        0.0 if edge else float(fill),
        picture.GetPixelID(),
        edge,
    )
    return np.asarray(sitk.GetArrayFromImage(result)).astype(volume.dtype, copy=False)


def thick_enough(volume: NDArray[Any], matrix: Affine) -> tuple[NDArray[Any], Affine]:
    """Repeat the outer voxels of thin axes, for B-splines need four, where nothing moves along.

    Returns:
        The volume, and the matrix to the indices of it.

    Raises:
        GeometryError: something moves along a thin axis.

    Example:
        >>> thick_enough(np.zeros((1, 4, 4)), np.eye(4))[0].shape
        (9, 4, 4)
    """
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
