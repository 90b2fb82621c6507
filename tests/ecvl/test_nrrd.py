"""NRRD against SimpleITK, in both directions, and what may not be believed."""

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import ecvl
from ecvl import EcvlError, FormatError, Image, MissingFileError

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def itk_affine(image: Any) -> Any:
    """The voxel x, y, z to RAS+ matrix of a SimpleITK image."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS @ affine


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
def test_simpleitk_reads_what_we_write(volume: Any, tmp_path: Path, name: str) -> None:
    image = volume()
    ecvl.write(tmp_path / name, image)
    theirs = sitk.ReadImage(str(tmp_path / name))
    assert np.array_equal(sitk.GetArrayFromImage(theirs), image)
    np.testing.assert_allclose(itk_affine(theirs), image.affine, atol=1e-9)
    colour = image.replace(array=np.stack([image.array] * 3, -1).astype(np.uint8), axes="zyxc")
    ecvl.write(tmp_path / name, colour)
    theirs = sitk.ReadImage(str(tmp_path / name))
    assert theirs.GetNumberOfComponentsPerPixel() == 3
    assert np.array_equal(sitk.GetArrayFromImage(theirs), colour)
    series = Image(np.zeros((5, 2, 3, 4), np.uint8), "tzyx", meta={"time_step": 2.5})
    ecvl.write(tmp_path / name, series)
    theirs = sitk.ReadImage(str(tmp_path / name))
    # ITK takes an axis that is not space for the components of a vector.
    assert theirs.GetSize() == ((4, 3, 2) if "n" in name else (4, 3, 2, 5))
    assert ecvl.read(tmp_path / name).time_step == 2.5
    flat = Image(np.arange(12, dtype=np.uint8).reshape(3, 4), "yx", np.diag([2, 3, 1, 1]))
    ecvl.write(tmp_path / name, flat)
    theirs = sitk.ReadImage(str(tmp_path / name))
    assert np.array_equal(np.squeeze(sitk.GetArrayFromImage(theirs)), flat)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("packed", [True, False])
def test_we_read_what_simpleitk_writes(
    volume: Any, tmp_path: Path, name: str, packed: bool
) -> None:
    image = volume()
    theirs = sitk.GetImageFromArray(image.array)
    lps = LPS @ image.affine
    theirs.SetSpacing(np.linalg.norm(lps[:3, :3], axis=0).tolist())
    theirs.SetDirection((lps[:3, :3] / np.linalg.norm(lps[:3, :3], axis=0)).ravel().tolist())
    theirs.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(theirs, str(tmp_path / name), packed)
    back = ecvl.read(tmp_path / name)
    assert np.array_equal(back, image)
    np.testing.assert_allclose(back.affine, image.affine, atol=1e-6)
    vectors = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
    sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), str(tmp_path / name), packed)
    back = ecvl.read(tmp_path / name, raw=True)
    assert back.axes == "zyxc"
    assert np.array_equal(back, vectors)
    series = np.arange(120, dtype=np.int16).reshape(5, 2, 3, 4)
    theirs = sitk.GetImageFromArray(series, isVector=False)
    theirs.SetSpacing((1, 2, 3, 0.5))
    sitk.WriteImage(theirs, str(tmp_path / name), packed)
    back = ecvl.read(tmp_path / name)
    assert (back.axes, back.spacing, back.time_step) == ("tzyx", (3, 2, 1), 0.5)
    assert np.array_equal(back, series)
    plane = np.arange(20, dtype=np.uint16).reshape(4, 5)
    sitk.WriteImage(sitk.GetImageFromArray(plane), str(tmp_path / name), packed)
    assert np.array_equal(ecvl.read(tmp_path / name), plane)


def _nrrd(fields: str, data: bytes, version: int = 4) -> bytes:
    return f"NRRD000{version}\n# a comment\n{fields}\n\n".encode() + data


PLAIN = "type: short\ndimension: 3\nsizes: 4 3 2\nencoding: raw\nendian: little"
VALUES = np.arange(24, dtype="<i2").reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        (PLAIN, VALUES.tobytes()),
        (PLAIN.replace("little", "big"), VALUES.astype(">i2").tobytes()),
        (PLAIN.replace("raw", "gz"), gzip.compress(VALUES.tobytes())),
        (PLAIN.replace("raw", "bzip2"), bz2.compress(VALUES.tobytes())),
        (PLAIN.replace("raw", "text"), " ".join(map(str, VALUES.ravel())).encode()),
        (PLAIN + "\nbyte skip: 3", b"xyz" + VALUES.tobytes()),
        (PLAIN + "\nbyte skip: -1", b"anything" + VALUES.tobytes()),
        (PLAIN + "\nline skip: 2", b"one\ntwo\n" + VALUES.tobytes()),
        (PLAIN.replace("raw", "gzip") + "\nbyte skip: 2", gzip.compress(b"ab" + VALUES.tobytes())),
    ],
)
def test_encodings(tmp_path: Path, fields: str, data: bytes) -> None:
    (tmp_path / "a.nrrd").write_bytes(_nrrd(fields, data))
    assert np.array_equal(ecvl.read(tmp_path / "a.nrrd"), VALUES)
    lazy = ecvl.read(tmp_path / "a.nrrd", lazy=True)
    assert np.array_equal(lazy[1, 1:, ::2], VALUES[1, 1:, ::2])


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1)),
        ("RAS", (1, 1)),
        ("right-anterior-superior", (1, 1)),
        ("left-anterior-superior", (-1, 1)),
        ("LPS", (-1, -1)),
        ("scanner-xyz", (-1, -1)),
    ],
)
def test_spaces(tmp_path: Path, space: str, signs: Any) -> None:
    fields = (
        f"{PLAIN}\nspace: {space}\nspace directions: (2,0,0) (0,3,0) (0,0,4)\n"
        'space origin: (5,6,7)\nspace units: "mm" "mm" "mm"'
    )
    (tmp_path / "a.nrrd").write_bytes(_nrrd(fields, VALUES.tobytes()))
    expected = np.diag([2.0 * signs[0], 3 * signs[1], 4, 1])
    expected[:3, 3] = 5 * signs[0], 6 * signs[1], 7
    np.testing.assert_array_equal(ecvl.read(tmp_path / "a.nrrd").affine, expected)


def test_slicers_segmentations_are_labels(tmp_path: Path) -> None:
    keys = "\nSegment0_LabelValue:=1\nSegment0_Name:=liver\nSegment1_LabelValue:=7"
    (tmp_path / "a.seg.nrrd").write_bytes(_nrrd(PLAIN + keys, VALUES.tobytes()))
    labels = ecvl.read(tmp_path / "a.seg.nrrd")
    assert (labels.kind, labels.label_names) == ("labels", {1: "liver", 7: "Segment1"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (PLAIN.replace("4 3 2", "4 3 0"), "at least 1"),
        (PLAIN.replace("4 3 2", "40000 30000 20000"), "promises"),
        (PLAIN.replace("4 3 2", "4 3"), "as many sizes"),
        (PLAIN.replace("4 3 2", "4 -3 2"), "whole numbers"),
        (PLAIN.replace("short", "block"), "type of numbers"),
        (PLAIN.replace("raw", "hex"), "encoding"),
        (PLAIN.replace("little", "middle"), "endian"),
        (PLAIN + "\nspace directions: (1,0,0) (0,1,0)", "3 space directions"),
        (PLAIN + "\nspace directions: (1,0,0) (1,0,0) (0,0,1)", "invertible"),
        (PLAIN + "\nspace directions: (1,0,0) (0,nan,0) (0,0,1)", "finite"),
        (PLAIN + "\nspace directions: (a,0,0) (0,1,0) (0,0,1)", "vectors"),
        (PLAIN + "\nno colon here", "field"),
        (PLAIN + "\nbyte skip: -2", "skips"),
        (PLAIN.replace("raw", "gzip"), "gzip stream"),
        (PLAIN.replace("raw", "bzip2"), "cannot read"),
        (PLAIN.replace("raw", "text"), "numbers"),
        ("dimension: 3", "'sizes'"),
    ],
)
def test_damage_is_one_clear_line(tmp_path: Path, fields: str, message: str) -> None:
    (tmp_path / "a.nrrd").write_bytes(_nrrd(fields, VALUES.tobytes()))
    with pytest.raises(EcvlError, match=message) as caught:
        ecvl.read(tmp_path / "a.nrrd")
    assert "\n" not in str(caught.value)
    assert "a.nrrd" in str(caught.value)


@pytest.mark.parametrize("suffix", ["nhdr", "mhd"])
def test_voxels_are_found_in_the_own_folder_only(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(VALUES.tobytes())
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    (folder / "own.raw").write_bytes(VALUES.tobytes())

    def header(data: str) -> bytes:
        if suffix == "nhdr":
            return f"NRRD0004\n{PLAIN}\ndata file: {data}\n".encode()
        return (
            "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\n"
            f"ElementDataFile = {data}\n"
        ).encode()

    path = folder / f"a.{suffix}"
    path.write_bytes(header("own.raw"))
    assert np.array_equal(ecvl.read(path), VALUES)
    for data in ("../secret.raw", str(tmp_path / "secret.raw"), "link.raw"):
        path.write_bytes(header(data))
        with pytest.raises(FormatError, match="outside its own folder"):
            ecvl.read(path)
    for data in ("none.raw", "a\0b"):
        path.write_bytes(header(data))
        with pytest.raises(MissingFileError, match="beside it"):
            ecvl.read(path)
