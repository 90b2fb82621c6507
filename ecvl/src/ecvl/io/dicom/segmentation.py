"""DICOM segmentations: SEG objects to labels and back.

A SEG object holds a frame for each segment on each plane where it is, and says of every frame where
it lies; empty planes are left out. Labels come back on the object's own grid: nothing is resampled.

Held by `tests/ecvl/test_dicom_segmentation.py` against dciodvfy and brute force.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FileError, FormatError, KindError
from ecvl.image import Image, Kind
from ecvl.io.dicom import modules
from ecvl.io.dicom.elements import elements, number, numbers, sequence, text
from ecvl.io.dicom.files import DicomFile
from ecvl.io.dicom.frames import Frame, frames_of, planes_of
from ecvl.io.dicom.geometry import slice_grid
from ecvl.io.dicom.pixels import GREATEST_FRAME, pixel_format, stored_frames
from ecvl.io.dicom.write import Origin, Planes, save
from ecvl.io.files import written_atomically
from ecvl.io.scaling import smallest_integer_type

SEG_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENT_NUMBER, PLANE_POSITION = 0x0062000B, 0x00200032
TISSUE = ("85756007", "SCT", "Tissue")


def is_segmentation(file: DicomFile) -> bool:
    """Whether a file holds a segmentation.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> is_segmentation(parsed(Path(get_testdata_file("liver_1frame.dcm"))))
        True
    """
    return text(file.dataset, "SOPClassUID") in (SEG_STORAGE, LABELMAP_STORAGE)


def read_segmentation(
    file: DicomFile, kind: Kind | None = None, segments: Sequence[int] | None = None
) -> Image:
    """Read a SEG object as labels on its own grid.

    Args:
        file: a parsed SEG file.
        kind: "labels" (the default), or "image" for the share of each segment in each voxel.
        segments: the numbers of the segments wanted, in order; all by default.

    Returns:
        Labels "zyx": segment numbers as values, their labels as `label_names`; of fractions, the
        segment with the greatest, from a half on. As an image "czyx" float32 in 0..1, a channel a
        segment. `meta["segments"]` says of each segment what the file does.

    Raises:
        FormatError: segments overlap, or frames name segments that are not described.
        GeometryError: frames do not lie on one grid.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> read_segmentation(parsed(Path(get_testdata_file("liver_1frame.dcm")))).label_names
        {1: 'Liver'}
    """
    described = _described(file)
    wanted = list(described) if segments is None else list(segments)
    if unknown := [number for number in wanted if number not in described]:
        raise FormatError(
            f"expected segments among {list(described)} of {file.path.name!r}, received {unknown}"
        )
    frames, made = frames_of(file), pixel_format(file)
    places, affine, count = slice_grid(planes_of(frames), _stated_step(frames[0]))
    shape = (count, made.rows, made.columns)
    if int(np.prod(shape, dtype=np.float64)) * (4 * len(wanted)) > 4 * GREATEST_FRAME:
        raise FormatError(f"the segmentation {file.path.name!r} spans {shape} voxels: too many")
    labelmap = text(file.dataset, "SegmentationType") == "LABELMAP"
    scale = number(file.dataset, "MaximumFractionalValue") or 255
    fractional = text(file.dataset, "SegmentationType") == "FRACTIONAL"
    parts = np.zeros((len(wanted), *shape), np.float32) if fractional or kind == "image" else None
    dtype = smallest_integer_type(0, max(wanted, default=1))
    values = np.zeros(shape, dtype)
    for index, stored in enumerate(stored_frames(file, range(len(frames)))):
        plane = places[index]
        if labelmap:
            chosen = np.where(np.isin(stored, wanted), stored, 0)
            values[plane] = chosen
            if parts is not None:
                parts[:, plane] = [chosen == segment for segment in wanted]
            continue
        segment = number(frames[index], "ReferencedSegmentNumber")
        if segment not in described:
            raise FormatError(
                f"expected a described segment for frame {index} of {file.path.name!r}, received "
                f"{segment}"
            )
        if segment not in wanted:
            continue
        if parts is not None:
            share = stored.astype(np.float32)
            parts[wanted.index(segment), plane] = share / scale if fractional else share
        else:
            _put(values[plane], stored, segment, described, file.path.name)
    if parts is not None and kind != "image":
        best = parts.argmax(axis=0)
        values = np.where(parts.max(axis=0) >= 0.5, np.array(wanted, dtype)[best], 0).astype(dtype)
    names = {number: described[number]["SegmentLabel"] for number in wanted}
    meta = {
        "source": {
            "format": "dicom",
            "series": text(file.dataset, "SeriesInstanceUID"),
            "instances": [text(file.dataset, "SOPInstanceUID")],
        },
        "common": elements(file.dataset),
        "segments": [described[number] for number in wanted],
    }
    if parts is not None and kind == "image":
        return Image(parts, "czyx", affine, meta=meta, value_range=(0, 1))
    return Image(values, "zyx", affine, kind="labels", meta=meta, label_names=names)


def write_segmentation(
    path: Path,
    labels: Image,
    *,
    like: Image | None = None,
    description: str = "",
    series_number: int = 1,
    keep_study: bool = True,
) -> None:
    """Write labels as one SEG object, a segment a value: what `DicomWrite` does for "SEG".

    Example:
        >>> import tempfile, ecvl
        >>> path = Path(tempfile.mkdtemp()) / "a.dcm"
        >>> write_segmentation(path, Image(np.ones((2, 4, 5), np.uint8), "zyx", kind="labels"))
        >>> ecvl.read(path)
        Image(labels zyx 2×4×5 uint8, spacing 1×1×1 mm, RAS)
    """
    if labels.kind != "labels":
        raise KindError("expected labels for modality='SEG', received an image")
    if labels.axes not in ("yx", "zyx"):
        raise FormatError(f"expected labels with axes yx or zyx, received {labels.axes!r}")
    if path.is_dir():
        raise FileError(f"expected the name of a file, received the folder {path.name!r}")
    values = labels.array if "z" in labels.axes else labels.array[None]
    found = [int(value) for value in np.unique(values) if value]
    if not found or min(found) < 0 or max(found) > 0xFFFF:
        raise FormatError(
            f"expected labels from 1 to 65535, received {found[:3] or 'background alone'}"
        )
    source = Origin.of(labels, like)
    planes = Planes.of(labels.affine, len(values), labels.meta.get("positions"))
    made = modules.item()
    now = datetime.now()
    modules.patient_and_study(made, source.common, keep_study)
    modules.instance(made, SEG_STORAGE, 1, now)
    modules.series(made, "SEG", _new_uid(), description, series_number, now)
    made.DeviceSerialNumber = "0"
    modules.frame_of_reference(made, source.reference_frame())
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.ContentLabel, made.ContentDescription = "SEGMENTATION", description
    made.ContentCreatorName = ""
    made.LossyImageCompression = "00"
    made.SegmentationType = "BINARY"
    # Segments are numbered from 1 on without gaps, whatever the values of the labels.
    made.SegmentSequence = [
        _segment(place + 1, (labels.label_names or {}).get(value, f"Label {value}"))
        for place, value in enumerate(found)
    ]
    _dimensions(made)
    made.SharedFunctionalGroupsSequence = [_shared(planes)]
    frames, bits = [], []
    for place, value in enumerate(found):
        for position, index in enumerate(planes.order):
            mask = values[index] == value
            # Empty planes are left out, but the ends of the grid are kept.
            if mask.any() or (place == 0 and position in (0, len(values) - 1)):
                frames.append(_frame(place + 1, position + 1, planes.origins[index], source, index))
                bits.append(np.ascontiguousarray(mask).reshape(-1))
    made.PerFrameFunctionalGroupsSequence = frames
    made.NumberOfFrames = len(frames)
    modules.pixels(made, np.zeros(values.shape[1:], np.uint8))
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = 0
    packed = np.packbits(np.concatenate(bits), bitorder="little").tobytes()
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    _references(made, source)
    with written_atomically(path) as stream:
        save(made, stream)


def _put(
    plane: NDArray[Any], stored: NDArray[Any], segment: int, described: Mapping[int, Any], name: str
) -> None:
    mask = stored != 0
    if other := [int(value) for value in np.unique(plane[mask]) if value not in (0, segment)]:
        raise FormatError(
            f"expected segments apart in {name!r}, received voxels of both {segment} and "
            f"{other[0]} (of {len(described)}); choose with segments=, or read them apart with "
            "kind='image'"
        )
    plane[mask] = segment


def _described(file: DicomFile) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for item in sequence(file.dataset, "SegmentSequence"):
        value = number(item, "SegmentNumber")
        # A label map describes its background, too.
        if value is None or not 0 < value <= 0xFFFF:
            continue
        row = {"SegmentLabel": f"Segment {value}", **elements(item)}
        for keyword in ("SegmentedPropertyCategory", "SegmentedPropertyType"):
            for coded in sequence(item, f"{keyword}CodeSequence")[:1]:
                row[keyword] = elements(coded)
        found[value] = row
    if not found:
        raise FormatError(f"expected segments in {file.path.name!r}, received none")
    return found


def _stated_step(frame: Frame) -> float | None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        if (found := numbers(frame, keyword)) and found[0] > 0:
            return found[0]
    return None


def _segment(number: int, label: str) -> Any:
    return modules.item(
        SegmentNumber=number,
        SegmentLabel=label.replace("\\", "/")[:64],
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName="unknown",
        SegmentedPropertyCategoryCodeSequence=[modules.code(*TISSUE)],
        SegmentedPropertyTypeCodeSequence=[modules.code(*TISSUE)],
    )


def _dimensions(made: Any) -> None:
    uid = _new_uid()
    made.DimensionOrganizationSequence = [modules.item(DimensionOrganizationUID=uid)]
    made.DimensionIndexSequence = [
        modules.item(
            DimensionOrganizationUID=uid,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=group,
            DimensionDescriptionLabel=label,
        )
        for pointer, group, label in (
            (SEGMENT_NUMBER, 0x0062000A, "ReferencedSegmentNumber"),
            (PLANE_POSITION, 0x00209113, "ImagePositionPatient"),
        )
    ]


def _shared(planes: Planes) -> Any:
    distance = modules.decimal(planes.distance)
    return modules.item(
        PlaneOrientationSequence=[
            modules.item(ImageOrientationPatient=modules.decimals(planes.cosines))
        ],
        PixelMeasuresSequence=[
            modules.item(
                PixelSpacing=modules.decimals(planes.spacing),
                SliceThickness=distance,
                SpacingBetweenSlices=distance,
            )
        ],
    )


def _frame(segment: int, position: int, origin: NDArray[Any], source: Origin, index: int) -> Any:
    made = modules.item(
        FrameContentSequence=[modules.item(DimensionIndexValues=[segment, position])],
        PlanePositionSequence=[modules.item(ImagePositionPatient=modules.decimals(origin))],
        SegmentIdentificationSequence=[modules.item(ReferencedSegmentNumber=segment)],
    )
    references = source.sources_of(index) if source.slices else []
    if references:
        made.DerivationImageSequence = [
            modules.item(
                DerivationCodeSequence=[modules.code("113076", "DCM", "Segmentation")],
                SourceImageSequence=[
                    modules.item(
                        ReferencedSOPClassUID=sop_class,
                        ReferencedSOPInstanceUID=uid,
                        PurposeOfReferenceCodeSequence=[
                            modules.code(
                                "121322", "DCM", "Source image for image processing operation"
                            )
                        ],
                    )
                    for sop_class, uid in references
                ],
            )
        ]
    return made


def _references(made: Any, source: Origin) -> None:
    if source.instances and source.series:
        made.ReferencedSeriesSequence = [
            modules.item(
                SeriesInstanceUID=source.series,
                ReferencedInstanceSequence=[
                    modules.item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid)
                    for sop_class, uid in source.instances
                ],
            )
        ]


def _new_uid() -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))
