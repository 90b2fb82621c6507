"""Files as such: found or missing, written whole or not at all, inflated by counted bytes."""

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import EcvlError, FileError, FormatError, MissingFileError, one_line

GZIP_MAGIC = b"\x1f\x8b"
# Deflate cannot make more than 1032 bytes from one.
GREATEST_DEFLATE_RATIO = 1032
CHUNK = 1 << 24
# What is inflated at a time: the inflater's copy of it should still lie in the cache.
PIECE = 1 << 20


def existing(path: str | os.PathLike[str]) -> Path:
    """Return a path as `Path`, if something is there.

    Raises:
        MissingFileError: there is not.

    Example:
        >>> existing("no/such/file.nii")
        Traceback (most recent call last):
        ecvl.errors.MissingFileError: there is no file or folder 'no/such/file.nii'; check the path
    """
    try:
        found = Path(path)
        if not found.exists():
            raise MissingFileError(f"there is no file or folder {str(path)!r}; check the path")
    except TypeError:
        raise FileError(f"expected a path, received {type(path).__name__}") from None
    except (OSError, ValueError) as error:
        if isinstance(error, MissingFileError):
            raise
        raise FileError(f"cannot look for {str(path)!r}: {one_line(error)}") from None
    return found


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, its gzip layer (if any) inflated; failures become ecvl's errors.

    Raises:
        FileError: it cannot be read, for instance because it is a folder.
        FormatError: the gzip layer is truncated or damaged.

    Example:
        >>> import pathlib
        >>> with opened(pathlib.Path(__file__)) as stream:
        ...     stream.read(3)
        b'\"\"\"'
    """
    from isal import igzip, isal_zlib

    damaged: Any = (EOFError, isal_zlib.error, igzip.BadGzipFile)
    try:
        with path.open("rb") as raw:
            gzipped = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if not gzipped:
                yield raw
                return
            with igzip.IGzipFile(fileobj=raw, mode="rb") as inflated:
                yield inflated
    except EcvlError:
        raise
    except damaged as error:
        raise FormatError(
            f"expected a whole gzip file, received {path.name!r} that is truncated or damaged "
            f"({one_line(error)}); copy or download it again"
        ) from None
    except OSError as error:
        raise FileError(f"cannot read {path.name!r}: {error.strerror or one_line(error)}") from None


@contextmanager
def opened_plain(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading as it is; failures become ecvl's errors.

    Raises:
        FileError: it cannot be read, for instance because it is a folder.

    Example:
        >>> import pathlib
        >>> with opened_plain(pathlib.Path(__file__)) as stream:
        ...     stream.read(3)
        b'\"\"\"'
    """
    try:
        with path.open("rb") as stream:
            yield stream
    except EcvlError:
        raise
    except OSError as error:
        raise FileError(f"cannot read {path.name!r}: {error.strerror or one_line(error)}") from None


def inside(folder: Path, name: str, header: str) -> Path:
    """Return the file in a folder that a header names, if it lies there: links and `..` included.

    Raises:
        FormatError: it leads out of the folder.
        MissingFileError: there is no such file.

    Example:
        >>> inside(Path("."), "../secret.raw", "a.nhdr")
        Traceback (most recent call last):
        ecvl.errors.FormatError: the header 'a.nhdr' names voxels outside its own folder; ...
    """
    try:
        root = folder.resolve()
        found = (root / name).resolve()
        there = found.is_file()
    except (OSError, ValueError, RuntimeError):
        root, found, there = folder, folder, False
    if not found.is_relative_to(root) or not name.strip():
        raise FormatError(
            f"the header {header!r} names voxels outside its own folder; put both in one folder"
        )
    if not there:
        raise MissingFileError(
            f"expected the voxels that the header {header!r} names beside it, received no such "
            "file; copy both"
        )
    return found


class Inflating(io.RawIOBase):
    """A zlib stream as a file to read from; `isal` has one for gzip only.

    Example:
        >>> import io, zlib
        >>> Inflating(io.BytesIO(zlib.compress(b"abc"))).read(2)
        b'ab'
    """

    def __init__(self, raw: IO[bytes]) -> None:
        from isal import isal_zlib

        self._raw = raw
        self._inflate: Any = isal_zlib.decompressobj()

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with inflated bytes; 0 at the end of the stream."""
        wanted = len(buffer)
        while wanted and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._raw.read(1 << 18)
            if not packed:
                raise EOFError("the stream ends before its end marker")
            got = self._inflate.decompress(packed, wanted)
            if got:
                buffer[: len(got)] = got
                return len(got)
        return 0


def read_exactly(stream: IO[bytes], count: int, name: str) -> NDArray[np.uint8]:
    """Read `count` bytes into memory that is ours and aligned.

    Raises:
        FormatError: the stream ends before.

    Example:
        >>> import io
        >>> read_exactly(io.BytesIO(b"abc"), 2, "x").tobytes()
        b'ab'
    """
    content = np.empty(count, np.uint8)
    view = content.data
    filled = 0
    while filled < count:
        got = stream.readinto(view[filled : filled + PIECE])  # type: ignore[attr-defined]
        if not got:
            raise FormatError(
                f"expected {count} bytes of voxels in {name!r}, as its header promises, received "
                f"{filled}; the file is cut short, copy or download it again"
            )
        filled += got
    return content


@contextmanager
def written_atomically(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Give a stream whose bytes appear under `path` at once and whole, or not at all.

    They go to a hidden temporary name in the same folder, are synced and then renamed. On any
    failure the temporary file is removed and what stood under `path` stays.

    Raises:
        MissingFileError: the folder does not exist.
        FileError: the folder cannot be written to.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.bin"
        >>> with written_atomically(path) as stream:
        ...     _ = stream.write(b"abc"); path.exists()
        False
        >>> path.read_bytes()
        b'abc'
    """
    final = Path(path)
    folder = final.parent
    if not folder.is_dir():
        raise MissingFileError(f"there is no folder {str(folder)!r} to write to; make it first")
    temporary = folder / f".{final.name[:100]}.{secrets.token_hex(6)}.part"
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(final)
        _sync_folder(folder)
    except OSError as error:
        raise FileError(
            f"cannot write {final.name!r}: {error.strerror or one_line(error)}"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    # Windows cannot open folders; there the rename is durable by itself.
    if os.name == "nt":
        return
    handle: Any = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
