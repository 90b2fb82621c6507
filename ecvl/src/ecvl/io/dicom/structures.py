"""RT structure sets: contours of regions, filled on the grid of an image.

A pixel belongs to a region where its centre lies inside an odd number of the region's contours on
that slice, so that a contour within a contour is a hole. A contour lies on the slice nearest to it,
at most half a slice away.

Held by `tests/ecvl/test_dicom_structures.py` against a test of every pixel.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError, GeometryError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.io.dicom.elements import number, numbers, sequence, text
from ecvl.io.dicom.files import parsed
from ecvl.io.files import existing
from ecvl.io.quiet import quiet
from ecvl.io.scaling import smallest_integer_type

# How far apart in slices the points of one contour may lie.
FLATNESS = 0.1
Overlap = Literal["raise", "smaller"]


@dataclass(frozen=True, eq=False)
class Region:
    """A region of a structure set.

    Attributes:
        number: its ROINumber.
        name: its ROIName.
        contours: closed ones, each of points (n, 3) in RAS+ mm.

    Example:
        >>> Region(1, "Heart", []).name
        'Heart'
    """

    number: int
    name: str
    contours: list[NDArray[np.float64]]


@quiet()
def dicom_structures(
    path: str | os.PathLike[str],
    like: Image,
    *,
    names: Sequence[str] | None = None,
    overlap: Overlap = "raise",
) -> Image:
    """Fill the regions of an RT structure set on the grid of an image.

    Args:
        path: an RTSTRUCT file.
        like: the image whose grid is wanted, with axes "zyx" (more axes are dropped).
        names: the regions wanted, in this order; by default all that have closed contours.
        overlap: what to do with voxels of several regions: "raise", or give them to the "smaller"
            region, so that a tumour stays visible in its organ.

    Returns:
        Labels "zyx" with the affine of `like`: values 1, 2, ... in the order of the regions, and
        their names as `label_names`. Contours beyond the grid are cut off; those of other kinds
        (points, open lines) are left out.

    Raises:
        FormatError: it is no structure set, or damaged, or regions overlap.
        ParameterError: a name is not in it; the message lists those that are.
        GeometryError: contours do not lie in the slices of the image, or belong to another frame of
            reference.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> grid = Image(np.zeros((4, 8, 8), np.uint8), "zyx")
        >>> dicom_structures(get_testdata_file("rtstruct.dcm"), grid).label_names
        {1: 'patient'}
    """
    require_kind(like, None, "dicom_structures")
    if overlap not in ("raise", "smaller"):
        raise ParameterError(f"expected overlap='raise' or 'smaller', received {overlap!r}")
    if "z" not in like.axes:
        raise GeometryError(
            f"expected an image with z, received axes {like.axes!r}; image[None] has one slice"
        )
    found = existing(path)
    dataset = parsed(found).dataset
    if text(dataset, "Modality") != "RTSTRUCT":
        raise FormatError(
            f"expected an RT structure set, received {found.name!r} of modality "
            f"{text(dataset, 'Modality') or 'unknown'}"
        )
    regions = _chosen(_regions(dataset, found.name), names, found.name)
    _require_same_space(dataset, like, found.name)
    z, y, x = like.spatial_shape
    inverse: NDArray[np.float64] = np.linalg.inv(like.affine).astype(np.float64)
    masks: dict[int, tuple[int, NDArray[np.uint8]]] = {}
    labels = np.zeros((z, y, x), smallest_integer_type(0, len(regions)))
    for place, region in enumerate(regions):
        first, mask = _filled(region, inverse, (z, y, x))
        masks[place + 1] = first, mask
    order = sorted(masks, key=lambda value: -int(masks[value][1].sum(dtype=np.int64)))
    for value in order:
        first, mask = masks[value]
        target = labels[first : first + len(mask)]
        if overlap == "raise" and (other := target[mask.astype(bool)]).any():
            both = regions[int(other.max()) - 1].name, regions[value - 1].name
            raise FormatError(
                f"expected regions apart in {found.name!r}, received voxels of both {both[0]!r} "
                f"and {both[1]!r}; choose with names=, or say overlap='smaller'"
            )
        target[mask.astype(bool)] = value
    return Image(
        labels,
        "zyx",
        like.affine,
        kind="labels",
        meta={"source": {"format": "dicom", "series": text(dataset, "SeriesInstanceUID")}},
        label_names={place + 1: region.name for place, region in enumerate(regions)},
    )


def inside(contours: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return which pixel centres lie inside an odd number of closed polygons.

    Args:
        contours: points (n, 2) of each polygon, x then y, in pixels.
        shape: (y, x) of the result.

    Example:
        >>> square = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]])
        >>> inside([square], (3, 4))
        array([[0, 0, 0, 0],
               [0, 1, 1, 0],
               [0, 1, 1, 0]], dtype=uint8)
    """
    rows, columns = shape
    crossings = np.zeros((rows, columns + 1), np.int32)
    for points in contours:
        starts, ends = points, np.roll(points, -1, axis=0)
        # A row is crossed by an edge that begins at or above its centres and ends below them, so a
        # point between two edges counts once.
        low = np.ceil(np.minimum(starts[:, 1], ends[:, 1])).clip(0, rows).astype(np.int64)
        high = np.ceil(np.maximum(starts[:, 1], ends[:, 1])).clip(0, rows).astype(np.int64)
        counts = high - low
        edge = np.repeat(np.arange(len(points)), counts)
        row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + low[edge]
        slope = (ends[edge, 0] - starts[edge, 0]) / (ends[edge, 1] - starts[edge, 1])
        x = starts[edge, 0] + (row - starts[edge, 1]) * slope
        column = np.ceil(x).clip(0, columns).astype(np.int64)
        np.add.at(crossings, (row, column), 1)
    return (np.cumsum(crossings[:, :columns], axis=1) & 1).astype(np.uint8)


def _regions(dataset: Any, name: str) -> list[Region]:
    contours: dict[int, list[NDArray[np.float64]]] = {}
    for item in sequence(dataset, "ROIContourSequence"):
        points = [
            _points(contour, name)
            for contour in sequence(item, "ContourSequence")
            if text(contour, "ContourGeometricType").startswith("CLOSED_PLANAR")
        ]
        region = number(item, "ReferencedROINumber")
        if region is not None:
            contours.setdefault(region, []).extend(found for found in points if len(found) > 2)
    return [
        Region(region, text(item, "ROIName") or f"Region {region}", contours.get(region, []))
        for item in sequence(dataset, "StructureSetROISequence")
        if (region := number(item, "ROINumber")) is not None
    ]


def _points(contour: Any, name: str) -> NDArray[np.float64]:
    found = np.array(numbers(contour, "ContourData") or [])
    if len(found) % 3:
        raise FormatError(f"expected points x, y, z in the contours of {name!r}, it is damaged")
    return found.reshape(-1, 3) * (-1, -1, 1)


def _chosen(regions: list[Region], names: Sequence[str] | None, file: str) -> list[Region]:
    if names is None:
        return [region for region in regions if region.contours] or regions
    known = {region.name: region for region in regions}
    if unknown := [name for name in names if name not in known]:
        raise ParameterError(
            f"expected names among {sorted(known)} of {file!r}, received {unknown}"
        )
    return [known[name] for name in names]


def _require_same_space(dataset: Any, like: Image, name: str) -> None:
    """Compare frames of reference, where both are known."""
    theirs = text(dataset, "FrameOfReferenceUID")
    for item in sequence(dataset, "ReferencedFrameOfReferenceSequence")[:1]:
        theirs = text(item, "FrameOfReferenceUID") or theirs
    ours = str((like.meta.get("common") or {}).get("FrameOfReferenceUID", ""))
    if ours and theirs and ours != theirs:
        raise GeometryError(
            f"expected the structures of {name!r} in the image's frame of reference, received "
            "others; register the images first, or drop image.meta if positions are the same"
        )


def _filled(
    region: Region, inverse: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[int, NDArray[np.uint8]]:
    """The slices that a region takes up, and where the first of them stands."""
    slices: dict[int, list[NDArray[np.float64]]] = {}
    for points in region.contours:
        voxels = points @ inverse[:3, :3].T + inverse[:3, 3]
        heights = voxels[:, 2]
        if np.ptp(heights) > FLATNESS:
            raise GeometryError(
                f"expected the contours of {region.name!r} in the slices of the image, received "
                f"one across {np.ptp(heights):.2f} slices; give the image they were drawn on"
            )
        # Half way between two slices belongs to the upper one, like a voxel's lower border.
        place = int(np.floor(float(heights.mean()) + 0.5))
        if 0 <= place < shape[0]:
            slices.setdefault(place, []).append(voxels[:, :2])
    if not slices:
        return 0, np.zeros((0, *shape[1:]), np.uint8)
    first, last = min(slices), max(slices)
    mask = np.zeros((last - first + 1, *shape[1:]), np.uint8)
    for place, contours in slices.items():
        mask[place - first] = inside(contours, (shape[1], shape[2]))
    return first, mask
