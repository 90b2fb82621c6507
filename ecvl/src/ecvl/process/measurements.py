"""A table of region measurements in mm: one plain row (a mapping of names to numbers) a region.

| column | what it is |
|---|---|
| label, name | the label, and its name where there is one |
| c, t, n | the index along such an axis, where there is one |
| voxels | their number |
| volume_mm3 (area_mm2 in 2-D) | voxels times their size |
| centroid_x_mm, .._y_.., .._z_.. | mean position, RAS+ |
| box_z_start, box_z_stop, ... | half-open bounds in voxels, for every spatial axis |
| equivalent_diameter_mm | of the ball (disc) of this volume (area) |
| axis_1_mm, axis_2_mm, axis_3_mm | 4 sqrt(eigenvalue) of the covariance of voxel centres, longest |
|  | first: the axes of an ellipse (an ellipsoid's times .894) |
| feret_mm | greatest distance between two points of the border (midway to the voxels outside) |
| surface_mm2 (perimeter_mm in 2-D) | by Crofton's formula, as SimpleITK: right for smooth shapes |
|  | (a ball of 10 voxels within 1 %), too small for boxes along the axes (13 %) |
| sphericity (circularity in 2-D) | surface of the ball of this volume over the surface, at most |
|  | about 1 (4 pi area / perimeter ** 2) |
| mean, sd, minimum, maximum, p5 ... | of an image's values; sd of all of them, percentiles are |
|  | linear between ranks |

Held by `tests/ecvl/process/test_measurements.py` against formulas, SimpleITK and brute force.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import GeometryError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.registry import processing
from ecvl.process.volumes import Volume, is_real, require_straight, stacked
from ecvl.sample import require_one_grid

Row = dict[str, Any]

PERCENTILES = (5, 25, 50, 75, 95)


@processing("labels", "value", geometry="none", dtype="own")
def measure(
    labels: Image,
    image: Image | None = None,
    *,
    percentiles: Sequence[float] = PERCENTILES,
) -> list[Row]:
    """Return the size, place and shape of every label, and its values in an image, in mm.

    Args:
        labels: labels; every label above 0 is a region. For connected regions, measure
            `components(labels)`.
        image: an image on the same grid; with channels or time points of its own (and labels
            without) each gives rows of its own.
        percentiles: of the image's values, from 0 to 100.

    Returns:
        A row for each region, ordered by channel or time point and label, with the columns above.
        NaN and infinite values of the image do not count.

    Raises:
        KindError: an image was given as labels, or labels as image.
        GeometryError: they stand on different grids, or the voxel axes are not at right angles.

    Example:
        >>> mask = Image(np.array([[0, 3, 3]], np.uint8), "yx", np.diag([2, 3, 1, 1]), "labels")
        >>> row = measure(mask, mask.replace(kind="image"))[0]
        >>> row["label"], row["area_mm2"], row["centroid_x_mm"], row["mean"]
        (3, 12.0, 3.0, 3.0)
    """
    require_kind(labels, "labels", "measure")
    require_straight(labels, "a surface")
    wanted = tuple(percentiles)
    if not all(is_real(p) and 0 <= p <= 100 for p in wanted):
        raise ParameterError(f"expected percentiles from 0 to 100, received {percentiles!r}")
    if image is not None:
        require_kind(image, "image", "measure")
        require_one_grid([labels, image])
    flat = labels.spatial_axes == "yx"
    regions, places = _volumes(labels)
    shapes = [_shapes(volume, labels.affine, flat) for volume in regions]
    values: list[Volume | None] = [None] * len(regions)
    if image is not None:
        pictures, picture_places = _volumes(image)
        if len(regions) == 1 and not places[0]:
            shapes *= len(pictures)
            places, values = picture_places, list(pictures)
        elif places == picture_places:
            values = list(pictures)
        elif len(pictures) == 1 and not picture_places[0]:
            values = [pictures[0]] * len(regions)
        else:
            raise GeometryError(
                f"expected an image with axes {labels.axes!r} or {labels.spatial_axes!r} of the "
                f"same shape, received {image.axes!r} {image.shape} for {labels.shape}"
            )
    names = labels.label_names or {}
    rows = []
    for place, found, picture in zip(places, shapes, values, strict=True):
        for label, inside, shape in found:
            row: Row = {"label": label}
            if label in names:
                row["name"] = names[label]
            row |= place | shape
            if picture is not None:
                row |= _statistics(picture.reshape(-1)[inside], wanted)
            rows.append(row)
    return rows


def _volumes(image: Image) -> tuple[list[Volume], list[dict[str, int]]]:
    """Return every volume and where it is along the other axes."""
    volumes, _ = stacked(image)
    letters = [letter for letter in image.axes if letter not in "zyx"]
    sizes = [image.shape[image.axes.index(letter)] for letter in letters]
    places = [dict(zip(letters, index, strict=True)) for index in np.ndindex(*sizes)]
    return list(volumes), places


def _shapes(volume: Volume, affine: Affine, flat: bool) -> list[tuple[int, NDArray[np.int64], Row]]:
    """Return every label with its voxels (flat indices) and the columns of its shape."""
    kept = np.flatnonzero(volume > 0)
    if not kept.size:
        return []
    owners = volume.reshape(-1)[kept]
    order = np.argsort(owners, kind="stable")
    found, starts = np.unique(owners[order], return_index=True)
    surfaces = _surfaces(volume, found, affine, flat)
    rows = []
    for number, inside in enumerate(np.split(kept[order], starts[1:])):
        shape = _shape(inside, volume.shape, affine, flat, surfaces[number])
        rows.append((int(found[number]), inside, shape))
    return rows


def _shape(
    inside: NDArray[np.int64], size: tuple[int, ...], affine: Affine, flat: bool, surface: float
) -> Row:
    linear = affine[:3, :3]
    indices = np.stack(np.unravel_index(inside, size), axis=1)
    count, letters = len(inside), "yx" if flat else "zyx"
    row: Row = {"voxels": count}
    if flat:
        content = count * float(np.linalg.norm(np.cross(linear[:, 0], linear[:, 1])))
        row["area_mm2"] = content
        diameter = 2 * np.sqrt(content / np.pi)
        roundness = 4 * np.pi * content / surface**2
    else:
        content = count * float(abs(np.linalg.det(linear)))
        row["volume_mm3"] = content
        diameter = np.cbrt(6 * content / np.pi)
        roundness = np.cbrt(36 * np.pi * content**2) / surface
    middle = indices.mean(axis=0)
    centre = linear @ middle[::-1] + affine[:3, 3]
    row |= {f"centroid_{axis}_mm": float(v) for axis, v in zip("xyz", centre, strict=True)}
    first, last = indices.min(axis=0), indices.max(axis=0)
    for axis, letter in enumerate("zyx"):
        if letter in letters:
            row[f"box_{letter}_start"] = int(first[axis])
            row[f"box_{letter}_stop"] = int(last[axis]) + 1
    row["equivalent_diameter_mm"] = float(diameter)
    offsets = indices - middle
    # The covariance of x, y, z indices, then of mm.
    inner = (offsets.T @ offsets / count)[::-1, ::-1]
    spread = linear @ inner @ linear.T
    lengths = 4 * np.sqrt(np.maximum(np.linalg.eigvalsh(spread)[::-1], 0))
    row |= {f"axis_{n + 1}_mm": float(lengths[n]) for n in range(len(letters))}
    row["feret_mm"] = _feret(indices, linear, flat)
    row["perimeter_mm" if flat else "surface_mm2"] = surface
    row["circularity" if flat else "sphericity"] = float(roundness)
    return row


def _surfaces(volume: Volume, found: Volume, affine: Affine, flat: bool) -> list[float]:
    """Return the surface (in 2-D the perimeter) of every label, by SimpleITK."""
    import SimpleITK as sitk

    numbers = np.zeros(volume.shape, np.uint32)
    foreground = volume > 0
    numbers[foreground] = np.searchsorted(found, volume[foreground]) + 1
    # A rim of background, so that what ends at the image's edge is bounded there.
    numbers = np.pad(numbers[0] if flat else numbers, 1)
    picture = sitk.GetImageFromArray(numbers)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    picture.SetSpacing(sizes[: 2 if flat else 3].tolist())
    task = sitk.LabelShapeStatisticsImageFilter()
    task.ComputePerimeterOn()
    task.ComputeFeretDiameterOff()
    task.ComputeOrientedBoundingBoxOff()
    task.Execute(picture)
    return [float(task.GetPerimeter(number + 1)) for number in range(len(found))]


def _feret(indices: NDArray[np.int64], linear: Affine, flat: bool) -> float:
    """Return the greatest distance between points midway between voxels inside and outside.

    They are the middles of voxel faces; the two farthest are corners of the convex hull, and so of
    the hull of their own plane.
    """
    import cv2

    # Of a row of voxels only the ends can be corners; the voxels stand in array order.
    rows = indices[:, :2]
    change = np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1))
    ends = np.unique(np.concatenate([[0], change, change + 1, [len(indices) - 1]]))
    twice = 2 * indices[ends]
    corners = []
    for axis in range(1 if flat else 0, 3):
        step = np.zeros(3, np.int64)
        step[axis] = 1
        corners += [twice + step, twice - step]
    points = np.concatenate(corners)
    points = points[np.argsort(points[:, 0], kind="stable")]
    hulls = []
    _, starts = np.unique(points[:, 0], return_index=True)
    for plane in np.split(points, starts[1:]):
        hull = cv2.convexHull(np.ascontiguousarray(plane[:, 1:], np.int32)).reshape(-1, 2)
        hulls.append(np.insert(hull.astype(np.float64), 0, plane[0, 0], axis=1))
    world = np.concatenate(hulls)[:, ::-1] / 2 @ linear.T
    best = 0.0
    for start in range(0, len(world), 512):
        part = world[start : start + 512]
        squares = ((part[:, None] - world[None, start:]) ** 2).sum(axis=-1)
        best = max(best, float(squares.max()))
    return float(np.sqrt(best))


def _statistics(values: Volume, percentiles: Sequence[float]) -> Row:
    finite = values[np.isfinite(values)].astype(np.float64)
    names = [f"p{p:g}" for p in percentiles]
    if not finite.size:
        return dict.fromkeys(("mean", "sd", "minimum", "maximum", *names), float("nan"))
    row = {
        "mean": float(finite.mean()),
        "sd": float(finite.std()),
        "minimum": float(finite.min()),
        "maximum": float(finite.max()),
    }
    found = np.percentile(finite, percentiles) if percentiles else np.empty(0)
    return row | {name: float(value) for name, value in zip(names, found, strict=True)}
