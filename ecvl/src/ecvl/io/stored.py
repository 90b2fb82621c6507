"""Voxels as a file stores them behind its header: whole, a box of them, or block by block.

* What the header promises is checked against the bytes that are there before memory is asked for.
* A box of uncompressed voxels is copied from a memory map; a compressed stream is inflated up to
  the last voxel needed, and only the box is kept.

NIfTI, NRRD and MetaImage stand on this; `tests/ecvl/test_formats_contract.py` holds that a part is
the part of the whole.
"""

import bz2
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import EcvlError, FileError, FormatError, one_line
from ecvl.io.files import CHUNK, GREATEST_DEFLATE_RATIO, Inflating, read_exactly
from ecvl.regions import Box

Codec = Literal["none", "gzip", "zlib", "bzip2", "text"]
LEAST_PIECE = 1 << 16


@dataclass(frozen=True)
class Stored:
    """Where the voxels of a file lie, and how.

    Attributes:
        path: the file.
        codec: how its bytes are packed, from `offset` on.
        offset: the first byte of voxels, or of the packed stream, in the file.
        skip: bytes of the unpacked stream before the voxels.
        dtype: the stored type with its byte order.
        shape: sizes in C order.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.raw"
        >>> _ = path.write_bytes(bytes(range(12)))
        >>> Stored(path, "none", 0, 0, np.dtype("u1"), (3, 4)).box(((1, 2), (1, 4)))
        array([[5, 6, 7]], dtype=uint8)
    """

    path: Path
    codec: Codec
    offset: int
    skip: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """The bytes of all voxels, unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize

    def require_bytes(self) -> None:
        """Refuse a file that cannot hold what its header promises.

        Raises:
            FormatError: it is too short, or its packed stream cannot unpack to so much.

        Example:
            >>> Stored(Path(__file__), "none", 0, 0, np.dtype("f8"), (9999, 9999)).require_bytes()
            Traceback (most recent call last):
            ecvl.errors.FormatError: the header of 'stored.py' promises 799840008 bytes ...
        """
        there = max(self._size() - self.offset, 0)
        # Text needs a digit and a blank a value; what bzip2 can hold is seen while it unpacks.
        most = {
            "none": there - self.skip,
            "gzip": there * GREATEST_DEFLATE_RATIO - self.skip,
            "zlib": there * GREATEST_DEFLATE_RATIO - self.skip,
            "bzip2": math.inf,
            "text": (there + 1) // 2 * self.dtype.itemsize,
        }[self.codec]
        if self.count > most:
            raise FormatError(
                f"the header of {self.path.name!r} promises {self.count} bytes of voxels, received "
                f"a file of {self._size()}; it is cut short or damaged, copy or download it again"
            )

    def box(self, box: Box) -> NDArray[Any]:
        """Return a half-open box of voxels, in C order and native byte order.

        Raises:
            FormatError: the file is cut short or damaged.
            FileError: it cannot be read.
        """
        self.require_bytes()
        if self.codec == "text":
            found = self._from_text()[_slices(box)]
        elif box == tuple((0, size) for size in self.shape):
            found = self._whole()
        elif self.codec == "none":
            found = self._mapped()[_slices(box)]
        else:
            found = self._streamed(box)
        native = self.dtype.newbyteorder("=")
        result = np.ascontiguousarray(found, dtype=native)
        return result.copy() if isinstance(found, np.memmap) else result

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Give all voxels in flat blocks of about 16 MiB, in the order of the file."""
        self.require_bytes()
        if self.codec == "text":
            yield self._from_text().reshape(-1)
            return
        step = max(CHUNK // self.dtype.itemsize, 1)
        with self._stream() as stream:
            for start in range(0, math.prod(self.shape), step):
                count = min(step, math.prod(self.shape) - start) * self.dtype.itemsize
                block = read_exactly(stream, count, self.path.name).view(self.dtype)
                yield block.astype(self.dtype.newbyteorder("="), copy=False)

    @cached_property
    def extent(self) -> tuple[int, int]:
        """The least and greatest stored whole number, found in one pass over the file."""
        ends = [(int(block.min()), int(block.max())) for block in self.blocks()]
        return min(low for low, _ in ends), max(high for _, high in ends)

    @cached_property
    def _unpacks(self) -> bool:
        """Whether the stream is as long as promised: for bzip2 that is seen by unpacking alone."""
        with self._stream() as stream:
            return not any(
                not stream.read(min(CHUNK, self.count - start))
                for start in range(0, self.count, CHUNK)
            )

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise FileError(f"cannot read {self.path.name!r}: {error.strerror}") from None

    def _whole(self) -> NDArray[Any]:
        with self._stream() as stream:
            content = self._filled(stream) if self.codec == "bzip2" else None
            if content is None:
                content = read_exactly(stream, self.count, self.path.name)
            _finish(stream)
        return content.view(self.dtype).reshape(self.shape)

    def _filled(self, stream: IO[bytes]) -> NDArray[np.uint8]:
        """Let memory grow with the bytes that come, where their number cannot be foretold."""
        content = bytearray()
        while len(content) < self.count:
            got = stream.read(min(CHUNK, self.count - len(content)))
            if not got:
                raise FormatError(_short(self.path.name, self.count, len(content)))
            content += got
        return np.frombuffer(content, np.uint8)

    def _mapped(self) -> NDArray[Any]:
        try:
            return np.memmap(
                self.path, self.dtype, "r", offset=self.offset + self.skip, shape=self.shape
            )
        except (OSError, ValueError) as error:
            raise FileError(f"cannot read {self.path.name!r}: {one_line(error)}") from None

    def _streamed(self, box: Box) -> NDArray[Any]:
        """Unpack piece by piece: a piece is the fewest trailing axes that are worth a read."""
        if self.codec == "bzip2" and not self._unpacks:
            raise FormatError(_short(self.path.name, self.count, 0))
        lead = len(self.shape) - 1
        while lead and math.prod(self.shape[lead:]) * self.dtype.itemsize < LEAST_PIECE:
            lead -= 1
        piece = self.shape[lead:]
        size = math.prod(piece) * self.dtype.itemsize
        found = np.empty([stop - start for start, stop in box], self.dtype)
        at = 0
        with self._stream() as stream:
            for place in np.ndindex(found.shape[:lead]):
                index = tuple(start + step for (start, _), step in zip(box, place, strict=False))
                begin = int(np.ravel_multi_index(index, self.shape[:lead])) * size if lead else 0
                skip(stream, begin - at, self.path.name)
                content = read_exactly(stream, size, self.path.name)
                at = begin + size
                found[place] = content.view(self.dtype).reshape(piece)[_slices(box[lead:])]
        return found

    def _from_text(self) -> NDArray[Any]:
        with self._stream() as stream:
            words = stream.read().split()
        wanted = math.prod(self.shape)
        if len(words) < wanted:
            raise FormatError(_short(self.path.name, wanted, len(words), "numbers"))
        try:
            values = np.array(words[:wanted], dtype=np.bytes_).astype(
                np.float64 if self.dtype.kind == "f" else np.int64
            )
            with np.errstate(all="ignore"):
                return values.astype(self.dtype).reshape(self.shape)
        except (ValueError, OverflowError) as error:
            raise FormatError(
                f"expected numbers as text in {self.path.name!r}, received {one_line(error)}"
            ) from None

    @contextmanager
    def _stream(self) -> Iterator[IO[bytes]]:
        """The unpacked bytes from the first voxel on; failures become ecvl's errors."""
        from isal import igzip, isal_zlib

        damaged: Any = (EOFError, isal_zlib.error, igzip.BadGzipFile)
        try:
            with self.path.open("rb") as raw:
                raw.seek(self.offset)
                stream: Any = raw
                if self.codec == "gzip":
                    stream = igzip.IGzipFile(fileobj=raw, mode="rb")
                elif self.codec == "zlib":
                    stream = Inflating(raw)
                elif self.codec == "bzip2":
                    stream = bz2.BZ2File(raw)
                skip(stream, self.skip, self.path.name)
                yield stream
        except EcvlError:
            raise
        except damaged as error:
            raise FormatError(
                f"expected a whole {self.codec} stream in {self.path.name!r}, received one that is "
                f"truncated or damaged ({one_line(error)}); copy or download it again"
            ) from None
        except OSError as error:
            kind = FormatError if self.codec == "bzip2" else FileError
            raise kind(f"cannot read {self.path.name!r}: {one_line(error)}") from None


def skip(stream: IO[bytes], count: int, name: str) -> None:
    """Read past `count` bytes; a packed stream cannot be passed for less.

    Raises:
        FormatError: the stream ends before.

    Example:
        >>> import io
        >>> stream = io.BytesIO(b"abc")
        >>> skip(stream, 2, "x"); stream.read()
        b'c'
    """
    while count > 0:
        got = len(stream.read(min(count, 1 << 20)))
        if not got:
            raise FormatError(f"expected voxels in {name!r}, received a file that ends before them")
        count -= got


def _finish(stream: IO[bytes]) -> None:
    """Read to the end of a gzip layer, where its checksum is verified; a long tail is let be."""
    for _ in range(64):
        if not stream.read(1 << 16):
            return


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop in box)


def _short(name: str, wanted: int, got: int, what: str = "bytes") -> str:
    return (
        f"expected {wanted} {what} of voxels in {name!r}, as its header promises, received {got}; "
        "the file is cut short, copy or download it again"
    )
