"""How fast are volumes read and written: .nii.gz against nibabel and SimpleITK, DICOM folders too?

Prints one JSON object: the best and the median seconds of several rounds, taken in turn so that all
see the same load, on one processor. The values that were read are summed inside the time. The
DICOM folder holds 64 slices of 512×512, plain and in JPEG 2000; MONAI is asked where it is
installed, and pydicom alone stacks arrays without any geometry.
"""

import copy
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless, generate_uid

import ecvl

ROUNDS = 5


def _volume(shape: tuple[int, int, int] = (128, 256, 256)) -> ecvl.Image:
    """Smooth structures and noise of a few bits: about what a CT packs to."""
    z, y, x = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    body = 1000 * np.exp(-3 * (z**2 + y**2 + x**2)) - 500
    noise = np.random.default_rng(0).normal(0, 12, shape)
    return ecvl.Image((body + noise).astype(np.int16), "zyx", np.diag([0.8, 0.8, 1.5, 1]))


def _timed(actions: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for action in actions.values():
        action()
    for _ in range(rounds):
        for name, action in actions.items():
            started = time.perf_counter()
            found = action()
            if found is not None:
                np.asarray(found).sum(dtype=np.float64)
            seconds[name].append(time.perf_counter() - started)
    best = {name: round(min(values), 4) for name, values in seconds.items()}
    median = {name: round(statistics.median(values), 4) for name, values in seconds.items()}
    peers = [value for name, value in median.items() if name != "ecvl"]
    return {"best": best, "median": median, "ratio": round(median["ecvl"] / min(peers), 3)}


def _write_series(folder: Path, volume: NDArray[np.int16], compress: bool) -> None:
    """A real CT header, of which what differs from slice to slice is changed."""
    made = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    made.Rows, made.Columns = volume.shape[1:]
    for number, plane in enumerate(volume):
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        made.InstanceNumber = number + 1
        made.SliceLocation = -75 + 2 * number
        made.ImagePositionPatient = [-158.0, -179.0, -75.0 + 2 * number]
        made.PixelData = plane.tobytes()
        slice_ = copy.deepcopy(made) if compress else made
        if compress:
            slice_.compress(JPEG2000Lossless, generate_instance_uid=False)
        slice_.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)


def _by_itk(folder: Path) -> NDArray[Any]:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return np.asarray(sitk.GetArrayFromImage(reader.Execute()))


def _series_readers(folder: Path) -> dict[str, Callable[[], Any]]:
    paths = sorted(folder.iterdir())
    found: dict[str, Callable[[], Any]] = {
        "ecvl": lambda: ecvl.read(folder),
        "SimpleITK": lambda: _by_itk(folder),
        "pydicom": lambda: np.stack([pydicom.dcmread(path).pixel_array for path in paths]),
    }
    try:
        from monai.transforms import LoadImage
    except ImportError:
        return found
    load = LoadImage(image_only=True)
    found["MONAI"] = lambda: load(str(folder))
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    series = {}
    for name, compress in (("plain", False), ("JPEG 2000", True)):
        with tempfile.TemporaryDirectory() as folder:
            _write_series(Path(folder), _volume((64, 512, 512)).array, compress)
            readers = _series_readers(Path(folder))
            series[name] = _timed(readers, 3 if compress else 2 * ROUNDS)
    image = _volume()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        ecvl.write(path, image)
        theirs = nibabel.Nifti1Image(image.array.T, image.affine)
        itk = sitk.GetImageFromArray(image.array)
        reading = _timed(
            {
                "ecvl": lambda: ecvl.read(path),
                "nibabel": lambda: np.asanyarray(nibabel.load(path).dataobj),
                "SimpleITK": lambda: sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
            }
        )
        out = Path(folder)
        writing = _timed(
            {
                "ecvl": lambda: ecvl.write(out / "a.nii.gz", image),
                "nibabel": lambda: nibabel.save(theirs, out / "b.nii.gz"),
                "SimpleITK": lambda: sitk.WriteImage(itk, str(out / "c.nii.gz"), True),
            }
        )
        sizes = {
            name: (out / file).stat().st_size
            for name, file in (("ecvl", "a"), ("nibabel", "b"), ("SimpleITK", "c"))
            for file in (f"{file}.nii.gz",)
        }
    found = {"shape": image.shape, "read": reading, "write": writing, "bytes": sizes}
    print(json.dumps({"dicom folder": series, ".nii.gz": found}))


if __name__ == "__main__":
    main()
