"""Files that are either whole or absent.

A file is written under a temporary name in the folder of its final one, synced, and renamed over
it, so that a kill at any moment leaves no partial file under a final name. Leftovers carry a mark
in their name and `sweep` removes them. `tests/frontend/test_files.py` holds this.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = ".partial-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its ending; it takes the final name when the block ends.

    When the block fails, the temporary file is removed and `path` is as it was.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     final = Path(folder) / "report.json"
    ...     with replacing(final) as temporary:
    ...         _ = temporary.write_text("{}")
    ...     [file.name for file in Path(folder).iterdir()]
    ['report.json']
    """
    path = Path(path)
    temporary = path.with_name(f"{MARK}{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, content: bytes | str) -> None:
    """Write `content` to `path`, whole or not at all.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write(Path(folder) / "note.txt", "seen")
    ...     (Path(folder) / "note.txt").read_text()
    'seen'
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a temporary folder that then takes the name `path`.

    A folder that stands there already is kept: whoever finished first has the same content.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as parent:
    ...     write_folder(Path(parent) / "a", lambda folder: (folder / "b").touch())
    ...     [str(file.relative_to(parent)) for file in Path(parent).rglob("*")]
    ['a', 'a/b']
    """
    temporary = path.with_name(f"{MARK}{secrets.token_hex(4)}-{path.name}")
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        for member in [*temporary.rglob("*"), temporary]:
            _sync(member)
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.is_dir():
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path, older_than: float = 0.0) -> None:
    """Remove what interrupted writers left directly in `folder` more than so many seconds ago.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     (Path(folder) / ".partial-0a1b2c3d-model.onnx").touch()
    ...     sweep(Path(folder))
    ...     list(Path(folder).iterdir())
    []
    """
    for leftover in folder.glob(f"{MARK}*"):
        if time.time() - leftover.stat().st_mtime < older_than:
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, or of a folder's names and files, in hexadecimal.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     (Path(folder) / "empty").touch()
    ...     sha256(Path(folder) / "empty")[:12]
    'e3b0c44298fc'
    """
    if path.is_dir():
        total = hashlib.sha256()
        for member in sorted(file for file in path.rglob("*") if file.is_file()):
            total.update(f"{member.relative_to(path).as_posix()}\0{sha256(member)}\n".encode())
        return total.hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
