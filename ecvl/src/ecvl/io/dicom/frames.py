"""A frame: one image of a file, and the header as that image sees it.

In enhanced objects the geometry and the scaling stand in functional groups, one item a frame over
one that all share; `Frame.get` looks there first, so everything else asks one question for both
worlds. Nuclear medicine and dose grids say the place of a frame in ways of their own; these are
turned into positions here, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError, GeometryError
from ecvl.io.dicom.elements import elements, numbers, sequence, text
from ecvl.io.dicom.files import DicomFile
from ecvl.io.dicom.pixels import frame_count

# A functional group lies at most so deep: a macro, an item in it (the gradient's direction).
GROUP_DEPTH = 2
SLICE_VECTOR = 0x00540080
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


@dataclass(frozen=True, eq=False)
class Plane:
    """Where an image lies, in DICOM's LPS+ mm.

    Attributes:
        origin: the centre of the first pixel.
        row: unit vector along a row (x).
        column: unit vector down a column (y).
        spacing: between rows and between columns.

    Example:
        >>> Plane(np.zeros(3), np.eye(3)[0], np.eye(3)[1], np.ones(2)).row
        array([1., 0., 0.])
    """

    origin: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    spacing: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a file.

    Attributes:
        file: the file it is in.
        index: which frame of it.
        groups: the data sets in which an element is looked for before the file's own.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> frame, = frames_of(parsed(Path(get_testdata_file("CT_small.dcm"))))
        >>> frame.get("Rows")
        128
    """

    file: DicomFile
    index: int
    groups: Sequence[Any] = field(default=())

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return the value of an element as it holds for this frame."""
        for group in self.groups:
            if keyword in group:
                return group.get(keyword, default)
        return self.file.dataset.get(keyword, default)

    def elements(self) -> dict[str, Any]:
        """Return the elements that only this frame has, as plain values."""
        found: dict[str, Any] = {}
        for group in reversed(self.groups):
            found.update(elements(group))
        return found


def frames_of(file: DicomFile) -> list[Frame]:
    """Return the frames of a file.

    Raises:
        FormatError: there are fewer functional groups than frames.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> len(frames_of(parsed(Path(get_testdata_file("MR_small.dcm")))))
        1
    """
    count = frame_count(file)
    dataset = file.dataset
    shared = [
        group
        for item in sequence(dataset, "SharedFunctionalGroupsSequence")[:1]
        for group in _groups(item)
    ]
    items = sequence(dataset, "PerFrameFunctionalGroupsSequence")
    if items and len(items) < count:
        raise FormatError(
            f"expected functional groups for {count} frames in {file.path.name!r}, received "
            f"{len(items)}; the file is damaged"
        )
    if not items:
        return [Frame(file, index, shared) for index in range(count)]
    return [Frame(file, index, [*_groups(items[index]), *shared]) for index in range(count)]


def planes_of(frames: Sequence[Frame]) -> list[Plane | None]:
    """Return where each frame of a series lies; `None` for those that do not say.

    Raises:
        GeometryError: an orientation or a spacing cannot be one.
        FormatError: an element is damaged.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> plane, = planes_of(frames_of(parsed(Path(get_testdata_file("CT_small.dcm")))))
        >>> plane.origin.round(1)
        array([-158.1, -179. ,  -75.7])
    """
    files = {id(frame.file): frame.file for frame in frames}
    offsets = {key: _grid_offsets(file) for key, file in files.items()}
    made: list[Plane | None] = []
    for frame in frames:
        plane, own = _plane(frame), offsets[id(frame.file)]
        if plane is not None and own is not None:
            normal = np.cross(plane.row, plane.column)
            moved = plane.origin + own[frame.index] * normal
            plane = Plane(moved, plane.row, plane.column, plane.spacing)
        made.append(plane)
    return made


def pixel_spacing(frame: Frame) -> tuple[float, float]:
    """Return the distance between rows and between columns in mm; 1 where nothing says.

    Raises:
        GeometryError: it is not above 0 in an image that says where it lies (elsewhere two zeros
            mean that nobody knew).

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> frame, = frames_of(parsed(Path(get_testdata_file("MR_small.dcm"))))
        >>> pixel_spacing(frame)
        (0.3125, 0.3125)
    """
    for keyword in SPACINGS:
        found = numbers(frame, keyword, 2)
        if found is None or (found == [0, 0] and not text(frame, "ImagePositionPatient")):
            continue
        if min(found) <= 0:
            raise GeometryError(f"expected {keyword} above 0 mm, received 0 or less")
        return found[0], found[1]
    return 1.0, 1.0


def _groups(item: Any, depth: int = GROUP_DEPTH) -> Iterator[Any]:
    """The items of the macros of a functional group that stand alone, and of those within them."""
    for tag in list(item.keys()):
        try:
            element = item[tag]
            if element.VR != "SQ" or tag.group & 1 or len(element.value) != 1:
                continue
            yield element.value[0]
            if depth > 1:
                yield from _groups(element.value[0], depth - 1)
        except Exception:
            continue


def _plane(frame: Frame) -> Plane | None:
    source: Any = frame
    position = numbers(source, "ImagePositionPatient", 3)
    if position is None:
        # Nuclear medicine says it for each detector.
        source = next(iter(sequence(frame.file.dataset, "DetectorInformationSequence")), frame)
        position = numbers(source, "ImagePositionPatient", 3)
    cosines = numbers(source, "ImageOrientationPatient", 6)
    if position is None or cosines is None:
        return None
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not (np.abs(np.array(lengths) - 1) < 0.01).all() or abs(row @ column) > 0.01:
        raise GeometryError(
            "expected two perpendicular unit vectors in ImageOrientationPatient, received others; "
            "correct the source"
        )
    return Plane(
        np.array(position), row / lengths[0], column / lengths[1], np.array(pixel_spacing(frame))
    )


def _grid_offsets(file: DicomFile) -> list[float] | None:
    """How far along the normal each frame lies from the one position that the file gives."""
    dataset = file.dataset
    count = frame_count(file)
    if count < 2 or sequence(dataset, "PerFrameFunctionalGroupsSequence"):
        return None
    offsets = numbers(dataset, "GridFrameOffsetVector")
    if offsets is not None:
        if len(offsets) != count:
            raise FormatError(
                f"expected {count} entries in the GridFrameOffsetVector of {file.path.name!r}, "
                f"received {len(offsets)}"
            )
        # PS3.3 C.8.8.3.2: offsets begin with 0; else they are coordinates along the axis.
        return [offset - offsets[0] for offset in offsets]
    pointer = dataset.get("FrameIncrementPointer")
    step = numbers(dataset, "SpacingBetweenSlices", 1)
    slices = numbers(dataset, "SliceVector")
    if pointer == SLICE_VECTOR and step and slices is not None and len(slices) == count:
        return [(place - slices[0]) * step[0] for place in slices]
    return None
