"""DICOM pixels as they are stored: frames of a file, decoded one by one.

Plain little-endian pixels are read straight into the memory they stay in; pydicom and the decoders
that it finds do the rest. Sizes are checked before memory is asked for: the header's against the
bytes that are there, and those that a compressed frame announces against the header's.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import EcvlError, FormatError, one_line
from ecvl.io.dicom.decoders import ISOLATED, PREFERRED, apart, decode, plugins
from ecvl.io.dicom.elements import number, text
from ecvl.io.dicom.files import EXPLICIT_BIG, DicomFile

GREATEST_FRAME = 1 << 31
# How many bytes of pixels an encoded byte can become: two bytes of RLE are at most 128; a block of
# 64 samples takes two bits of JPEG at least, a sample of lossless JPEG one. Blank JPEG 2000 and
# JPEG-LS have no such bound; a frame has at least a header of some bytes there.
RATIOS = {"1.2.840.10008.1.2.5": 64, "1.2.840.10008.1.2.4.50": 512, "1.2.840.10008.1.2.4.51": 1024}
GREATEST_RATIO = 100_000
FLOAT_BYTES = {"FloatPixelData": 4, "DoubleFloatPixelData": 8}


@dataclass(frozen=True)
class PixelFormat:
    """What the header says of the pixels of every frame of a file.

    Attributes:
        rows, columns: the size.
        samples: 1, or 3 in colour.
        allocated, stored, high: bits a sample takes, bits that count, and the highest of them.
        signed: whether integers are signed.
        photometric: such as "MONOCHROME2".
        planar: 1 where a frame's colours stand one after the other.
        keyword: of the element that holds them.

    Example:
        >>> PixelFormat(4, 5, 1, 16, 12, 11, False, "MONOCHROME2", 0, "PixelData").range
        (0, 4095)
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    planar: int
    keyword: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the decoded samples."""
        if self.keyword in FLOAT_BYTES:
            return np.dtype(f"f{FLOAT_BYTES[self.keyword]}")
        return np.dtype(f"{'i' if self.signed else 'u'}{max(self.allocated // 8, 1)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a decoded frame."""
        return (self.rows, self.columns) + ((3,) if self.samples == 3 else ())

    @property
    def range(self) -> tuple[int, int]:
        """The least and greatest value that the stored bits can hold."""
        if self.signed:
            return -(1 << self.stored - 1), (1 << self.stored - 1) - 1
        return 0, (1 << self.stored) - 1

    @property
    def bits(self) -> int:
        """How many bits of the file a plain frame takes."""
        bits = self.rows * self.columns * self.samples * self.allocated
        return bits * 2 // 3 if self.photometric == "YBR_FULL_422" else bits


def pixel_format(file: DicomFile) -> PixelFormat:
    """Return what the header says of the pixels.

    Raises:
        FormatError: there are none, or they are of a kind that cannot be.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> pixel_format(parsed(Path(get_testdata_file("CT_small.dcm")))).range
        (-32768, 32767)
    """
    if "pixels" not in file.known:
        file.known["pixels"] = _pixel_format(file)
    return cast(PixelFormat, file.known["pixels"])


def _pixel_format(file: DicomFile) -> PixelFormat:
    dataset, name = file.dataset, file.path.name
    rows, columns = number(dataset, "Rows") or 0, number(dataset, "Columns") or 0
    if file.pixels is None or rows < 1 or columns < 1:
        raise FormatError(
            f"expected an image in {name!r}, received a DICOM file without pixel data "
            f"({text(dataset, 'Modality') or 'no modality'})"
        )
    samples = number(dataset, "SamplesPerPixel") or 1
    allocated = number(dataset, "BitsAllocated") or 0
    keyword = file.pixels.keyword
    if keyword in FLOAT_BYTES:
        allocated = FLOAT_BYTES[keyword] * 8
    if (
        allocated not in (1, 8, 16, 32, 64)
        or (allocated == 64 and keyword == "PixelData")
        or samples not in (1, 3)
    ):
        raise FormatError(
            f"expected pixels of 1, 8, 16 or 32 bits with 1 or 3 samples in {name!r}, received "
            f"{allocated} bits and {samples} samples"
        )
    stored = number(dataset, "BitsStored") or allocated
    stored = min(max(stored, 1), allocated)
    high = number(dataset, "HighBit")
    return PixelFormat(
        rows,
        columns,
        samples,
        allocated,
        stored,
        stored - 1 if high is None else high,
        number(dataset, "PixelRepresentation") == 1,
        text(dataset, "PhotometricInterpretation") or "MONOCHROME2",
        number(dataset, "PlanarConfiguration") or 0,
        keyword,
    )


def frame_count(file: DicomFile) -> int:
    """Return how many frames a file has, once its bytes are seen to be enough for them.

    Raises:
        FormatError: it says no number, or promises more than its bytes can hold.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> frame_count(parsed(Path(get_testdata_file("examples_ybr_color.dcm"))))
        30
    """
    if "frames" not in file.known:
        file.known["frames"] = _frame_count(file)
    return int(file.known["frames"])


def _frame_count(file: DicomFile) -> int:
    made, name = pixel_format(file), file.path.name
    said = text(file.dataset, "NumberOfFrames")
    count = number(file.dataset, "NumberOfFrames") if said else 1
    if count is None or count < 0:
        raise FormatError(f"expected a whole NumberOfFrames in {name!r}, received something else")
    count = max(count, 1)
    assert file.pixels is not None
    length = file.pixels.length
    if file.pixels.encapsulated:
        ratio = RATIOS.get(file.syntax, GREATEST_RATIO)
        needed = max(8 * count, -(-made.bits * count // (8 * ratio)))
    else:
        needed = -(-made.bits * count // 8)
    if needed > length or made.bits > 8 * GREATEST_FRAME:
        raise FormatError(
            f"the header of {name!r} promises {count} frames of {made.bits // 8} bytes, received "
            f"{length} bytes of pixels; it is cut short or damaged, copy or export it again"
        )
    return count


def stored_frames(file: DicomFile, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Decode frames of a file one after the other.

    Sign and unused bits are put right, and YCbCr becomes RGB; palettes stay indices.

    Args:
        file: a file that `frame_count` has passed.
        indices: which frames, in this order.

    Returns:
        Arrays of shape (y, x) or (y, x, 3), valid until the next is asked for.

    Raises:
        FormatError: the pixels are damaged, inconsistent or in a syntax without a decoder.

    Example:
        >>> from pathlib import Path
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> file = parsed(Path(get_testdata_file("CT_small.dcm")))
        >>> next(stored_frames(file, [0])).shape
        (128, 128)
    """
    made, count = pixel_format(file), frame_count(file)
    if is_plain(file, made):
        frame = np.empty(made.shape, made.dtype)
        with file.open() as stream:
            for index in indices:
                read_plain(stream, file, made, index, frame)
                yield frame
        return
    done = 0
    try:
        for encoded in _encoded(file, made, count, indices):
            pixels = _decoded(file, made, encoded)
            if pixels.shape != made.shape or pixels.dtype.itemsize != made.dtype.itemsize:
                raise FormatError(
                    f"expected {made.rows}×{made.columns} pixels in {file.path.name!r}, received "
                    f"an array of {pixels.shape} {pixels.dtype}"
                )
            yield pixels.astype(made.dtype, copy=False)
            done += 1
    except EcvlError:
        raise
    except Exception as error:
        raise FormatError(
            f"cannot decode the pixels of {file.path.name!r}: {one_line(error)}; the file is "
            "damaged or in a transfer syntax without a decoder here (more come with ecvl[codecs])"
        ) from None
    if done < len(indices):
        raise FormatError(
            f"expected {len(indices)} frames in the pixels of {file.path.name!r}, found {done}; "
            "the file is damaged"
        )


def read_plain(
    stream: IO[bytes], file: DicomFile, made: PixelFormat, index: int, out: NDArray[Any]
) -> None:
    """Read one plain frame into memory of its type.

    Raises:
        FormatError: the file ends before.
    """
    assert file.pixels is not None
    stream.seek(file.pixels.offset + index * out.nbytes)
    view = out.reshape(-1).view(np.uint8).data
    if stream.readinto(view) != out.nbytes:  # type: ignore[attr-defined]
        raise FormatError(f"{file.path.name!r} is cut short; copy or export it again")
    _drop_unused_bits(out, made)


def is_plain(file: DicomFile, made: PixelFormat) -> bool:
    """Whether frames lie in the file as they lie in memory."""
    assert file.pixels is not None
    return (
        not file.pixels.encapsulated
        and file.syntax != EXPLICIT_BIG
        and not file.syntax.startswith("1.2.840.113619.5.2")
        and made.allocated > 1
        and (made.samples == 1 or (made.photometric == "RGB" and made.planar == 0))
        and made.keyword == "PixelData"
    )


def _drop_unused_bits(pixels: NDArray[Any], made: PixelFormat) -> None:
    """Drop what stands in the bits that are not stored (old overlays), and carry the sign over."""
    if made.stored >= made.allocated or not made.stored <= made.high + 1 <= made.allocated:
        return
    if not made.signed and made.high + 1 == made.stored:
        pixels &= (1 << made.stored) - 1
        return
    # Shifts of signed integers keep the sign: up until the stored sign bit is the top one, then
    # down.
    pixels <<= made.allocated - made.high - 1
    pixels >>= made.allocated - made.stored


def _encoded(
    file: DicomFile, made: PixelFormat, count: int, indices: Sequence[int]
) -> Iterator[bytes]:
    """Give the bytes of one frame after the other, in a form that a decoder takes for one frame."""
    from pydicom.encaps import encapsulate, generate_frames, get_frame

    assert file.pixels is not None
    with file.open() as stream:
        stream.seek(file.pixels.offset)
        if not file.pixels.encapsulated:
            yield from _slices(stream.read(file.pixels.length), made, indices, file)
            return
        offsets = _extended_offsets(file)
        if list(indices) == list(range(count)):
            frames = generate_frames(stream, number_of_frames=count, extended_offsets=offsets)
            for _, frame in zip(range(count), frames, strict=False):
                _require_size(frame, made, file)
                yield encapsulate([frame], has_bot=False)
            return
        for index in indices:
            stream.seek(file.pixels.offset)
            frame = get_frame(stream, index, number_of_frames=count, extended_offsets=offsets)
            _require_size(frame, made, file)
            yield encapsulate([frame], has_bot=False)


def _slices(
    content: bytes, made: PixelFormat, indices: Sequence[int], file: DicomFile
) -> Iterator[bytes]:
    """Cut plain content into frames; bits and swapped bytes do not keep to byte borders."""
    assert file.pixels is not None
    if made.allocated == 1:
        pixels = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
        size = made.rows * made.columns * made.samples
        for index in indices:
            yield np.packbits(
                pixels[index * size : (index + 1) * size], bitorder="little"
            ).tobytes()
        return
    if file.syntax == EXPLICIT_BIG and made.allocated == 8 and file.pixels.vr == "OW":
        content = content + b"\0" * (len(content) % 2)
        content = np.frombuffer(content, np.uint16).byteswap().tobytes()
    size = made.bits // 8
    for index in indices:
        yield content[index * size : (index + 1) * size]


def _decoded(file: DicomFile, made: PixelFormat, encoded: bytes) -> NDArray[Any]:
    assert file.pixels is not None
    available = plugins(file.syntax) if file.pixels.encapsulated else ()
    plugin = next((name for name in PREFERRED if name in available), "")
    options: dict[str, Any] = {
        "syntax": file.syntax,
        "plugin": plugin,
        "rows": made.rows,
        "columns": made.columns,
        "samples_per_pixel": made.samples,
        "bits_allocated": made.allocated,
        "bits_stored": made.stored,
        "photometric_interpretation": made.photometric,
        "pixel_representation": int(made.signed),
        "pixel_keyword": made.keyword,
        "planar_configuration": made.planar,
    }
    if len(encoded) % 2:
        encoded += b"\0"
    if plugin in ISOLATED:
        return cast(NDArray[Any], apart(file.path.name, encoded, **options))
    return decode(encoded, **options)


def _extended_offsets(file: DicomFile) -> tuple[bytes, bytes] | None:
    table = file.dataset.get("ExtendedOffsetTable")
    lengths = file.dataset.get("ExtendedOffsetTableLengths")
    return (table, lengths) if table and lengths and len(table) == len(lengths) else None


def _require_size(frame: bytes, made: PixelFormat, file: DicomFile) -> None:
    """Compare what a compressed frame announces with the header, before a decoder allocates."""
    size = _jpeg2000_size(frame) or _jpeg_size(frame)
    if size is not None and size != (made.rows, made.columns):
        raise FormatError(
            f"the header of {file.path.name!r} promises {made.rows}×{made.columns} pixels, "
            f"received a compressed frame of {size[0]}×{size[1]}; the file is damaged"
        )
    ratio = RATIOS.get(file.syntax, GREATEST_RATIO)
    if made.bits > 8 * ratio * max(len(frame), 1):
        raise FormatError(
            f"the header of {file.path.name!r} promises frames of {made.bits // 8} bytes, received "
            f"one of {len(frame)} encoded; it is cut short or damaged"
        )


def _jpeg2000_size(frame: bytes) -> tuple[int, int] | None:
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(frame) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", frame, start + 8)
    return bottom - top, right - left


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Walk the segments of a JPEG or JPEG-LS stream to its frame header."""
    if frame[:2] != b"\xff\xd8":
        return None
    stream = BytesIO(frame)
    stream.seek(2)
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF:
        marker, length = head[1], int.from_bytes(head[2:], "big")
        if marker == 0xFF:
            stream.seek(-3, 1)
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            body = stream.read(5)
            rows, columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            # Rows of 0 are said at the end of the first scan; the decoder compares them then.
            return (rows, columns) if rows else None
        stream.seek(max(length - 2, 0), 1)
    return None
