"""NIfTI-1 and NIfTI-2, single file, with or without gzip.

* nibabel reads and writes the header; the voxels are read here, once, into the memory they stay in.
* The header's sizes are checked against the bytes of the file before memory is asked for.
* The file's x, y, z, t, vector order in memory is the axes' "ctzyx" in C order: nothing is moved.
* Written files carry sform and qform (a sheared affine: sform only, for a qform cannot hold it).

Held by `tests/ecvl/test_nifti.py` against nibabel and SimpleITK, and by the fuzz test.
"""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import ORTHOGONAL_TOLERANCE, checked_affine, non_orthogonality
from ecvl.errors import EcvlError, FormatError, GeometryError, KindError, one_line
from ecvl.image import Image, Kind, require_kind
from ecvl.io.files import existing, greatest_content, opened, read_exactly, written_atomically
from ecvl.io.registry import Format, Info, register
from ecvl.io.scaling import require_integral, scaled

HEADER_BYTES = {"Nifti1Header": 348, "Nifti2Header": 540}
HEADER_SIZES = tuple(HEADER_BYTES.values())
LABEL_INTENT = 1002
VECTOR_INTENT = 1007
GREATEST_NIFTI1_SIZE = 32767
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


def NiftiRead(
    path: str | os.PathLike[str], *, kind: Kind | None = None, raw: bool = False
) -> Image:
    """Read a NIfTI file.

    Args:
        path: a .nii or .nii.gz file, by its content.
        kind: "image" or "labels"; by default labels where the header's intent says so.
        raw: return stored values; by default slope and intercept are applied: integral ones give
            the smallest integer type that holds the result, others float32, and float64 becomes
            float32.

    Returns:
        An image with axes "zyx", "tzyx", "czyx" (vectors), "ctzyx", "zyxc" (RGB) or "yx"; the
        affine is the one nibabel takes (sform, else qform). `meta["time_step"]` is in seconds.

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
    found = existing(path)
    with opened(found) as stream:
        header = _header(stream, found)
        axes, shape, dtype = _layout(header, found)
        affine = _affine(header, found)
        count = math.prod(shape) * dtype.itemsize
        offset = _offset(header, found)
        if offset + count > greatest_content(found):
            raise FormatError(
                f"the header of {found.name!r} promises {offset + count} bytes, received a file of "
                f"{found.stat().st_size}; it is cut short or damaged, copy or download it again"
            )
        _skip(stream, offset - HEADER_BYTES[type(header).__name__], found.name)
        stored = read_exactly(stream, count, found.name).view(dtype).reshape(shape)
        _finish(stream)
    stored = np.ascontiguousarray(stored, dtype=dtype.newbyteorder("="))
    if axes.endswith("c"):
        stored = stored.view(np.uint8).reshape(*shape, -1)
    label_intent = int(header["intent_code"]) == LABEL_INTENT
    kind = kind or ("labels" if label_intent else "image")
    values = stored if raw or axes.endswith("c") else _scaled(header, stored, kind, found)
    if kind == "labels":
        values = require_integral(values, found.name)
    meta: dict[str, Any] = {"source": {"format": "nifti", "path": str(found)}}
    if "t" in axes:
        unit = SECONDS.get(header.get_xyzt_units()[1], 1.0)
        step = float(header["pixdim"][4]) * unit
        meta["time_step"] = step if math.isfinite(step) and step > 0 else None
    return Image(values, axes, affine, kind=kind, meta=meta)


def NiftiWrite(path: str | os.PathLike[str], image: Image) -> None:
    """Write an image as a NIfTI file, whole or not at all.

    Labels are marked by the header's intent. Metadata is not written, and the same image gives the
    same bytes.

    Args:
        path: ends in .nii or .nii.gz.
        image: axes "yx", "zyx", "tzyx", "czyx" or "ctzyx"; float16 is written as float32.

    Raises:
        FormatError: the axes do not fit the format, or the extension is another.
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
    if not name.endswith((".nii", ".nii.gz")):
        raise FormatError(f"expected a name ending in .nii or .nii.gz, received {target.name!r}")
    header = _new_header(image)
    values = image.array.astype(np.float32) if image.dtype == np.float16 else image.array
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    with written_atomically(target) as stream:
        if name.endswith(".gz"):
            from isal import igzip

            with igzip.IGzipFile(
                filename="", mode="wb", compresslevel=2, fileobj=stream, mtime=0
            ) as deflated:
                _write(deflated, header, little)
        else:
            _write(stream, header, little)


def nifti_info(path: Path) -> Info:
    """Read a NIfTI header: what `ecvl.info` gives.

    Example:
        >>> import numpy as np, tempfile
        >>> path = tempfile.mkdtemp() + "/a.nii"
        >>> NiftiWrite(path, Image(np.ones((3, 4), np.int16), "yx"))
        >>> nifti_info(Path(path)).dtype
        dtype('int16')
    """
    with opened(path) as stream:
        header = _header(stream, path)
    axes, shape, dtype = _layout(header, path)
    if axes.endswith("c"):
        shape, dtype = (*shape, len(dtype.fields or ())), np.dtype(np.uint8)
    kind: Kind = "labels" if int(header["intent_code"]) == LABEL_INTENT else "image"
    return Info("nifti", axes, shape, dtype.newbyteorder("="), _affine(header, path), kind)


def _recognises(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with opened(path) as stream:
            start = stream.read(348)
    except EcvlError:
        # A damaged gzip file is best explained by the reader of what gzip holds here.
        return True
    return len(start) >= 4 and _header_size(start) in HEADER_SIZES


def _header_size(start: bytes) -> int:
    for order in ("little", "big"):
        size = int.from_bytes(start[:4], order)
        if size in HEADER_SIZES:
            return size
    return 0


def _header(stream: Any, path: Path) -> Any:
    start = stream.read(348)
    size = _header_size(start)
    if len(start) < 348 or size not in HEADER_SIZES:
        raise FormatError(
            f"expected a NIfTI file, received {path.name!r} of other content; check that it is "
            "whole and really an image"
        )
    block = start + stream.read(size - 348)
    magic = block[344:348] if size == 348 else block[4:8]
    if magic[:3] not in (b"n+1", b"n+2"):
        raise FormatError(
            f"expected a single-file NIfTI (magic n+1 or n+2) in {path.name!r}, received a pair of "
            "files or Analyze; convert it to .nii first"
        )
    import nibabel

    try:
        cls = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
        return cls(block, check=False)
    except Exception as error:
        raise FormatError(f"the header of {path.name!r} is damaged: {one_line(error)}") from None


def _layout(header: Any, path: Path) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """Return axes, shape (without colour) and stored type, all in C order."""
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except Exception:
        raise FormatError(
            f"expected a NIfTI data type in {path.name!r}, received code "
            f"{int(header['datatype'])}; the header is damaged"
        ) from None
    count = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : 1 + max(count, 0)]]
    if not 2 <= count <= 7 or any(size < 1 for size in sizes):
        raise FormatError(
            f"expected 2 to 7 dimensions of at least 1 in {path.name!r}, received {count}: {sizes}"
            "; the header is damaged"
        )
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) > 5:
        raise FormatError(f"expected at most 5 dimensions in {path.name!r}, received {sizes}")
    letters = "xyztc"[: len(sizes)]
    if len(sizes) == 5 and sizes[3] == 1:
        sizes.pop(3)
        letters = "xyzc"
    axes = letters[::-1]
    if dtype.fields:
        if "c" in axes:
            raise FormatError(f"expected colour or vectors in {path.name!r}, received both")
        axes += "c"
    elif dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise FormatError(
            f"expected integers or real numbers of at most 64 bits in {path.name!r}, received "
            f"{dtype}; convert it first"
        )
    return axes, tuple(sizes[::-1]), dtype


def _affine(header: Any, path: Path) -> NDArray[np.float64]:
    try:
        with np.errstate(all="ignore"):
            affine = header.get_best_affine()
    except Exception as error:
        raise GeometryError(
            f"the header of {path.name!r} holds no usable geometry: {one_line(error)}"
        ) from None
    try:
        return checked_affine(affine)
    except GeometryError as error:
        raise GeometryError(f"{path.name!r}: {error}") from None


def _offset(header: Any, path: Path) -> int:
    offset = float(header["vox_offset"])
    least = HEADER_BYTES[type(header).__name__]
    if not (math.isfinite(offset) and offset.is_integer()) or (offset and offset < least):
        raise FormatError(
            f"expected the voxels of {path.name!r} to begin at byte {least} or later, received "
            f"{offset}; the header is damaged"
        )
    return int(offset) or least + 4


def _skip(stream: Any, count: int, name: str) -> None:
    # By reading, for extensions are small and a gzip layer cannot seek for less.
    while count > 0:
        got = len(stream.read(min(count, 1 << 20)))
        if not got:
            raise FormatError(f"expected voxels in {name!r}, received a file that ends before them")
        count -= got


def _finish(stream: Any) -> None:
    """Read to the end of a gzip layer, where its checksum is verified; a long tail is let be."""
    for _ in range(64):
        if not stream.read(1 << 16):
            return


def _scaled(header: Any, stored: NDArray[Any], kind: Kind, path: Path) -> NDArray[Any]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        slope, intercept = 1.0, 0.0
    if not math.isfinite(intercept):
        raise FormatError(
            f"expected a finite scl_inter in {path.name!r}, received {intercept}; "
            "read stored values with raw=True"
        )
    if kind == "labels" and stored.dtype.kind == "f" and (slope, intercept) == (1, 0):
        return stored
    return scaled(stored, slope, intercept)


def _new_header(image: Image) -> Any:
    import nibabel

    if image.axes not in ("yx", "zyx", "tzyx", "czyx", "ctzyx"):
        raise FormatError(
            f"expected axes yx, zyx, tzyx, czyx or ctzyx for NIfTI, received {image.axes!r}; "
            "take channels apart or transpose first"
        )
    sizes = list(image.shape[::-1])
    if image.axes == "czyx":
        sizes.insert(3, 1)
    if max(sizes) <= GREATEST_NIFTI1_SIZE:
        header = nibabel.Nifti1Header()
    else:
        header = nibabel.Nifti2Header()
    try:
        header.set_data_dtype(np.float32 if image.dtype == np.float16 else image.dtype)
    except Exception as error:
        raise KindError(f"NIfTI cannot hold {image.dtype}: {one_line(error)}") from None
    header.set_data_shape(sizes)
    header.set_sform(image.affine, code=1)
    sheared = non_orthogonality(image.affine) > ORTHOGONAL_TOLERANCE
    header.set_qform(image.affine, code=0 if sheared else 1, strip_shears=True)
    header.set_xyzt_units("mm", "sec" if "t" in image.axes else None)
    if "t" in image.axes:
        header["pixdim"][4] = image.meta.get("time_step") or 0
    header["scl_slope"], header["scl_inter"] = 1, 0
    if image.kind == "labels":
        header["intent_code"] = LABEL_INTENT
    elif "c" in image.axes:
        header["intent_code"] = VECTOR_INTENT
    header["vox_offset"] = HEADER_BYTES[type(header).__name__] + 4
    return header


def _write(stream: Any, header: Any, values: NDArray[Any]) -> None:
    stream.write(header.as_byteswapped("<").binaryblock)
    stream.write(b"\0" * 4)
    stream.write(values.reshape(-1).view(np.uint8).data)


register(
    Format(
        name="nifti",
        extensions=(".nii", ".nii.gz"),
        recognises=_recognises,
        read=NiftiRead,
        info=nifti_info,
        write=NiftiWrite,
    )
)
