"""How fast is a compressed CT-like volume read and written, against nibabel and SimpleITK?

Prints one JSON object: the best seconds of several rounds, taken in turn so that all see the same
load.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk

import ecvl

ROUNDS = 5


def _volume(shape: tuple[int, int, int] = (128, 256, 256)) -> ecvl.Image:
    """Smooth structures and noise of a few bits: about what a CT packs to."""
    z, y, x = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    body = 1000 * np.exp(-3 * (z**2 + y**2 + x**2)) - 500
    noise = np.random.default_rng(0).normal(0, 12, shape)
    return ecvl.Image((body + noise).astype(np.int16), "zyx", np.diag([0.8, 0.8, 1.5, 1]))


def _best(actions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    seconds = {name: float("inf") for name in actions}
    for _ in range(ROUNDS):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return {name: round(value, 4) for name, value in seconds.items()}


def main() -> None:
    image = _volume()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        ecvl.write(path, image)
        theirs = nibabel.Nifti1Image(image.array.T, image.affine)
        itk = sitk.GetImageFromArray(image.array)
        reading = _best(
            {
                "ecvl": lambda: ecvl.read(path),
                "nibabel": lambda: np.asanyarray(nibabel.load(path).dataobj),
                "SimpleITK": lambda: sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
            }
        )
        out = Path(folder)
        writing = _best(
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
    print(json.dumps({"shape": image.shape, "read": reading, "write": writing, "bytes": sizes}))


if __name__ == "__main__":
    main()
