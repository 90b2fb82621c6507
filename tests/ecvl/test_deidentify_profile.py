"""The standard's profile, attribute by attribute: nothing of a value is left but by an option."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ecvl.deidentify import deidentify
from ecvl.deidentify.profile import (
    BASIC,
    CHARACTERISTICS,
    DESCRIPTORS,
    DEVICE,
    NEVER_SHIFTED,
    TIMES,
    actions,
    parsed,
)
from ecvl.io.quiet import quiet

KEY = bytes(range(32))
# Attributes that say themselves what was done, or that the file format writes.
OWN = {0x00080018, 0x00020003}
TEXTS = {"LO", "SH", "ST", "LT", "UC", "UT", "PN", "CS", "AE", "UR"}


def _marker(tag: int, representation: str) -> Any:
    """A value that can be found again wherever it is written."""
    number = tag & 0xFFFF ^ tag >> 16
    texts = {
        "DA": f"1{900 + number % 99}0{number % 9 + 1}1{number % 9}",
        "DT": f"1{900 + number % 99}0{number % 9 + 1}1{number % 9}0{number % 9}1736.717273",
        "TM": f"0{number % 9}1736.717273",
        "AS": "073Y", "DS": "77.7171717", "IS": "7717171", "UI": f"1.2.717273.{tag}",
        "AE": f"XQ{tag:08X}", "CS": f"XQ{tag:08X}", "UR": f"http://XQ{tag:08X}",
    }  # fmt: skip
    if representation in texts:
        return texts[representation]
    if representation in TEXTS:
        return f"XQ{tag:08X}"
    if representation.startswith("O") or representation == "UN":
        return f"XQ{tag:08X}".encode().ljust(16)
    if representation == "SQ":
        return [_item(tag)]
    if representation in ("FL", "FD"):
        return 71.7171
    return 71


def _item(tag: int) -> Dataset:
    """An item with a text, a name, a number, a private element and a deeper item."""
    inner = Dataset()
    inner.TextValue = f"XQ{tag:08X}T"
    inner.PersonName = f"XQ{tag:08X}P"
    inner.NumericValue = "77.7171717"
    inner.Date = "19711217"
    inner.UID = f"1.2.717273.{tag}.9"
    inner.add_new(0x00411001, "LO", f"XQ{tag:08X}V")
    made = Dataset()
    made.TextValue = f"XQ{tag:08X}U"
    made.ContentSequence = [inner]
    made.PatientName = f"XQ{tag:08X}N"
    return made


def _plain_tags() -> list[int]:
    groups = {0x0000, 0x0002, 0x0004, 0xFFFA, 0xFFFC}
    return sorted(tag for tag in actions() if tag >> 16 not in groups)


def _write(path: Path, tags: list[int], syntax: str = ExplicitVRLittleEndian) -> Dataset:
    made = Dataset()
    for tag in tags:
        representation = dictionary_VR(tag).split(" ")[0]
        element = DataElement(Tag(tag), representation, _marker(tag, representation))
        made.add(element)
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    made.SOPInstanceUID = "1.2.717273.1"
    made.SeriesInstanceUID = "1.2.717273.2"
    made.Modality = "CT"
    made.add_new(0x00091001, "LO", "XQPRIVATE")
    made.add_new(0x00090010, "LO", "XQCREATOR")
    made.add_new(0x60000040, "CS", "G")
    made.add_new(0x60003000, "OW", b"XQOVERLAY!")
    made.add_new(0x50000005, "US", 1)
    made.add_new(0x0010FFF1, "LO", "XQUNKNOWN")
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.SourceApplicationEntityTitle = "XQAETITLE"
    made.preamble = b"XQPREAMBLE".ljust(128)
    with quiet():
        dcmwrite(path, made, enforce_file_format=True)
    return made


def _cleaned(
    tmp_path: Path, source: Path, name: str = "clean", **options: Any
) -> tuple[Any, bytes]:
    with quiet():
        report = deidentify(source, tmp_path / name, key=KEY, **options)
    (file,) = report
    assert file.refused is None, file.refused
    assert file.output is not None
    path = tmp_path / name / file.output
    return dcmread(path), path.read_bytes()


def test_the_table_is_of_attributes_that_pydicom_knows() -> None:
    table = actions()
    assert len(table) == sum(len(parsed(text)) for text in BASIC.values()) > 600
    assert not [hex(tag) for tag in table if not keyword_for_tag(tag)]
    for option in (CHARACTERISTICS, DEVICE, DESCRIPTORS):
        for text in option.values():
            assert parsed(text) <= table.keys()
    assert parsed(NEVER_SHIFTED) <= table.keys()


def test_every_time_of_the_standard_is_removed_or_shifted() -> None:
    from pydicom._dicom_dict import DicomDictionary

    times = {tag for tag, row in DicomDictionary.items() if row[0] in TIMES}
    # What the table does not name goes by its representation; there is little of it.
    assert len(times - actions().keys()) < 20


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_nothing_of_any_attribute_is_left(tmp_path: Path, syntax: str) -> None:
    source = tmp_path / "XQNAME.dcm"
    _write(source, _plain_tags(), syntax)
    before = source.read_bytes()
    made, content = _cleaned(tmp_path, source)
    assert source.read_bytes() == before
    assert made.file_meta.TransferSyntaxUID == syntax
    for secret in (b"XQ", b"717273", b"7171717", b"073Y", b"1217"):
        assert secret not in content
    assert content[:128] == b"\0" * 128
    for tag in _plain_tags():
        action = actions()[tag]
        if action == "X":
            assert tag not in made
        elif action in ("D", "Z/D", "X/D", "X/Z/D") and tag not in OWN:
            assert made[tag].value or made[tag].VR in ("US", "FL")
        elif action in ("Z", "X/Z") and tag != 0x00100010:
            assert not made[tag].value
        elif action == "U":
            assert str(made[tag].value).startswith("2.25.")
    assert made.PatientIdentityRemoved == "YES"
    assert made.LongitudinalTemporalInformationModified == "REMOVED"
    assert [item.CodeValue for item in made.DeidentificationMethodCodeSequence] == ["113100"]
    assert not [tag for tag in made.keys() if tag.is_private or tag.group >> 8 in (0x50, 0x60)]


def test_dates_move_together_and_births_do_not_stay(tmp_path: Path) -> None:
    source = tmp_path / "a.dcm"
    original = _write(source, _plain_tags())
    made, content = _cleaned(tmp_path, source, dates="shift")
    assert b"XQ" not in content
    moved = set()
    from datetime import datetime

    for tag in _plain_tags():
        representation = dictionary_VR(tag)
        if representation not in ("DA", "DT") or tag in parsed(NEVER_SHIFTED):
            continue
        old, new = str(original[tag].value), str(made[tag].value)
        days = datetime.strptime(old[:8], "%Y%m%d") - datetime.strptime(new[:8], "%Y%m%d")
        moved.add(days.days)
        assert new[8:] == old[8:]
    assert len(moved) == 1
    assert 1 <= moved.pop() <= 3650
    assert made.StudyTime == original.StudyTime
    assert not made.PatientBirthDate
    assert "PatientBirthTime" not in made
    assert made.LongitudinalTemporalInformationModified == "MODIFIED"


def test_the_options_keep_what_they_say_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "a.dcm"
    original = _write(source, _plain_tags())
    original.PatientAge, original.Allergies = "094Y", "contrast Smith"
    original.SeriesDescription = "CT chest Smith 12.3.1970 5 mm"
    original.save_as(source)
    kept, content = _cleaned(tmp_path, source, "kept", characteristics=True, device=True)
    assert kept.PatientAge == "090Y"
    assert kept.PatientWeight == original.PatientWeight
    assert kept.StationName == original.StationName
    assert kept.Allergies == "contrast"
    allowed = parsed(CHARACTERISTICS["K"]) | parsed(DEVICE["K"])
    marked = {tag for tag in _plain_tags() if f"XQ{tag:08X}".encode() in content}
    assert marked <= allowed
    clean, content = _cleaned(tmp_path, source, "cleaned", descriptors=True, words=["follow-on"])
    assert clean.SeriesDescription == "CT chest 5 mm"
    assert b"XQ" not in content
    assert b"Smith" not in content
    codes = [item.CodeValue for item in clean.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113105"]


def test_words_of_the_patients_name_are_no_words_of_radiology(tmp_path: Path) -> None:
    source = tmp_path / "a.dcm"
    made = _write(source, [])
    made.PatientName, made.SeriesDescription = "Head^Long", "head CT of Long, long axis"
    made.save_as(source)
    clean, _ = _cleaned(tmp_path, source, descriptors=True)
    assert clean.SeriesDescription == "CT of axis"


def test_codes_of_private_schemes_are_cleaned(tmp_path: Path) -> None:
    source = tmp_path / "a.dcm"
    made = _write(source, [])
    items = []
    for value, scheme, meaning in (
        ("T-04000", "SRT", "Breast"), ("XQ17", "99XQCLINIC", "Breast of XQ Smith"),
    ):  # fmt: skip
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
        items.append(item)
    made.AdmittingDiagnosesCodeSequence = items
    made.save_as(source)
    clean, content = _cleaned(tmp_path, source, descriptors=True)
    assert [item.CodeMeaning for item in clean.AdmittingDiagnosesCodeSequence] == [
        "Breast", "Breast of",
    ]  # fmt: skip
    assert b"XQ" not in content
    assert clean.AdmittingDiagnosesCodeSequence[0].CodeValue == "T-04000"
