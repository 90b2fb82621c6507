"""Where the slices of a DICOM series stand.

DICOM is LPS+; everything here turns to RAS+ at the very end. Distances are along the normal of the
slices, the tolerances are relative to the median distance (real scanners round: a series of nominal
7 mm has steps of 6.96 to 7.07).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine, checked_affine
from ecvl.errors import GeometryError
from ecvl.io.dicom_headers import numbers

STEP_TOLERANCE = 0.05
DIRECTION_TOLERANCE = 1e-3
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order.

    Attributes:
        order: which header stands where.
        affine: 4x4 to RAS+ mm, with the mean distance between slices.
        positions: distances along the normal in mm, the first 0.
        even: whether the distances are all the same, within the tolerance.

    Example:
        >>> Stack((0,), np.eye(4), [0.0], True).even
        True
    """

    order: tuple[int, ...]
    affine: Affine
    positions: list[float]
    even: bool


def stacked(headers: Sequence[Any], must_be_even: bool) -> Stack:
    """Put the slices of a series in order and find its affine.

    Raises:
        GeometryError: positions or orientations are missing, repeated or not parallel, or distances
            are uneven and must not be.

    Example:
        >>> from pydicom import Dataset
        >>> def header(z):
        ...     made = Dataset()
        ...     made.ImagePositionPatient = [0, 0, z]
        ...     made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ...     made.PixelSpacing = [1, 1]
        ...     return made
        >>> stacked([header(4), header(2), header(0)], True).order
        (2, 1, 0)
    """
    planes = [_plane(header) for header in headers]
    if any(plane is None for plane in planes):
        missing = sum(plane is None for plane in planes)
        raise GeometryError(
            f"expected ImagePositionPatient and ImageOrientationPatient in every slice, received "
            f"{missing} of {len(planes)} without; read the files one by one"
        )
    rows, columns, origins, spacings = (
        np.array(part) for part in zip(*(plane for plane in planes if plane), strict=True)
    )
    if (
        np.abs(rows - rows[0]).max() > DIRECTION_TOLERANCE
        or np.abs(columns - columns[0]).max() > DIRECTION_TOLERANCE
        or np.abs(spacings - spacings[0]).max() > DIRECTION_TOLERANCE * spacings[0].min()
    ):
        raise GeometryError(
            "expected parallel slices of one pixel spacing in a series, received several "
            "orientations or spacings; move other images (scouts) out of the folder"
        )
    normal = np.cross(rows[0], columns[0])
    along = origins @ normal
    order = np.argsort(along, kind="stable")
    along, origins = along[order], origins[order]
    even = _check_steps(np.diff(along), must_be_even)
    # A single slice has no distance to a next one; 1 mm stands in for it.
    step = normal if len(order) == 1 else (origins[-1] - origins[0]) / (len(order) - 1)
    if even:
        straight = origins[0] + np.arange(len(order))[:, None] * step
        off = (origins - straight) - ((origins - straight) @ normal)[:, None] * normal
        if np.abs(off).max() > spacings[0].max() / 2:
            raise GeometryError(
                f"expected slices in a straight stack, received one shifted sideways by "
                f"{np.abs(off).max():.2f} mm; read the files one by one"
            )
    affine = _affine(rows[0], columns[0], step, origins[0], spacings[0])
    return Stack(tuple(order.tolist()), affine, (along - along[0]).tolist(), even)


def plane_affine(header: Any) -> Affine:
    """Return the affine of a single image; 1 mm pixels in x, y order where it says nothing.

    Example:
        >>> from pydicom import Dataset
        >>> bool((plane_affine(Dataset()) == np.diag([-1, -1, 1, 1])).all())
        True
    """
    plane = _plane(header)
    if plane is None:
        y, x = _spacing(header)
        return checked_affine(LPS_TO_RAS @ np.diag([x, y, 1.0, 1.0]))
    row, column, origin, spacing = plane
    return _affine(row, column, np.cross(row, column), origin, spacing)


def resampled_evenly(values: NDArray[Any], stack: Stack) -> tuple[NDArray[Any], Affine]:
    """Interpolate uneven slices linearly to the median distance; the first slice stays.

    Example:
        >>> stack = Stack((0, 1, 2), np.eye(4), [0.0, 1.0, 3.0], False)
        >>> resampled_evenly(np.array([[[0.0]], [[1.0]], [[3.0]]]), stack)[0].ravel()
        array([0. , 1.5, 3. ])
    """
    from ecvl.process.pull import in_type

    positions = np.array(stack.positions)
    step = float(np.median(np.diff(positions)))
    count = int(np.floor(positions[-1] / step + 1e-3)) + 1
    result = np.empty((count, *values.shape[1:]), values.dtype)
    for index in range(count):
        wanted = min(index * step, positions[-1])
        above = int(np.clip(np.searchsorted(positions, wanted), 1, len(positions) - 1))
        below = above - 1
        weight = (wanted - positions[below]) / (positions[above] - positions[below])
        mixed = values[below] * (1 - weight) + values[above] * weight
        result[index] = in_type(mixed, values.dtype)
    affine = stack.affine.copy()
    affine[:3, 2] *= step * (len(positions) - 1) / positions[-1]
    return result, affine


def _check_steps(steps: NDArray[np.float64], must_be_even: bool) -> bool:
    if not steps.size:
        return True
    median = float(np.median(steps))
    if steps.min() < max(1e-3, 0.01 * median):
        raise GeometryError(
            f"expected one slice a position, received repeated positions (slices "
            f"{int(steps.argmin())} and {int(steps.argmin()) + 1}); the series holds several "
            "phases, echoes or copies: move all but one out of the folder"
        )
    worst = int(np.abs(steps - median).argmax())
    even = bool(abs(steps[worst] - median) <= STEP_TOLERANCE * median)
    if not even and must_be_even:
        raise GeometryError(
            f"expected slices {median:.2f} mm apart, received a gap of {steps[worst]:.2f} mm "
            f"between slices {worst} and {worst + 1}: slices are missing or uneven; complete the "
            "series, or say irregular='keep' or 'resample'"
        )
    return even


def _plane(header: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]] | None:
    position = numbers(header, "ImagePositionPatient", 3)
    cosines = numbers(header, "ImageOrientationPatient", 6)
    if position is None or cosines is None:
        return None
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not (np.abs(np.array(lengths) - 1) < 0.01).all() or abs(row @ column) > 0.01:
        raise GeometryError(
            "expected two perpendicular unit vectors in ImageOrientationPatient, received others; "
            "correct the source"
        )
    return row / lengths[0], column / lengths[1], np.array(position), np.array(_spacing(header))


def _spacing(header: Any) -> tuple[float, float]:
    found = numbers(header, "PixelSpacing", 2) or [1.0, 1.0]
    if min(found) <= 0:
        raise GeometryError("expected PixelSpacing above 0 mm, received 0 or less")
    return found[0], found[1]


def _affine(
    row: NDArray[Any],
    column: NDArray[Any],
    step: NDArray[Any],
    origin: NDArray[Any],
    spacing: NDArray[Any],
) -> Affine:
    # PixelSpacing is (between rows, between columns); a row runs along x.
    affine = np.eye(4)
    affine[:3, 0] = row * spacing[1]
    affine[:3, 1] = column * spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return checked_affine(LPS_TO_RAS @ affine)
