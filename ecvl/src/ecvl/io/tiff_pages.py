"""One page of a TIFF file: its size, and its pixels by whichever library can unpack them whole.

Held by `tests/ecvl/test_tiff.py`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError
from ecvl.image import Kind
from ecvl.io import isolation
from ecvl.io.files import opened_plain
from ecvl.io.pixels import Alpha, one_channel, require_sensible, values_of

# Compressions that tifffile unpacks without a further library.
PLAIN_COMPRESSIONS = (1, 8, 32946, 32773, 34925)
PLAIN_PREDICTORS = (1, 2)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = 0, 1, 2, 3
COLOURS = {5: "CMYK", 6: "YCbCr", 8: "Lab"}
ALPHA = (1, 2)


def page_size(page: Any) -> tuple[int, int, int]:
    """Return rows, columns and samples of a page."""
    return int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel)


def pixel_count(page: Any) -> int:
    """Return the pixels of a page, reckoned at four bytes: more bytes count as more pixels."""
    y, x, samples = page_size(page)
    return y * x * max(1, samples * int(page.dtype.itemsize) // 4)


def page_bits(page: Any) -> int:
    """Return the bits of a pixel before it was compressed, at most 32."""
    bits = page.bitspersample
    stored = max(int(bits if isinstance(bits, int) else max(bits)), 1) * page_size(page)[2]
    return min(stored, 32)


def require_page(page: Any, path: Path) -> None:
    """Refuse a page without pixels, or with pixels that are no real numbers."""
    y, x, samples = page_size(page)
    if min(y, x, samples) < 1 or int(page.imagedepth) != 1 or samples > 1024:
        raise FormatError(f"expected a page of pixels in {path.name!r}, received {y}×{x}×{samples}")
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise FormatError(
            f"expected integers or real numbers in {path.name!r}, received "
            f"{page.bitspersample} bits of sample format {int(page.sampleformat)}"
        )


def page_pixels(
    tif: Any, number: int, *, path: Path, raw: bool, kind: Kind, alpha: Alpha, trusted: bool
) -> NDArray[Any]:
    """Return the pixels of a page, shape (y, x[, c]), in native byte order.

    Args:
        tif: tifffile's open file.
        number: of the page.
        path: the file.
        raw: palettes as indices, white-is-zero and CMYK as stored.
        kind: labels are indices of one channel.
        alpha: "drop" or "keep".
        trusted: believe sizes that only a nearly blank page can have.

    Raises:
        FormatError: the page is damaged, or of a sort that no library here knows.
    """
    page = tif.pages[number]
    require_page(page, path)
    require_sensible(pixel_count(page), page_bits(page), path, trusted)
    photometric, samples = int(page.photometric), int(page.samplesperpixel)
    plain = (
        int(page.compression) in PLAIN_COMPRESSIONS
        and int(page.predictor) in PLAIN_PREDICTORS
        and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE)
    )
    if plain:
        found = _by_tifffile(page, raw or kind == "labels")
    elif page.bitspersample <= 8 or (samples == 1 and page.dtype.str[1:] in ("u2", "f4")):
        found = _by_pillow(path, number, page, kind, raw, alpha)
    else:
        with opened_plain(path) as stream:
            found = isolation.shared.call("deep", path.name, stream.read(), page=number)
    y, x, _ = page_size(page)
    if found.shape[:2] != (y, x):
        raise FormatError(f"expected {y}×{x} pixels in {path.name!r}, received {found.shape}")
    if plain and photometric == WHITE_IS_ZERO and not raw and found.dtype.kind == "u":
        found = (np.iinfo(found.dtype).max if page.bitspersample > 8 else 255) - found
    if photometric == RGB and found.ndim == 3 and found.shape[2] == 4 and alpha == "drop":
        found = found[..., :3]
    if samples == 2 and int(page.extrasamples[-1]) in ALPHA and alpha == "drop":
        found = found[..., 0] if found.ndim == 3 else found
    native = np.ascontiguousarray(found, found.dtype.newbyteorder("="))
    return one_channel(native, path.name) if kind == "labels" else native


def _by_tifffile(page: Any, indices: bool) -> NDArray[Any]:
    found = np.asarray(page.asarray(maxworkers=1))
    if found.ndim == 3 and page.axes[0] == "S":
        found = np.moveaxis(found, 0, -1)
    if found.ndim == 3 and found.shape[2] == 1:
        found = found[..., 0]
    if page.bitspersample == 1:
        found = found.astype(np.uint8) * np.uint8(1 if indices else 255)
    if int(page.photometric) == PALETTE and not indices:
        colours = np.asarray(page.colormap)
        places = np.minimum(found, colours.shape[1] - 1)
        return np.ascontiguousarray((colours >> 8).astype(np.uint8).T[places])
    return found


def _by_pillow(
    path: Path, number: int, page: Any, kind: Kind, raw: bool, alpha: Alpha
) -> NDArray[Any]:
    from PIL.TiffImagePlugin import TiffImageFile

    with opened_plain(path) as stream, TiffImageFile(stream) as opened:
        opened.seek(number)
        opened.load()
        return values_of(opened, kind, raw, alpha)
