"""How fast are images read and written, against nibabel, SimpleITK, pydicom, Pillow and OpenCV?

Prints one JSON object: the median seconds of each, taken in turn so that all see the same load, and
ecvl's over that of the fastest other. Reading ends when the values have been summed.

    python benchmarks/ecvl_reading.py [--rounds 9]
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless, generate_uid

import ecvl

Action = Callable[[], Any]


def _volume(shape: tuple[int, int, int] = (128, 256, 256)) -> ecvl.Image:
    """Smooth structures and noise of a few bits: about what a CT packs to."""
    z, y, x = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    body = 1000 * np.exp(-3 * (z**2 + y**2 + x**2)) - 500
    noise = np.random.default_rng(0).normal(0, 12, shape)
    return ecvl.Image((body + noise).astype(np.int16), "zyx", np.diag([0.8, 0.8, 1.5, 1]))


def _medians(actions: dict[str, Action], rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for action in actions.values():
        action()
    for _ in range(rounds):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - started)
    found = {name: statistics.median(taken) for name, taken in seconds.items()}
    best = min(value for name, value in found.items() if name != "ecvl")
    return {name: round(value, 5) for name, value in found.items()} | {
        "ratio": round(found["ecvl"] / best, 3)
    }


def _sum(values: Any) -> int:
    array = np.asarray(values)
    return int(array.sum(dtype=np.int64 if array.dtype.kind in "iu" else np.float64))


def _by_sitk(path: str) -> int:
    image = sitk.ReadImage(path)  # the view below does not keep it alive
    return _sum(sitk.GetArrayViewFromImage(image))


def _volumes(folder: Path, rounds: int) -> dict[str, Any]:
    image = _volume()
    labels = image.replace(array=(image.array > 100).astype(np.uint8), kind="labels")
    real = image.replace(array=image.array.astype(np.float32))
    rows: dict[str, Any] = {}
    for name, given in (("int16", image), ("labels", labels), ("float32", real)):
        for suffix in (".nii.gz", ".nii"):
            path = str(folder / f"{name}{suffix}")
            ecvl.write(path, given)
            rows[f"read {name}{suffix}"] = _medians(
                {
                    "ecvl": lambda path=path: _sum(ecvl.read(path)),
                    "nibabel": lambda path=path: _sum(nibabel.load(path).dataobj),
                    "SimpleITK": lambda path=path: _by_sitk(path),
                },
                rounds,
            )
    for suffix in (".nrrd", ".mha"):
        path = str(folder / f"a{suffix}")
        ecvl.write(path, image)
        rows[f"read int16{suffix}"] = _medians(
            {
                "ecvl": lambda path=path: _sum(ecvl.read(path)),
                "SimpleITK": lambda path=path: _by_sitk(path),
            },
            rounds,
        )
    path = str(folder / "int16.nii.gz")
    rows["read 8 slices of int16.nii"] = _medians(
        {
            "ecvl": lambda: _sum(ecvl.read(folder / "int16.nii", lazy=True)[60:68]),
            "nibabel": lambda: _sum(nibabel.load(folder / "int16.nii").dataobj[..., 60:68]),
        },
        rounds,
    )
    theirs, itk = ecvl.to_nibabel(image), ecvl.to_sitk(image)
    rows["write int16.nii.gz"] = _medians(
        {
            "ecvl": lambda: ecvl.write(folder / "w1.nii.gz", image),
            "nibabel": lambda: nibabel.save(theirs, folder / "w2.nii.gz"),
            "SimpleITK": lambda: sitk.WriteImage(itk, str(folder / "w3.nii.gz"), True),
        },
        max(3, rounds // 3),
    )
    rows["bytes of int16.nii.gz"] = {
        name: (folder / file).stat().st_size
        for name, file in (
            ("ecvl", "w1.nii.gz"),
            ("nibabel", "w2.nii.gz"),
            ("SimpleITK", "w3.nii.gz"),
        )
    }
    return rows


def _pictures(folder: Path, rounds: int) -> dict[str, Any]:
    y, x = np.ogrid[-1:1:1024j, -1:1:1024j]
    noise = np.random.default_rng(0).normal(0, 6, (1024, 1024, 3))
    pixels = np.clip((128 + 100 * np.sin(5 * x * y))[..., None] + noise, 0, 255).astype(np.uint8)
    rows: dict[str, Any] = {}
    for suffix in (".png", ".jpg", ".bmp", ".tif"):
        path = str(folder / f"picture{suffix}")
        ecvl.write(path, ecvl.Image(pixels, "yxc"))

        def pillow(path: str = path) -> int:
            with Pillow.open(path) as opened:
                return _sum(opened)

        rows[f"read picture{suffix}"] = _medians(
            {
                "ecvl": lambda path=path: _sum(ecvl.read(path)),
                "Pillow": pillow,
                "OpenCV": lambda path=path: _sum(cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)),
            },
            rounds,
        )
    return rows


def _write_series(folder: Path, volume: NDArray[np.int16], compress: bool) -> None:
    """A real CT header, of which what differs from slice to slice is changed."""
    folder.mkdir()
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


def _series(folder: Path, rounds: int) -> dict[str, Any]:
    """64 slices of 512×512; pydicom stacks them by name, without any geometry."""
    volume, rows = _volume((64, 512, 512)).array, {}
    for name, compress in (("plain", False), ("JPEG 2000", True)):
        series = folder / name
        _write_series(series, volume, compress)
        paths = sorted(series.iterdir())

        def itk(series: Path = series) -> int:
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
            found = reader.Execute()
            return _sum(sitk.GetArrayViewFromImage(found))

        actions: dict[str, Action] = {
            "ecvl": lambda series=series: _sum(ecvl.read(series)),
            "SimpleITK": itk,
            "pydicom": lambda paths=paths: _sum(
                np.stack([pydicom.dcmread(path).pixel_array for path in paths])
            ),
        }
        try:
            from monai.transforms import LoadImage

            load = LoadImage(image_only=True)
            actions["MONAI"] = lambda series=series, load=load: _sum(load(str(series)))
        except ImportError:
            pass
        rows[f"read DICOM folder, {name}"] = _medians(actions, max(3, rounds // 2))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = _series(Path(folder), rounds) | _volumes(Path(folder), rounds)
        rows |= _pictures(Path(folder), rounds)
    print(json.dumps({"rounds": rounds, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
