"""TIFF as other programs write it: tifffile, Pillow, OpenCV."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

import ecvl
from ecvl import FormatError, Image, KindError, ParameterError

RNG = np.random.default_rng(4)
GREY = RNG.integers(0, 256, (20, 24)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (20, 24, 3)).astype(np.uint8)
TYPES = "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64".split()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("options", [
    {}, {"compression": "zlib"}, {"bigtiff": True, "byteorder": ">"}, {"tile": (16, 16)},
    {"compression": "zlib", "predictor": True},
], ids=str)  # fmt: skip
def test_any_type_is_read(tmp_path: Path, dtype: str, colour: bool, options: Any) -> None:
    if "predictor" in options and (np.dtype(dtype).kind == "f" or np.dtype(dtype).itemsize > 4):
        pytest.skip("tifffile alone writes no predictor for this type")
    values = (COLOUR if colour else GREY).astype(dtype)
    photometric = "rgb" if colour else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric, metadata=None, **options)
    back = ecvl.read(tmp_path / "a.tif")
    assert back.dtype == dtype
    assert np.array_equal(back, values)
    assert ecvl.info(tmp_path / "a.tif").dtype == dtype


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "I;16", "F"])
def test_pillows_files_are_read(tmp_path: Path, compression: str | None, mode: str) -> None:
    if mode == "I;16":
        picture = Pillow.fromarray(GREY.astype(np.uint16) * 257)
    else:
        picture = Pillow.fromarray(COLOUR).convert(mode)
    picture.save(tmp_path / "a.tif", compression=compression)
    with Pillow.open(tmp_path / "a.tif") as opened:
        expected = np.asarray(opened.convert("RGB") if mode == "P" else opened)
    if mode == "1":
        expected = expected * np.uint8(255)
    found = ecvl.read(tmp_path / "a.tif", alpha="keep")
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_opencvs_lzw_is_read(tmp_path: Path, dtype: str) -> None:
    values = COLOUR.astype(dtype)
    cv2.imwrite(str(tmp_path / "a.tif"), values[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    back = ecvl.read(tmp_path / "a.tif")
    assert back.dtype == dtype
    assert np.array_equal(back, values)


def test_jpeg_and_fax_pages(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    Pillow.fromarray(smooth).convert("RGB").save(tmp_path / "a.tif", compression="jpeg", quality=95)
    assert np.abs(ecvl.read(tmp_path / "a.tif").array.astype(int) - smooth[..., None]).max() < 10
    bits = smooth > 50
    Pillow.fromarray(bits).save(tmp_path / "b.tif", compression="group4")
    assert np.array_equal(ecvl.read(tmp_path / "b.tif"), bits * np.uint8(255))
    assert np.array_equal(ecvl.read(tmp_path / "b.tif", kind="labels"), bits)


def test_white_is_zero_is_turned(tmp_path: Path) -> None:
    for values in (GREY, GREY.astype(np.uint16) * 100):
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite", metadata=None)
        assert np.array_equal(ecvl.read(tmp_path / "a.tif"), np.iinfo(values.dtype).max - values)
        assert np.array_equal(ecvl.read(tmp_path / "a.tif", raw=True), values)


def test_grey_with_alpha(tmp_path: Path) -> None:
    both = np.stack([GREY, 255 - GREY], -1)
    Pillow.fromarray(both, "LA").save(tmp_path / "a.tif")
    for options, expected in (({}, GREY), ({"alpha": "keep"}, both)):
        assert np.array_equal(ecvl.read(tmp_path / "a.tif", **options), expected)
    assert ecvl.info(tmp_path / "a.tif").shape == GREY.shape


def test_planar_colour(tmp_path: Path) -> None:
    values = np.moveaxis(COLOUR, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb", planarconfig="separate", metadata=None
    )
    assert np.array_equal(ecvl.read(tmp_path / "a.tif"), COLOUR)


@pytest.mark.parametrize("pages", ["z", "t", "n"])
def test_pages_are_the_axis_that_is_asked_for(tmp_path: Path, pages: Any) -> None:
    values = RNG.integers(0, 256, (4, 20, 24)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, metadata=None, photometric="minisblack")
    back = ecvl.read(tmp_path / "a.tif", pages=pages)
    assert back.axes == f"{pages}yx"
    assert np.array_equal(back, values)
    assert np.array_equal(ecvl.read(tmp_path / "a.tif", page=-1), values[3])
    assert ecvl.info(tmp_path / "a.tif", pages=pages).axes == back.axes
    with pytest.raises(ParameterError, match="'z', 't' or 'n'"):
        ecvl.read(tmp_path / "a.tif", pages="c")


def test_pages_that_differ_are_chosen_from(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GREY, metadata=None)
        writer.write(COLOUR, metadata=None, photometric="rgb")
    with pytest.raises(FormatError, match="page="):
        ecvl.read(tmp_path / "a.tif")
    assert np.array_equal(ecvl.read(tmp_path / "a.tif", page=0), GREY)
    assert np.array_equal(ecvl.read(tmp_path / "a.tif", page=1), COLOUR)


def test_imagej_stacks(tmp_path: Path) -> None:
    values = RNG.integers(0, 60_000, (2, 3, 4, 20, 24)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        imagej=True,
        resolution=(1 / 0.5, 1 / 0.25),
        metadata={"axes": "TZCYX", "spacing": 2.0, "unit": "um", "finterval": 0.125},
    )
    back = ecvl.read(tmp_path / "a.tif")
    assert (back.axes, back.time_step) == ("tzcyx", 0.125)
    assert np.array_equal(back, values)
    np.testing.assert_allclose(back.spacing, (0.002, 0.00025, 0.0005))
    assert np.array_equal(
        ecvl.read(tmp_path / "a.tif", lazy=True)[1, 2, 3, :5], values[1, 2, 3, :5]
    )


def test_everything_of_an_image_comes_back(volume: Any, tmp_path: Path) -> None:
    image = volume(kind="labels", dtype=np.uint16).replace(label_names={2: "a"})
    ecvl.write(tmp_path / "a.tif", image)
    back = ecvl.read(tmp_path / "a.tif")
    assert (back.kind, back.label_names) == ("labels", {2: "a"})
    assert np.array_equal(back.affine, image.affine)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), image)
    with pytest.raises(KindError, match="int64"):
        ecvl.write(tmp_path / "b.tif", Image(np.zeros((2, 2), np.int64), "yx"))
    with pytest.raises(FormatError, match="end in yx"):
        ecvl.write(tmp_path / "b.tif", Image(np.zeros((2, 3, 4)), "ycx"))
    with pytest.raises(ParameterError, match="deflate"):
        ecvl.write(tmp_path / "b.tif", image, compression="zip")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_labels_of_64_bits_are_written_small(tmp_path: Path) -> None:
    labels = Image(np.array([[0, 70_000]]), "yx", kind="labels")
    assert ecvl.write(tmp_path / "a.tif", labels) == 0
    assert np.array_equal(ecvl.read(tmp_path / "a.tif"), labels)


def test_other_files_that_a_document_names_are_not_opened(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "secret.tif", GREY)
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels'
        ' ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="24" SizeY="20" SizeZ="2"'
        ' SizeC="1" SizeT="1"><TiffData IFD="0" FirstZ="1"><UUID FileName="secret.tif">urn:uuid:1'
        "</UUID></TiffData></Pixels></Image></OME>"
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, description=text, metadata=None)
    assert ecvl.read(tmp_path / "a.ome.tif").shape == (20, 24)
