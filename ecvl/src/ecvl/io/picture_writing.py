"""Writing pictures: what a format holds is written exactly, or the error is measured.

Held by `tests/ecvl/test_pictures.py`.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError, KindError, ParameterError
from ecvl.image import Image
from ecvl.io import deep, notes
from ecvl.io.files import written_atomically
from ecvl.io.picture_formats import Picture, plugin
from ecvl.io.scaling import smallest_integer_type


def picture_write(path: Path, image: Image, row: Picture, quality: int | None = None) -> float:
    """Write a picture, whole or not at all; returns the greatest error of a pixel.

    Example:
        >>> import tempfile
        >>> from ecvl.io.picture_formats import PICTURES
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
        with plugin(row)(io.BytesIO(content)) as opened:
            back = np.asarray(opened)
        error = float(np.abs(back.astype(np.int32) - pixels.astype(np.int32)).max())
    with written_atomically(path) as stream:
        stream.write(content)
    return error


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
