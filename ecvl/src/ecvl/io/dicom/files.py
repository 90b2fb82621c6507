"""One DICOM file: its header parsed once, and where its pixels lie.

Nothing read from a header is used as a path. Lengths are checked against the bytes that are there.
"""

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypeVar

from ecvl.errors import FileError, FormatError, one_line
from ecvl.io.dicom.elements import number, text

Given = TypeVar("Given")
Made = TypeVar("Made")

THREADS = 4
PIXEL_TAGS = {
    0x7FE00010: "PixelData",
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
}
DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
UNDEFINED_LENGTH = 0xFFFFFFFF
GREATEST_INFLATED = 1 << 30
# Longer elements of a header (colour tables, private blobs) stay in the file until asked for.
LONGEST_ELEMENT = 1 << 16


@dataclass(frozen=True)
class PixelElement:
    """Where the pixel data element of a file lies.

    Attributes:
        keyword: "PixelData", "FloatPixelData" or "DoubleFloatPixelData".
        vr: its value representation, "" in implicit encoding.
        offset: where its value begins.
        length: the bytes of its value that are there, at most to the end of the file.
        encapsulated: whether the value is a row of items.

    Example:
        >>> PixelElement("PixelData", "OW", 1000, 8192, False).length
        8192
    """

    keyword: str
    vr: str
    offset: int
    length: int
    encapsulated: bool


@dataclass(frozen=True, eq=False)
class DicomFile:
    """A file with its header.

    Attributes:
        path: where it is.
        dataset: pydicom's data set, without the pixel data; elements are parsed when asked for.
        syntax: the UID of the transfer syntax, guessed from the encoding where it is not said.
        pixels: where the pixel data is, or `None` where there is none.
        inflated: the content, where the file was deflated as a whole.
        known: what was worked out of the header and is asked for again and again.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> parsed(Path(get_testdata_file("CT_small.dcm"))).pixels.length
        32768
    """

    path: Path
    dataset: Any
    syntax: str
    pixels: PixelElement | None
    inflated: bytes | None = None
    known: dict[str, Any] = field(default_factory=dict, repr=False)

    def open(self) -> IO[bytes]:
        """Open the content in which `pixels.offset` counts."""
        return self.path.open("rb") if self.inflated is None else BytesIO(self.inflated)


def parsed(path: Path) -> DicomFile:
    """Parse the header of a file, with or without preamble and file meta information.

    Raises:
        FormatError: it is not DICOM, or damaged.
        FileError: it cannot be read.

    Example:
        >>> parsed(Path(__file__))
        Traceback (most recent call last):
        ecvl.errors.FormatError: expected a DICOM file, received 'files.py' ...
    """
    if not looks_like_dicom(path):
        raise FormatError(
            f"expected a DICOM file, received {path.name!r} of other content; check that it is "
            "whole and really an image"
        )
    try:
        return _parsed(path)
    except FormatError:
        raise
    except OSError as error:
        raise FileError(
            f"cannot read {path.name!r}: {error.strerror or 'no reason given'}"
        ) from None
    except Exception as error:
        raise FormatError(
            f"expected a whole DICOM file, received {path.name!r} that is damaged "
            f"({type(error).__name__}); copy or export it again"
        ) from None


def looks_like_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does: with "DICM" after a preamble, or with group 2 or 8.

    Example:
        >>> looks_like_dicom(Path(__file__))
        False
    """
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    if start[128:132] == b"DICM":
        return True
    little = start[:2] in (b"\x02\x00", b"\x08\x00") and start[3:4] == b"\0"
    # Big endian is always explicit: two capital letters follow the tag.
    big = start[:2] == b"\x00\x08" and start[2:3] == b"\0" and start[4:6].isalpha()
    return len(start) >= 8 and (little or big)


def is_image(dataset: Any) -> bool:
    """Whether a data set describes pixels at all.

    Example:
        >>> from pydicom import Dataset
        >>> is_image(Dataset())
        False
    """
    return bool(number(dataset, "Rows")) and bool(number(dataset, "Columns"))


def in_threads(function: Callable[[Given], Made], items: Sequence[Given]) -> list[Made]:
    """Apply a function to items in a few threads and keep their order; the first error is raised.

    Example:
        >>> in_threads(abs, [-1, 2])
        [1, 2]
    """
    threads = min(THREADS, len(items), os.cpu_count() or 1)
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        try:
            return list(pool.map(function, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _parsed(path: Path) -> DicomFile:
    from pydicom.filereader import read_dataset, read_file_meta_info, read_partial

    reached: list[tuple[int, str, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag in PIXEL_TAGS:
            reached.append((tag, vr or "", length))
            return True
        return False

    with path.open("rb") as stream:
        deflated = DEFLATED.encode() in stream.read(4096)
        stream.seek(0)
        inflated = _inflated(stream.read(), path.name) if deflated else None
        if inflated is not None:
            source: Any = BytesIO(inflated)
            dataset = read_dataset(source, False, True, stop_when=at_pixels)
            dataset.file_meta = read_file_meta_info(path)
        else:
            source = stream
            dataset = read_partial(
                stream, stop_when=at_pixels, defer_size=LONGEST_ELEMENT, force=True
            )
        ended = source.tell()
        size = source.seek(0, os.SEEK_END)
    _ = dataset.get("Rows")
    return DicomFile(path, dataset, _syntax(dataset), _pixels(reached, ended, size), inflated)


def _pixels(reached: list[tuple[int, str, int]], at: int, size: int) -> PixelElement | None:
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

    if not reached:
        return None
    tag, vr, length = reached[-1]
    offset = at + (12 if vr in EXPLICIT_VR_LENGTH_32 else 8)
    there = max(size - offset, 0)
    encapsulated = length == UNDEFINED_LENGTH
    found = there if encapsulated else min(length, there)
    if not found:
        return None
    return PixelElement(PIXEL_TAGS[tag], vr or dictionary_VR(tag)[:2], offset, found, encapsulated)


def _syntax(dataset: Any) -> str:
    said = text(getattr(dataset, "file_meta", None) or {}, "TransferSyntaxUID")
    if said:
        return EXPLICIT_LITTLE if said == DEFLATED else said
    implicit, little = dataset.original_encoding
    return IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG


def _inflated(content: bytes, name: str) -> bytes:
    """Inflate what follows the file meta information, by counted bytes."""
    marker = content.find(b"\x02\x00\x00\x00UL")
    if marker < 0:
        raise FormatError(f"the deflated file {name!r} has no group length; it is damaged")
    (length,) = struct.unpack_from("<I", content, marker + 8)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        result = inflate.decompress(content[marker + 12 + length :], GREATEST_INFLATED + 1)
    except zlib.error as error:
        raise FormatError(f"{name!r} is damaged: {one_line(error)}") from None
    if len(result) > GREATEST_INFLATED:
        raise FormatError(
            f"expected at most {GREATEST_INFLATED} bytes from the deflated file {name!r}, received "
            "more; it is damaged or hostile"
        )
    return result
