"""Which files of a folder are images, and of which series: from headers, parsed once."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ecvl.errors import FileError, FormatError, SeriesError
from ecvl.io.dicom.alike import Template
from ecvl.io.dicom.elements import number, text
from ecvl.io.dicom.files import DicomFile, is_image, parsed
from ecvl.io.files import existing
from ecvl.io.quiet import quiet


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
    return list(_grouped(image_files(found)))


def image_files(folder: Path) -> list[DicomFile]:
    """Parse the headers of the DICOM images below a folder, in the order of their paths.

    Example:
        >>> import tempfile
        >>> image_files(Path(tempfile.mkdtemp()))
        []
    """
    found: list[DicomFile] = []
    template: Template | None = None
    for path in _files_below(folder):
        try:
            file = template.read(path) if template is not None else None
            if file is None:
                file = parsed(path)
                template = Template(file)
        except (FormatError, OSError):
            continue
        if is_image(file.dataset):
            found.append(file)
    return found


def chosen_files(path: Path, series: str | int | None) -> list[DicomFile]:
    """Return the files of the series of a folder that is meant, their headers parsed.

    Args:
        path: a folder.
        series: a SeriesInstanceUID or its unique ending, a number in the order of `dicom_series`,
            or `None` where there is one only.

    Raises:
        SeriesError: there is none, or several and none or an unknown one was said.

    Example:
        >>> import tempfile
        >>> chosen_files(Path(tempfile.mkdtemp()), None)
        Traceback (most recent call last):
        ecvl.errors.SeriesError: expected a folder of DICOM images, ...
    """
    files = image_files(path)
    found = list(_grouped(files))
    if not found:
        raise SeriesError(
            f"expected a folder of DICOM images, received {path.name!r} in which no file is one; "
            "check the path"
        )
    chosen = _chosen(found, series)
    if chosen is None:
        listing = "; ".join(
            f"{number}: {s.modality or 'no modality'}, {len(s.files)} of {s.rows}×{s.columns}, "
            f"UID …{s.uid[-12:]}"
            for number, s in enumerate(found)
        )
        asked = "none was chosen" if series is None else f"received series={series!r}"
        raise SeriesError(
            f"{path.name!r} holds {len(found)} series and {asked}; say series= with one of the "
            f"numbers or UIDs of: {listing}"
        )
    return [file for file in files if _uid(file) == chosen.uid]


def _chosen(found: list[DicomSeries], series: str | int | None) -> DicomSeries | None:
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
    return None


def _files_below(folder: Path) -> list[Path]:
    return sorted(
        Path(parent) / name
        for parent, _, names in os.walk(folder)
        for name in names
        if name.upper() != "DICOMDIR"
    )


def _uid(file: DicomFile) -> str:
    return text(file.dataset, "SeriesInstanceUID")


def _grouped(files: Iterable[DicomFile]) -> Iterator[DicomSeries]:
    groups: dict[str, list[DicomFile]] = {}
    for file in files:
        groups.setdefault(_uid(file), []).append(file)
    for uid in sorted(groups):
        first = groups[uid][0].dataset
        yield DicomSeries(
            uid,
            text(first, "Modality"),
            text(first, "SeriesDescription"),
            number(first, "Rows") or 0,
            number(first, "Columns") or 0,
            tuple(file.path for file in groups[uid]),
        )
