"""DICOM series and single images: geometry against SimpleITK, values against what was written."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless, RLELossless, generate_uid

import ecvl
from ecvl import EcvlError, FormatError, GeometryError, SeriesError

OBLIQUE = (1.0, 0.0, 0.0, 0.0, 0.991, 0.134)


def _stored(slices: int = 7, seed: int = 0, dtype: Any = np.uint16) -> Any:
    return np.random.default_rng(seed).integers(0, 4096, (slices, 32, 40)).astype(dtype)


def _unit(cosines: Any) -> Any:
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    return (*(row / np.linalg.norm(row)), *(column / np.linalg.norm(column)))


def _itk(folder: Path) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("compress", [None, JPEG2000Lossless, RLELossless])
@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), OBLIQUE, (0, 1, 0, 0, 0, -1)])
def test_a_series_reads_as_simpleitk_reads_it(
    dicom_series: Any, compress: Any, cosines: Any
) -> None:
    cosines = _unit(cosines)
    normal = np.cross(cosines[:3], cosines[3:])
    stored = _stored()
    order = np.random.default_rng(1).permutation(len(stored))
    folder = dicom_series(stored, cosines=cosines, step=3 * normal, order=order, compress=compress)
    image = ecvl.read(folder)
    assert image.axes == "zyx"
    assert image.dtype == np.int16
    assert np.array_equal(image, stored.astype(int) - 1024)
    itk = _itk(folder)
    assert np.array_equal(sitk.GetArrayFromImage(itk), image)
    for index in ((0, 0, 0), (6, 5, 8), (3, 1, 7)):
        lps = np.array(itk.TransformIndexToPhysicalPoint(index[::-1]))
        np.testing.assert_allclose(image.world(index), lps * (-1, -1, 1), atol=1e-4)
    assert image.spacing == pytest.approx((3, 0.7, 0.5), rel=1e-6)
    found = ecvl.info(folder)
    assert (found.axes, found.shape, found.dtype) == ("zyx", image.shape, np.uint16)
    np.testing.assert_array_equal(found.affine, image.affine)


def test_slices_stand_by_position_and_reversed_steps(dicom_series: Any) -> None:
    stored = _stored(4)
    folder = dicom_series(stored, step=(0, 0, -2.0))
    image = ecvl.read(folder)
    assert np.array_equal(image, stored[::-1].astype(int) - 1024)
    np.testing.assert_allclose(image.world((0, 0, 0)), (10, 20, 24))


def test_a_tilted_series_keeps_its_shear(dicom_series: Any, tmp_path: Path) -> None:
    folder = dicom_series(_stored(), step=(0, 0.5, 2))
    image = ecvl.read(folder)
    np.testing.assert_allclose(image.world((6, 0, 0)), (10, 20 - 3, 42), atol=1e-9)
    with pytest.raises(GeometryError, match="right angles"):
        ecvl.augment.Rotate((5, 5))(image, seed=1)
    straight = ecvl.Image(np.zeros((7, 12, 9)), "zyx", np.diag([-0.5, -0.7, 2, 1]))
    straight = straight.replace(affine=_moved(straight.affine, (10, 20, 30)))
    moved = ecvl.resample(image, like=straight)
    assert moved.shape == straight.shape
    ecvl.write(tmp_path / "tilted.nii", image)
    np.testing.assert_allclose(ecvl.read(tmp_path / "tilted.nii").affine, image.affine, rtol=1e-6)


def _moved(affine: Any, place: Any) -> Any:
    moved = affine.copy()
    moved[:3, 3] = place
    return moved


def test_a_real_scanners_rounding_is_accepted(dicom_series: Any) -> None:
    positions = np.cumsum([0, 6.96, 7.07, 7.0, 6.98, 7.05, 6.97])
    image = ecvl.read(dicom_series(_stored(), positions=positions))
    assert image.spacing[0] == pytest.approx(positions[-1] / 6)


def test_a_missing_slice_raises_with_the_gap(dicom_series: Any) -> None:
    stored = _stored()
    positions = [0, 2, 4, 8, 10, 12, 14]
    folder = dicom_series(stored, positions=positions, intercept=0)
    with pytest.raises(GeometryError, match=r"2\.00 mm apart.* gap of 4\.00 mm.*2 and 3"):
        ecvl.read(folder)
    with pytest.raises(GeometryError, match="gap"):
        ecvl.info(folder)
    kept = ecvl.read(folder, irregular="keep")
    assert np.array_equal(kept, stored)
    assert kept.meta["positions"] == positions
    filled = ecvl.read(folder, irregular="resample")
    assert filled.shape[0] == 8
    assert filled.spacing[0] == pytest.approx(2)
    assert np.array_equal(filled.array[[0, 1, 2, 4, 5, 6, 7]], stored)
    between = np.rint((stored[2].astype(float) + stored[3]) / 2)
    assert np.array_equal(filled.array[3], between)
    with pytest.raises(EcvlError, match="irregular="):
        ecvl.read(folder, irregular="guess")


def test_repeated_positions_raise(dicom_series: Any) -> None:
    folder = dicom_series(_stored(4), positions=[0, 2, 2, 4])
    with pytest.raises(GeometryError, match="repeated positions"):
        ecvl.read(folder, irregular="keep")


def test_slices_that_do_not_belong_together_raise(dicom_series: Any) -> None:
    uid = generate_uid()
    dicom_series(_stored(3), uid=uid)
    folder = dicom_series(
        _stored(1), uid=uid, name="series/scout", cosines=(0, 1, 0, 0, 0, -1), origin=(0, 0, 99)
    ).parent
    with pytest.raises(GeometryError, match="parallel"):
        ecvl.read(folder)
    other = dicom_series(_stored(3), uid=uid, name="sizes")
    dicom_series(np.zeros((1, 3, 3), np.uint16), uid=uid, name="sizes/more", origin=(0, 0, 99))
    with pytest.raises(GeometryError, match="one size"):
        ecvl.read(other)
    shifted = dicom_series(_stored(2), uid=uid, name="shifted")
    dicom_series(_stored(1), uid=uid, name="shifted/a", origin=(5, -20, 34))
    dicom_series(_stored(1), uid=uid, name="shifted/b", origin=(-10, -20, 36))
    with pytest.raises(GeometryError, match="sideways"):
        ecvl.read(shifted)


def test_several_series_are_listed_and_chosen(dicom_series: Any) -> None:
    uids = sorted(generate_uid() for _ in range(2))
    first = dicom_series(_stored(3), name="all/a", uid=uids[0], extra={"SeriesDescription": "Bob"})
    dicom_series(_stored(5, seed=2), name="all/b", uid=uids[1])
    folder = first.parent
    with pytest.raises(SeriesError, match="2 series") as caught:
        ecvl.read(folder)
    message = str(caught.value)
    assert uids[0][-12:] in message
    assert "3 of 32×40" in message
    assert "Bob" not in message
    assert "Secret" not in message
    assert ecvl.read(folder, series=1).shape[0] == 5
    assert ecvl.read(folder, series=uids[0]).shape[0] == 3
    assert ecvl.read(folder, series=uids[0][-20:]).shape[0] == 3
    assert ecvl.info(folder, series=1).shape[0] == 5
    listed = ecvl.dicom_series(folder)
    assert [(s.uid, len(s.files)) for s in listed] == [(uids[0], 3), (uids[1], 5)]
    assert listed[0].description == "Bob"
    assert "Bob" not in repr(listed)
    for wrong in (2, -1, "9.9.9", True):
        with pytest.raises(SeriesError, match="series="):
            ecvl.read(folder, series=wrong)


def test_other_files_in_the_folder_are_skipped(dicom_series: Any) -> None:
    folder = dicom_series(_stored(3))
    (folder / "readme.txt").write_text("hello")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 40)
    (folder / "empty.dcm").write_bytes(b"")
    plan = Path(str(get_testdata_file("rtplan.dcm")))
    (folder / "plan.dcm").write_bytes(plan.read_bytes())
    assert ecvl.read(folder).shape == (3, 32, 40)
    empty = folder / "nothing"
    empty.mkdir()
    with pytest.raises(SeriesError, match="no file"):
        ecvl.read(empty)
    with pytest.raises(ecvl.FileError, match="folder"):
        ecvl.dicom_series(folder / "readme.txt")
    with pytest.raises(FormatError, match="readme"):
        ecvl.DicomRead(folder / "readme.txt")


def test_values_are_scaled_in_an_honest_type(dicom_series: Any) -> None:
    stored = _stored()
    cases: list[tuple[Any, Any, int, str]] = [
        (1, 0, 12, "uint16"),
        (1, -1024, 12, "int16"),
        (1, -1024, 16, "int32"),
        (2, -1024, 12, "int16"),
        (0.5, 0, 12, "float32"),
        (None, 0, 12, "uint16"),
        ([1, 2, 3, 4, 5, 6, 7.5], 3, 12, "float32"),
    ]
    for number, (slope, intercept, bits, dtype) in enumerate(cases):
        folder = dicom_series(
            stored, slope=slope, intercept=intercept, bits_stored=bits, name=f"s{number}"
        )
        image = ecvl.read(folder)
        assert image.dtype == dtype, (slope, bits)
        factor = 1 if slope is None else np.reshape(slope, (-1, 1, 1))
        np.testing.assert_allclose(image.array, stored * factor + intercept, rtol=1e-6)
        raw = ecvl.read(folder, raw=True)
        assert raw.dtype == np.uint16
        assert np.array_equal(raw, stored)
    whole = dicom_series(_stored(2), name="whole", slope=2.0, intercept=0)
    assert ecvl.read(whole, kind="labels").kind == "labels"
    halves = dicom_series(_stored(2), name="halves", slope=0.5, intercept=0)
    with pytest.raises(FormatError, match="whole numbers"):
        ecvl.read(halves, kind="labels")


def test_signed_values_and_unused_high_bits(dicom_series: Any) -> None:
    values = np.random.default_rng(0).integers(-2048, 2048, (3, 32, 40)).astype(np.int16)
    folder = dicom_series(values, intercept=0)
    assert np.array_equal(ecvl.read(folder), values)
    overlay = np.int16(0x5000)
    with_overlay = (values & 0x0FFF) | overlay
    folder = dicom_series(with_overlay, intercept=0, name="overlay")
    assert np.array_equal(ecvl.read(folder), values)
    unsigned = _stored(3)
    folder = dicom_series(unsigned | np.uint16(0xA000), intercept=0, name="unsigned")
    assert np.array_equal(ecvl.read(folder), unsigned)


def test_monochrome1_is_inverted(dicom_series: Any) -> None:
    stored = _stored(2)
    folder = dicom_series(stored, intercept=0, photometric="MONOCHROME1")
    assert np.array_equal(ecvl.read(folder), 4095 - stored)
    assert np.array_equal(ecvl.read(folder, raw=True), stored)


def test_metadata_stays_in_the_object(dicom_series: Any, tmp_path: Path) -> None:
    image = ecvl.read(dicom_series(_stored(3)))
    assert image.meta["common"]["Modality"] == "CT"
    assert image.meta["common"]["PatientName"] == "Secret^Person"
    assert image.meta["common"]["PixelSpacing"] == [0.7, 0.5]
    assert [row["ImagePositionPatient"][2] for row in image.meta["slices"]] == [30, 32, 34]
    assert len(image.meta["source"]["instances"]) == 3
    assert "Secret" not in repr(image)
    moved = ecvl.resample(image, spacing=1)
    assert "slices" not in moved.meta
    assert moved.meta["source"] == image.meta["source"]
    ecvl.write(tmp_path / "a.nii", image)
    assert b"Secret" not in (tmp_path / "a.nii").read_bytes()


def test_one_slice_folders_and_single_files(dicom_series: Any) -> None:
    folder = dicom_series(_stored(1))
    assert ecvl.read(folder).shape == (1, 32, 40)
    alone = ecvl.read(next(folder.iterdir()))
    assert (alone.axes, alone.shape) == ("yx", (32, 40))
    np.testing.assert_allclose(alone.world((0, 0)), (10, 20, 30))
    assert ecvl.info(next(folder.iterdir())).axes == "yx"


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "693_J2KI.dcm",
        "JPEG2000.dcm",
        "image_dfl.dcm",
        "J2K_pixelrep_mismatch.dcm",
    ],
)
def test_pydicoms_files(name: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("not in this pydicom's wheel")
    dataset = pydicom.dcmread(path)
    image = ecvl.read(path)
    expected = dataset.pixel_array * float(dataset.get("RescaleSlope", 1))
    np.testing.assert_allclose(image.array, expected + float(dataset.get("RescaleIntercept", 0)))


def test_a_series_in_colour(dicom_series: Any) -> None:
    from pydicom.dataset import Dataset

    folder = dicom_series(_stored(2))
    rgb = np.random.default_rng(0).integers(0, 255, (2, 32, 40, 3)).astype(np.uint8)
    for plane, path in zip(rgb, sorted(folder.iterdir()), strict=True):
        made: Dataset = pydicom.dcmread(path)
        made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
        made.PlanarConfiguration = 0
        made.BitsAllocated = made.BitsStored = 8
        made.HighBit = 7
        made.PixelData = plane.tobytes()
        made.save_as(path)
    image = ecvl.read(folder)
    assert (image.axes, image.dtype) == ("zyxc", np.uint8)
    assert np.array_equal(image, rgb)
    assert ecvl.info(folder).shape == image.shape


def test_threads_can_read_at_once_and_warnings_come_back(dicom_series: Any) -> None:
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    folder = dicom_series(_stored(3))
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: ecvl.read(folder).array, range(12)))
    assert all(np.array_equal(array, found[0]) for array in found)
    assert list(warnings.filters) == before


def test_colour_files() -> None:
    rgb = ecvl.read(get_testdata_file("examples_rgb_color.dcm"))
    assert (rgb.axes, rgb.shape[-1], rgb.dtype) == ("yxc", 3, np.uint8)
    palette = ecvl.read(get_testdata_file("examples_palette.dcm"))
    assert (palette.axes, palette.dtype) == ("yxc", np.uint8)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rtplan.dcm", "without"),
        ("MR_truncated.dcm", "MR_truncated"),
        ("JPEG-lossy.dcm", "decode"),
    ],
)
def test_what_cannot_be_read_is_said(name: str, message: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("not in this pydicom's wheel")
    with pytest.raises(EcvlError, match=message) as caught:
        ecvl.read(path)
    assert "\n" not in str(caught.value)


def test_damaged_headers_are_said(dicom_series: Any) -> None:
    cases: dict[str, Any] = {
        "spacing": {"PixelSpacing": [0, 1]},
        "slope": {"RescaleSlope": 0},
        "cosines": {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        "rows": {"Rows": 60000, "Columns": 60000},
    }
    for name, extra in cases.items():
        folder = dicom_series(_stored(2), name=name, extra=extra)
        with pytest.raises(EcvlError):
            ecvl.read(folder)
    folder = dicom_series(_stored(3), name="no position", extra={"ImagePositionPatient": None})
    with pytest.raises(GeometryError, match="ImagePositionPatient"):
        ecvl.read(folder)


def test_a_j2k_stream_of_another_size_is_refused_before_decoding(dicom_series: Any) -> None:
    folder = dicom_series(_stored(1), compress=JPEG2000Lossless)
    path = next(folder.iterdir())
    content = bytearray(path.read_bytes())
    start = content.find(b"\xff\x4f\xff\x51") + 8
    content[start : start + 8] = (60000).to_bytes(4, "big") * 2
    path.write_bytes(content)
    with pytest.raises(FormatError, match="compressed frame of 60000×60000"):
        ecvl.read(path)


def test_a_deflate_bomb_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = get_testdata_file("image_dfl.dcm", download=False)
    assert path is not None
    monkeypatch.setattr("ecvl.io.dicom.files.GREATEST_INFLATED", 1000)
    with pytest.raises(FormatError, match="deflated"):
        ecvl.read(path)
