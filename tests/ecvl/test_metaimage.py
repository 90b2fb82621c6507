"""MetaImage's own header fields; against SimpleITK it stands in `test_nrrd.py`."""

import zlib
from pathlib import Path

import numpy as np
import pytest

import ecvl
from ecvl import EcvlError, FormatError, GeometryError, Image

VALUES = np.arange(24, dtype="<i2").reshape(2, 3, 4)
PLAIN = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\n"
LOCAL = "ElementDataFile = LOCAL\n"


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ("", VALUES.tobytes()),
        ("BinaryDataByteOrderMSB = True\n", VALUES.astype(">i2").tobytes()),
        ("ElementByteOrderMSB = True\n", VALUES.astype(">i2").tobytes()),
        ("CompressedData = True\n", zlib.compress(VALUES.tobytes())),
        ("BinaryData = False\n", " ".join(map(str, VALUES.ravel())).encode()),
        ("HeaderSize = 4\n", b"skip" + VALUES.tobytes()),
        ("HeaderSize = -1\n", b"anything" + VALUES.tobytes()),
    ],
)
def test_encodings(tmp_path: Path, fields: str, data: bytes) -> None:
    (tmp_path / "a.mha").write_bytes((PLAIN + fields + LOCAL).encode() + data)
    assert np.array_equal(ecvl.read(tmp_path / "a.mha"), VALUES)
    assert np.array_equal(ecvl.read(tmp_path / "a.mha", lazy=True)[1, :2], VALUES[1, :2])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (PLAIN.replace("4 3 2", "4 3 0"), "at least 1"),
        (PLAIN.replace("4 3 2", "40000 30000 20000"), "promises"),
        (PLAIN.replace("4 3 2", "4 3"), "3 whole numbers"),
        (PLAIN.replace("NDims = 3", "NDims = 9"), "2 to 4"),
        (PLAIN.replace("MET_SHORT", "MET_STRING"), "type of numbers"),
        (PLAIN.replace("= Image", "= Tube"), "expected an image"),
        (PLAIN + "TransformMatrix = 1 0 0 1 0 0 0 0 1\n", "invertible"),
        (PLAIN + "ElementSpacing = 1 nan 1\n", "3 numbers"),
        (PLAIN + "CompressedData = True\n", "zlib stream"),
        (PLAIN + "HeaderSize = -7\n", "HeaderSize"),
    ],
)
def test_damage_is_one_clear_line(tmp_path: Path, fields: str, message: str) -> None:
    (tmp_path / "a.mha").write_bytes((fields + LOCAL).encode() + VALUES.tobytes())
    with pytest.raises(EcvlError, match=message) as caught:
        ecvl.read(tmp_path / "a.mha")
    assert "\n" not in str(caught.value)
    assert "a.mha" in str(caught.value)


def test_several_data_files_and_missing_ends_are_refused(tmp_path: Path) -> None:
    for end in ("ElementDataFile = LIST\n", "ElementDataFile = a%03d.raw 1 2 1\n"):
        (tmp_path / "a.mhd").write_text(PLAIN + end)
        with pytest.raises(FormatError, match="one data file"):
            ecvl.read(tmp_path / "a.mhd")
    (tmp_path / "a.mhd").write_text(PLAIN)
    with pytest.raises(FormatError, match="ElementDataFile"):
        ecvl.read(tmp_path / "a.mhd")


def test_a_plane_of_its_own_is_refused(tmp_path: Path) -> None:
    volume = Image(np.zeros((3, 4, 5), np.uint8), "zyx")
    with pytest.raises(GeometryError, match=r"image\[None\]"):
        ecvl.write(tmp_path / "a.mha", volume[2])
    ecvl.write(tmp_path / "a.mha", volume[2][None])
    assert np.array_equal(ecvl.read(tmp_path / "a.mha").affine, volume[2].affine)
