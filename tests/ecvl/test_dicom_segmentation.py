"""SEG objects: written and read back, against dciodvfy and what other programs wrote."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

import ecvl
from ecvl import DicomWrite, FormatError, GeometryError, Image

AFFINE = np.array([[0.8, 0.1, 0, -30], [-0.1, 0.8, 0, 12], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])
NAMES = {1: "Liver", 2: "Spleen", 3: "Tumour"}


def _labels(dtype: Any = np.uint8) -> Image:
    values = np.random.default_rng(0).integers(0, 4, (6, 9, 11)).astype(dtype)
    values[0] = values[3] = values[5] = 0
    return Image(values, "zyx", AFFINE, kind="labels", label_names=NAMES)


def test_labels_come_back_on_their_grid(tmp_path: Path, conforms: Any) -> None:
    labels = _labels()
    assert DicomWrite(tmp_path / "a.dcm", labels, modality="SEG") == 0
    back = ecvl.read(tmp_path / "a.dcm")
    assert back.kind == "labels"
    assert back.label_names == NAMES
    assert np.array_equal(back, labels)
    np.testing.assert_allclose(back.affine, labels.affine, atol=1e-9)
    info = ecvl.info(tmp_path / "a.dcm")
    assert (info.kind, info.axes, info.shape) == ("labels", "zyx", labels.shape)
    conforms(tmp_path / "a.dcm")


def test_values_are_numbered_and_one_slice_is_enough(tmp_path: Path) -> None:
    values = np.zeros((9, 11), np.uint16)
    values[2:4, 3:5], values[6:, 8:] = 40, 700
    labels = Image(values, "yx", AFFINE, kind="labels", label_names={700: "Vertebra T12"})
    DicomWrite(tmp_path / "a.dcm", labels, modality="SEG")
    back = ecvl.read(tmp_path / "a.dcm")
    assert np.array_equal(back.array[0], (values == 40) + 2 * (values == 700))
    assert back.label_names == {1: "Label 40", 2: "Vertebra T12"}


def test_the_source_is_named_frame_by_frame(
    tmp_path: Path, dicom_series: Any, conforms: Any
) -> None:
    ct = ecvl.read(dicom_series(np.zeros((6, 9, 11), np.uint16), extra={
        "FrameOfReferenceUID": "1.2.4", "StudyInstanceUID": "1.2.3", "PatientID": "7",
    }))  # fmt: skip
    labels = Image(_labels().array, "zyx", ct.affine, kind="labels")
    DicomWrite(tmp_path / "a.dcm", labels, modality="SEG", like=ct, description="by hand")
    conforms(tmp_path / "a.dcm")
    made = dcmread(tmp_path / "a.dcm")
    assert (made.StudyInstanceUID, made.PatientID, made.FrameOfReferenceUID) == (
        "1.2.3",
        "7",
        "1.2.4",
    )
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == ct.meta["source"]["series"]
    uids = {row["ImagePositionPatient"][2]: row["SOPInstanceUID"] for row in ct.meta["slices"]}
    for frame in made.PerFrameFunctionalGroupsSequence:
        height = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == uids[height]


def test_overlaps_are_refused_and_can_be_read_apart(tmp_path: Path) -> None:
    DicomWrite(tmp_path / "a.dcm", _labels(), modality="SEG")
    made = dcmread(tmp_path / "a.dcm")
    bits = np.unpackbits(np.frombuffer(made.PixelData, np.uint8), bitorder="little")
    bits[: 9 * 11 * int(made.NumberOfFrames)] = 1
    made.PixelData = np.packbits(bits, bitorder="little").tobytes()
    made.save_as(tmp_path / "b.dcm")
    with pytest.raises(FormatError, match="segments="):
        ecvl.read(tmp_path / "b.dcm")
    one = ecvl.read(tmp_path / "b.dcm", segments=[2])
    assert set(np.unique(one)) == {0, 2}
    shares = ecvl.read(tmp_path / "b.dcm", kind="image")
    assert (shares.axes, shares.shape, shares.dtype) == ("czyx", (3, 6, 9, 11), np.float32)
    assert set(np.unique(shares)) == {0, 1}
    with pytest.raises(FormatError, match="segments among"):
        ecvl.read(tmp_path / "b.dcm", segments=[9])


def test_fractions(tmp_path: Path) -> None:
    DicomWrite(tmp_path / "a.dcm", _labels(), modality="SEG")
    made = dcmread(tmp_path / "a.dcm")
    count = int(made.NumberOfFrames)
    values = np.random.default_rng(1).integers(0, 201, (count, 9, 11)).astype(np.uint8)
    made.SegmentationType, made.SegmentationFractionalType = "FRACTIONAL", "PROBABILITY"
    made.MaximumFractionalValue = 200
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PixelData = values.tobytes() + b"\0" * (values.size % 2)
    made.save_as(tmp_path / "b.dcm")
    shares = ecvl.read(tmp_path / "b.dcm", kind="image")
    expected = np.zeros((3, 6, 9, 11))
    for plane, frame in zip(values, made.PerFrameFunctionalGroupsSequence, strict=True):
        segment, place = frame.FrameContentSequence[0].DimensionIndexValues
        expected[segment - 1, place - 1] = plane / 200
    np.testing.assert_allclose(shares.array, expected, atol=1e-6)
    labels = ecvl.read(tmp_path / "b.dcm")
    best = np.where(expected.max(axis=0) >= 0.5, expected.argmax(axis=0) + 1, 0)
    assert np.array_equal(labels, best)


def test_a_label_map(tmp_path: Path) -> None:
    DicomWrite(tmp_path / "a.dcm", _labels(), modality="SEG")
    made = dcmread(tmp_path / "a.dcm")
    values = _labels().array
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    made.SegmentationType = "LABELMAP"
    groups = {
        tuple(frame.PlanePositionSequence[0].ImagePositionPatient): frame
        for frame in made.PerFrameFunctionalGroupsSequence
    }
    places = sorted(groups, key=lambda place: place[2])
    made.PerFrameFunctionalGroupsSequence = [groups[place] for place in places]
    full = values[[0, 1, 2, 4, 5]]
    made.NumberOfFrames = len(full)
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PixelData = full.tobytes() + b"\0" * (full.size % 2)
    made.save_as(tmp_path / "b.dcm")
    assert np.array_equal(ecvl.read(tmp_path / "b.dcm"), values)


def test_what_slicer_wrote(tmp_path: Path) -> None:
    path = get_testdata_file("liver_1frame.dcm")
    labels = ecvl.read(path)
    assert labels.label_names == {1: "Liver"}
    assert labels.meta["segments"][0]["SegmentedPropertyType"]["CodeMeaning"] == "Liver"
    assert np.array_equal(labels.array[0], dcmread(str(path)).pixel_array)


def test_planes_off_the_grid_are_refused(tmp_path: Path) -> None:
    DicomWrite(tmp_path / "a.dcm", _labels(), modality="SEG")
    made = dcmread(tmp_path / "a.dcm")
    frame = made.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    frame.ImagePositionPatient = [30, -12, 9.1]
    made.save_as(tmp_path / "b.dcm")
    with pytest.raises(GeometryError):
        ecvl.read(tmp_path / "b.dcm")
    with pytest.raises(FormatError, match="1 to 65535"):
        DicomWrite(tmp_path / "c.dcm", _labels().replace(array=_labels().array * 0), modality="SEG")
    assert not (tmp_path / "c.dcm").exists()
