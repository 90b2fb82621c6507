"""Written DICOM: dciodvfy finds no errors, SimpleITK and ecvl read it back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

import ecvl
from ecvl import DicomWrite, FileError, FormatError, GeometryError, Image, KindError
from ecvl.io.dicom import write as write_module

OBLIQUE = "oblique"


def _affine(kind: str) -> Any:
    from scipy.spatial.transform import Rotation

    affine = np.diag([0.8, 1.1, 2.5, 1])
    if kind == OBLIQUE:
        turn = Rotation.from_euler("xyz", (10, 20, -15), degrees=True).as_matrix()
        affine[:3, :3] = turn @ affine[:3, :3]
    elif kind != "RAS":
        for axis, letter in enumerate(kind):
            affine[axis, axis] *= -1 if letter in "LPI" else 1
    affine[:3, 3] = (-30.123456, 12.25, 1007.1)
    return affine


def _image(
    dtype: Any = np.int16, kind: str = OBLIQUE, shape: Any = (4, 8, 9), **more: Any
) -> Image:
    rng = np.random.default_rng(0)
    low = 0 if np.dtype(dtype).kind == "u" else -1000
    if np.dtype(dtype).kind == "f":
        values = rng.normal(size=shape).astype(dtype)
    else:
        values = rng.integers(low, 120 if np.dtype(dtype).itemsize == 1 else 3000, shape)
    axes = {2: "yx", 3: "zyx", 4: "zyxc"}[len(shape)]
    return Image(values.astype(dtype), axes, _affine(kind), **more)


def _same_in_itk(path: Path, image: Image, values: bool = True) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
    itk = reader.Execute()
    assert itk.GetSize() == image.shape[::-1]
    theirs = sitk.GetArrayFromImage(itk)
    for corner in np.ndindex(2, 2, 2):
        index = np.array(corner) * (np.array(image.shape) - 1)
        lps = image.world(index) * (-1, -1, 1)
        found = np.array(itk.TransformPhysicalPointToContinuousIndex(lps.tolist()))
        place = np.rint(found).astype(int)
        back = np.array(itk.TransformIndexToPhysicalPoint(place.tolist()))
        np.testing.assert_allclose(back, lps, atol=1e-4)
        if values:
            voxel = theirs[tuple(place[::-1])]
            assert voxel == pytest.approx(image.array[tuple(index)], abs=1e-3)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("kind", [OBLIQUE, "RAS", "LPS", "LAS", "RPI", "LAI"])
def test_volumes_keep_values_and_corners(
    tmp_path: Path, modality: str, kind: str, conforms: Any
) -> None:
    image = _image(kind=kind)
    assert DicomWrite(tmp_path / "s", image, modality=modality) == 0
    conforms(tmp_path / "s")
    _same_in_itk(tmp_path / "s", image)
    # Slices come back in the order along their normal.
    back = ecvl.read(tmp_path / "s")
    along = image if np.linalg.det(image.affine) > 0 else image[::-1]
    np.testing.assert_allclose(back.affine, along.affine, atol=1e-9)
    assert np.array_equal(back, along)
    assert ecvl.info(tmp_path / "s").details["modality"] == modality


@pytest.mark.parametrize("modality", ["CT", "MR", "OT"])
@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32, np.float64]
)
def test_values_come_back_within_the_error(
    tmp_path: Path, modality: str, dtype: Any, conforms: Any
) -> None:
    image = _image(dtype)
    error = DicomWrite(tmp_path / "s", image, modality=modality)
    conforms(tmp_path / "s")
    back = ecvl.read(tmp_path / "s")
    if back.shape != image.shape:
        pytest.fail(f"{back} is not {image}")
    worst = float(np.abs(back.array.astype(float) - image.array).max())
    assert worst <= error * (1 + 1e-6)
    if np.dtype(dtype).kind != "f":
        assert error == 0
    else:
        assert 0 < error < np.ptp(image.array) / 65535
        with pytest.raises(FormatError, match="within"):
            DicomWrite(tmp_path / "t", image, modality=modality, greatest_error=error / 2)
        assert not (tmp_path / "t").exists()


def test_values_beyond_sixteen_bits(tmp_path: Path) -> None:
    far = _image(np.int32)
    far = far.replace(array=far.array + 1_000_000)
    assert DicomWrite(tmp_path / "far", far, modality="CT") == 0
    assert np.array_equal(ecvl.read(tmp_path / "far"), far)
    wide = far.replace(array=far.array * 1000)
    error = DicomWrite(tmp_path / "wide", wide, modality="CT")
    assert 0 < error < 60
    assert np.abs(ecvl.read(tmp_path / "wide").array - wide.array).max() <= error * (1 + 1e-6)
    whole = _image(np.int16).replace(array=_image(np.int16).array.astype(np.float32))
    assert DicomWrite(tmp_path / "whole", whole, modality="CT") == 0
    constant = whole.replace(array=np.full((2, 3, 4), 0.1, np.float32))
    assert DicomWrite(tmp_path / "constant", constant, modality="CT") < 1e-8
    with pytest.raises(FormatError, match="finite"):
        DicomWrite(tmp_path / "nan", whole.replace(array=np.full((2, 3, 4), np.nan)), modality="CT")


@pytest.mark.parametrize("shape", [(8, 9, 3), (4, 8, 9, 3)])
def test_colour_is_a_secondary_capture(tmp_path: Path, shape: Any, conforms: Any) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    image = Image(rgb, "yxc" if len(shape) == 3 else "zyxc", _affine(OBLIQUE))
    path = tmp_path / ("a.dcm" if len(shape) == 3 else "s")
    assert DicomWrite(path, image, modality="OT") == 0
    conforms(path)
    back = ecvl.read(path)
    assert (back.axes, back.dtype) == (image.axes, np.uint8)
    assert np.array_equal(back, rgb)
    np.testing.assert_allclose(back.affine[:, [0, 1, 3]], image.affine[:, [0, 1, 3]], atol=1e-9)
    if path.is_file():
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0], rgb)


def test_a_grey_capture_and_a_2d_ct(tmp_path: Path, conforms: Any) -> None:
    image = _image(np.int16, shape=(8, 9))
    DicomWrite(tmp_path / "ct.dcm", image, modality="CT")
    DicomWrite(tmp_path / "sc.dcm", image, modality="CT", secondary_capture=True)
    for name in ("ct", "sc"):
        conforms(tmp_path / f"{name}.dcm")
        assert np.array_equal(ecvl.read(tmp_path / f"{name}.dcm"), image)
    assert dcmread(tmp_path / "sc.dcm").SOPClassUID == write_module.CAPTURE_STORAGE


def test_identity_is_new_and_the_source_is_named(
    tmp_path: Path, dicom_series: Any, conforms: Any
) -> None:
    extra = {
        "StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4", "PatientID": "7", "KVP": 120,
    }  # fmt: skip
    stored = np.random.default_rng(0).integers(0, 4096, (4, 8, 9)).astype(np.uint16)
    source = ecvl.read(dicom_series(stored, extra=extra))
    DicomWrite(tmp_path / "same", source.replace(array=source.array // 2), modality="CT")
    conforms(tmp_path / "same")
    made = [dcmread(path) for path in sorted((tmp_path / "same").iterdir())]
    assert {m.StudyInstanceUID for m in made} == {"1.2.3"}
    assert {m.FrameOfReferenceUID for m in made} == {"1.2.4"}
    assert {(m.PatientID, str(m.PatientName), m.KVP) for m in made} == {("7", "Secret^Person", 120)}
    assert all(m.ImageType[0] == "DERIVED" for m in made)
    originals = source.meta["source"]["instances"]
    assert [m.SourceImageSequence[0].ReferencedSOPInstanceUID for m in made] == [
        row["SOPInstanceUID"] for row in source.meta["slices"]
    ]
    assert not {m.SOPInstanceUID for m in made} & set(originals)
    assert len({m.SeriesInstanceUID for m in made} | {source.meta["source"]["series"]}) == 2
    other = ecvl.resample(source, spacing=(3, 1, 1))
    DicomWrite(tmp_path / "other", other, modality="CT")
    first = dcmread(tmp_path / "other" / "00001.dcm")
    assert first.StudyInstanceUID == "1.2.3"
    assert first.FrameOfReferenceUID != "1.2.4"
    assert len(first.SourceImageSequence) == 4
    DicomWrite(tmp_path / "new", other, modality="CT", like=source, keep_study=False)
    first = dcmread(tmp_path / "new" / "00001.dcm")
    assert first.StudyInstanceUID != "1.2.3"
    assert first.FrameOfReferenceUID == "1.2.4"
    assert (first.PatientID, str(first.PatientName)) == ("", "")
    assert b"Secret" not in (tmp_path / "new" / "00001.dcm").read_bytes()


def test_uneven_slices_keep_their_places(tmp_path: Path, dicom_series: Any) -> None:
    stored = np.zeros((4, 8, 9), np.uint16)
    kept = ecvl.read(dicom_series(stored, positions=[0, 2, 4, 9]), irregular="keep")
    DicomWrite(tmp_path / "s", kept, modality="CT")
    back = ecvl.read(tmp_path / "s", irregular="keep")
    np.testing.assert_allclose(back.meta["positions"], [0, 2, 4, 9])
    np.testing.assert_allclose(back.affine, kept.affine)


def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = _image()
    true, calls = write_module.save, []

    def failing(made: Any, stream: Any) -> None:
        calls.append(made)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        true(made, stream)

    monkeypatch.setattr(write_module, "save", failing)
    with pytest.raises(FileError, match="No space"):
        DicomWrite(tmp_path / "s", image, modality="CT")
    with pytest.raises(FileError, match="No space"):
        DicomWrite(tmp_path / "a.dcm", image[0], modality="CT")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    DicomWrite(tmp_path / "s", image, modality="CT")
    with pytest.raises(FileError, match="empty folder"):
        DicomWrite(tmp_path / "s", image, modality="CT")
    assert len(list((tmp_path / "s").iterdir())) == 4


def test_what_dicom_cannot_hold_is_refused(tmp_path: Path) -> None:
    image = _image()
    sheared = image.affine.copy()
    sheared[:3, 0] += 0.1 * sheared[:3, 1]
    with pytest.raises(GeometryError, match="right angles"):
        DicomWrite(tmp_path / "a", image.replace(affine=sheared), modality="CT")
    with pytest.raises(KindError, match="SEG"):
        DicomWrite(tmp_path / "a", image.replace(kind="labels"), modality="CT")
    with pytest.raises(KindError, match="labels"):
        DicomWrite(tmp_path / "a", image, modality="SEG")
    with pytest.raises(FormatError, match="folder"):
        DicomWrite(tmp_path / "a.dcm", image, modality="CT")
    with pytest.raises(ecvl.ParameterError, match="modality"):
        DicomWrite(tmp_path / "a", image, modality="ct scan")
    with pytest.raises(FormatError, match="axes"):
        DicomWrite(tmp_path / "a", Image(np.zeros((2, 3, 4, 5)), "tzyx"), modality="CT")
    with pytest.raises(FormatError, match="RGB"):
        DicomWrite(tmp_path / "a", Image(np.zeros((4, 5, 4), np.uint8), "yxc"), modality="OT")
    assert list(tmp_path.iterdir()) == []


def test_a_tilted_grid_keeps_its_shear(tmp_path: Path, conforms: Any) -> None:
    image = _image(kind="LPS")
    tilted = image.affine.copy()
    tilted[1, 2] += 0.7
    image = image.replace(affine=tilted)
    DicomWrite(tmp_path / "s", image, modality="CT")
    conforms(tmp_path / "s")
    np.testing.assert_allclose(ecvl.read(tmp_path / "s").affine, tilted, atol=1e-9)


def test_ecvl_write_knows_the_extension(tmp_path: Path) -> None:
    image = _image(shape=(8, 9))
    ecvl.write(tmp_path / "a.dcm", image, modality="MR")
    assert np.array_equal(ecvl.read(tmp_path / "a.dcm"), image)
    with pytest.raises(ecvl.ParameterError, match="modality="):
        ecvl.write(tmp_path / "b.dcm", image)
