"""What the readers of pictures share: pixels of a Pillow frame, pages, limits, and clear errors.

Held by `tests/ecvl/test_pictures.py` and `tests/ecvl/test_tiff.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import EcvlError, FileError, FormatError, ParameterError, one_line
from ecvl.image import Kind
from ecvl.io.files import GREATEST_DEFLATE_RATIO, opened_plain
from ecvl.io.quiet import quiet
from ecvl.io.scaling import require_integral

Alpha = Literal["drop", "keep"]
# A picture may have this many pixels, or as many as deflate can make of its bytes, whatever its
# header says.
PIXELS_FREE = 8_000_000


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file; none of a folder or a DICOM file, whose preamble is free.

    Example:
        >>> beginning(Path(__file__))[3:7]
        b'What'
    """
    if not path.is_file():
        return b""
    with opened_plain(path) as stream:
        start = stream.read(132)
    return b"" if start[128:] == b"DICM" else start


def values_of(opened: Any, kind: Kind, raw: bool, alpha: Alpha) -> NDArray[Any]:
    """Return the pixels of a frame that Pillow has open: RGB, grey or indices.

    Example:
        >>> from PIL import Image as Pillow
        >>> values_of(Pillow.new("CMYK", (1, 1)), "image", False, "drop").tolist()
        [[[255, 255, 255]]]
    """
    mode = str(opened.mode)
    if mode == "1":
        return np.asarray(opened).astype(np.uint8) * np.uint8(1 if raw or kind == "labels" else 255)
    indices = raw or kind == "labels"
    if mode in ("P", "PA") and indices:
        return np.asarray(opened.getchannel(0) if mode == "PA" else opened)
    if mode == "I":
        found = np.asarray(opened)
        narrow = found.min() >= 0 and found.max() < 1 << 16
        return found.astype(np.uint16) if narrow else found
    if mode == "F" or mode.startswith("I;"):
        found = np.asarray(opened)
        return found.astype(found.dtype.newbyteorder("="), copy=False)
    if mode == "CMYK" and raw:
        return np.asarray(opened)
    grey = mode in ("L", "LA", "La")
    keep = alpha == "keep" and opened.has_transparency_data
    wanted = {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}
    target = wanted[grey, keep]
    if mode in ("LA", "RGBA") and not keep:
        return np.ascontiguousarray(np.asarray(opened)[..., 0 if grey else slice(3)])
    return np.asarray(opened if mode == target else opened.convert(target))


def one_channel(pixels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return labels without channels, where all channels are alike; real numbers become int32.

    Raises:
        FormatError: they are not alike, or not whole.

    Example:
        >>> one_channel(np.ones((2, 2, 3), np.uint8), "a.png").shape
        (2, 2)
    """
    if pixels.dtype.kind == "f":
        # One type whatever the page holds.
        pixels = require_integral(pixels, name).astype(np.int32)
    if pixels.ndim == 2:
        return pixels
    if (pixels[..., 1:] != pixels[..., :1]).any():
        raise FormatError(
            f"expected one channel of labels in {name!r}, received {pixels.shape[-1]} that differ; "
            "read it with kind='image' and map its colours"
        )
    return np.ascontiguousarray(pixels[..., 0])


def checked_alpha(alpha: Any) -> None:
    """Refuse what is neither "drop" nor "keep".

    Example:
        >>> checked_alpha("drop")
    """
    if alpha not in ("drop", "keep"):
        raise ParameterError(f"expected alpha='drop' or 'keep', received {alpha!r}")


def chosen_page(page: int | None, count: int, name: str) -> tuple[int, int]:
    """Return how many pages to read, and the first.

    Example:
        >>> chosen_page(None, 3, "a.gif"), chosen_page(-1, 3, "a.gif")
        ((3, 0), (1, 2))
    """
    if page is None:
        return count, 0
    if not isinstance(page, int) or not -count <= page < count:
        raise ParameterError(f"expected a page below {count} of {name!r}, received {page!r}")
    return 1, page % count


def require_sensible(pixels: int, bits: int, path: Path, trusted: bool) -> None:
    """Refuse a picture whose header promises more than its bytes can reasonably hold.

    Args:
        pixels: of all pages.
        bits: that a pixel takes before it is compressed.
        path: the file.
        trusted: believe the header.

    Example:
        >>> require_sensible(10**12, 8, Path(__file__), trusted=False)
        Traceback (most recent call last):
        ecvl.errors.FormatError: the header of 'pixels.py' promises 1000000000000 pixels, ...
    """
    size = path.stat().st_size
    if trusted or pixels <= PIXELS_FREE or pixels * bits <= size * 8 * GREATEST_DEFLATE_RATIO:
        return
    raise FormatError(
        f"the header of {path.name!r} promises {pixels} pixels, received a file of {size} bytes; "
        "it is damaged or made to do harm, unless it is nearly blank: then read it with "
        "trusted=True"
    )


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into one clear line, and silence its warnings.

    Example:
        >>> with decoding(Path("a.png")):
        ...     raise KeyError("x")
        Traceback (most recent call last):
        ecvl.errors.FormatError: cannot decode 'a.png': 'x'; it is damaged, copy or download it ...
    """
    try:
        with quiet():
            yield
    except EcvlError:
        raise
    except PermissionError as error:
        raise FileError(f"cannot read {path.name!r}: {error.strerror}") from None
    except Exception as error:
        raise FormatError(
            f"cannot decode {path.name!r}: {one_line(error)}; it is damaged, copy or download it "
            "again"
        ) from None
