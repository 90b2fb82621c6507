"""Several frames in a file, several images at a position: axes, values and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

import ecvl
from ecvl import EcvlError, FormatError, GeometryError, ParameterError
from ecvl.io.dicom import pixels as pixels_module


def _item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def _file(path: Path, pixels: Any, **elements: Any) -> Path:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID = generate_uid()
    made.Modality = "MR"
    frames, made.Rows, made.Columns = pixels.shape[:3]
    made.NumberOfFrames = frames
    made.SamplesPerPixel = pixels.shape[3] if pixels.ndim == 4 else 1
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 4 else "MONOCHROME2"
    if pixels.ndim == 4:
        made.PlanarConfiguration = 0
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    bits = pixels.dtype.itemsize * 8
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit = bits - 1
    if pixels.dtype == np.float32:
        made.FloatPixelData = pixels.tobytes()
    elif pixels.dtype == np.float64:
        made.DoubleFloatPixelData = pixels.tobytes()
    else:
        made.PixelData = pixels.tobytes()
        made["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.save_as(path, enforce_file_format=True)
    return path


def _group(z: float, slope: float = 1, **content: Any) -> Dataset:
    return _item(
        PlanePositionSequence=Sequence([_item(ImagePositionPatient=[1, 2, z])]),
        PixelValueTransformationSequence=Sequence([_item(RescaleSlope=slope, RescaleIntercept=-5)]),
        FrameContentSequence=Sequence([_item(**content)]),
    )


SHARED = Sequence(
    [
        _item(
            PlaneOrientationSequence=Sequence([_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
            PixelMeasuresSequence=Sequence([_item(PixelSpacing=[0.7, 0.5])]),
        )
    ]
)


def _pixels(frames: int = 4, dtype: Any = np.uint16) -> Any:
    return np.random.default_rng(0).integers(0, 200, (frames, 5, 6)).astype(dtype)


def test_functional_groups_give_place_and_scale(tmp_path: Path) -> None:
    pixels = _pixels()
    groups = Sequence([_group(z) for z in (9, 3, 6, 0)])
    path = _file(
        tmp_path / "a.dcm", pixels, SharedFunctionalGroupsSequence=SHARED,
        PerFrameFunctionalGroupsSequence=groups,
    )  # fmt: skip
    image = ecvl.read(path)
    assert image.axes == "zyx"
    assert image.spacing == (3, 0.7, 0.5)
    np.testing.assert_allclose(image.world((0, 0, 0)), (-1, -2, 0))
    assert np.array_equal(image, pixels[[3, 1, 2, 0]].astype(int) - 5)
    assert [row["ImagePositionPatient"][2] for row in image.meta["slices"]] == [0, 3, 6, 9]
    assert image.meta["common"]["PixelSpacing"] == [0.7, 0.5]
    assert np.array_equal(ecvl.read(path, raw=True), pixels[[3, 1, 2, 0]])


def test_scales_that_differ_from_frame_to_frame_give_floats(tmp_path: Path) -> None:
    pixels = _pixels(2)
    groups = Sequence([_group(0, slope=2), _group(3, slope=0.5)])
    path = _file(
        tmp_path / "a.dcm", pixels, SharedFunctionalGroupsSequence=SHARED,
        PerFrameFunctionalGroupsSequence=groups,
    )  # fmt: skip
    image = ecvl.read(path)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image.array, pixels * np.array([2, 0.5])[:, None, None] - 5)


def test_moments_of_a_volume_stand_along_t(tmp_path: Path) -> None:
    pixels = _pixels(6)
    groups = Sequence(
        [
            _group(z, TemporalPositionIndex=t, FrameAcquisitionNumber=1)
            for z, t in ((3, 2), (0, 1), (0, 2), (3, 1), (0, 3), (3, 3))
        ]
    )
    path = _file(
        tmp_path / "a.dcm", pixels, SharedFunctionalGroupsSequence=SHARED,
        PerFrameFunctionalGroupsSequence=groups,
    )  # fmt: skip
    with pytest.raises(GeometryError, match=r"repeated positions.*stack_by=.*TemporalPositionInd"):
        ecvl.read(path)
    image = ecvl.read(path, stack_by="TemporalPositionIndex")
    assert image.axes == "tzyx"
    order = [[1, 3], [2, 0], [4, 5]]
    assert np.array_equal(image, pixels[order].astype(int) - 5)
    assert image.meta["stack"] == {"by": ["TemporalPositionIndex"], "values": [1, 2, 3]}
    assert ecvl.info(path, stack_by="TemporalPositionIndex").shape == image.shape
    with pytest.raises(ParameterError, match="keyword"):
        ecvl.read(path, stack_by="Nonsense")
    with pytest.raises(GeometryError, match="EchoTime"):
        ecvl.read(path, stack_by="EchoTime")


def test_echoes_and_phases_of_a_folder(dicom_series: Any) -> None:
    stored = np.random.default_rng(0).integers(0, 4096, (6, 32, 40)).astype(np.uint16)
    folder = dicom_series(stored, positions=[0, 2, 4, 0, 2, 4], intercept=0)
    for number, path in enumerate(sorted(folder.iterdir())):
        made = pydicom.dcmread(path)
        made.EchoTime = [30.5, 10.25][number // 3]
        made.TriggerTime = 100 * (number // 3) + number
        made.save_as(path)
    with pytest.raises(GeometryError, match=r"stack_by=.*EchoTime.*TriggerTime"):
        ecvl.read(folder)
    echoes = ecvl.read(folder, stack_by="EchoTime")
    assert echoes.axes == "czyx"
    assert np.array_equal(echoes, stored.reshape(2, 3, 32, 40)[::-1])
    assert echoes.meta["stack"]["values"] == [10.25, 30.5]
    phases = ecvl.read(folder, stack_by="TriggerTime")
    assert phases.axes == "tzyx"
    assert phases.meta["time_step"] == pytest.approx(0.103)
    assert np.array_equal(phases, stored.reshape(2, 3, 32, 40))
    sorted(folder.iterdir())[0].unlink()
    with pytest.raises(GeometryError, match="incomplete"):
        ecvl.read(folder, stack_by="EchoTime")


@pytest.mark.parametrize("private", [False, True])
def test_diffusion_gives_values_and_directions(dicom_series: Any, private: bool) -> None:
    stored = np.random.default_rng(0).integers(0, 4096, (6, 32, 40)).astype(np.uint16)
    folder = dicom_series(stored, positions=[0, 2] * 3, intercept=0)
    directions = [None, [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]
    for number, path in enumerate(sorted(folder.iterdir())):
        made = pydicom.dcmread(path)
        value, direction = [0.0, 1000.0, 1000.0][number // 2], directions[number // 2]
        if private:
            block = made.private_block(0x0019, "SIEMENS MR HEADER", create=True)
            block.add_new(0x0C, "IS", int(value))
            if direction:
                block.add_new(0x0E, "FD", direction)
        else:
            made.DiffusionBValue = value
            if direction:
                made.DiffusionGradientOrientation = direction
        made.save_as(path)
    image = ecvl.read(folder, stack_by="DiffusionBValue")
    assert image.meta["bvals"] == [0, 1000, 1000]
    expected = [[0, 0, 0], [0, -0.6, 0.8], [-1, 0, 0]]
    np.testing.assert_allclose(image.meta["bvecs"], expected, atol=1e-12)
    assert np.array_equal(image, stored.reshape(3, 2, 32, 40)[[0, 2, 1]])


def test_only_the_slices_that_are_indexed_are_decoded(
    dicom_series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = np.random.default_rng(0).integers(0, 4096, (7, 32, 40)).astype(np.uint16)
    folder = dicom_series(stored, compress=JPEG2000Lossless)
    decoded = []
    true = pixels_module._decoded
    monkeypatch.setattr(
        pixels_module, "_decoded", lambda file, *rest: decoded.append(file) or true(file, *rest)
    )
    lazy = ecvl.read(folder, lazy=True)
    assert (lazy.axes, lazy.shape, len(lazy.meta["slices"])) == ("zyx", (7, 32, 40), 7)
    assert not decoded
    part = lazy[2:4, 5:, ::-2]
    assert len(decoded) == 2
    assert np.array_equal(part, stored[2:4, 5:, ::-2].astype(int) - 1024)
    np.testing.assert_allclose(part.affine, ecvl.read(folder)[2:4, 5:, ::-2].affine)


def test_films_and_pages_without_a_place(tmp_path: Path) -> None:
    pixels = _pixels(3, np.uint8)
    film = ecvl.read(_file(tmp_path / "film.dcm", pixels, FrameTime=40))
    assert (film.axes, film.meta["time_step"]) == ("tyx", 0.04)
    assert np.array_equal(film, pixels)
    assert ecvl.read(_file(tmp_path / "pages.dcm", pixels)).axes == "nyx"
    with pytest.raises(GeometryError, match="stack_by"):
        ecvl.read(tmp_path / "pages.dcm", stack_by="EchoTime")


def test_a_dose_grid_has_its_offsets_and_grays(tmp_path: Path) -> None:
    pixels = _pixels(3, np.uint32)
    path = _file(
        tmp_path / "dose.dcm", pixels, Modality="RTDOSE", DoseGridScaling=0.01,
        ImagePositionPatient=[0, 0, 5], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[2, 3], GridFrameOffsetVector=[0, 2.5, 5],
    )  # fmt: skip
    image = ecvl.read(path)
    assert image.spacing == (2.5, 2, 3)
    np.testing.assert_allclose(image.world((2, 0, 0)), (0, 0, 10))
    np.testing.assert_allclose(image.array, pixels * 0.01, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_pixels(tmp_path: Path, dtype: Any) -> None:
    pixels = np.random.default_rng(0).normal(size=(1, 5, 6)).astype(dtype)
    image = ecvl.read(_file(tmp_path / "a.dcm", pixels))
    assert image.dtype == np.float32
    assert np.array_equal(image, pixels[0].astype(np.float32))
    assert ecvl.read(tmp_path / "a.dcm", raw=True).dtype == dtype


def test_bits_are_unpacked_over_byte_borders(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (3, 5, 6)).astype(np.uint8)
    packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    path = _file(
        tmp_path / "a.dcm", pixels, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed,
        FrameTime=1,
    )  # fmt: skip
    assert np.array_equal(ecvl.read(path), pixels)


@pytest.mark.parametrize(("bits", "first"), [(8, 0), (16, 10), (12, -3)])
def test_modality_tables(tmp_path: Path, bits: int, first: int) -> None:
    pixels = _pixels(1, np.int16) - 20
    table = np.random.default_rng(1).integers(0, 1 << bits, 100).astype(np.uint16)
    content = table.astype(np.uint8).tobytes() if bits == 8 else table.tobytes()
    lut = _item(LUTDescriptor=[100, first, bits], ModalityLUTType="HU", LUTData=content)
    lut["LUTDescriptor"].VR = "SS"
    lut["LUTData"].VR = "OW"
    image = ecvl.read(_file(tmp_path / "a.dcm", pixels, ModalityLUTSequence=Sequence([lut])))
    assert image.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert np.array_equal(image, table[np.clip(pixels[0].astype(int) - first, 0, 99)])
    lut.LUTData = content[:20]
    path = _file(tmp_path / "b.dcm", pixels, ModalityLUTSequence=Sequence([lut]))
    with pytest.raises(FormatError, match="table of 100"):
        ecvl.read(path)


def test_segmented_palettes(tmp_path: Path) -> None:
    pixels = np.arange(30, dtype=np.uint8).reshape(1, 5, 6)
    # Ten given values, a line of ten to 2560, and the line once more.
    given = list(range(0, 2560, 256))
    words = np.array([0, 10, *given, 1, 10, 25600, 2, 1, 24, 0], np.uint16)
    elements: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [30, 0, 16]
        elements[f"Segmented{colour}PaletteColorLookupTableData"] = words.tobytes()
    path = _file(tmp_path / "a.dcm", pixels, PhotometricInterpretation="PALETTE COLOR", **elements)
    line = np.rint(2304 + (25600 - 2304) * np.arange(1, 11) / 10)
    table = np.concatenate([given, line, np.full(10, 25600)]).astype(int) >> 8
    image = ecvl.read(path)
    assert (image.axes, image.dtype) == ("yxc", np.uint8)
    assert np.array_equal(image, np.repeat(table[pixels[0]][..., None], 3, axis=-1))
    assert np.array_equal(ecvl.read(path, raw=True), pixels[0])


def test_counts_are_checked_before_anything_is_made_of_them(tmp_path: Path) -> None:
    pixels = _pixels(2, np.uint8)
    for name, elements in {
        "many": {"NumberOfFrames": 2_000_000_000},
        "negative": {"NumberOfFrames": -1},
        "large": {"Rows": 65535, "Columns": 65535},
        "groups": {"PerFrameFunctionalGroupsSequence": Sequence([_group(0)])},
        "offsets": {
            "GridFrameOffsetVector": [0, 1, 2], "ImagePositionPatient": [0, 0, 0],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        },
    }.items():  # fmt: skip
        path = _file(tmp_path / f"{name}.dcm", pixels, **elements)
        for act in (ecvl.read, ecvl.info):
            with pytest.raises(EcvlError):
                act(path)
