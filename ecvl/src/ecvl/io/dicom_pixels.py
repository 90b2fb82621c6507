"""DICOM pixels: one slice decoded to real values, whatever it was packed into."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError, one_line
from ecvl.io.dicom_headers import number, numbers, text

# A slice is at most this many times larger than its encoded bytes; blank JPEG 2000 comes nearest.
GREATEST_RATIO = 100_000
GREATEST_SLICE = 1 << 31


def decoded(dataset: Any, name: str, *, raw: bool = False) -> NDArray[Any]:
    """Return the stored pixels of a single-frame data set, shape (y, x) or (y, x, 3).

    Sign and unused bits are put right, palettes and YCbCr become RGB, and MONOCHROME1 becomes
    MONOCHROME2 (unless `raw`, or a rescale gives the numbers a meaning that inversion would
    destroy).

    Raises:
        FormatError: there are several frames, or the pixels are missing, damaged or inconsistent.

    Example:
        >>> import pydicom
        >>> from pydicom.data import get_testdata_file
        >>> decoded(pydicom.dcmread(get_testdata_file("CT_small.dcm")), "CT_small").shape
        (128, 128)
    """
    rows, columns = number(dataset, "Rows") or 0, number(dataset, "Columns") or 0
    _require_decodable(dataset, rows, columns, name)
    try:
        from pydicom.pixels import apply_color_lut, pixel_array

        pixels = pixel_array(dataset)
        if text(dataset, "PhotometricInterpretation") == "PALETTE COLOR" and not raw:
            pixels = apply_color_lut(pixels, dataset)
    except Exception as error:
        raise FormatError(
            f"cannot decode the pixels of {name!r}: {one_line(error)}; the file is damaged or in a "
            "transfer syntax without a decoder here"
        ) from None
    colour = 3 if pixels.ndim == 3 else None
    if pixels.shape != ((rows, columns, colour) if colour else (rows, columns)):
        raise FormatError(
            f"expected {rows}×{columns} pixels in {name!r}, received an array of {pixels.shape}"
        )
    if colour:
        return _eight_bits(pixels)
    pixels = _sign_extended(pixels, dataset)
    if (
        not raw
        and text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        and rescale(dataset, name) == (1, 0)
    ):
        low, high = stored_range(dataset)
        pixels = (low + high - pixels.astype(np.int64)).astype(pixels.dtype)
    return pixels


def stored_range(dataset: Any) -> tuple[int, int]:
    """Return the least and greatest value that the stored bits can hold.

    Example:
        >>> import pydicom
        >>> from pydicom.data import get_testdata_file
        >>> stored_range(pydicom.dcmread(get_testdata_file("CT_small.dcm")))
        (-32768, 32767)
    """
    bits = number(dataset, "BitsStored") or number(dataset, "BitsAllocated") or 16
    bits = min(max(bits, 1), 32)
    if number(dataset, "PixelRepresentation") == 1:
        return -(1 << bits - 1), (1 << bits - 1) - 1
    return 0, (1 << bits) - 1


def rescale(dataset: Any, name: str) -> tuple[float, float]:
    """Return the rescale slope and intercept, 1 and 0 where there are none.

    Raises:
        FormatError: they are not finite numbers, the slope is 0, or a look-up table stands there.

    Example:
        >>> import pydicom
        >>> from pydicom.data import get_testdata_file
        >>> rescale(pydicom.dcmread(get_testdata_file("CT_small.dcm")), "CT_small")
        (1.0, -1024.0)
    """
    if "ModalityLUTSequence" in dataset:
        raise FormatError(
            f"expected a rescale slope and intercept in {name!r}, received a modality look-up "
            "table; read stored values with raw=True"
        )
    slope = (numbers(dataset, "RescaleSlope", 1) or [1.0])[0]
    intercept = (numbers(dataset, "RescaleIntercept", 1) or [0.0])[0]
    if slope == 0:
        raise FormatError(
            f"expected a RescaleSlope other than 0 in {name!r}; read stored values with raw=True"
        )
    return slope, intercept


def require_one_frame(dataset: Any, name: str) -> None:
    """Refuse a file of several frames.

    Raises:
        FormatError: there are several.

    Example:
        >>> from pydicom import Dataset
        >>> require_one_frame(Dataset(), "a.dcm")
    """
    frames = number(dataset, "NumberOfFrames")
    if frames is not None and frames > 1:
        raise FormatError(
            f"expected one frame a file in {name!r}, received {frames}; split it into single frames"
        )


def _require_decodable(dataset: Any, rows: int, columns: int, name: str) -> None:
    require_one_frame(dataset, name)
    element = _pixel_element(dataset)
    if element is None:
        raise FormatError(
            f"expected an image in {name!r}, received a DICOM file without pixel data "
            f"({text(dataset, 'Modality') or 'no modality'})"
        )
    samples = number(dataset, "SamplesPerPixel") or 1
    bits = number(dataset, "BitsAllocated") or 0
    if bits not in (1, 8, 16, 32) or samples not in (1, 3) or rows < 1 or columns < 1:
        raise FormatError(
            f"expected pixels of 1, 8, 16 or 32 bits with 1 or 3 samples in {name!r}, received "
            f"{bits} bits, {samples} samples, {rows}×{columns}"
        )
    expected = rows * columns * samples * ((bits + 7) // 8)
    if expected > min(GREATEST_SLICE, GREATEST_RATIO * max(len(element), 1)):
        raise FormatError(
            f"the header of {name!r} promises {expected} bytes of pixels, received {len(element)} "
            "encoded; it is cut short or damaged, copy or export it again"
        )
    size = _codestream_size(element)
    if size is not None and size != (rows, columns):
        raise FormatError(
            f"the header of {name!r} promises {rows}×{columns} pixels, received a JPEG 2000 stream "
            f"of {size[0]}×{size[1]}; the file is damaged"
        )


def _pixel_element(dataset: Any) -> bytes | None:
    try:
        value = dataset.get("PixelData")
    except Exception:
        return None
    return value if isinstance(value, bytes) and value else None


def _codestream_size(element: bytes) -> tuple[int, int] | None:
    """Return rows and columns that a JPEG 2000 stream announces, before a decoder allocates."""
    start = element.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(element) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", element, start + 8)
    return bottom - top, right - left


def _sign_extended(pixels: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Drop what stands in the bits that are not stored (old overlays), and carry the sign over."""
    allocated = pixels.dtype.itemsize * 8
    stored = number(dataset, "BitsStored") or allocated
    high = number(dataset, "HighBit")
    high = stored - 1 if high is None else high
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    compressed = bool(getattr(syntax, "is_compressed", False))
    if compressed or stored >= allocated or not stored <= high + 1 <= allocated:
        return pixels
    # Shifts of signed integers keep the sign: up until the stored sign bit is the top one, then
    # down.
    return (pixels << (allocated - high - 1)) >> (allocated - stored)


def _eight_bits(pixels: NDArray[Any]) -> NDArray[Any]:
    """Palettes often hold 16 bits of which the upper eight count."""
    if pixels.dtype == np.uint16 and pixels.max() > 255:
        return (pixels >> 8).astype(np.uint8)
    return pixels.astype(np.uint8) if pixels.dtype == np.uint16 else pixels
