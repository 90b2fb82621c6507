"""Small images and files that the ecvl tests make for themselves."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ecvl


def oblique_affine(seed: int = 0, spacing: tuple[float, float, float] = (0.8, 1.1, 2.5)) -> Any:
    """A rotated orthogonal affine that still points nearest to RAS."""
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", np.random.default_rng(seed).uniform(-20, 20, 3), degrees=True)
    affine[:3, :3] = turn.as_matrix() * spacing
    affine[:3, 3] = (-30.5, 12.25, 7)
    return affine


@pytest.fixture
def volume() -> Callable[..., ecvl.Image]:
    """Return a function that makes a volume: an image, or labels of the same place."""

    def make(
        shape: tuple[int, ...] = (6, 9, 11),
        dtype: Any = np.int16,
        kind: Any = "image",
        affine: Any = None,
        seed: int = 0,
    ) -> ecvl.Image:
        rng = np.random.default_rng(seed)
        if kind == "labels":
            values = rng.integers(0, 4, shape).astype(dtype)
        elif np.dtype(dtype).kind == "f":
            values = rng.normal(size=shape).astype(dtype)
        else:
            values = rng.integers(0, 200, shape).astype(dtype)
        affine = oblique_affine(seed) if affine is None else affine
        return ecvl.Image(values, "zyx", affine, kind=kind)

    return make


@pytest.fixture
def smooth() -> Callable[..., ecvl.Image]:
    """Return a function that makes a smooth volume, on which interpolation is nearly exact."""

    def make(shape: tuple[int, int, int] = (16, 24, 28), axes: str = "zyx") -> ecvl.Image:
        z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        values = 100 * np.exp(-2 * (z**2 + y**2 + x**2)) + 10 * x + 5 * y
        array = values.astype(np.float32)
        return ecvl.Image(array[shape[0] // 2] if axes == "yx" else array, axes)

    return make


@pytest.fixture
def dicom_series(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a synthetic DICOM series and returns its folder."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    def write(
        stored: Any,
        *,
        name: str = "series",
        positions: Any = None,
        step: Any = (0.0, 0.0, 2.0),
        origin: Any = (-10.0, -20.0, 30.0),
        cosines: Any = (1, 0, 0, 0, 1, 0),
        spacing: Any = (0.7, 0.5),
        slope: Any = 1,
        intercept: Any = -1024,
        bits_stored: int = 12,
        photometric: str = "MONOCHROME2",
        compress: str | None = None,
        uid: str | None = None,
        order: Any = None,
        extra: Any = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True, parents=True)
        uid = uid or generate_uid()
        rank = list(order) if order is not None else list(range(len(stored)))
        for number, plane in enumerate(stored):
            made = Dataset()
            made.file_meta = FileMetaDataset()
            made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            made.SOPClassUID = CTImageStorage
            made.SOPInstanceUID = generate_uid()
            made.file_meta.MediaStorageSOPClassUID = CTImageStorage
            made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
            made.Modality = "CT"
            made.PatientName = "Secret^Person"
            made.SeriesInstanceUID = uid
            made.Rows, made.Columns = plane.shape
            made.SamplesPerPixel = 1
            made.PhotometricInterpretation = photometric
            made.BitsAllocated = plane.dtype.itemsize * 8
            made.BitsStored = bits_stored
            made.HighBit = bits_stored - 1
            made.PixelRepresentation = int(plane.dtype.kind == "i")
            made.SliceThickness = 99
            made.PixelSpacing = list(spacing)
            made.ImageOrientationPatient = list(cosines)
            if positions is not None:
                place = np.array(origin) + np.array([0, 0, positions[number]])
            else:
                place = np.array(origin) + number * np.array(step)
            made.ImagePositionPatient = [float(v) for v in place]
            if slope is not None:
                made.RescaleSlope = slope[number] if isinstance(slope, list) else slope
                made.RescaleIntercept = intercept
            for key, value in (extra or {}).items():
                setattr(made, key, value)
            made.PixelData = np.ascontiguousarray(plane).tobytes()
            made["PixelData"].VR = "OW"
            if compress:
                made.compress(compress, generate_instance_uid=False)
            made.save_as(folder / f"{rank[number]:03}.dcm", enforce_file_format=True)
        return folder

    return write


@pytest.fixture
def conforms() -> Iterator[Callable[[Path], None]]:
    """Note DICOM files and folders, in which dciodvfy looks for errors after the test."""
    noted: list[Path] = []
    yield noted.append
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy of Debian's dicom3tools is not installed")
    for path in noted:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            done = subprocess.run(
                ["dciodvfy", str(file)], capture_output=True, check=False, timeout=60
            )
            said = (done.stdout + done.stderr).decode("utf-8", "replace")
            assert not [line for line in said.splitlines() if line.startswith("Error")], said
