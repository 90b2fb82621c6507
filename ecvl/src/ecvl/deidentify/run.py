"""De-identification of a file or a folder: all of it appears, or nothing."""

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ecvl.deidentify.handlers import Options, Task, handler_of
from ecvl.deidentify.report import FileReport, Report
from ecvl.deidentify.secret import Secret, key_of
from ecvl.errors import EcvlError, FileError, MissingFileError, ParameterError, one_line
from ecvl.io.files import existing

START = 4096


def deidentify(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    key: bytes | str | os.PathLike[str],
    dates: Literal["remove", "shift"] = "remove",
    characteristics: bool = False,
    device: bool = False,
    descriptors: bool = False,
    words: Iterable[str] = (),
    patient: str | None = None,
) -> Report:
    """Write copies of images without what identifies the patient; the originals stay as they are.

    DICOM follows the standard's basic profile (PS3.15 2024b) with the options that are chosen, and
    says so in each file. Of other formats all texts, tags and further pictures (labels of slides)
    are dropped that their handler knows. Names of files and folders are new. This helps; it is no
    guarantee: read what the report lists as not checked.

    Args:
        source: a file, or a folder with the folders within it.
        target: a new or empty folder.
        key: the project's secret key (at least 16 bytes), or the file that `new_key` wrote. The
            same key gives the same patient the same pseudonym in every upload.
        dates: "remove" them, or "shift" them by a number of days that is the patient's own.
        characteristics: keep sex, age (at most 90), size, weight and the like.
        device: keep what tells the device.
        descriptors: keep of descriptions the words of radiology that cannot identify anybody.
        words: further words that may stay in descriptions.
        patient: whose files these are, for formats that do not say.

    Returns:
        What was done to each file. Files of unknown format and damaged ones are not written, and
        stand in `refused`.

    Raises:
        MissingFileError: there is no source, or no folder above the target.
        FileError: the target is not empty, lies in the source, or cannot be written.
        ParameterError: the key is too short, or an option is none.

    Example:
        >>> import tempfile
        >>> from pydicom.data import get_testdata_file
        >>> folder = tempfile.mkdtemp() + "/clean"
        >>> report = deidentify(get_testdata_file("CT_small.dcm"), folder, key=bytes(range(32)))
        >>> report.files[0].unchecked
        ['faces that can be seen in the pixels']
    """
    if dates not in ("remove", "shift"):
        raise ParameterError(f"expected dates='remove' or 'shift', received {dates!r}")
    secret = key_of(key)
    options = Options(
        dates == "shift", characteristics, device, descriptors, frozenset(map(str, words))
    )
    found, folder = existing(source), Path(target)
    _require_new(found, folder)
    paths = sorted(p for p in found.rglob("*") if p.is_file()) if found.is_dir() else [found]
    temporary = folder.parent / f".{folder.name[:100]}.{secrets.token_hex(6)}.part"
    reports = []
    try:
        temporary.mkdir()
        for path in paths:
            report = FileReport(path, None, "unknown")
            reports.append(report)
            _one(path, temporary, report, options, secret, patient)
        with suppress(FileNotFoundError):
            folder.rmdir()
        temporary.rename(folder)
    except OSError as error:
        if isinstance(error, EcvlError):
            raise
        raise FileError(
            f"cannot write {folder.name!r}: {error.strerror or one_line(error)}"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Report(reports)


def _one(
    path: Path,
    folder: Path,
    report: FileReport,
    options: Options,
    secret: Secret,
    patient: str | None,
) -> None:
    with path.open("rb") as stream:
        start = stream.read(START)
    handler = handler_of(path, start)
    if handler is None:
        report.refused = "of no format that is known here"
        return
    report.format = handler.name
    partial = folder / f"{secrets.token_hex(8)}.part"
    try:
        with partial.open("xb") as stream:
            name = handler.write(Task(path, secret, options, patient, report), stream)
            stream.flush()
            os.fsync(stream.fileno())
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, EcvlError):
            raise
        partial.unlink()
        # A message may quote the name of the file; one of another library, anything.
        ours = isinstance(error, EcvlError)
        why = str(error).replace(path.name, "...") if ours else type(error).__name__
        report.refused = why if ours else f"damaged ({why})"
        report.changed.clear()
        return
    place = _free(folder / name)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(place)
    report.output = place.relative_to(folder).as_posix()


def _free(place: Path) -> Path:
    """The name, or with a number where it is taken: two copies of an instance both stay."""
    number = 1
    found = place
    while found.exists():
        number += 1
        found = place.with_name(f"{place.name.partition('.')[0]}-{number}{''.join(place.suffixes)}")
    return found


def _require_new(source: Path, target: Path) -> None:
    if not target.parent.is_dir():
        raise MissingFileError(f"there is no folder {str(target.parent)!r} to write to")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileError(f"expected a new or empty folder, received {target.name!r} that is not")
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise FileError("expected a target outside the source, received a folder within it")
