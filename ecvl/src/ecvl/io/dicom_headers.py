"""DICOM headers: which files of a folder are images, and which series they belong to.

Nothing read from a header is used as a path.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from ecvl.errors import FileError, FormatError, SeriesError, one_line
from ecvl.io.files import existing
from ecvl.io.quiet import quiet

Given = TypeVar("Given")
Made = TypeVar("Made")

THREADS = 4
DEFLATED_SYNTAXES = ("1.2.840.10008.1.2.1.99",)
LONGEST_TEXT = 1024
GREATEST_INFLATED = 1 << 30
SERIES_KEYWORDS = [
    "Modality", "SeriesInstanceUID", "SeriesDescription", "Rows", "Columns",
    "BitsAllocated", "PixelRepresentation", "SamplesPerPixel", "NumberOfFrames",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SOPInstanceUID",
    "RescaleSlope", "RescaleIntercept", "SOPClassUID",
]  # fmt: skip


@dataclass(frozen=True)
class DicomSeries:
    """One series in a folder.

    Attributes:
        uid: its SeriesInstanceUID.
        modality: such as "CT".
        description: its SeriesDescription, kept out of `repr` and messages.
        rows, columns: the size of its first image.
        files: its image files, in no order but that of their names.

    Example:
        >>> DicomSeries("1.2.3", "CT", "", 512, 512, (Path("a"), Path("b")))
        DicomSeries(uid='1.2.3', modality='CT', rows=512, columns=512, 2 images)
    """

    uid: str
    modality: str
    description: str = field(repr=False)
    rows: int
    columns: int
    files: tuple[Path, ...]

    def __repr__(self) -> str:
        return (
            f"DicomSeries(uid={self.uid!r}, modality={self.modality!r}, rows={self.rows}, "
            f"columns={self.columns}, {len(self.files)} images)"
        )


@quiet()
def dicom_series(folder: str | os.PathLike[str]) -> list[DicomSeries]:
    """List the series in a folder and the folders within it, from headers only.

    Files that are not DICOM, or DICOM without an image (DICOMDIR, reports, plans), are left out.

    Args:
        folder: a folder.

    Returns:
        The series in the order of their UIDs; an empty list where there is none.

    Raises:
        MissingFileError: there is no such folder.
        FileError: it is not a folder.

    Example:
        >>> import tempfile
        >>> dicom_series(tempfile.mkdtemp())
        []
    """
    found = existing(folder)
    if not found.is_dir():
        raise FileError(f"expected a folder, received the file {found.name!r}; use ecvl.info(path)")
    return list(_grouped(_files_below(found)))


def chosen_series(path: Path, series: str | int | None) -> DicomSeries:
    """Return the series of a folder that is meant.

    Args:
        path: a folder.
        series: a SeriesInstanceUID or its unique ending, a number in the order of `dicom_series`,
            or `None` where there is one only.

    Raises:
        SeriesError: there is none, or several and none or an unknown one was said.

    Example:
        >>> import tempfile
        >>> chosen_series(Path(tempfile.mkdtemp()), None)
        Traceback (most recent call last):
        ecvl.errors.SeriesError: expected a folder of DICOM images, ...
    """
    found = dicom_series(path)
    if not found:
        raise SeriesError(
            f"expected a folder of DICOM images, received {path.name!r} in which no file is one; "
            "check the path"
        )
    if series is None and len(found) == 1:
        return found[0]
    if isinstance(series, int) and not isinstance(series, bool) and 0 <= series < len(found):
        return found[series]
    if isinstance(series, str) and series:
        matches = [s for s in found if s.uid == series] or [
            s for s in found if s.uid.endswith(series)
        ]
        if len(matches) == 1:
            return matches[0]
    listing = "; ".join(
        f"{number}: {s.modality or 'no modality'}, {len(s.files)} of {s.rows}×{s.columns}, "
        f"UID …{s.uid[-12:]}"
        for number, s in enumerate(found)
    )
    asked = "none was chosen" if series is None else f"received series={series!r}"
    raise SeriesError(
        f"{path.name!r} holds {len(found)} series and {asked}; say series= with one of the numbers "
        f"or UIDs of: {listing}"
    )


def parsed(path: Path, *, pixels: bool = True, keywords: Sequence[str] | None = None) -> Any:
    """Return a file's pydicom `Dataset`, every element of it parsed only when asked for.

    Args:
        path: a DICOM file, with or without preamble.
        pixels: whether to read the pixel data too.
        keywords: the only elements to keep.

    Raises:
        FormatError: it is not DICOM, or damaged.
        FileError: it cannot be read.

    Example:
        >>> parsed(Path(__file__))
        Traceback (most recent call last):
        ecvl.errors.FormatError: expected a DICOM file, received 'dicom_headers.py' ...
    """
    import pydicom

    if not looks_like_dicom(path):
        raise FormatError(
            f"expected a DICOM file, received {path.name!r} of other content; check that it is "
            "whole and really an image"
        )
    try:
        if _is_deflated(path):
            _require_moderate_inflation(path)
        dataset = pydicom.dcmread(
            path,
            force=True,
            stop_before_pixels=not pixels,
            specific_tags=list(keywords) if keywords else None,
        )
        _ = dataset.get("Rows")
        return dataset
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
    return len(start) >= 8 and start[:2] in (b"\x02\x00", b"\x08\x00") and start[3] == 0


def in_threads(function: Callable[[Given], Made], items: Sequence[Given]) -> list[Made]:
    """Apply a function to items in a few threads and keep their order; the first error is raised.

    Example:
        >>> in_threads(abs, [-1, 2])
        [1, 2]
    """
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(THREADS, len(items), os.cpu_count() or 1)) as pool:
        try:
            return list(pool.map(function, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _files_below(folder: Path) -> list[Path]:
    found = [
        Path(parent) / name
        for parent, _, names in os.walk(folder)
        for name in names
        if name.upper() != "DICOMDIR"
    ]
    return sorted(found)


def _grouped(files: list[Path]) -> Iterator[DicomSeries]:
    def header(path: Path) -> Any:
        try:
            dataset = parsed(path, pixels=False, keywords=SERIES_KEYWORDS)
            return text(dataset, "SeriesInstanceUID"), dataset if is_image(dataset) else None
        except (FormatError, FileError):
            return "", None

    groups: dict[str, list[tuple[Path, Any]]] = {}
    for path, (uid, dataset) in zip(files, in_threads(header, files), strict=True):
        if dataset is not None:
            groups.setdefault(uid, []).append((path, dataset))
    for uid in sorted(groups):
        first = groups[uid][0][1]
        yield DicomSeries(
            uid,
            text(first, "Modality"),
            text(first, "SeriesDescription"),
            number(first, "Rows") or 0,
            number(first, "Columns") or 0,
            tuple(path for path, _ in groups[uid]),
        )


def is_image(dataset: Any) -> bool:
    """Whether a data set describes pixels at all.

    Example:
        >>> from pydicom import Dataset
        >>> is_image(Dataset())
        False
    """
    return bool(number(dataset, "Rows")) and bool(number(dataset, "Columns"))


def text(dataset: Any, keyword: str) -> str:
    """Return an element as one line of text, or "" where it is absent or damaged.

    Example:
        >>> from pydicom import Dataset
        >>> text(Dataset(), "Modality")
        ''
    """
    try:
        found = str(dataset.get(keyword) or "")
        return "".join(c for c in found if c.isprintable()).strip()[:LONGEST_TEXT]
    except Exception:
        return ""


def number(dataset: Any, keyword: str) -> int | None:
    """Return an element as a whole number, or `None` where it is absent or damaged.

    Example:
        >>> from pydicom import Dataset
        >>> number(Dataset(), "Rows") is None
        True
    """
    try:
        value = dataset.get(keyword)
        return None if value is None else int(value)
    except Exception:
        return None


def numbers(dataset: Any, keyword: str, count: int) -> list[float] | None:
    """Return an element as finite numbers, or `None` where it is absent.

    Raises:
        FormatError: it is there but is not `count` finite numbers.

    Example:
        >>> from pydicom import Dataset
        >>> numbers(Dataset(), "PixelSpacing", 2) is None
        True
    """
    try:
        value = dataset.get(keyword)
        if value is None:
            return None
        found = [float(v) for v in value] if count > 1 else [float(value)]
    except Exception:
        found = []
    if len(found) != count or not all(abs(v) < 1e12 for v in found):
        raise FormatError(
            f"expected {count} finite numbers in the DICOM element {keyword}, received something "
            "else; correct the source"
        )
    return found


def _is_deflated(path: Path) -> bool:
    with path.open("rb") as stream:
        return any(uid.encode() in stream.read(1024) for uid in DEFLATED_SYNTAXES)


def _require_moderate_inflation(path: Path) -> None:
    """Count what a deflated data set inflates to, before a library does so without counting."""
    content = path.read_bytes()
    marker = content.find(b"\x02\x00\x00\x00UL")
    if marker < 0:
        return
    (length,) = struct.unpack_from("<I", content, marker + 8)
    stream = BytesIO(content[marker + 12 + length :])
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    try:
        while piece := inflate.unconsumed_tail or stream.read(1 << 16):
            total += len(inflate.decompress(piece, 1 << 22))
            if total > GREATEST_INFLATED:
                raise FormatError(
                    f"expected at most {GREATEST_INFLATED} bytes from the deflated file "
                    f"{path.name!r}, received more; it is damaged or hostile"
                )
    except zlib.error as error:
        raise FormatError(f"{path.name!r} is damaged: {one_line(error)}") from None
