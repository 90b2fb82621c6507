"""The documented door: `read`, `info` and `write`, over one table of formats.

Reading goes by content, writing by extension. Whatever is in a file, nothing but an `EcvlError`
comes out of reading it; `tests/ecvl/fuzz` holds this for every format in the table, and
`tests/ecvl/test_formats_contract.py` what each row says of itself.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from ecvl.affines import Affine
from ecvl.errors import FormatError, GeometryError, ParameterError
from ecvl.image import Image, Kind, require_kind
from ecvl.io.files import existing
from ecvl.io.lazy import LazyImage, deferred
from ecvl.placed import Placed


@dataclass(frozen=True, eq=False)
class Info(Placed):
    """What the headers of an image say, without its voxels.

    Attributes:
        format: the format's name, such as "nifti".
        axes: one letter a dimension.
        shape: sizes in the order of `axes`.
        dtype: the data type as stored, before scaling.
        affine: 4x4, voxel x, y, z to RAS+ mm.
        kind: "image" or "labels", as far as the headers say.
        time_step: seconds between steps along t, where known.
        details: what else is worth knowing of the file, such as its compression; nothing that
            identifies a person.

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
    time_step: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """One row of the table: how a format is recognised, read and written.

    Attributes:
        name: what it is called in `Info.format` and `meta["source"]`.
        extensions: those that writing recognises, in lower case.
        recognises: says from the content whether a file or folder is one.
        read: `(path, kind=..., raw=..., **options) -> Image`.
        info: `(path, **options) -> Info`.
        write: `(path, image, **options) -> float | None`, the greatest error of a stored value
            (`None` is 0), or `None` where the format is read only.
        lazy: as `read`, but gives a `LazyImage`; without it the whole is decoded at once.
        options: what `read` and `lazy` take besides `kind` and `raw`.
        info_options: what `info` takes.
        write_options: what `write` takes.
    """

    name: str
    extensions: tuple[str, ...]
    recognises: Callable[[Path], bool]
    read: Callable[..., Image]
    info: Callable[..., Info]
    write: Callable[..., float | None] | None = None
    lazy: Callable[..., LazyImage] | None = None
    options: tuple[str, ...] = ()
    info_options: tuple[str, ...] = ()
    write_options: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {}


def register(entry: Format) -> None:
    """Add a row to the table of formats.

    Example:
        >>> "nifti" in FORMATS
        True
    """
    FORMATS[entry.name] = entry


@overload
def read(
    path: str | os.PathLike[str],
    *,
    kind: Kind | None = None,
    raw: bool = False,
    lazy: Literal[False] = False,
    dimensions: int | None = None,
    **options: Any,
) -> Image: ...
@overload
def read(
    path: str | os.PathLike[str],
    *,
    kind: Kind | None = None,
    raw: bool = False,
    lazy: Literal[True],
    dimensions: int | None = None,
    **options: Any,
) -> LazyImage: ...
def read(
    path: str | os.PathLike[str],
    *,
    kind: Kind | None = None,
    raw: bool = False,
    lazy: bool = False,
    dimensions: int | None = None,
    **options: Any,
) -> Image | LazyImage:
    """Read an image: a file of any known format, or a folder that holds one DICOM series.

    Args:
        path: the file or folder. The content decides on the format, not the name.
        kind: "image" or "labels"; by default what the file says, else "image". Labels must be whole
            numbers.
        raw: return stored values, before rescale or slope.
        lazy: give geometry and metadata at once, and decode the part that is indexed:
            `read(path, lazy=True)[40:60]`.
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
        >>> _ = write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> read(path)
        Image(image zyx 2×3×4 int16, spacing 1×1×1 mm, RAS)
    """
    found = existing(path)
    entry = format_of(found)
    _check_options(entry, options, entry.options)
    image: Image | LazyImage
    if lazy and entry.lazy is not None:
        image = entry.lazy(found, kind=kind, raw=raw, **options)
    else:
        image = entry.read(found, kind=kind, raw=raw, **options)
        image = deferred(image) if lazy else image
    if dimensions is not None and image.ndim != dimensions:
        raise GeometryError(
            f"expected an image of {dimensions} dimensions in {found.name!r}, received axes "
            f"{image.axes!r} of shape {image.shape}; choose a part, for instance image[0]"
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
        >>> _ = write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> info(path).shape
        (2, 3, 4)
    """
    found = existing(path)
    entry = format_of(found)
    _check_options(entry, options, entry.info_options)
    return entry.info(found, **options)


def write(path: str | os.PathLike[str], image: Image, **options: Any) -> float:
    """Write an image in the format that the extension names; the file appears whole or not at all.

    Args:
        path: such as "out.nii.gz"; an existing file is replaced.
        image: an image or labels.
        options: what the format takes besides, such as `quality=` for JPEG.

    Returns:
        The greatest difference between a value of the image and what the file gives back: 0 where
        nothing is lost.

    Raises:
        FormatError: the extension is of no format that can be written, or it cannot hold the image.
        KindError: the format cannot hold the data type.
        ParameterError: an option is not known to the format.
        MissingFileError: the folder does not exist.

    Example:
        >>> write("a.xyz", Image([[1]], "yx"))
        Traceback (most recent call last):
        ecvl.errors.FormatError: cannot write 'a.xyz': expected an extension among ...
    """
    require_kind(image, None, "write")
    target = Path(path)
    name = target.name.lower()
    writable = [entry for entry in FORMATS.values() if entry.write]
    for entry in writable:
        if entry.write and name.endswith(entry.extensions):
            _check_options(entry, options, entry.write_options)
            return float(entry.write(target, image, **options) or 0.0)
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
