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

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import FormatError
from ecvl.image import Image, Kind
from ecvl.io import isolation, notes
from ecvl.io.files import existing, opened_plain
from ecvl.io.lazy import LazyImage
from ecvl.io.picture_formats import PICTURES, Picture, has_deep_colour, plugin, stored_bits
from ecvl.io.picture_writing import picture_write
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
from ecvl.regions import Box

ROTATED = (5, 6, 7, 8)


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
        bits = 16 if has_deep_colour(path, row) else None
    channels = 1 if mode in ("1", "L", "LA", "I", "F") or mode.startswith("I;") else 3
    dtype = np.dtype(np.uint16 if bits or mode.startswith("I") else np.uint8)
    dtype = np.dtype(np.float32) if mode == "F" else dtype
    shape = ((count,) if count > 1 else ()) + (y, x) + ((3,) if channels == 3 else ())
    axes = ("t" if count > 1 else "") + ("yxc" if channels == 3 else "yx")
    fits = note is not None and note.shape[:2] == (y, x)
    kind: Kind = note.kind if note is not None and fits else "image"
    affine = note.affine if note is not None and fits else affine
    return Info(row.name, axes, shape, dtype, affine, kind, step, {"mode": mode, "pages": count})


@contextmanager
def _opened(path: Path, row: Picture, trusted: bool) -> Iterator[Any]:
    # The plug-in itself and not `PIL.Image.open`: that would try other formats, and count pixels
    # by a setting of the whole process.
    limited = _limited(row, path, trusted)
    with opened_plain(path) as stream, decoding(path), limited(stream) as opened:
        yield opened


def _limited(row: Picture, path: Path, trusted: bool) -> Callable[[Any], Any]:
    """The plug-in, refusing a size as it learns of it: GIF's canvas grows frame by frame."""
    bits = stored_bits(path, row)

    class Limited(plugin(row)):  # type: ignore[misc]
        @property
        def _size(self) -> tuple[int, int]:
            found: tuple[int, int] = self.__dict__["checked_size"]
            return found

        @_size.setter
        def _size(self, size: tuple[int, int]) -> None:
            require_sensible(size[0] * size[1], bits, path, trusted)
            self.__dict__["checked_size"] = size

    return Limited


def _described(
    opened: Any, row: Picture, path: Path, trusted: bool
) -> tuple[int, Affine, notes.Note | None, float | None]:
    """Return the number of frames, the affine by resolution, the note, and seconds a frame."""
    x, y = opened.size
    if min(x, y) < 1:
        raise FormatError(f"expected at least one pixel in {path.name!r}, received {x}×{y}")
    count = int(getattr(opened, "n_frames", 1))
    require_sensible(x * y * count, stored_bits(path, row), path, trusted)
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

    if has_deep_colour(path, row):
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


def _orientation(opened: Any) -> int:
    try:
        return int(opened.getexif().get(0x0112, 1))
    except Exception:
        return 1


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
