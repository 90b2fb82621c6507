"""Where frames stand: slices in order along their normal, and what else parts them.

DICOM is LPS+; everything here turns to RAS+ at the very end. Distances are along the normal of the
slices, the tolerances are relative to the median distance (real scanners round: a series of nominal
7 mm has steps of 6.96 to 7.07).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine, checked_affine
from ecvl.errors import GeometryError
from ecvl.io.dicom.frames import Frame, Plane, pixel_spacing, planes_of

STEP_TOLERANCE = 0.05
SAME_PLACE = 0.01
GREATEST_COUNT = 1 << 16
# Cosines of three decimals let a straight stack drift sideways; less of a pixel than this over the
# whole stack is no tilt.
STRAIGHT = 0.1
DIRECTION_TOLERANCE = 1e-3
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames in order.

    Attributes:
        order: the frames of each place.
        affine: 4x4 to RAS+ mm, with the mean distance between slices.
        positions: distances of the places along the normal in mm, the first 0.
        even: whether the distances are all the same, within the tolerance.

    Example:
        >>> Stack([[0]], np.eye(4), [0.0], True).even
        True
    """

    order: list[list[int]]
    affine: Affine
    positions: list[float]
    even: bool


def stacked(
    found: Sequence[Plane | None],
    must_be_even: bool,
    parted: Callable[[list[list[int]]], list[list[int]]],
) -> Stack:
    """Put the frames of a series in order and find its affine.

    Args:
        found: where each frame lies, as `planes_of` says.
        must_be_even: whether uneven slices are an error.
        parted: is given the frames of each place and returns them in the order of what parts them.

    Raises:
        GeometryError: positions or orientations are missing, repeated or not parallel, or distances
            are uneven and must not be.

    Example:
        >>> x, y, z = np.eye(3)
        >>> planes = [Plane(height * z, x, y, np.ones(2)) for height in (4, 0, 2)]
        >>> stacked(planes, True, lambda places: places).order
        [[1], [2], [0]]
    """
    planes = [plane for plane in found if plane is not None]
    if len(planes) < len(found):
        raise GeometryError(
            f"expected ImagePositionPatient and ImageOrientationPatient in every slice, received "
            f"{len(found) - len(planes)} of {len(found)} without; read the files one by one"
        )
    rows = np.array([plane.row for plane in planes])
    columns = np.array([plane.column for plane in planes])
    origins = np.array([plane.origin for plane in planes])
    spacings = np.array([plane.spacing for plane in planes])
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
    places = parted(_places(along))
    first = np.array([place[0] for place in places])
    along, origins = along[first], origins[first]
    even = _check_steps(np.diff(along), must_be_even)
    # A single slice has no distance to a next one; 1 mm stands in for it.
    step = normal if len(first) == 1 else (origins[-1] - origins[0]) / (len(first) - 1)
    drift = step - (step @ normal) * normal
    if np.linalg.norm(drift) * len(first) < STRAIGHT * spacings[0].min():
        step = step - drift
    if even:
        straight = origins[0] + np.arange(len(first))[:, None] * step
        off = (origins - straight) - ((origins - straight) @ normal)[:, None] * normal
        if np.abs(off).max() > spacings[0].max() / 2:
            raise GeometryError(
                f"expected slices in a straight stack, received one shifted sideways by "
                f"{np.abs(off).max():.2f} mm; read the files one by one"
            )
    affine = _affine(rows[0], columns[0], step, origins[0], spacings[0])
    return Stack(places, affine, (along - along[0]).tolist(), even)


def slice_grid(
    found: Sequence[Plane | None], stated: float | None
) -> tuple[list[int], Affine, int]:
    """Find the even grid on which planes lie, some of which may be left out or repeated.

    Args:
        found: where each frame lies.
        stated: the distance between slices that the file says, in mm.

    Returns:
        The slice of each frame, the affine to RAS+ mm, and how many slices there are.

    Raises:
        GeometryError: there is no such grid.

    Example:
        >>> x, y, z = np.eye(3)
        >>> planes = [Plane(height * z, x, y, np.ones(2)) for height in (9, 3, 3, 5)]
        >>> places, affine, count = slice_grid(planes, None)
        >>> places, count
        ([3, 0, 0, 1], 4)
    """
    order = [0] * len(found)

    def numbered(places: list[list[int]]) -> list[list[int]]:
        for place, frames in enumerate(places):
            for frame in frames:
                order[frame] = place
        return places

    stack = stacked(found, False, numbered)
    affine, positions = stack.affine.copy(), np.array(stack.positions)
    length = float(np.linalg.norm(affine[:3, 2]))
    if len(positions) == 1:
        affine[:3, 2] *= (stated or length) / length
        return order, affine, 1
    mean = positions[-1] / (len(positions) - 1)
    least = float(np.diff(positions).min())
    for step in (stated, least):
        if step is None or step > least * (1 + STEP_TOLERANCE):
            continue
        count = round(positions[-1] / step)
        if not 0 < count < GREATEST_COUNT:
            continue
        step = positions[-1] / count
        places = np.rint(positions / step).astype(int)
        if np.abs(positions - places * step).max() <= STEP_TOLERANCE * step:
            affine[:3, 2] *= step / mean
            return [int(places[place]) for place in order], affine, count + 1
    raise GeometryError(
        f"expected planes on an even grid, received distances from {least:.3g} to "
        f"{np.diff(positions).max():.3g} mm that have no common step"
    )


def plane_affine(frame: Frame) -> Affine:
    """Return the affine of a single image; 1 mm pixels in x, y order where it says nothing.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> from ecvl.io.dicom.frames import frames_of
        >>> frame, = frames_of(parsed(Path(get_testdata_file("MR_small.dcm"))))
        >>> plane_affine(frame)[:3, 3].round(1)
        array([83.9, 91.2,  6.6])
    """
    (plane,) = planes_of([frame])
    if plane is None:
        y, x = pixel_spacing(frame)
        return checked_affine(LPS_TO_RAS @ np.diag([x, y, 1.0, 1.0]))
    normal = np.cross(plane.row, plane.column)
    return _affine(plane.row, plane.column, normal, plane.origin, plane.spacing)


def even_positions(positions: Sequence[float]) -> tuple[NDArray[np.float64], float]:
    """Return places at the median distance that cover uneven ones, and that distance.

    Example:
        >>> even_positions([0.0, 1.0, 2.0, 4.0])
        (array([0., 1., 2., 3., 4.]), 1.0)
    """
    step = float(np.median(np.diff(positions)))
    count = int(np.floor(positions[-1] / step + 1e-3)) + 1
    return np.minimum(np.arange(count) * step, positions[-1]), step


def _places(along: NDArray[np.float64]) -> list[list[int]]:
    """Frames of one place together, in the order of the places."""
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    apart = steps[steps > 1e-3]
    limit = max(1e-3, SAME_PLACE * float(np.median(apart))) if apart.size else 1e-3
    places = [[int(order[0])]]
    for step, index in zip(steps, order[1:], strict=True):
        if step < limit:
            places[-1].append(int(index))
        else:
            places.append([int(index)])
    return places


def _check_steps(steps: NDArray[np.float64], must_be_even: bool) -> bool:
    if not steps.size:
        return True
    median = float(np.median(steps))
    worst = int(np.abs(steps - median).argmax())
    even = bool(abs(steps[worst] - median) <= STEP_TOLERANCE * median)
    if not even and must_be_even:
        raise GeometryError(
            f"expected slices {median:.2f} mm apart, received a gap of {steps[worst]:.2f} mm "
            f"between slices {worst} and {worst + 1}: slices are missing or uneven; complete the "
            "series, or say irregular='keep' or 'resample'"
        )
    return even


def _affine(
    row: NDArray[np.float64],
    column: NDArray[np.float64],
    step: NDArray[np.float64],
    origin: NDArray[np.float64],
    spacing: NDArray[np.float64],
) -> Affine:
    # PixelSpacing is (between rows, between columns); a row runs along x.
    affine = np.eye(4)
    affine[:3, 0] = row * spacing[1]
    affine[:3, 1] = column * spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return checked_affine(LPS_TO_RAS @ affine)
