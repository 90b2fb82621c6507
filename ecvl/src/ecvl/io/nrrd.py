"""NRRD: header and voxels in one file, or in two within one folder.

Our own reading of the text header, and not SimpleITK's: sizes have to be checked against the bytes
that are there before a C++ reader believes them, and a part of the file has to be readable alone.

* The position of an axis without direction decides: colour first (fastest) is "zyxc", last "czyx".
* Space coordinates become RAS+; a space of no named orientation counts as LPS, as in ITK.
* A detached data file is looked for in the header's own folder, links included, and nowhere else.
* Label names are those of 3D Slicer's segmentations (`Segment0_LabelValue`, `Segment0_Name`).

Held by `tests/ecvl/test_nrrd.py` against SimpleITK.
"""

from pathlib import Path
from typing import IO, Any

import numpy as np

from ecvl.image import Image, Kind
from ecvl.io.files import opened_plain, written_atomically
from ecvl.io.lazy import LazyImage
from ecvl.io.nrrd_header import new_header, parsed
from ecvl.io.registry import Format, Info, register
from ecvl.io.scaling import decoder


def nrrd_read(path: Path, *, kind: Kind | None = None, raw: bool = False) -> Image:
    """Read an NRRD file: what `ecvl.read` does.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.nrrd"
        >>> nrrd_write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> nrrd_read(path)
        Image(image zyx 2×3×4 int16, spacing 1×1×1 mm, RAS)
    """
    return nrrd_lazy(path, kind=kind, raw=raw).load()


def nrrd_lazy(path: Path, *, kind: Kind | None = None, raw: bool = False) -> LazyImage:
    """Read the header of an NRRD file, and its voxels where they are indexed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.nrrd"
        >>> nrrd_write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> nrrd_lazy(path)[1].shape
        (3, 4)
    """
    head = parsed(path)
    head.stored.require_bytes()
    kind = kind or head.kind
    meta: dict[str, Any] = {"source": {"format": "nrrd", "path": str(path)}}
    if "t" in head.axes:
        meta["time_step"] = head.time_step
    decode = decoder(head.stored, 1, 0, raw=raw, kind=kind, part=None)
    names = head.label_names if kind == "labels" else None
    return LazyImage(decode, head.axes, head.stored.shape, head.affine, kind, meta, names)


def nrrd_info(path: Path) -> Info:
    """Read an NRRD header: what `ecvl.info` gives.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.nrrd"
        >>> nrrd_write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> nrrd_info(path).shape
        (2, 3, 4)
    """
    head = parsed(path)
    dtype = head.stored.dtype.newbyteorder("=")
    return Info(
        "nrrd",
        head.axes,
        head.stored.shape,
        dtype,
        head.affine,
        head.kind,
        head.time_step,
        head.details,
    )


def nrrd_write(path: Path, image: Image) -> None:
    """Write an image as a gzipped .nrrd, or as an .nhdr with its .raw.gz beside it.

    Everything but the value range and `meta` is kept: axes, type, affine, kind, label names and
    time step. float16 is written as float32.

    Raises:
        FormatError: the axes are not [z]yx with at most one t and one c (first or last).
    """
    from isal import igzip

    values = image.array.astype(np.float32) if image.dtype == np.float16 else image.array
    header = new_header(image, values.dtype)
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    content = little.reshape(-1).view(np.uint8).data

    def packed(stream: IO[bytes]) -> None:
        with igzip.IGzipFile(
            filename="", mode="wb", compresslevel=2, fileobj=stream, mtime=0
        ) as deflated:
            deflated.write(content)

    if path.name.lower().endswith(".nhdr"):
        data = path.with_suffix(".raw.gz")
        with written_atomically(path) as stream, written_atomically(data) as voxels:
            stream.write(header + f"data file: {data.name}\n".encode())
            packed(voxels)
        return
    with written_atomically(path) as stream:
        stream.write(header + b"\n")
        packed(stream)


def _recognises(path: Path) -> bool:
    if not path.is_file():
        return False
    with opened_plain(path) as stream:
        return stream.read(7) == b"NRRD000"


register(
    Format(
        name="nrrd",
        extensions=(".nrrd", ".nhdr"),
        recognises=_recognises,
        read=nrrd_read,
        info=nrrd_info,
        write=nrrd_write,
        lazy=nrrd_lazy,
    )
)
