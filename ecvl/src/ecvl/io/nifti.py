"""NIfTI-1 and NIfTI-2: single files and pairs, with or without gzip.

* nibabel reads and writes the header; the voxels are read here, once, into the memory they stay in.
* The header's sizes are checked against the bytes of the file before memory is asked for.
* The file's x, y, z, t, vector order in memory is the axes' "ctzyx" in C order: nothing is moved.
* Written files carry sform and qform (a sheared affine: sform only, for a qform cannot hold it).

Held by `tests/ecvl/test_nifti.py` against nibabel and SimpleITK, and by the fuzz tests.
"""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import EcvlError, FormatError
from ecvl.image import Image, Kind, require_kind
from ecvl.io.files import existing, opened, written_atomically
from ecvl.io.lazy import LazyImage
from ecvl.io.nifti_header import header_path, new_header, parsed, starts_as_nifti
from ecvl.io.registry import Format, Info, register
from ecvl.io.scaling import decoder

Part = Literal["real", "imaginary", "magnitude", "phase"]
EXTENSIONS = (".nii", ".nii.gz", ".hdr", ".img")


def NiftiRead(
    path: str | os.PathLike[str],
    *,
    kind: Kind | None = None,
    raw: bool = False,
    part: Part | None = None,
) -> Image:
    """Read a NIfTI file.

    Args:
        path: a .nii or .nii.gz file, by its content, or either file of an .hdr and .img pair.
        kind: "image" or "labels"; by default labels where the header's intent says so.
        raw: return stored values; by default slope and intercept are applied: integral ones give
            the smallest integer type that holds the result, others float32, and float64 becomes
            float32.
        part: which real numbers to take of complex voxels: "real", "imaginary", "magnitude" or
            "phase" (radians). Complex voxels are refused without it.

    Returns:
        An image with axes "zyx", "tzyx", "czyx" (vectors), "ctzyx", "zyxc" (RGB, RGBA) or "yx"; the
        affine is the one nibabel takes (sform, else qform, else sizes alone), in mm whatever the
        header's unit. `time_step` is in seconds; `meta["common"]` holds the form codes and the
        header's texts.

    Raises:
        MissingFileError: there is no such file.
        FormatError: it is no NIfTI file, truncated, or promises more than it holds.
        GeometryError: the affine is not finite or not invertible.

    Example:
        >>> import numpy as np, tempfile
        >>> path = tempfile.mkdtemp() + "/a.nii"
        >>> NiftiWrite(path, Image(np.ones((2, 3, 4), np.uint8), "zyx", kind="labels"))
        >>> NiftiRead(path)
        Image(labels zyx 2×3×4 uint8, spacing 1×1×1 mm, RAS)
    """
    return nifti_lazy(existing(path), kind=kind, raw=raw, part=part).load()


def nifti_lazy(
    path: Path, *, kind: Kind | None = None, raw: bool = False, part: Part | None = None
) -> LazyImage:
    """Read the header of a NIfTI file, and its voxels where they are indexed.

    Example:
        >>> import numpy as np, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.nii.gz"
        >>> NiftiWrite(path, Image(np.ones((2, 3, 4), np.uint8), "zyx"))
        >>> nifti_lazy(path)[1].shape
        (3, 4)
    """
    head = parsed(path)
    head.stored.require_bytes()
    kind = kind or head.kind
    colour = head.axes.endswith("c")
    slope, intercept = (1.0, 0.0) if raw or colour else head.scaling
    meta: dict[str, Any] = {
        "source": {"format": "nifti", "path": str(path)},
        "common": head.common,
    }
    if "t" in head.axes:
        meta["time_step"] = head.time_step
    decode = decoder(head.stored, slope, intercept, raw=raw, kind=kind, part=part)
    names = head.label_names if kind == "labels" else None
    return LazyImage(decode, head.axes, head.stored.shape, head.affine, kind, meta, names)


def NiftiWrite(
    path: str | os.PathLike[str], image: Image, *, version: Literal[1, 2] | None = None
) -> None:
    """Write an image as a NIfTI file, whole or not at all.

    Labels are marked by the header's intent, and their names stand in an extension. Of the metadata
    only the form code (`meta["common"]["xform_code"]`: which space the affine leads to) and the
    time step are written, and the same image gives the same bytes.

    Args:
        path: ends in .nii or .nii.gz, or in .hdr or .img for a pair of files.
        image: axes "yx", "zyx", "tzyx", "czyx" or "ctzyx", or uint8 colour with 3 or 4 channels as
            "yxc", "zyxc" or "tzyxc"; float16 is written as float32. The affine is stored in single
            precision by NIfTI-1, in double by NIfTI-2 (sform).
        version: NIfTI-1 or NIfTI-2; by default 1 where the sizes allow.

    Raises:
        FormatError: the axes or sizes do not fit the format, or the extension is another.
        MissingFileError: the folder does not exist.

    Example:
        >>> import numpy as np, tempfile
        >>> path = tempfile.mkdtemp() + "/a.nii.gz"
        >>> NiftiWrite(path, Image(np.ones((3, 4)), "yx"))
        >>> NiftiRead(path).shape
        (3, 4)
    """
    require_kind(image, None, "NiftiWrite")
    target = Path(path)
    name = target.name.lower()
    if not name.endswith(EXTENSIONS):
        raise FormatError(
            f"expected a name ending in {', '.join(EXTENSIONS)}, received {target.name!r}"
        )
    single = not name.endswith((".hdr", ".img"))
    header, extension = new_header(image, version, single)
    values = image.array.astype(np.float32) if image.dtype == np.float16 else image.array
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    if not single:
        # The header is renamed last: a pair can be read only when it is whole.
        with (
            written_atomically(target.with_suffix(".hdr")) as head,
            written_atomically(target.with_suffix(".img")) as voxels,
        ):
            head.write(header.binaryblock + extension)
            _write(voxels, b"", little)
        return
    with written_atomically(target) as stream:
        if name.endswith(".gz"):
            from isal import igzip

            with igzip.IGzipFile(
                filename="", mode="wb", compresslevel=2, fileobj=stream, mtime=0
            ) as deflated:
                _write(deflated, header.binaryblock + extension, little)
        else:
            _write(stream, header.binaryblock + extension, little)


def nifti_info(path: Path) -> Info:
    """Read a NIfTI header: what `ecvl.info` gives.

    Example:
        >>> import numpy as np, tempfile
        >>> path = tempfile.mkdtemp() + "/a.nii"
        >>> NiftiWrite(path, Image(np.ones((3, 4), np.int16), "yx"))
        >>> nifti_info(Path(path)).dtype
        dtype('int16')
    """
    head = parsed(path)
    details = {
        "version": 1 if int(head.header["sizeof_hdr"]) == 348 else 2,
        "byte_order": "big" if head.header.endianness == ">" else "little",
        "compression": head.stored.codec,
        "slope": float(head.header["scl_slope"]),
        "intercept": float(head.header["scl_inter"]),
        "sform_code": int(head.header["sform_code"]),
        "qform_code": int(head.header["qform_code"]),
        "intent_code": int(head.header["intent_code"]),
    }
    dtype = head.stored.dtype.newbyteorder("=")
    return Info(
        "nifti",
        head.axes,
        head.stored.shape,
        dtype,
        head.affine,
        head.kind,
        head.time_step,
        details,
    )


def _recognises(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        return starts_as_nifti(header_path(path))
    except EcvlError:
        # A damaged gzip file is best explained by the reader of what gzip holds here.
        with opened(path) as stream:
            return type(stream).__name__ == "IGzipFile"


def _write(stream: Any, head: bytes, values: NDArray[Any]) -> None:
    stream.write(head)
    stream.write(values.reshape(-1).view(np.uint8).data)


register(
    Format(
        name="nifti",
        extensions=EXTENSIONS,
        recognises=_recognises,
        read=NiftiRead,
        info=nifti_info,
        write=NiftiWrite,
        lazy=nifti_lazy,
        options=("part",),
        write_options=("version",),
    )
)
