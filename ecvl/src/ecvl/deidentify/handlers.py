"""The registry of handlers: one a format, each says what it recognises and how it writes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ecvl.deidentify.report import FileReport
from ecvl.deidentify.secret import Secret
from ecvl.errors import ParameterError


@dataclass(frozen=True)
class Options:
    """What may be kept beyond the basic profile: the standard's options, and no others.

    Attributes:
        shift_dates: "Retain Longitudinal Temporal Information with Modified Dates".
        characteristics: "Retain Patient Characteristics": sex, age (at most 90), size, weight.
        device: "Retain Device Identity".
        descriptors: "Clean Descriptors": of free texts the words that identify nobody.
        words: further words that may stay in descriptors.

    Example:
        >>> Options(shift_dates=True).device
        False
    """

    shift_dates: bool = False
    characteristics: bool = False
    device: bool = False
    descriptors: bool = False
    words: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True)
class Task:
    """A file to be de-identified.

    Attributes:
        path: the source; it is only read.
        secret: the project's key.
        options: what may be kept.
        patient: whose file it is, where the file does not say.
        report: where to note what was done.

    Example:
        >>> report = FileReport(Path("a.png"), None, "png")
        >>> Task(Path("a.png"), Secret(bytes(16)), Options(), None, report).patient is None
        True
    """

    path: Path
    secret: Secret
    options: Options
    patient: str | None
    report: FileReport


@dataclass(frozen=True)
class Handler:
    """One row of the registry.

    Attributes:
        name: of the format.
        recognises: says from the first bytes and the path whether a file is one.
        write: writes the file without what identifies to a stream, and returns the name under
            which it is to appear, with folders.

    Example:
        >>> sorted(HANDLERS) == [entry.name for entry in sorted_handlers()]
        True
    """

    name: str
    recognises: Callable[[Path, bytes], bool]
    write: Callable[[Task, IO[bytes]], str]


HANDLERS: dict[str, Handler] = {}


def register(entry: Handler) -> None:
    """Add a row.

    Raises:
        ParameterError: there is one of that name.

    Example:
        >>> register(HANDLERS["dicom"])
        Traceback (most recent call last):
        ecvl.errors.ParameterError: there is a handler 'dicom' already
    """
    if entry.name in HANDLERS:
        raise ParameterError(f"there is a handler {entry.name!r} already")
    HANDLERS[entry.name] = entry


def sorted_handlers() -> list[Handler]:
    """Return all rows by name."""
    return [HANDLERS[name] for name in sorted(HANDLERS)]


def handler_of(path: Path, start: bytes) -> Handler | None:
    """Return the row that recognises a file, or `None`.

    Example:
        >>> handler_of(Path("a.txt"), b"hello") is None
        True
    """
    found: Iterable[Handler] = (
        entry for entry in HANDLERS.values() if entry.recognises(path, start)
    )
    return next(iter(found), None)
