"""PNG, JPEG, BMP, GIF, WebP and PNM, through Pillow: one table, one way in, one way out.

* Colour is RGB: palettes, CMYK, YCbCr and Lab are resolved. `raw=True` and labels give the indices
  of a palette. A bilevel picture is 0 and 255 (labels and raw: 0 and 1).
* Alpha is dropped unless `alpha="keep"`; the colours under it are those of the file.
* EXIF rotation is applied, except with `raw=True`. Gamma and colour profiles are not.
* Several frames are axes "tyxc"; `page=` takes one.
* The sizes of the header are checked before a decoder sees the pixels. Pillow decodes in this
  process: a hundred thousand mutants (`tests/ecvl/fuzz/harness.py`) have not made it crash. OpenCV,
  which no such care was taken with, decodes in a child (`deep`).
* A picture of one frame is decoded when it is opened, also with `lazy=True`.

PNG keeps the geometry (`notes`), the others none. Held by `tests/ecvl/test_pictures.py`.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import FormatError, KindError, ParameterError
from ecvl.image import Image, Kind
from ecvl.io import deep, isolation, notes
from ecvl.io.files import existing, opened_plain, written_atomically
from ecvl.io.lazy import LazyImage
from ecvl.io.pixels import (
    Alpha,
    beginning,
    checked_alpha,
    chosen_page,
    decoding,
    one_channel,
    require_sensible,
    values_of,
)
from ecvl.io.registry import Format, Info, format_of, read, register, write
from ecvl.io.scaling import smallest_integer_type
from ecvl.regions import Box

GREATEST_HEADER = 1 << 12
ROTATED = (5, 6, 7, 8)


@dataclass(frozen=True)
class Picture:
    """A row of the table.

    Attributes:
        name: of the format.
        extensions: that writing knows; none where it is not written.
        starts: what the content begins with.
        plugin: Pillow's module and class.
        modes: the modes that are written.
        options: what `write` takes.
        inside: what stands at byte 8 besides, for RIFF files.
    """

    name: str
    extensions: tuple[str, ...]
    starts: tuple[bytes, ...]
    plugin: str
    modes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    inside: bytes = b""


PICTURES = (
    Picture("png", (".png",), (b"\x89PNG\r\n\x1a\n",), "PngImagePlugin:PngImageFile",
            ("L", "I;16", "LA", "RGB", "RGBA", "deep")),
    Picture("jpeg", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), "JpegImagePlugin:JpegImageFile",
            ("L", "RGB"), ("quality",)),
    Picture("bmp", (".bmp",), (b"BM",), "BmpImagePlugin:BmpImageFile", ("L", "RGB")),
    Picture("gif", (), (b"GIF87a", b"GIF89a"), "GifImagePlugin:GifImageFile"),
    Picture("webp", (".webp",), (b"RIFF",), "WebPImagePlugin:WebPImageFile", ("RGB", "RGBA"),
            ("quality",), b"WEBP"),
    Picture("pnm", (".pgm", ".ppm"), (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"),
            "PpmImagePlugin:PpmImageFile", ("L", "I;16", "RGB")),
)  # fmt: skip


def ImRead(path: str | os.PathLike[str], **options: Any) -> Image:
    """Read a picture: PNG, JPEG, BMP, GIF, WebP, PNM or TIFF, by its content.

    Args:
        path: the file.
        options: `kind`, `raw`, `page`, `alpha` and for TIFF `pages`, as in `ecvl.read`.

    Returns:
        Axes "yx" or "yxc" (RGB), and "tyxc" or "zyx[c]" for several frames or pages.

    Raises:
        FormatError: it is no picture, or damaged.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/a.png"
        >>> ImWrite(path, Image(np.zeros((4, 5, 3), np.uint8), "yxc"))
        0.0
        >>> ImRead(path)
        Image(image yxc 4×5×3 uint8, spacing 1×1 mm, RAS)
    """
    found = existing(path)
    entry = format_of(found)
    if "alpha" not in entry.options:
        raise FormatError(
            f"expected a picture in {found.name!r}, received {entry.name}; read it with ecvl.read"
        )
    image: Image = read(found, **options)
    return image


def ImWrite(path: str | os.PathLike[str], image: Image, **options: Any) -> float:
    """Write a picture in the format that the extension names.

    Args:
        path: ends in .png, .jpg, .jpeg, .bmp, .webp, .pgm, .ppm, .tif or .tiff.
        image: axes "yx" or "yxc" (TIFF: any), of a type that the format holds.
        options: `quality` (1 to 100) for JPEG (95 by default) and WebP (lossless by default).

    Returns:
        The greatest difference between a pixel and what the file gives back.

    Raises:
        FormatError: the extension is of no picture, or the format does not hold the axes.
        KindError: it does not hold the type, or would change labels.

    Example:
        >>> import tempfile
        >>> ImWrite(tempfile.mkdtemp() + "/a.bmp", Image(np.zeros((4, 5), np.uint8), "yx"))
        0.0
    """
    known = [*(e for row in PICTURES for e in row.extensions), ".tif", ".tiff"]
    if not str(path).lower().endswith(tuple(known)):
        raise FormatError(f"cannot write {Path(path).name!r}: expected {', '.join(known)}")
    return write(path, image, **options)


def picture_lazy(
    path: Path,
    row: Picture,
    *,
    kind: Kind | None = None,
    raw: bool = False,
    page: int | None = None,
    alpha: Alpha = "drop",
    trusted: bool = False,
) -> LazyImage:
    """Read a picture's header, and its pixels when they are indexed: frame by frame.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.png"
        >>> _ = ImWrite(path, Image(np.zeros((4, 5, 3), np.uint8), "yxc"))
        >>> picture_lazy(path, PICTURES[0])[:2].shape
        (2, 5, 3)
    """
    checked_alpha(alpha)
    with _opened(path, row, trusted) as opened:
        count, affine, note, step = _described(opened, row, path, trusted)
        if note is not None and note.shape[:2] == opened.size[::-1]:
            affine, kind = note.affine, kind or note.kind
        else:
            note = None
        kind = kind or "image"
        # Pillow gives the first frame of an animation as indices and the others in colour.
        raw = raw and count == 1
        count, first = chosen_page(page, count, path.name)
        take = partial(_frame, row=row, path=path, raw=raw, kind=kind, alpha=alpha)
        # The channels of a frame follow from its mode, which Pillow changes as it decodes.
        start = take(opened, first)
    shape = start.shape if count == 1 else (count, *start.shape)
    axes = ("" if count == 1 else "t") + ("yx" if start.ndim == 2 else "yxc")
    meta: dict[str, Any] = {"source": {"format": row.name, "path": str(path)}}
    if count > 1:
        meta["time_step"] = step

    def decode(box: Box) -> NDArray[Any]:
        if count == 1:
            return start[tuple(slice(*ends) for ends in box)].copy()
        found = np.empty([stop - begin for begin, stop in box], start.dtype)
        with _opened(path, row, trusted) as opened:
            for place, index in enumerate(range(*box[0])):
                frame = take(opened, index)
                if frame.shape != start.shape or frame.dtype != start.dtype:
                    raise FormatError(
                        f"expected frames of one sort in {path.name!r}, received {start.shape} and "
                        f"{frame.shape}; take one with page="
                    )
                found[place] = frame[tuple(slice(*ends) for ends in box[1:])]
        return found

    names = note.label_names if note is not None and kind == "labels" else None
    return LazyImage(decode, axes, shape, affine, kind, meta, names)


def picture_info(path: Path, row: Picture, *, trusted: bool = False) -> Info:
    """Read a picture's header: what `ecvl.info` gives.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.png"
        >>> _ = ImWrite(path, Image(np.zeros((4, 5, 3), np.uint8), "yxc"))
        >>> picture_info(path, PICTURES[0]).shape
        (4, 5, 3)
    """
    with _opened(path, row, trusted) as opened:
        count, affine, note, step = _described(opened, row, path, trusted)
        mode = str(opened.mode)
        y, x = opened.size[::-1]
        if _orientation(opened) in ROTATED:
            y, x = x, y
        bits = 16 if _deep_bits(path, row) else None
    channels = 1 if mode in ("1", "L", "LA", "I", "F") or mode.startswith("I;") else 3
    dtype = np.dtype(np.uint16 if bits or mode.startswith("I") else np.uint8)
    dtype = np.dtype(np.float32) if mode == "F" else dtype
    shape = ((count,) if count > 1 else ()) + (y, x) + ((3,) if channels == 3 else ())
    axes = ("t" if count > 1 else "") + ("yxc" if channels == 3 else "yx")
    fits = note is not None and note.shape[:2] == (y, x)
    kind: Kind = note.kind if note is not None and fits else "image"
    affine = note.affine if note is not None and fits else affine
    return Info(row.name, axes, shape, dtype, affine, kind, step, {"mode": mode, "pages": count})


def picture_write(path: Path, image: Image, row: Picture, quality: int | None = None) -> float:
    """Write a picture, whole or not at all; returns the greatest error of a pixel.

    Example:
        >>> import tempfile
        >>> image = Image(np.zeros((8, 8), np.uint8), "yx")
        >>> picture_write(Path(tempfile.mkdtemp()) / "a.jpg", image, PICTURES[1])
        0.0
    """
    pixels, mode = _writable(image, row)
    if quality is not None and not (isinstance(quality, int) and 1 <= quality <= 100):
        raise ParameterError(f"expected quality from 1 to 100, received {quality!r}")
    lossy = row.name == "jpeg" or quality is not None
    if lossy and image.kind == "labels":
        raise KindError(f"{row.name} would change labels; write them as .png or .tif")
    content = _encoded(pixels, mode, image, row, quality)
    error = 0.0
    if lossy:
        with _plugin(row)(io.BytesIO(content)) as opened:
            back = np.asarray(opened)
        error = float(np.abs(back.astype(np.int32) - pixels.astype(np.int32)).max())
    with written_atomically(path) as stream:
        stream.write(content)
    return error


@contextmanager
def _opened(path: Path, row: Picture, trusted: bool) -> Iterator[Any]:
    # The plug-in itself and not `PIL.Image.open`: that would try other formats, and count pixels
    # by a setting of the whole process.
    plugin = _limited(row, path, trusted)
    with opened_plain(path) as stream, decoding(path), plugin(stream) as opened:
        yield opened


def _limited(row: Picture, path: Path, trusted: bool) -> Callable[[Any], Any]:
    """The plug-in, refusing a size as it learns of it: GIF's canvas grows frame by frame."""
    bits = _stored_bits(path, row)

    class Limited(_plugin(row)):  # type: ignore[misc]
        @property
        def _size(self) -> tuple[int, int]:
            found: tuple[int, int] = self.__dict__["checked_size"]
            return found

        @_size.setter
        def _size(self, size: tuple[int, int]) -> None:
            require_sensible(size[0] * size[1], bits, path, trusted)
            self.__dict__["checked_size"] = size

    return Limited


def _plugin(row: Picture) -> Callable[[Any], Any]:
    module, _, name = row.plugin.partition(":")
    plugin: Callable[[Any], Any] = getattr(import_module(f"PIL.{module}"), name)
    return plugin


def _described(
    opened: Any, row: Picture, path: Path, trusted: bool
) -> tuple[int, Affine, notes.Note | None, float | None]:
    """Return the number of frames, the affine by resolution, the note, and seconds a frame."""
    x, y = opened.size
    if min(x, y) < 1:
        raise FormatError(f"expected at least one pixel in {path.name!r}, received {x}×{y}")
    count = int(getattr(opened, "n_frames", 1))
    require_sensible(x * y * count, _stored_bits(path, row), path, trusted)
    spacing: list[float | None] = [None, None]
    note = None
    if row.name == "png":
        note = notes.noted(opened.info.get("ecvl"))
        dots = opened.info.get("dpi")
        if dots and all(dots):
            spacing = [notes.MILLIMETRES_PER_INCH / dots[1], notes.MILLIMETRES_PER_INCH / dots[0]]
    if count > 1 and row.name == "webp":
        opened.load()  # its plug-in knows the time of a frame only then
    step = opened.info.get("duration")
    step = step / 1000 if isinstance(step, int | float) and step > 0 else None
    return count, notes.plane(spacing), note, step if count > 1 else None


def _frame(
    opened: Any, index: int, *, row: Picture, path: Path, raw: bool, kind: Kind, alpha: Alpha
) -> NDArray[Any]:
    from PIL import ImageOps

    if _deep_bits(path, row):
        with opened_plain(path) as stream:
            found: NDArray[Any] = isolation.shared.call("deep", path.name, stream.read())
        # OpenCV gives grey with alpha as colour with alpha.
        if opened.mode == "LA" and found.ndim == 3:
            found = found[..., [0, -1]]
        if alpha == "drop" and found.ndim == 3 and found.shape[2] in (2, 4):
            found = found[..., :-1] if found.shape[2] == 4 else found[..., 0]
    else:
        if index or opened.tell():
            opened.seek(index)
        opened.load()
        turned = opened if raw else ImageOps.exif_transpose(opened)
        found = values_of(turned, kind, raw, alpha)
    return one_channel(found, path.name) if kind == "labels" else found


def _stored_bits(path: Path, row: Picture) -> int:
    """The bits of a pixel before it was compressed, where the header says: else 8."""
    start = beginning(path)
    if row.name != "png" or start[12:16] != b"IHDR" or len(start) < 26:
        return 8
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    return max(start[24] * channels.get(start[25], 1), 1)


def _deep_bits(path: Path, row: Picture) -> bool:
    """Whether the picture has several channels of 16 bits, which Pillow would cut."""
    if row.name not in ("png", "pnm"):
        return False
    with opened_plain(path) as stream:
        start = stream.read(GREATEST_HEADER)
    if row.name == "png":
        return (
            start[12:16] == b"IHDR" and start[24:25] == b"\x10" and start[25:26] in b"\x02\x04\x06"
        )
    if start[:2] not in (b"P3", b"P6"):
        return False
    lines = (line.partition(b"#")[0] for line in start[2:].split(b"\n"))
    words = b" ".join(lines).split()[:3]
    return len(words) == 3 and words[2].isdigit() and int(words[2][:9]) > 255


def _orientation(opened: Any) -> int:
    try:
        return int(opened.getexif().get(0x0112, 1))
    except Exception:
        return 1


def _writable(image: Image, row: Picture) -> tuple[NDArray[Any], str]:
    if image.axes not in ("yx", "yxc"):
        raise FormatError(
            f"expected axes yx or yxc for {row.name}, received {image.axes!r}; write a part such "
            "as image[0], or a TIFF"
        )
    if image.kind == "labels" and "c" in image.axes:
        raise KindError(f"{row.name} holds labels of one channel, received {image.axes!r}")
    pixels = image.array
    if image.kind == "labels" and pixels.min() >= 0:
        pixels = pixels.astype(smallest_integer_type(0, int(pixels.max())))
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    modes = {
        ("uint8", 1): "L",
        ("uint16", 1): "I;16",
        ("uint8", 2): "LA",
        ("uint8", 3): "RGB",
        ("uint8", 4): "RGBA",
        ("uint16", 3): "deep",
        ("uint16", 4): "deep",
    }
    mode = modes.get((pixels.dtype.name, channels))
    if mode not in row.modes:
        raise KindError(
            f"{row.name} cannot hold {channels} channels of {pixels.dtype}; use ecvl.rescale or "
            "write a TIFF"
        )
    return pixels[..., 0] if pixels.ndim == 3 and channels == 1 else pixels, mode


def _encoded(
    pixels: NDArray[Any], mode: str, image: Image, row: Picture, quality: int | None
) -> bytes:
    from PIL import Image as Pillow
    from PIL.PngImagePlugin import PngInfo

    if mode == "deep":
        content = deep.encode(pixels, ".png")
        text = notes.written(image)
        return _with_text(content, text) if text else content
    options: dict[str, Any] = {}
    if row.name == "png":
        options["pnginfo"] = PngInfo()
        text = notes.written(image)
        if text:
            options["pnginfo"].add_text("ecvl", text)
        if image.spacing != (1.0, 1.0):
            y, x = image.spacing
            options["dpi"] = notes.MILLIMETRES_PER_INCH / x, notes.MILLIMETRES_PER_INCH / y
    elif row.name == "jpeg":
        options = {"quality": quality or 95, "subsampling": 0}
    elif row.name == "webp":
        options = {"quality": quality} if quality else {"lossless": True, "exact": True}
    stream = io.BytesIO()
    name = {"pnm": "PPM"}.get(row.name, row.name.upper())
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(stream, name, **options)
    return stream.getvalue()


def _with_text(content: bytes, text: str) -> bytes:
    """Put a text chunk behind the header chunk of a PNG."""
    import zlib

    body = b"tEXtecvl\0" + text.encode("latin-1")
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return content[:33] + chunk + content[33:]


def _recognises(path: Path, row: Picture) -> bool:
    start = beginning(path)
    if row.name == "pnm" and not start[2:3].isspace():
        return False
    return start.startswith(row.starts) and (not row.inside or start[8:12] == row.inside)


def _read(path: Path, row: Picture, **options: Any) -> Image:
    return picture_lazy(path, row, **options).load()


def _registered(row: Picture) -> Format:
    return Format(
        name=row.name,
        extensions=row.extensions,
        recognises=partial(_recognises, row=row),
        read=partial(_read, row=row),
        info=partial(picture_info, row=row),
        lazy=partial(picture_lazy, row=row),
        options=("page", "alpha", "trusted"),
        info_options=("trusted",),
        write=partial(picture_write, row=row) if row.modes else None,
        write_options=row.options,
    )


for _row in PICTURES:
    register(_registered(_row))
