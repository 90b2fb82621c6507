"""From stored pixels to real values: modality tables, rescale, dose, palettes, MONOCHROME1.

The type of the result follows from the headers alone, so that a lazy reading knows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError
from ecvl.io.dicom.elements import numbers, sequence, text
from ecvl.io.dicom.files import EXPLICIT_BIG
from ecvl.io.dicom.frames import Frame
from ecvl.io.dicom.pixels import PixelFormat
from ecvl.io.scaling import smallest_integer_type

GREATEST_TABLE = 1 << 16
COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True, eq=False)
class Meaning:
    """What the stored pixels of a frame mean.

    Attributes:
        slope, intercept: of the linear rescale.
        table: the values of the stored numbers from `first` on, (n,) or (n, 3) for a palette.
        first: the stored number that the table begins with; numbers outside take its ends.
        inverted: whether the greatest stored number is black.

    Example:
        >>> Meaning(1.0, -1024.0).identity
        False
    """

    slope: float = 1.0
    intercept: float = 0.0
    table: NDArray[Any] | None = None
    first: int = 0
    inverted: bool = False

    @property
    def identity(self) -> bool:
        """Whether stored pixels are the values."""
        linear = (self.slope, self.intercept) == (1, 0)
        return linear and self.table is None and not self.inverted


def meaning(frame: Frame, made: PixelFormat, raw: bool) -> Meaning:
    """Return what the stored pixels of a frame mean; nothing but themselves where `raw`.

    MONOCHROME1 is inverted unless a table or a rescale gives the numbers a meaning that inversion
    would destroy.

    Raises:
        FormatError: a table is damaged, or the slope is 0.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> from ecvl.io.dicom.frames import frames_of
        >>> from ecvl.io.dicom.pixels import pixel_format
        >>> file = parsed(Path(get_testdata_file("CT_small.dcm")))
        >>> meaning(frames_of(file)[0], pixel_format(file), raw=False).intercept
        -1024.0
    """
    if raw or made.samples == 3:
        return Meaning()
    if made.photometric == "PALETTE COLOR":
        return _palette(frame)
    name = frame.file.path.name
    tables = sequence(frame, "ModalityLUTSequence")
    if tables:
        table, first = _table(
            tables[0], "LUTDescriptor", "LUTData", name, _order(frame), made.signed
        )
        return Meaning(table=table, first=first)
    slope = (numbers(frame, "RescaleSlope", 1) or [1.0])[0]
    intercept = (numbers(frame, "RescaleIntercept", 1) or [0.0])[0]
    if text(frame, "Modality") == "RTDOSE":
        slope *= (numbers(frame, "DoseGridScaling", 1) or [1.0])[0]
    if slope == 0:
        raise FormatError(
            f"expected a RescaleSlope other than 0 in {name!r}; read stored values with raw=True"
        )
    linear = (slope, intercept) == (1, 0)
    inverted = made.photometric == "MONOCHROME1" and linear and made.dtype.kind != "f"
    return Meaning(slope, intercept, inverted=inverted)


def value_type(
    meanings: Sequence[Meaning], formats: Sequence[PixelFormat], raw: bool
) -> np.dtype[Any]:
    """Return the type of the values of frames that make up one image.

    The stored type where nothing is to be changed, the smallest integer type that holds what the
    stored bits can say where slope and intercept are integral and the same throughout, float32
    otherwise.

    Raises:
        FormatError: the frames are of several sorts.

    Example:
        >>> made = PixelFormat(4, 5, 1, 16, 12, 11, False, "MONOCHROME2", 0, "PixelData")
        >>> value_type([Meaning(1.0, -1024.0)], [made], raw=False)
        dtype('int16')
    """
    stored = {made.dtype for made in formats}
    if len(stored) > 1 or len({made.shape for made in formats}) > 1:
        raise FormatError(
            "expected slices of one shape and type in a series, received several sorts; move the "
            "other images out of the folder"
        )
    (dtype,) = stored
    tables = [m.table for m in meanings if m.table is not None]
    if tables:
        if len(tables) < len(meanings) or len({(t.dtype, t.ndim) for t in tables}) > 1:
            raise FormatError("expected tables of one sort for all frames, received several sorts")
        return tables[0].dtype
    if dtype.kind == "f":
        return dtype if raw else np.dtype(np.float32)
    lines = {(m.slope, m.intercept) for m in meanings}
    if lines == {(1.0, 0.0)}:
        return dtype
    slope, intercept = lines.pop()
    if lines or not (slope.is_integer() and intercept.is_integer()):
        return np.dtype(np.float32)
    limits = [made.range for made in formats]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    ends = sorted((low * int(slope) + int(intercept), high * int(slope) + int(intercept)))
    if max(map(abs, ends)) >= 1 << 53:
        return np.dtype(np.float32)
    return smallest_integer_type(*ends)


def put_values(stored: NDArray[Any], means: Meaning, made: PixelFormat, out: NDArray[Any]) -> None:
    """Work out the values of a frame into memory of the type that `value_type` gave.

    Example:
        >>> made = PixelFormat(1, 2, 1, 16, 12, 11, False, "MONOCHROME2", 0, "PixelData")
        >>> out = np.empty((1, 2), np.int16)
        >>> put_values(np.array([[0, 4095]], np.uint16), Meaning(1.0, -1024.0), made, out)
        >>> out
        array([[-1024,  3071]], dtype=int16)
    """
    if means.table is not None:
        indices = stored.astype(np.int64)
        indices -= means.first
        np.clip(indices, 0, len(means.table) - 1, out=indices)
        np.take(means.table, indices, axis=0, out=out)
    elif means.inverted and out.dtype.kind != "f":
        low, high = made.range
        # Whole numbers wrap round, so the ends need not fit the type on the way.
        np.subtract(_wrapped(low + high, out.dtype), stored, out=out, casting="unsafe")
    elif (means.slope, means.intercept) == (1, 0):
        if out is not stored:
            out[...] = stored
    elif out.dtype.kind == "f":
        values = stored.astype(np.float64)
        values *= means.slope
        values += means.intercept
        with np.errstate(over="ignore"):
            out[...] = values
    else:
        if out is not stored:
            out[...] = stored
        if means.slope != 1:
            out *= _wrapped(int(means.slope), out.dtype)
        out += _wrapped(int(means.intercept), out.dtype)


def _order(frame: Frame) -> str:
    return ">" if frame.file.syntax == EXPLICIT_BIG else "<"


def _wrapped(value: int, dtype: np.dtype[Any]) -> Any:
    """A whole number modulo the size of a type, in which sums and products stay right."""
    return np.array(value, np.int64).astype(dtype)[()]


def _palette(frame: Frame) -> Meaning:
    name = frame.file.path.name
    columns, firsts = [], set()
    for colour in COLOURS:
        prefix = f"{colour}PaletteColorLookupTable"
        keyword = f"{prefix}Data"
        if frame.get(keyword) is None and frame.get(f"Segmented{keyword}") is not None:
            table, first = _segmented(frame, prefix, name)
        else:
            table, first = _table(frame, f"{prefix}Descriptor", keyword, name, _order(frame))
        columns.append(table)
        firsts.add(first)
    if len({len(column) for column in columns}) > 1 or len(firsts) > 1:
        raise FormatError(f"expected three tables of one length in the palette of {name!r}")
    table = np.stack(columns, axis=-1)
    # Of 16 bits the upper eight count, unless only the lower are used.
    if table.dtype == np.uint16:
        table = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    return Meaning(table=np.ascontiguousarray(table), first=firsts.pop())


def _table(
    source: Any, descriptor: str, keyword: str, name: str, order: str, signed: bool = False
) -> tuple[NDArray[Any], int]:
    """A look-up table: entries (0 says 65536), the number it begins with, bits an entry."""
    count, first, bits = _descriptor(source, descriptor, name, signed)
    content = source.get(keyword)
    if isinstance(content, bytes):
        size = 2 if len(content) >= 2 * count else 1
        table = np.frombuffer(content[: count * size], f"{order}u{size}")
    else:
        try:
            table = np.atleast_1d(np.array(content, np.int64)) & 0xFFFF
        except (TypeError, ValueError, OverflowError):
            table = np.empty(0)
        # Two entries of eight bits may stand in each word.
        if len(table) < count <= 2 * len(table):
            table = table.astype("<u2").view(np.uint8)
    if len(table) < count:
        raise FormatError(
            f"expected a table of {count} entries in {keyword} of {name!r}, received {len(table)}"
        )
    return table[:count].astype(np.uint8 if bits <= 8 else np.uint16), first


def _descriptor(source: Any, keyword: str, name: str, signed: bool) -> tuple[int, int, int]:
    found = numbers(source, keyword, 3)
    if found is None:
        raise FormatError(f"expected a {keyword} in {name!r}, received none; it is damaged")
    count, first, bits = (int(value) for value in found)
    count = count & 0xFFFF or GREATEST_TABLE
    first &= 0xFFFF
    if signed and first >= 1 << 15:
        first -= 1 << 16
    return count, first, bits


def _segmented(frame: Frame, prefix: str, name: str) -> tuple[NDArray[Any], int]:
    """A table in segments (PS3.3 C.7.9.2): runs, lines, and repetitions of both."""
    count, first, bits = _descriptor(frame, f"{prefix}Descriptor", name, False)
    content = frame.get(f"Segmented{prefix}Data")
    words = np.frombuffer(content[: len(content) // 2 * 2], f"{_order(frame)}u2").astype(np.int64)
    values: list[int] = []

    def expand(at: int, depth: int) -> int:
        opcode, length = int(words[at]), int(words[at + 1])
        if opcode == 0:
            values.extend(words[at + 2 : at + 2 + length].tolist())
            at += 2 + length
        elif opcode == 1:
            begin, end = (values[-1] if values else 0), int(words[at + 2])
            steps = np.arange(1, length + 1) / max(length, 1)
            values.extend(np.rint(begin + (end - begin) * steps).astype(int).tolist())
            at += 3
        elif opcode == 2 and depth == 0:
            offset = (int(words[at + 2]) | int(words[at + 3]) << 16) // 2
            for _ in range(length):
                offset = expand(offset, 1)
            at += 4
        else:
            raise IndexError(opcode)
        if len(values) > GREATEST_TABLE:
            raise IndexError(len(values))
        return at

    at = 0
    try:
        while at + 1 < len(words):
            at = expand(at, 0)
    except IndexError:
        raise FormatError(f"the segmented palette of {name!r} is damaged") from None
    if len(values) < count:
        raise FormatError(
            f"expected a palette of {count} entries in {name!r}, received {len(values)}"
        )
    return np.array(values[:count]).astype(np.uint8 if bits <= 8 else np.uint16), first
