"""Pictures against Pillow and OpenCV, mode by mode, and what may not be believed."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

import ecvl
from ecvl import EcvlError, FormatError, Image, ImRead, ImWrite, KindError, ParameterError

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (9, 12)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (9, 12, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (9, 12, 3)).astype(np.uint16)
SMOOTH = np.stack([np.add.outer(np.arange(64), np.arange(48)) * f for f in (1, 2, 0.5)], -1)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "ppm", "tif"])
def test_colour_is_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    assert ImWrite(path, Image(COLOUR, "yxc")) == 0
    with Pillow.open(path) as opened:
        assert np.array_equal(np.asarray(opened.convert("RGB")), COLOUR)
    assert np.array_equal(ImRead(path), COLOUR)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_of_16_bits_is_whole(tmp_path: Path, suffix: str, channels: int) -> None:
    values = RNG.integers(0, 65536, (9, 12, channels)).astype(np.uint16)
    path = tmp_path / f"a.{suffix}"
    ImWrite(path, Image(values, "yxc"))
    assert np.array_equal(ImRead(path, alpha="keep"), values)
    assert np.array_equal(ImRead(path), values[..., :3])
    theirs = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(theirs[..., [2, 1, 0, *range(3, channels)]], values)
    assert ecvl.info(path).dtype == np.uint16


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
def test_grey_of_16_bits_is_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    ImWrite(path, Image(DEEP[..., 0], "yx"))
    assert np.array_equal(ImRead(path), DEEP[..., 0])
    assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), DEEP[..., 0])


def test_16_bit_ppm(tmp_path: Path) -> None:
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6\n# made here\n12 9\n65535\n" + DEEP.astype(">u2").tobytes())
    assert np.array_equal(ImRead(path), DEEP)


@pytest.mark.parametrize("suffix", ["png", "tif", "gif", "bmp"])
def test_palettes_are_resolved(tmp_path: Path, suffix: str) -> None:
    indices = (GREY % 4).astype(np.uint8)
    picture = Pillow.fromarray(indices)
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200] + [0] * 756)
    picture.save(tmp_path / f"a.{suffix}")
    colours = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    assert np.array_equal(ImRead(tmp_path / f"a.{suffix}"), colours[indices])
    for options in ({"raw": True}, {"kind": "labels"}):
        found = ImRead(tmp_path / f"a.{suffix}", **options)
        with Pillow.open(tmp_path / f"a.{suffix}") as opened:
            stored = np.asarray(opened)
        assert np.array_equal(found, stored)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "pbm"])
def test_bilevel_pictures(tmp_path: Path, suffix: str) -> None:
    bits = GREY > 128
    Pillow.fromarray(bits).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(ImRead(tmp_path / f"a.{suffix}"), bits * np.uint8(255))
    assert np.array_equal(ImRead(tmp_path / f"a.{suffix}", kind="labels"), bits)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_alpha(tmp_path: Path, suffix: str) -> None:
    values = RNG.integers(0, 256, (9, 12, 4)).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    ImWrite(path, Image(values, "yxc"))
    assert np.array_equal(ImRead(path), values[..., :3])
    assert np.array_equal(ImRead(path, alpha="keep"), values)
    with pytest.raises(ParameterError, match="'keep'"):
        ImRead(path, alpha="yes")


def test_grey_with_alpha_and_transparent_colours(tmp_path: Path) -> None:
    both = np.stack([GREY, 255 - GREY], -1)
    Pillow.fromarray(both, "LA").save(tmp_path / "a.png")
    assert np.array_equal(ImRead(tmp_path / "a.png"), GREY)
    assert np.array_equal(ImRead(tmp_path / "a.png", alpha="keep"), both)
    Pillow.fromarray(COLOUR).save(tmp_path / "b.png", transparency=tuple(COLOUR[0, 0].tolist()))
    assert np.array_equal(ImRead(tmp_path / "b.png"), COLOUR)
    assert ImRead(tmp_path / "b.png", alpha="keep").array[0, 0, 3] == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(SMOOTH.astype(np.uint8)).save(tmp_path / "a.jpg", exif=exif, quality=100)
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }
    raw = ImRead(tmp_path / "a.jpg", raw=True)
    assert raw.shape == SMOOTH.shape
    found = ImRead(tmp_path / "a.jpg")
    assert ecvl.info(tmp_path / "a.jpg").shape == found.shape
    assert np.array_equal(found, turns[orientation](raw.array))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Pillow.fromarray(SMOOTH.astype(np.uint8)).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(ImRead(tmp_path / "a.jpg").array.astype(int) - SMOOTH.astype(np.uint8)).max() < 12
    assert ImRead(tmp_path / "a.jpg", raw=True).shape == (64, 48, 4)


def test_animations_are_time(tmp_path: Path) -> None:
    frames = [Pillow.fromarray(np.full((9, 12, 3), v, np.uint8)) for v in (10, 90, 200)]
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"a.{suffix}"
        extra = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=40, **extra)
        image = ImRead(path)
        assert (image.axes, image.shape) == ("tyxc", (3, 9, 12, 3))
        assert image.time_step == pytest.approx(0.04)
        assert image.array[:, 4, 4, 0].tolist() == [10, 90, 200]
        assert ImRead(path, page=1).array[0, 0].tolist() == [90] * 3
        assert ecvl.info(path).shape == image.shape
        with pytest.raises(ParameterError, match="below 3"):
            ImRead(path, page=3)


def test_the_error_of_lossy_formats_is_returned(tmp_path: Path) -> None:
    image = Image(COLOUR, "yxc")
    for name, options in (("a.jpg", {}), ("b.jpg", {"quality": 20}), ("c.webp", {"quality": 50})):
        error = ImWrite(tmp_path / name, image, **options)
        found = np.abs(ImRead(tmp_path / name).array.astype(int) - COLOUR).max()
        assert error == found > 0
    with pytest.raises(ParameterError, match="1 to 100"):
        ImWrite(tmp_path / "d.jpg", image, quality=0)
    labels = Image(GREY, "yx", kind="labels")
    with pytest.raises(KindError, match="change labels"):
        ImWrite(tmp_path / "d.jpg", labels)
    with pytest.raises(FormatError, match="expected"):
        ImWrite(tmp_path / "d.nii", labels)
    assert not (tmp_path / "d.jpg").exists()


def test_resolution_is_spacing_but_for_that_of_screens(tmp_path: Path) -> None:
    picture = Pillow.fromarray(GREY)
    for suffix in ("png", "tif"):
        picture.save(tmp_path / f"a.{suffix}", dpi=(300, 600))
        found = ImRead(tmp_path / f"a.{suffix}").spacing
        np.testing.assert_allclose(found, (25.4 / 600, 25.4 / 300), rtol=1e-3)
        for dots in (72, 96):
            picture.save(tmp_path / f"a.{suffix}", dpi=(dots, dots))
            assert ImRead(tmp_path / f"a.{suffix}").spacing == (1, 1)
    picture.save(tmp_path / "a.jpg", dpi=(300, 300))
    assert ImRead(tmp_path / "a.jpg").spacing == (1, 1)


def test_a_note_counts_only_for_its_sizes(tmp_path: Path) -> None:
    image = Image(GREY, "yx", np.diag([2, 3, 1, 1]), "labels", label_names={1: "ö"})
    ImWrite(tmp_path / "a.png", image)
    back = ImRead(tmp_path / "a.png")
    assert (back.kind, back.label_names, back.spacing) == ("labels", {1: "ö"}, (3, 2))
    from PIL.PngImagePlugin import PngInfo

    with Pillow.open(tmp_path / "a.png") as opened:
        note = PngInfo()
        note.add_text("ecvl", opened.text["ecvl"])
        opened.resize((5, 5)).save(tmp_path / "b.png", pnginfo=note)
    assert ImRead(tmp_path / "b.png").kind == "image"


def test_labels_of_alike_channels_are_one(tmp_path: Path) -> None:
    Pillow.fromarray(np.stack([GREY] * 3, -1)).save(tmp_path / "a.png")
    assert np.array_equal(ImRead(tmp_path / "a.png", kind="labels"), GREY)
    Pillow.fromarray(COLOUR).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match="that differ"):
        ImRead(tmp_path / "a.png", kind="labels")


def test_labels_of_any_integer_type_are_written_small(tmp_path: Path) -> None:
    values = np.array([[0, 300], [7, 8]], np.int64)
    assert ImWrite(tmp_path / "a.png", Image(values, "yx", kind="labels")) == 0
    assert np.array_equal(ImRead(tmp_path / "a.png"), values)
    with pytest.raises(KindError, match="cannot hold"):
        ImWrite(tmp_path / "a.png", Image(values, "yx"))


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _bomb(name: str) -> bytes:
    stream = io.BytesIO()
    if name == "a.png":
        return _png(60_000, 60_000)
    Pillow.fromarray(COLOUR).save(stream, {"a.gif": "GIF", "a.bmp": "BMP", "a.jpg": "JPEG"}[name])
    content = bytearray(stream.getvalue())
    if name == "a.gif":
        content[6:10] = struct.pack("<HH", 60_000, 60_000)
    elif name == "a.bmp":
        content[18:26] = struct.pack("<ii", 60_000, 60_000)
    else:
        at = content.index(b"\xff\xc0")
        content[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(content)


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp", "a.jpg"])
def test_a_promise_of_gigabytes_asks_for_no_memory(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(_bomb(name))
    for act in (ecvl.read, ecvl.info):
        with pytest.raises(FormatError, match=r"promises|cannot decode"):
            act(tmp_path / name)


def test_blank_pictures_are_read_when_trusted(tmp_path: Path) -> None:
    blank = np.zeros((4000, 4000), bool)
    for name in ("a.png", "a.tif"):
        options = {"compression": "group4"} if name == "a.tif" else {}
        Pillow.fromarray(blank).save(tmp_path / name, **options)
    assert ImRead(tmp_path / "a.png").shape == blank.shape
    with pytest.raises(FormatError, match="trusted=True"):
        ImRead(tmp_path / "a.tif")
    assert ImRead(tmp_path / "a.tif", trusted=True).shape == blank.shape


def test_damage_is_one_clear_line(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.bmp", "a.webp", "a.ppm", "a.tif"):
        ImWrite(tmp_path / name, Image(COLOUR, "yxc"))
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(EcvlError, match=name.replace(".", r"\.")) as caught:
            ImRead(tmp_path / name)
        assert "\n" not in str(caught.value)
    ecvl.write(tmp_path / "a.nii", Image(GREY, "yx"))
    with pytest.raises(FormatError, match="expected a picture"):
        ImRead(tmp_path / "a.nii")


def test_the_settings_of_pillow_stay_as_they_are(tmp_path: Path) -> None:
    before = Pillow.MAX_IMAGE_PIXELS
    ImWrite(tmp_path / "a.png", Image(COLOUR, "yxc"))
    ImRead(tmp_path / "a.png")
    assert before == Pillow.MAX_IMAGE_PIXELS
