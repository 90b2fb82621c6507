"""The documented door: `read`, `info` and `write`, over one table of formats.

Reading goes by content, writing by extension. Whatever is in a file, nothing but an `EcvlError`
comes out of reading it; `tests/ecvl/test_io_fuzz.py` holds this for every format in the table.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecvl.affines import Affine, orientation_codes, voxel_sizes
from ecvl.errors import FormatError, GeometryError, ParameterError
from ecvl.image import Image, Kind
from ecvl.io.files import existing


@dataclass(frozen=True, eq=False)
class Info:
    """What the headers of an image say, without its voxels.

    Attributes:
        format: the format's name, such as "nifti".
        axes: one letter a dimension.
        shape: sizes in the order of `axes`.
        dtype: the data type as stored, before scaling.
        affine: 4x4, voxel x, y, z to RAS+ mm.
        kind: "image" or "labels", as far as the headers say.

    Example:
        >>> Info("nifti", "yx", (4, 5), np.dtype("int16"), np.eye(4), "image").spacing
        (1.0, 1.0)
    """

    format: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    affine: Affine
    kind: Kind

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distances between voxel centres along the spatial axes, in array order, in mm."""
        x, y, z = voxel_sizes(self.affine)
        return (z, y, x) if "z" in self.axes else (y, x)

    @property
    def orientation(self) -> str:
        """Where voxel x, y, z point to, such as "RAS"."""
        return orientation_codes(self.affine)


@dataclass(frozen=True)
class Format:
    """One row of the table: how a format is recognised, read and written.

    Attributes:
        name: what it is called in `Info.format` and `meta["source"]`.
        extensions: those that writing recognises, in lower case.
        recognises: says from the content whether a file or folder is one.
        read: `(path, kind=..., raw=..., **options) -> Image`.
        info: `(path, **options) -> Info`.
        write: `(path, image) -> None`, or `None` where the format is read only.
        options: what `read` takes besides `kind` and `raw`.
        info_options: what `info` takes.
    """

    name: str
    extensions: tuple[str, ...]
    recognises: Callable[[Path], bool]
    read: Callable[..., Image]
    info: Callable[..., Info]
    write: Callable[[Path, Image], None] | None = None
    options: tuple[str, ...] = ()
    info_options: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {}


def register(entry: Format) -> None:
    """Add a row to the table of formats.

    Example:
        >>> sorted(FORMATS)
        ['dicom', 'nifti']
    """
    FORMATS[entry.name] = entry


def read(
    path: str | os.PathLike[str],
    *,
    kind: Kind | None = None,
    raw: bool = False,
    dimensions: int | None = None,
    **options: Any,
) -> Image:
    """Read an image: a file of any known format, or a folder that holds one DICOM series.

    Args:
        path: the file or folder. The content decides on the format, not the name.
        kind: "image" or "labels"; by default what the file says, else "image". Labels must be whole
            numbers.
        raw: return stored values, before rescale or slope.
        dimensions: the number of dimensions that the image must have, such as 3.
        options: what the format takes besides, such as `series=` for DICOM.

    Raises:
        MissingFileError: there is no such file or folder.
        FormatError: it is of no known format, damaged, or holds no whole numbers for labels.
        GeometryError: it has another number of dimensions, or its slices are uneven.
        ParameterError: an option is not known to the format.

    Example:
        >>> import numpy as np, tempfile
        >>> path = tempfile.mkdtemp() + "/a.nii.gz"
        >>> write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> read(path)
        Image(image zyx 2×3×4 int16, spacing 1×1×1 mm, RAS)
    """
    found = existing(path)
    entry = format_of(found)
    _check_options(entry, options, entry.options)
    image = entry.read(found, kind=kind, raw=raw, **options)
    if dimensions is not None and image.ndim != dimensions:
        raise GeometryError(
            f"expected an image of {dimensions} dimensions in {found.name!r}, received axes "
            f"{image.axes!r} of shape {image.shape}; choose one, for instance image[0] of its array"
        )
    return image


def info(path: str | os.PathLike[str], **options: Any) -> Info:
    """Read the headers only: format, axes, shape, stored type and geometry.

    Args:
        path: a file, or a folder that holds one DICOM series.
        options: what the format takes besides, such as `series=` for DICOM.

    Raises:
        MissingFileError, FormatError, GeometryError, ParameterError: as for `read`.

    Example:
        >>> import numpy as np, tempfile
        >>> path = tempfile.mkdtemp() + "/a.nii.gz"
        >>> write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> info(path).shape
        (2, 3, 4)
    """
    found = existing(path)
    entry = format_of(found)
    _check_options(entry, options, entry.info_options)
    return entry.info(found, **options)


def write(path: str | os.PathLike[str], image: Image) -> None:
    """Write an image in the format that the extension names; the file appears whole or not at all.

    Args:
        path: such as "out.nii.gz"; an existing file is replaced.
        image: an image or labels.

    Raises:
        FormatError: the extension is of no format that can be written, or it cannot hold the image.
        MissingFileError: the folder does not exist.

    Example:
        >>> write("a.xyz", Image([[1]], "yx"))
        Traceback (most recent call last):
        ecvl.errors.FormatError: cannot write 'a.xyz': expected an extension among .nii, .nii.gz
    """
    target = Path(path)
    name = target.name.lower()
    writable = [entry for entry in FORMATS.values() if entry.write]
    for entry in writable:
        if entry.write and name.endswith(entry.extensions):
            entry.write(target, image)
            return
    known = ", ".join(sorted(e for entry in writable for e in entry.extensions))
    raise FormatError(f"cannot write {target.name!r}: expected an extension among {known}")


def format_of(path: Path) -> Format:
    """Return the row of the table that recognises the content of a file or folder.

    Raises:
        FormatError: none does.

    Example:
        >>> format_of(Path(__file__))
        Traceback (most recent call last):
        ecvl.errors.FormatError: 'registry.py' is no image in a format known here ...
    """
    for entry in FORMATS.values():
        if entry.recognises(path):
            return entry
    raise FormatError(
        f"{path.name!r} is no image in a format known here ({', '.join(sorted(FORMATS))}), "
        "whatever its name says; check that it is whole and really an image"
    )


def _check_options(entry: Format, options: dict[str, Any], known: tuple[str, ...]) -> None:
    if unknown := sorted(options.keys() - set(known)):
        raise ParameterError(
            f"the format {entry.name!r} takes {', '.join(known) or 'no options'}, received "
            f"{unknown}"
        )
