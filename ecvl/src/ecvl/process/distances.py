"""Distances in mm, sums over boxes, and maxima. Held by `tests/ecvl/process/test_distances.py`."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.errors import GeometryError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.registry import processing
from ecvl.process.volumes import Volume, each_volume, from_sitk, is_real, require_straight, to_sitk

MOST_BOXES = 1 << 16


@processing("labels", "image", dtype="float")
def distance_map(
    labels: Image, to: Literal["background", "foreground", "surface"] = "background"
) -> Image:
    """Return how far every voxel is, in mm, between voxel centres.

    Exact Euclidean distances (SimpleITK's Maurer transform) over the voxel sizes.

    Args:
        labels: labels; what is above 0 is foreground.
        to: "background" for the distance of foreground voxels to the nearest background (0 in the
            background), "foreground" the other way round, "surface" for both, those inside
            negative.

    Returns:
        float32, mm. Where there is nothing to be far from, infinity would not fit into filters: a
        volume without background (or foreground) has the length of the image's diagonal instead.

    Raises:
        KindError: an image was given.
        GeometryError: the voxel axes are not at right angles.

    Example:
        >>> mask = Image(np.array([[0, 1, 1, 1, 0]], np.uint8), "yx", kind="labels")
        >>> np.asarray(distance_map(mask))
        array([[0., 1., 2., 1., 0.]], dtype=float32)
    """
    require_kind(labels, "labels", "distance_map")
    require_straight(labels, "a distance")
    if to not in ("background", "foreground", "surface"):
        raise ParameterError(
            f"expected to='background', 'foreground' or 'surface', received {to!r}"
        )
    spacing = labels.grid.spacing
    longest = np.linalg.norm(np.array(labels.grid.shape) * spacing)

    def away(inside: NDArray[np.bool_]) -> Volume:
        """The distance of voxels inside to the nearest outside."""
        if inside.all():
            return np.full(inside.shape, longest, np.float32)
        if not inside.any():
            return np.zeros(inside.shape, np.float32)
        return exact_distances(~inside, spacing)

    def measured(volume: Volume) -> Volume:
        inside = volume > 0
        if to == "background":
            return away(inside)
        if to == "foreground":
            return away(~inside)
        return np.where(inside, -away(inside), away(~inside)).astype(np.float32)

    array = each_volume(labels, measured)
    return labels.replace(array=array, kind="image", value_range=None)


def exact_distances(seeds: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Return the distance of every voxel (zyx) to the nearest of a mask that is not empty, in mm.

    Example:
        >>> exact_distances(np.array([[[True, False, False]]]), (1, 1, 2))
        array([[[0., 2., 4.]]], dtype=float32)
    """
    import SimpleITK as sitk

    if seeds.all():
        return np.zeros(seeds.shape, np.float32)
    # The library takes distances to the foreground's inner border; seeds have them set to 0 below.
    picture = to_sitk(seeds.view(np.uint8), spacing)
    found = sitk.SignedMaurerDistanceMap(
        picture, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    result = from_sitk(found)
    return np.where(seeds, 0, result).astype(np.float32)


@processing("image", "image", dtype="own")
def integral(image: Image) -> Image:
    """Return running sums: every voxel holds the sum of the box from the first voxel up to it.

    The sum over any box then takes 4 values in 2-D and 8 in 3-D.

    Args:
        image: an image.

    Returns:
        float64, the image's shape (OpenCV's has one more row and column of zeros in front).

    Raises:
        KindError: labels were given.

    Example:
        >>> np.asarray(integral(Image(np.array([[1, 2], [3, 4]], np.uint8), "yx")))
        array([[ 1.,  3.],
               [ 4., 10.]])
    """
    require_kind(image, "image", "integral")

    def summed(volume: Volume) -> Volume:
        result = volume.astype(np.float64)
        for axis in range(3):
            np.cumsum(result, axis=axis, out=result)
        return result

    return image.replace(array=each_volume(image, summed), value_range=None)


@processing("value", "value", geometry="none", dtype="own", each=False)
def non_maximum_suppression(
    boxes: ArrayLike,
    scores: ArrayLike,
    *,
    overlap: float = 0.5,
    classes: ArrayLike | None = None,
    least_score: float = -np.inf,
) -> NDArray[np.int64]:
    """Choose among overlapping boxes those with the best scores.

    The best box stays, boxes that overlap it by more than `overlap` go, and so on with the rest.

    Args:
        boxes: n x 4 or n x 6 half-open bounds in array order: the starts, then the stops (y0, x0,
            y1, x1, or z0, y0, x0, z1, y1, x1), in voxels or mm.
        scores: one a box.
        overlap: the greatest part (intersection over union) that two chosen boxes may share.
        classes: one number a box; boxes of different classes do not compete. One class by default.
        least_score: boxes below are not chosen.

    Returns:
        The rows of the chosen boxes (int64), the best score first; of equal scores the first row.

    Raises:
        GeometryError: a box is not of this shape, or a stop lies before its start.

    Example:
        >>> boxes = [(0, 0, 10, 10), (1, 1, 11, 11), (20, 20, 30, 30)]
        >>> non_maximum_suppression(boxes, [0.9, 0.8, 0.7])
        array([0, 2])
    """
    corners, values, groups = _checked_boxes(boxes, scores, classes)
    if not is_real(overlap) or not 0 <= overlap <= 1:
        raise ParameterError(f"expected overlap from 0 to 1, received {overlap!r}")
    half = corners.shape[1] // 2
    sizes = np.prod(corners[:, half:] - corners[:, :half], axis=1)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] >= least_score]
    chosen = []
    while order.size:
        best, order = order[0], order[1:]
        chosen.append(best)
        start = np.maximum(corners[best, :half], corners[order, :half])
        stop = np.minimum(corners[best, half:], corners[order, half:])
        shared = np.prod(np.maximum(stop - start, 0), axis=1)
        union = sizes[best] + sizes[order] - shared
        part = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        order = order[(part <= overlap) | (groups[order] != groups[best])]
    return np.array(chosen, np.int64)


def _checked_boxes(boxes: Any, scores: Any, classes: Any) -> tuple[Any, Any, Any]:
    try:
        corners, values = np.array(boxes, np.float64), np.array(scores, np.float64)
        groups = np.zeros(len(values)) if classes is None else np.array(classes, np.float64)
    except (TypeError, ValueError):
        raise GeometryError("expected boxes and scores as arrays of numbers") from None
    if corners.size == 0 and values.size == 0:
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0)
    if (
        corners.ndim != 2
        or corners.shape[1] not in (4, 6)
        or values.shape != (len(corners),)
        or groups.shape != values.shape
        or not np.isfinite(corners).all()
        or np.isnan(values).any()
    ):
        raise GeometryError(
            f"expected boxes of shape (n, 4) or (n, 6) and n scores, received {corners.shape} and "
            f"{values.shape}"
        )
    if len(corners) > MOST_BOXES:
        raise GeometryError(f"expected at most {MOST_BOXES:,} boxes, received {len(corners):,}")
    half = corners.shape[1] // 2
    if (corners[:, half:] < corners[:, :half]).any():
        raise GeometryError("expected boxes whose stops are not before their starts")
    return corners, values, groups
