"""Headers read as differences are those that pydicom parses, or are left to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless

from ecvl import EcvlError
from ecvl.io.dicom.alike import Template
from ecvl.io.dicom.files import parsed
from ecvl.io.quiet import quiet


def _as_parsed(path: Path, template: Template) -> bool:
    """Whether the template reads a file; where it does, it is compared with pydicom's reading."""
    with quiet():
        try:
            found = template.read(path)
        except EcvlError:
            found = None
        if found is None:
            return False
        whole = parsed(path)
        assert found.pixels == whole.pixels
        assert found.syntax == whole.syntax
        assert list(found.dataset.keys()) == list(whole.dataset.keys())
        for ours, theirs in (
            (found.dataset, whole.dataset),
            (found.dataset.file_meta, whole.dataset.file_meta),
        ):
            for tag in list(theirs.keys()):
                assert _value(ours, tag) == _value(theirs, tag), tag
    return True


def _value(dataset: Any, tag: Any) -> Any:
    try:
        return dataset[tag].VR, dataset[tag].value
    except Exception as error:
        return type(error)


def _pair(tmp_path: Path, syntax: str | None) -> tuple[Path, Path]:
    source = get_testdata_file("CT_small.dcm")
    first, second = tmp_path / "first.dcm", tmp_path / "second.dcm"
    for path, height, uid in ((first, -75.7, "1.2.3"), (second, 1042.25, "1.2.345.6789")):
        made = dcmread(source)
        made.ImagePositionPatient = [1, 2, height]
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
        made.InstanceNumber = len(uid)
        made.PatientComments = "x" * len(uid)
        if syntax == JPEG2000Lossless:
            made.compress(syntax, generate_instance_uid=False)
        elif syntax is not None:
            made.file_meta.TransferSyntaxUID = syntax
        made.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return first, second


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, JPEG2000Lossless])
def test_a_slice_of_the_same_series(tmp_path: Path, syntax: str | None) -> None:
    first, second = _pair(tmp_path, syntax)
    assert _as_parsed(second, Template(parsed(first)))
    assert _as_parsed(first, Template(parsed(second)))


@pytest.mark.parametrize(
    "name", ["MR_small.dcm", "image_dfl.dcm", "ExplVR_BigEnd.dcm", "rtplan.dcm"]
)
def test_other_files_are_left_to_pydicom(tmp_path: Path, name: str) -> None:
    first, _ = _pair(tmp_path, None)
    other = Path(str(get_testdata_file(name)))
    assert not _as_parsed(other, Template(parsed(first)))
    assert not _as_parsed(first, Template(parsed(other)))


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_mutants_are_read_as_pydicom_reads_them(tmp_path: Path, syntax: str | None) -> None:
    first, second = _pair(tmp_path, syntax)
    template = Template(parsed(first))
    content = second.read_bytes()
    pixels = parsed(second).pixels
    assert pixels is not None
    rng = np.random.default_rng(0)
    read = 0
    for number in range(300):
        mutant = bytearray(content)
        at = int(rng.integers(132, pixels.offset))
        patch = [b"\xff\xff\xff\xff", b"\0\0", bytes([rng.integers(256)]), b""][number % 4]
        mutant[at : at + max(len(patch), number % 4)] = patch
        path = tmp_path / "mutant.dcm"
        path.write_bytes(mutant)
        try:
            read += _as_parsed(path, template)
        except EcvlError:
            pytest.fail(f"read where pydicom does not: mutant {number}")
    assert read > 50
