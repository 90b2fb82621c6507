"""The modules of DICOM objects that are written: PS3.3's tables, as far as an image can know them.

Each function adds one module's elements to a data set. Elements of type 1 always have a value,
those of type 2 may be empty. What a source image knew is taken over where it still holds.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What tells the patient and the study: taken over as long as the study is kept.
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")
OPTIONAL_STUDY = (
    "IssuerOfPatientID", "StudyDescription", "PatientAge", "PatientSize", "PatientWeight",
    "PatientIdentityRemoved", "DeidentificationMethod", "BodyPartExamined",
)  # fmt: skip
# What is written of an acquisition, with what stands there where nobody knows.
CT_ACQUISITION: dict[str, Any] = {"KVP": None, "AcquisitionNumber": None}
MR_ACQUISITION: dict[str, Any] = {
    "ScanningSequence": "RM", "SequenceVariant": "NONE", "ScanOptions": None,
    "MRAcquisitionType": None, "RepetitionTime": None, "EchoTime": None, "EchoTrainLength": None,
}  # fmt: skip
MANUFACTURER, MODEL = "DeepHealth", "ecvl"
COORDINATES = 1e-9


def item(**elements: Any) -> Any:
    """Return a data set of some elements.

    Example:
        >>> item(Rows=4).Rows
        4
    """
    from pydicom.dataset import Dataset

    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def code(value: str, scheme: str, meaning: str) -> Any:
    """Return an item of a code sequence.

    Example:
        >>> code("85756007", "SCT", "Tissue").CodeMeaning
        'Tissue'
    """
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def decimal(value: float) -> Any:
    """Return a number as a decimal string of at most sixteen characters.

    Example:
        >>> decimal(1 / 3)
        '0.33333333333333'
    """
    from pydicom.valuerep import DSfloat

    exact = 0.0 if abs(value) < COORDINATES else float(value)
    return DSfloat(exact, auto_format=True)


def decimals(values: Sequence[float] | NDArray[Any]) -> list[Any]:
    """Return numbers as decimal strings.

    Example:
        >>> decimals([1.5, -0.0])
        ['1.5', '0.0']
    """
    return [decimal(float(value)) for value in values]


def patient_and_study(made: Any, known: Mapping[str, Any], keep: bool) -> None:
    """Add who it is and in which study: the source's, or a study of its own of nobody.

    Example:
        >>> made = item()
        >>> patient_and_study(made, {"PatientID": "7"}, keep=True)
        >>> made.PatientID
        '7'
    """
    from pydicom.uid import generate_uid

    for keyword in PATIENT + STUDY:
        setattr(made, keyword, known.get(keyword, "") if keep else "")
    for keyword in OPTIONAL_STUDY:
        if keep and known.get(keyword) not in (None, ""):
            setattr(made, keyword, known[keyword])
    uid = known.get("StudyInstanceUID") if keep else None
    made.StudyInstanceUID = uid or generate_uid(prefix=None)


def series(
    made: Any, modality: str, uid: str, description: str, number: int, now: datetime
) -> None:
    """Add the series and what made it.

    Example:
        >>> made = item()
        >>> series(made, "CT", "1.2", "", 1, datetime(2026, 1, 1))
        >>> made.Modality
        'CT'
    """
    from ecvl import __version__

    made.Modality = modality
    if modality != "SEG":
        made.Laterality = ""
    made.SeriesInstanceUID = uid
    made.SeriesNumber = number
    made.SeriesDate, made.SeriesTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    if description:
        made.SeriesDescription = description
    made.Manufacturer = MANUFACTURER
    made.ManufacturerModelName = MODEL
    made.SoftwareVersions = __version__


def instance(made: Any, sop_class: str, number: int, now: datetime) -> None:
    """Add what the object is, with a UID of its own, and when it was made.

    Example:
        >>> made = item()
        >>> instance(made, "1.2.840.10008.5.1.4.1.1.2", 1, datetime(2026, 1, 1))
        >>> int(made.InstanceNumber)
        1
    """
    from pydicom.uid import generate_uid

    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = generate_uid(prefix=None)
    made.InstanceNumber = number
    day, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.InstanceCreationDate, made.InstanceCreationTime = day, time
    made.ContentDate, made.ContentTime = day, time


def frame_of_reference(made: Any, uid: str, indicator: str = "") -> None:
    """Add the space in which positions count.

    Example:
        >>> made = item()
        >>> frame_of_reference(made, "1.2")
        >>> made.FrameOfReferenceUID
        '1.2'
    """
    made.FrameOfReferenceUID = uid
    made.PositionReferenceIndicator = indicator


def pixels(made: Any, values: NDArray[Any], bits_stored: int | None = None) -> None:
    """Add the image pixel module: one frame of integers, or of 8-bit RGB.

    Example:
        >>> made = item()
        >>> pixels(made, np.zeros((4, 5), np.uint16))
        >>> made.BitsStored
        16
    """
    colour = values.ndim == 3
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    made.Rows, made.Columns = values.shape[:2]
    bits = values.dtype.itemsize * 8
    made.BitsAllocated = bits
    made.BitsStored = bits_stored or bits
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(values.dtype.kind == "i")
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    made.PixelData = little + b"\0" * (len(little) % 2)
    made["PixelData"].VR = "OW" if bits > 8 else "OB"


def ct(made: Any, known: Mapping[str, Any]) -> None:
    """Add the CT image module.

    Example:
        >>> made = item()
        >>> ct(made, {"KVP": 120})
        >>> float(made.KVP)
        120.0
    """
    _acquisition(made, known, CT_ACQUISITION)
    made.RescaleType = "HU"


def mr(made: Any, known: Mapping[str, Any]) -> None:
    """Add the MR image module.

    Example:
        >>> made = item()
        >>> mr(made, {})
        >>> made.ScanningSequence
        'RM'
    """
    _acquisition(made, known, MR_ACQUISITION)
    if known.get("InversionTime") and "IR" in str(known.get("ScanningSequence")):
        made.InversionTime = known["InversionTime"]


def derivation(made: Any, sources: Sequence[tuple[str, str]]) -> None:
    """Add what the image was made from: (SOP class, SOP instance) pairs.

    Example:
        >>> made = item()
        >>> derivation(made, [("1.2", "1.2.3")])
        >>> made.SourceImageSequence[0].ReferencedSOPInstanceUID
        '1.2.3'
    """
    if sources:
        made.SourceImageSequence = [
            item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid)
            for sop_class, uid in sources
        ]


def _acquisition(made: Any, known: Mapping[str, Any], table: Mapping[str, Any]) -> None:
    for keyword, unknown in table.items():
        value = known.get(keyword)
        setattr(made, keyword, unknown if value in (None, "", []) else value)
