"""The NIfTI header: what it says, checked, and a new one for an image.

* nibabel takes the header apart; sizes, offsets and extensions are checked here.
* The affine is nibabel's (sform, else qform, else the sizes), in mm whatever the header's unit.
* Label names travel in an extension of code 6 (a comment), as JSON; no other field can hold them.

Held by `tests/ecvl/test_nifti.py`.
"""

import json
import math
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import ORTHOGONAL_TOLERANCE, checked_affine, non_orthogonality
from ecvl.errors import FormatError, GeometryError, KindError, MissingFileError, one_line
from ecvl.image import Image, Kind
from ecvl.io.files import GZIP_MAGIC, opened
from ecvl.io.stored import Stored

HEADER_BYTES = {"Nifti1Header": 348, "Nifti2Header": 540}
HEADER_SIZES = tuple(HEADER_BYTES.values())
LABEL_INTENT = 1002
VECTOR_INTENT = 1007
COMMENT_EXTENSION = 6
GREATEST_EXTENSION = 1 << 20
GREATEST_NIFTI1_SIZE = 32767
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
MILLIMETRES = {"meter": 1e3, "micron": 1e-3}
# NIfTI axes, x first; the colour of an RGB type stands before them, for it lies closest in memory.
LETTERS = "xyztc"


@dataclass(frozen=True, eq=False)
class Head:
    """What a NIfTI header says, in ecvl's words.

    Attributes:
        header: nibabel's header object.
        path: the header's file.
        axes, affine: as of `ecvl.Image`.
        stored: the voxels.
        label_names: those of our extension.
    """

    header: Any
    path: Path
    axes: str
    affine: NDArray[np.float64]
    stored: Stored
    label_names: dict[int, str] | None

    @property
    def kind(self) -> Kind:
        """Labels where the intent says so."""
        return "labels" if int(self.header["intent_code"]) == LABEL_INTENT else "image"

    @property
    def time_step(self) -> float | None:
        """Seconds between steps along t, where the header says."""
        unit = SECONDS.get(self.header.get_xyzt_units()[1], 1.0)
        step = float(self.header["pixdim"][4]) * unit
        return step if "t" in self.axes and math.isfinite(step) and step > 0 else None

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept; 1 and 0 where the header holds none."""
        slope, intercept = float(self.header["scl_slope"]), float(self.header["scl_inter"])
        if slope == 0 or not math.isfinite(slope):
            return 1.0, 0.0
        if not math.isfinite(intercept):
            raise FormatError(
                f"expected a finite scl_inter in {self.path.name!r}, received {intercept}; "
                "read stored values with raw=True"
            )
        return slope, intercept

    @property
    def common(self) -> dict[str, Any]:
        """Header fields that are kept in `meta["common"]`."""
        codes = {name: int(self.header[name]) for name in ("sform_code", "qform_code")}
        texts = {
            name: bytes(self.header[name]).split(b"\0")[0].decode("latin-1").strip()
            for name in ("descrip", "intent_name")
        }
        xform = codes["sform_code"] or codes["qform_code"]
        return codes | {"xform_code": xform} | {name: text for name, text in texts.items() if text}


def parsed(path: Path) -> Head:
    """Read the header of a NIfTI file, or of either file of a pair, and check what it promises.

    Raises:
        FormatError: it is no NIfTI file, damaged, or promises more than the file holds.
        GeometryError: the affine is not finite or not invertible.
        MissingFileError: the other file of a pair is not there.
    """
    place = header_path(path)
    with opened(place) as stream:
        header, single = _header(stream, place)
        least = HEADER_BYTES[type(header).__name__]
        offset = _offset(header, place, single)
        length = max(offset - least, 0) if single else GREATEST_EXTENSION
        names = _label_names(stream.read(min(length, GREATEST_EXTENSION)))
    axes, shape, dtype = _layout(header, place)
    if dtype.fields:
        shape, dtype = (*shape, len(dtype.fields)), np.dtype(np.uint8)
    voxels = place if single else _partner(place, ".hdr", ".img")
    with voxels.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
    stored = Stored(voxels, "gzip" if packed else "none", 0, offset, dtype, shape)
    return Head(header, place, axes, _affine(header, place), stored, names)


def header_path(path: Path) -> Path:
    """Return the file with the header: for the .img of a pair its .hdr.

    Example:
        >>> header_path(Path("a.nii"))
        PosixPath('a.nii')
    """
    if path.name.lower().endswith((".img", ".img.gz")) and not starts_as_nifti(path):
        return _partner(path, ".img", ".hdr")
    return path


def starts_as_nifti(path: Path) -> bool:
    """Whether the content, its gzip layer inflated, begins as a NIfTI header does."""
    with opened(path) as stream:
        start = stream.read(348)
    return len(start) >= 4 and _header_size(start) in HEADER_SIZES


def new_header(image: Image, version: int | None, single: bool) -> tuple[Any, bytes]:
    """Return nibabel's header, little-endian, and the bytes between it and the voxels.

    Raises:
        FormatError: the axes do not fit the format, or a size does not fit version 1.
        KindError: the data type does not.
    """
    from nibabel import nifti1, nifti2

    sizes = _sizes(image)
    if version not in (None, 1, 2):
        raise FormatError(f"expected NIfTI version 1 or 2, received {version!r}")
    if version == 1 and max(sizes) > GREATEST_NIFTI1_SIZE:
        raise FormatError(f"expected sizes of at most 32767 for NIfTI-1, received {sizes}")
    second = version == 2 or max(sizes) > GREATEST_NIFTI1_SIZE
    cls = {
        (False, True): nifti1.Nifti1Header,
        (False, False): nifti1.Nifti1PairHeader,
        (True, True): nifti2.Nifti2Header,
        (True, False): nifti2.Nifti2PairHeader,
    }[second, single]
    header = cls(endianness="<")
    colour = image.axes.endswith("xc")
    dtype = np.dtype(np.float32) if image.dtype == np.float16 else image.dtype
    try:
        header.set_data_dtype({3: "RGB", 4: "RGBA"}[image.shape[-1]] if colour else dtype)
    except Exception as error:
        raise KindError(f"NIfTI cannot hold {image.dtype}: {one_line(error)}") from None
    header.set_data_shape(sizes)
    code = (image.meta.get("common") or {}).get("xform_code")
    code = code if isinstance(code, int) and 1 <= code <= 5 else 1
    header.set_sform(image.affine, code=code)
    sheared = non_orthogonality(image.affine) > ORTHOGONAL_TOLERANCE
    header.set_qform(image.affine, code=0 if sheared else code, strip_shears=True)
    header.set_xyzt_units("mm", "sec" if "t" in image.axes else None)
    if "t" in image.axes:
        header["pixdim"][4] = image.time_step or 0
    header["scl_slope"], header["scl_inter"] = 1, 0
    if image.kind == "labels":
        header["intent_code"] = LABEL_INTENT
    elif "c" in image.axes and not colour:
        header["intent_code"] = VECTOR_INTENT
    extension = _extension(image.label_names)
    if single:
        header["vox_offset"] = header["sizeof_hdr"] + len(extension)
    return header, extension


def _sizes(image: Image) -> list[int]:
    axes, shape = image.axes, image.shape
    if axes.endswith("xc"):
        if image.dtype != np.uint8 or shape[-1] not in (3, 4):
            raise FormatError(
                f"expected colour for NIfTI as uint8 with 3 or 4 channels, received {image.dtype} "
                f"with {shape[-1]}; other channels go first, as axes 'czyx'"
            )
        axes, shape = axes[:-1], shape[:-1]
    if axes not in ("yx", "zyx", "tzyx", "czyx", "ctzyx"):
        raise FormatError(
            "expected axes yx, zyx, tzyx, czyx or ctzyx, or colour as yxc, zyxc or tzyxc for NIfTI,"
            f" received {image.axes!r}; take channels apart or transpose first"
        )
    sizes = list(shape[::-1])
    if axes == "czyx":
        sizes.insert(3, 1)
    return sizes


def _header_size(start: bytes) -> int:
    for order in ("little", "big"):
        size = int.from_bytes(start[:4], order)
        if size in HEADER_SIZES:
            return size
    return 0


def _header(stream: IO[bytes], path: Path) -> tuple[Any, bool]:
    start = stream.read(348)
    size = _header_size(start)
    if len(start) < 348 or size not in HEADER_SIZES:
        raise FormatError(
            f"expected a NIfTI file, received {path.name!r} of other content; check that it is "
            "whole and really an image"
        )
    block = start + stream.read(size - 348)
    magic = (block[344:348] if size == 348 else block[4:8])[:3]
    if magic not in (b"n+1", b"n+2", b"ni1", b"ni2"):
        raise FormatError(
            f"expected NIfTI (magic n+1, n+2, ni1 or ni2) in {path.name!r}, received Analyze, which"
            " does not say where left is; convert it to .nii first"
        )
    import nibabel

    try:
        cls = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
        return cls(block, check=False), magic[1:2] == b"+"
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
    letters = LETTERS[: len(sizes)]
    if len(sizes) == 5 and sizes[3] == 1:
        sizes.pop(3)
        letters = "xyzc"
    axes = letters[::-1]
    if dtype.fields:
        if "c" in axes:
            raise FormatError(f"expected colour or vectors in {path.name!r}, received both")
        axes += "c"
    elif not (dtype.kind in "iuf" and dtype.itemsize <= 8) and not (
        dtype.kind == "c" and dtype.itemsize <= 16
    ):
        raise FormatError(
            f"expected numbers of at most 64 bits in {path.name!r}, received {dtype}; "
            "convert it first"
        )
    return axes, tuple(sizes[::-1]), dtype


def _affine(header: Any, path: Path) -> NDArray[np.float64]:
    try:
        with np.errstate(all="ignore"):
            affine = np.array(header.get_best_affine(), np.float64)
            affine[:3] *= MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    except Exception as error:
        raise GeometryError(
            f"the header of {path.name!r} holds no usable geometry: {one_line(error)}"
        ) from None
    try:
        return checked_affine(affine)
    except GeometryError as error:
        raise GeometryError(f"{path.name!r}: {error}") from None


def _offset(header: Any, path: Path, single: bool) -> int:
    offset = float(header["vox_offset"])
    least = HEADER_BYTES[type(header).__name__] if single else 0
    if not (math.isfinite(offset) and offset.is_integer()) or offset < 0 or 0 < offset < least:
        raise FormatError(
            f"expected the voxels of {path.name!r} to begin at byte {least} or later, received "
            f"{offset}; the header is damaged"
        )
    return int(offset) or (least + 4 if single else 0)


def _partner(path: Path, own: str, other: str) -> Path:
    """Return the other file of a pair: the same name beside it, with or without .gz."""
    at = path.name.lower().rfind(own)
    if at >= 0:
        stem = path.name[:at]
        for name in (stem + other, stem + other + ".gz", stem + other.upper()):
            if (path.parent / name).is_file():
                return path.parent / name
    raise MissingFileError(
        f"expected the {other} file of the pair beside {path.name!r}, received none; copy both"
    )


def _extension(label_names: dict[int, str] | None) -> bytes:
    if not label_names:
        return b"\0" * 4
    text = json.dumps({"ecvl": {"label_names": label_names}}).encode()
    size = -(-(len(text) + 8) // 16) * 16
    head = np.array([size, COMMENT_EXTENSION], "<i4").tobytes()
    return b"\1\0\0\0" + head + text.ljust(size - 8, b"\0")


def _label_names(block: bytes) -> dict[int, str] | None:
    at = 4
    while block[:1] > b"\0" and at + 8 <= len(block):
        for order in ("little", "big"):
            size = int.from_bytes(block[at : at + 4], order)
            if size % 16 == 0 and 16 <= size <= len(block) - at:
                break
        else:
            return None
        text = block[at + 8 : at + size].rstrip(b"\0")
        if text.startswith(b'{"ecvl"'):
            with _unreadable_is_none():
                names = json.loads(text)["ecvl"]["label_names"]
                return {int(value): str(name) for value, name in names.items()}
        at += size
    return None


@contextmanager
def _unreadable_is_none() -> Any:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
