"""DICOM files: the standard's basic profile (PS3.15 annex E) and the options that are claimed.

Whatever the table does not name goes by its value representation: persons and times are removed,
UIDs that no standard registers are replaced, unknown and private attributes are removed. What
cannot be parsed is removed. File meta information and preamble are written anew.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from ecvl.deidentify.handlers import Handler, Task, register
from ecvl.deidentify.profile import NEVER_SHIFTED, TIMES, actions, parsed
from ecvl.deidentify.words import cleaned
from ecvl.errors import FormatError, one_line
from ecvl.io.dicom.elements import text
from ecvl.io.dicom.files import looks_like_dicom
from ecvl.io.quiet import quiet

PATIENT_NAME, PATIENT_ID, PATIENT_AGE = 0x00100010, 0x00100020, 0x00101010
# The registry's root; UIDs under it name classes and encodings, not instances.
REGISTERED = "1.2.840.10008."
CLASSES = re.compile(r"(Class|Classes|TransferSyntax|CodingScheme|Context|MappingResource)")
FREE_TEXT = frozenset({"LO", "SH", "ST", "LT", "UC", "UT", "PN"})
OLDEST = 90
# Schemes whose meanings are the standards' own; of others only the vocabulary stays.
SCHEMES = frozenset({"DCM", "SCT", "SRT", "SNM3", "LN", "UCUM", "RADLEX", "FMA", "I10", "I9C"})
CODES = ("CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator",
         "CodingSchemeVersion")  # fmt: skip
# What stands for a value of each representation: it fits, and says nothing.
DUMMIES: dict[str, Any] = {
    "AE": "ANONYMOUS", "AS": "000Y", "CS": "ANONYMOUS", "DA": "19000101", "DT": "19000101000000",
    "TM": "000000", "DS": "0", "IS": "0", "LO": "ANONYMOUS", "SH": "ANONYMOUS", "ST": "ANONYMOUS",
    "LT": "ANONYMOUS", "UC": "ANONYMOUS", "UT": "ANONYMOUS", "PN": "ANONYMOUS",
    "UR": "urn:anonymous",
    "FL": 0.0, "FD": 0.0, "SL": 0, "SS": 0, "UL": 0, "US": 0, "SV": 0, "UV": 0, "AT": 0,
    "OB": b"\0\0", "OW": b"\0\0", "OF": b"\0" * 4, "OD": b"\0" * 8, "OL": b"\0" * 4,
    "OV": b"\0" * 8, "UN": b"\0\0",
}  # fmt: skip
METHODS = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "shift_dates": (
        "113107", "Retain Longitudinal Temporal Information Modified Dates Option",
    ),
    "characteristics": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
}  # fmt: skip
BURNED_IN = frozenset(
    {"US", "SC", "OT", "XC", "ES", "GM", "SM", "OP", "RF", "XA", "CR", "DX", "MG"}
)
# What a reference to an image consists of: class, instance, frames, segments, purpose.
REFERENCES = frozenset({0x00081150, 0x00081155, 0x00081160, 0x0062000B, 0x0040A170})


@quiet()
def write(task: Task, stream: IO[bytes]) -> str:
    """Write a DICOM file without what identifies the patient.

    Returns:
        "<pseudonym>/<series>/<instance>.dcm".

    Raises:
        FormatError: the file cannot be read or written.
    """
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        dataset = pydicom.dcmread(task.path, force=True)
        _ = dataset.get("SOPClassUID")
    except Exception as error:
        raise FormatError(f"expected a whole DICOM file ({type(error).__name__})") from None
    if not text(dataset, "SOPClassUID") or not text(dataset, "SOPInstanceUID"):
        raise FormatError("expected a DICOM object with SOPClassUID and SOPInstanceUID")
    cleaner = Cleaner(task, dataset)
    cleaner.clean(dataset)
    cleaner.sign(dataset)
    said = text(getattr(dataset, "file_meta", None) or {}, "TransferSyntaxUID")
    if not said:
        implicit, little = dataset.original_encoding
        said = (
            ImplicitVRLittleEndian
            if implicit
            else ExplicitVRLittleEndian
            if little
            else ExplicitVRBigEndian
        )
    made = pydicom.dataset.FileMetaDataset()
    made.TransferSyntaxUID = said
    made.MediaStorageSOPClassUID = dataset.SOPClassUID
    made.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = made
    dataset.preamble = b"\0" * 128
    try:
        pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    except Exception as error:
        raise FormatError(f"cannot write the object without names: {one_line(error)}") from None
    series = task.secret.name(text(dataset, "SeriesInstanceUID") or "none")
    return f"{cleaner.pseudonym}/{series}/{task.secret.name(dataset.SOPInstanceUID)}.dcm"


class Cleaner:
    """The rules for one object.

    Args:
        task: the file, the key and the options.
        dataset: as it was read; who the patient is, is asked of it before anything changes.

    Example:
        >>> from ecvl.deidentify.handlers import Options
        >>> from ecvl.deidentify.report import FileReport
        >>> from ecvl.deidentify.secret import Secret
        >>> from pydicom import Dataset
        >>> dataset, path = Dataset(), Path("a.dcm")
        >>> dataset.PatientName, dataset.PatientID = "Bob", "7"
        >>> task = Task(path, Secret(bytes(16)), Options(), None, FileReport(path, None, "dicom"))
        >>> Cleaner(task, dataset).clean(dataset)
        >>> dataset.PatientName == dataset.PatientID != "Bob"
        True
    """

    def __init__(self, task: Task, dataset: Any) -> None:
        self._secret, self._options, self._report = task.secret, task.options, task.report
        chosen = task.options
        self._actions = actions(
            characteristics=chosen.characteristics,
            device=chosen.device,
            descriptors=chosen.descriptors,
        )
        self._fixed = parsed(NEVER_SHIFTED)
        identity = (
            text(dataset, "PatientID")
            or task.patient
            or text(dataset, "PatientName")
            or text(dataset, "StudyInstanceUID")
        )
        self.pseudonym = self._secret.pseudonym(identity)
        self._days = timedelta(days=self._secret.days(identity))
        self._never = frozenset(_names(dataset)) if chosen.descriptors else frozenset()

    def clean(self, dataset: Any, within: str = "K") -> None:
        """Apply the rules to a data set and the sequences in it.

        Args:
            dataset: changed in place.
            within: the action on the sequence it is in: D replaces every value, C cleans texts.
        """
        for tag in list(dataset.keys()):
            if tag.group & 1 or 0x5000 <= tag.group < 0x5100 or 0x6000 <= tag.group < 0x6100:
                self._remove(dataset, tag, "private" if tag.group & 1 else f"{tag.group:04X}")
                continue
            if tag.element == 0 or tag.group in (0x0000, 0x0002):
                del dataset[tag]
                continue
            try:
                element = dataset[tag]
                keyword, representation = element.keyword, element.VR
                value = element.value
            except Exception:
                self._remove(dataset, tag, f"{tag.group:04X},{tag.element:04X} (damaged)")
                continue
            if not keyword:
                self._remove(dataset, tag, f"{tag.group:04X},{tag.element:04X} (unknown)")
                continue
            action = self._action(tag, keyword, representation)
            # Enumerated codes carry the structure of a document.
            if within == "D" and action not in ("X", "U", "C") and representation != "CS":
                action = "D"
            if within == "C" and action == "K" and representation in FREE_TEXT | {"SQ"}:
                action = "K" if keyword in CODES else "C"
            self._act(dataset, element, action, value)

    def sign(self, dataset: Any) -> None:
        """Say in the object what was done to it, and in the report what was not looked at."""
        from pydicom.dataset import Dataset

        dataset.PatientIdentityRemoved = "YES"
        used = [
            code
            for name, code in METHODS.items()
            if name == "basic" or getattr(self._options, name)
        ]
        dataset.DeidentificationMethod = [meaning[:64] for _, meaning in used]
        items = []
        for value, meaning in used:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
                value,
                "DCM",
                meaning[:64],
            )
            items.append(item)
        dataset.DeidentificationMethodCodeSequence = items
        dataset.LongitudinalTemporalInformationModified = (
            "MODIFIED" if self._options.shift_dates else "REMOVED"
        )
        modality = text(dataset, "Modality")
        if text(dataset, "BurnedInAnnotation") != "NO" and (
            modality in BURNED_IN or text(dataset, "BurnedInAnnotation") == "YES"
        ):
            self._report.not_checked("text burned into the pixels")
        if modality in ("CT", "MR", "PT", "NM") and text(dataset, "Rows"):
            self._report.not_checked("faces that can be seen in the pixels")
        if "EncapsulatedDocument" in dataset or modality == "SR":
            self._report.not_checked("the meaning of what is left of a document")

    def _action(self, tag: int, keyword: str, representation: str) -> str:
        action = self._actions.get(tag)
        moved = representation in TIMES and self._options.shift_dates and tag not in self._fixed
        if moved and (action is not None or representation in TIMES):
            return "S"
        if action is not None:
            return action
        if representation == "PN" or representation in TIMES:
            return "X"
        if representation == "UI" and not CLASSES.search(keyword):
            return "U"
        return "K"

    def _act(self, dataset: Any, element: Any, action: str, value: Any) -> None:
        keyword = element.keyword
        if action == "X":
            self._remove(dataset, element.tag, keyword)
        elif element.VR == "SQ":
            self._sequence(element, action)
        elif action == "K":
            if element.tag == PATIENT_AGE:
                element.value = _bounded_age(str(value))
        elif action == "U":
            self._replace(element, self._uids(value), "replaced UID")
        elif action == "S":
            self._shift(dataset, element, value)
        elif action == "C":
            self._clean_text(dataset, element, value)
        elif element.tag in (PATIENT_NAME, PATIENT_ID):
            self._replace(element, self.pseudonym, "pseudonym")
        elif action in ("Z", "X/Z"):
            self._replace(element, "" if element.VR != "UN" else b"", "emptied")
        elif element.VR == "UI":
            self._replace(element, self._uids(value), "replaced UID")
        else:
            self._replace(element, DUMMIES.get(element.VR, ""), "dummy")

    def _sequence(self, element: Any, action: str) -> None:
        if action in ("Z", "X/Z"):
            element.value = []
            self._report.note(element.keyword, "emptied")
            return
        within = "D" if action in ("D", "X/D", "X/Z/D", "Z/D") else action
        for item in element.value:
            if action == "C":
                self._clean_code(item)
            if action == "X/Z/U*":
                self._only_references(item)
            self.clean(item, within)
        if within == "D":
            self._report.note(element.keyword, "dummy")

    def _only_references(self, item: Any) -> None:
        for tag in list(item.keys()):
            if tag not in REFERENCES:
                self._remove(item, tag, f"{tag.group:04X},{tag.element:04X} (beside a reference)")

    def _clean_code(self, item: Any) -> None:
        """A code of a scheme that nobody published is not known to identify nobody."""
        scheme = text(item, "CodingSchemeDesignator").upper()
        if scheme and scheme not in SCHEMES:
            for keyword in CODES:
                if keyword in item:
                    setattr(item, keyword, "" if keyword != "CodingSchemeDesignator" else "99")

    def _clean_text(self, dataset: Any, element: Any, value: Any) -> None:
        if element.VR not in FREE_TEXT:
            self._remove(dataset, element.tag, element.keyword)
            return
        several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
        parts = [self._words(str(part)) for part in (value if several else [value])]
        kept = [part for part in parts if part]
        self._replace(element, kept if len(kept) > 1 else "".join(kept), "cleaned")

    def _words(self, value: str) -> str:
        return cleaned(value, self._options.words, self._never)

    def _shift(self, dataset: Any, element: Any, value: Any) -> None:
        if element.VR == "TM":
            return
        several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
        moved = [_moved(str(part), self._days) for part in (value if several else [value])]
        if any(part is None for part in moved):
            self._remove(dataset, element.tag, element.keyword)
            return
        self._replace(element, moved if several else moved[0], "shifted")

    def _uids(self, value: Any) -> Any:
        if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
            return [self._uids(part) for part in value]
        uid = str(value or "")
        return uid if not uid or uid.startswith(REGISTERED) else self._secret.uid(uid)

    def _replace(self, element: Any, value: Any, action: str) -> None:
        element.value = value
        self._report.note(element.keyword, action)

    def _remove(self, dataset: Any, tag: Any, name: str) -> None:
        del dataset[tag]
        self._report.note(name, "removed")


def _moved(value: str, days: timedelta) -> str | None:
    """A date or date and time, so many days before; `None` where it is none."""
    value = value.strip()
    if not value:
        return ""
    try:
        moment = datetime.strptime(value[:8], "%Y%m%d") - days
    except (ValueError, OverflowError):
        return None
    # Time zones stay: hours and minutes do not move.
    return moment.strftime("%Y%m%d") + value[8:] if moment.year > 999 else None


def _bounded_age(value: str) -> str:
    found = re.fullmatch(r"\s*(\d{3})Y\s*", value)
    return f"{OLDEST:03}Y" if found and int(found[1]) > OLDEST else value


def _names(dataset: Any, depth: int = 4) -> Iterator[str]:
    """Words of all names and identifiers of persons and places in an object."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            if element.VR == "SQ" and depth:
                for item in element.value:
                    yield from _names(item, depth - 1)
            elif element.VR == "PN" or element.keyword in (
                "PatientID", "AccessionNumber", "InstitutionName", "OtherPatientIDs",
            ):  # fmt: skip
                yield from re.findall(r"[^\W_]+", str(element.value))
        except Exception:
            continue


def _recognises(path: Path, start: bytes) -> bool:
    return looks_like_dicom(path)


register(Handler("dicom", _recognises, write))
