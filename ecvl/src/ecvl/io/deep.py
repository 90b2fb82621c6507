"""Colour of 16 bits a channel, which Pillow would cut to 8: by OpenCV.

Decoding runs in a child (`isolation`): OpenCV's decoders are not made for hostile files. Held by
`tests/ecvl/test_pictures.py`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError, KindError


def decode(content: bytes, page: int = 0) -> NDArray[Any]:
    """Return the pixels of an encoded picture as stored, RGB or RGBA, shape (y, x[, c]).

    Example:
        >>> pixels = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
        >>> bool((decode(encode(pixels, ".png")) == pixels).all())
        True
    """
    import cv2

    buffer = np.frombuffer(content, np.uint8)
    if page:
        fine, pages = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
        found = pages[0] if fine and len(pages) else None
    else:
        found = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    if found is None:
        raise FormatError("its pixels are damaged or of a sort not known here")
    return swapped(np.asarray(found))


def encode(pixels: NDArray[Any], extension: str) -> bytes:
    """Return an encoded picture of RGB or RGBA pixels.

    Example:
        >>> encode(np.zeros((2, 2, 3), np.uint16), ".png")[1:4]
        b'PNG'
    """
    import cv2

    fine, content = cv2.imencode(extension, swapped(pixels))
    if not fine:
        raise KindError(f"cannot write {pixels.dtype} of shape {pixels.shape} as {extension}")
    return bytes(content)


def swapped(pixels: NDArray[Any]) -> NDArray[Any]:
    """Exchange red and blue, OpenCV's order and ours.

    Example:
        >>> swapped(np.array([[[1, 2, 3, 4]]])).tolist()
        [[[3, 2, 1, 4]]]
    """
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return pixels
    order = [2, 1, 0, *range(3, pixels.shape[2])]
    return np.ascontiguousarray(pixels[..., order])
