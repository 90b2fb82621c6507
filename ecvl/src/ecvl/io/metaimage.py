"""MetaImage: .mha with its voxels, or .mhd beside a data file.

Read here and not by SimpleITK for the reasons that `nrrd.py` gives. World coordinates are LPS, as
ITK has them; channels lie closest in memory ("zyxc").

Held by `tests/ecvl/test_metaimage.py` against SimpleITK.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import checked_affine
from ecvl.errors import FormatError, GeometryError, KindError
from ecvl.image import Image, Kind
from ecvl.io.files import inside, opened_plain, written_atomically
from ecvl.io.lazy import LazyImage
from ecvl.io.registry import Format, Info, register
from ecvl.io.scaling import decoder
from ecvl.io.stored import Codec, Stored

GREATEST_HEADER = 1 << 20
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
NAMES = {code: name for name, code in TYPES.items() if name not in ("MET_LONG", "MET_ULONG")}
MATRIX = ("transformmatrix", "rotation", "orientation")
ORIGIN = ("offset", "position", "origin")
SPACING = ("elementspacing", "elementsize")
MSB = ("binarydatabyteordermsb", "elementbyteordermsb")


@dataclass(frozen=True, eq=False)
class Head:
    """What a MetaImage header says, in ecvl's words."""

    axes: str
    affine: NDArray[np.float64]
    stored: Stored
    kind: Kind
    time_step: float | None
    details: dict[str, Any]


def metaimage_read(path: Path, *, kind: Kind | None = None, raw: bool = False) -> Image:
    """Read a MetaImage: what `ecvl.read` does.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.mha"
        >>> metaimage_write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> metaimage_read(path)
        Image(image zyx 2×3×4 int16, spacing 1×1×1 mm, RAS)
    """
    return metaimage_lazy(path, kind=kind, raw=raw).load()


def metaimage_lazy(path: Path, *, kind: Kind | None = None, raw: bool = False) -> LazyImage:
    """Read the header of a MetaImage, and its voxels where they are indexed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.mha"
        >>> metaimage_write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> metaimage_lazy(path)[1].shape
        (3, 4)
    """
    head = _parsed(path)
    head.stored.require_bytes()
    kind = kind or head.kind
    meta: dict[str, Any] = {"source": {"format": "metaimage", "path": str(path)}}
    if "t" in head.axes:
        meta["time_step"] = head.time_step
    decode = decoder(head.stored, 1, 0, raw=raw, kind=kind, part=None)
    return LazyImage(decode, head.axes, head.stored.shape, head.affine, kind, meta)


def metaimage_info(path: Path) -> Info:
    """Read the header of a MetaImage: what `ecvl.info` gives.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.mha"
        >>> metaimage_write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx"))
        >>> metaimage_info(path).shape
        (2, 3, 4)
    """
    head = _parsed(path)
    dtype = head.stored.dtype.newbyteorder("=")
    return Info(
        "metaimage",
        head.axes,
        head.stored.shape,
        dtype,
        head.affine,
        head.kind,
        head.time_step,
        head.details,
    )


def metaimage_write(path: Path, image: Image) -> None:
    """Write an image as a compressed .mha, or as an .mhd with its .zraw beside it.

    Axes, type, affine, kind and time step are kept; label names are not, for there is no field for
    them. float16 is written as float32.

    Raises:
        FormatError: the axes are not [t][z]yx with at most a c last, or a 4-D image has no z.
        GeometryError: a 2-D image lies in another plane than x and y.
    """
    from isal import isal_zlib

    values = image.array.astype(np.float32) if image.dtype == np.float16 else image.array
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    packed = isal_zlib.compress(little.reshape(-1).view(np.uint8).data, 2)
    header = _header(image, values.dtype, len(packed))
    if path.name.lower().endswith(".mhd"):
        data = path.with_suffix(".zraw")
        with written_atomically(path) as stream, written_atomically(data) as voxels:
            stream.write(header + f"ElementDataFile = {data.name}\n".encode())
            voxels.write(packed)
        return
    with written_atomically(path) as stream:
        stream.write(header + b"ElementDataFile = LOCAL\n")
        stream.write(packed)


def _recognises(path: Path) -> bool:
    if not path.is_file():
        return False
    with opened_plain(path) as stream:
        start = stream.read(4096)
    first = start.split(b"\n", 1)[0].partition(b"=")[0].strip().lower()
    return first in (b"objecttype", b"ndims", b"comment") and b"ndims" in start.lower()


def _fields(stream: IO[bytes], name: str) -> dict[str, str]:
    """Read `Key = value` lines up to the one that says where the voxels are."""
    fields: dict[str, str] = {}
    left = GREATEST_HEADER
    while left > 0 and (line := stream.readline(left)):
        left -= len(line)
        key, mark, value = line.decode("latin-1").partition("=")
        if not mark:
            if key.strip():
                break
            continue
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            return fields
    raise FormatError(
        f"expected 'ElementDataFile = ...' at the end of the header of {name!r}, received none; "
        "the file is cut short or damaged"
    )


def _parsed(path: Path) -> Head:
    with opened_plain(path) as stream:
        fields = _fields(stream, path.name)
        end = stream.tell()
    if fields.get("objecttype", "Image").lower() != "image":
        raise FormatError(f"expected an image in {path.name!r}, received {fields['objecttype']!r}")
    count = _numbers(fields, ("ndims",), 1, path.name, whole=True)[0]
    if not 2 <= count <= 4:
        raise FormatError(f"expected 2 to 4 dimensions in {path.name!r}, received {count}")
    dimensions = int(count)
    sizes = [int(n) for n in _numbers(fields, ("dimsize",), dimensions, path.name, whole=True)]
    channels = 1
    if "elementnumberofchannels" in fields:
        found = _numbers(fields, ("elementnumberofchannels",), 1, path.name, whole=True)
        channels = int(found[0])
    if min(*sizes, channels) < 1:
        raise FormatError(f"expected sizes of at least 1 in {path.name!r}, received {sizes}")
    data, offset = path, end
    named = fields["elementdatafile"]
    if named.upper() != "LOCAL":
        if named.upper().startswith("LIST") or "%" in named:
            raise FormatError(
                f"expected one data file in {path.name!r}, received several; convert it first"
            )
        data, offset = inside(path.parent, named, path.name), 0
    axes = "xyzt"[:dimensions]
    spacing = _numbers(fields, SPACING, dimensions, path.name, default=np.ones(dimensions))
    stored = _stored(fields, data, offset, sizes, channels, path.name)
    kind: Kind = "labels" if fields.get("ecvl_kind") == "labels" else "image"
    step = float(spacing[3]) if dimensions == 4 else None
    return Head(
        axes[::-1] + ("c" if channels > 1 else ""),
        _affine(fields, dimensions, spacing, path.name),
        stored,
        kind,
        step if step is not None and 0 < step < np.inf else None,
        {"compression": stored.codec, "detached": data != path},
    )


def _stored(
    fields: dict[str, str], data: Path, offset: int, sizes: list[int], channels: int, name: str
) -> Stored:
    wanted = fields.get("elementtype", "").upper().removesuffix("_ARRAY")
    if wanted not in TYPES:
        raise FormatError(f"expected a type of numbers in {name!r}, received {wanted!r}")
    big = any(_true(fields.get(key)) for key in MSB)
    dtype = np.dtype(TYPES[wanted]).newbyteorder(">" if big else "<")
    shape = tuple(sizes[::-1]) + ((channels,) if channels > 1 else ())
    skip = int(_numbers(fields, ("headersize",), 1, name, default=np.zeros(1))[0])
    codec: Codec = "none"
    if _true(fields.get("compresseddata")):
        with opened_plain(data) as stream:
            stream.seek(offset)
            codec = "gzip" if stream.read(2) == b"\x1f\x8b" else "zlib"
    elif not _true(fields.get("binarydata", "True")):
        codec = "text"
    if skip == -1 and codec == "none":
        voxels = int(np.prod(shape, dtype=object)) * dtype.itemsize
        return Stored(data, codec, max(data.stat().st_size - voxels, 0), 0, dtype, shape)
    if skip < 0 or (skip and codec != "none"):
        raise FormatError(f"expected HeaderSize of at least 0 in {name!r}, received {skip}")
    return Stored(data, codec, offset, skip, dtype, shape)


def _affine(
    fields: dict[str, str], dimensions: int, spacing: NDArray[np.float64], name: str
) -> NDArray[np.float64]:
    identity = np.eye(dimensions).reshape(-1)
    matrix = _numbers(fields, MATRIX, dimensions**2, name, default=identity)
    origin = _numbers(fields, ORIGIN, dimensions, name, default=np.zeros(dimensions))
    spatial = min(dimensions, 3)
    # A row a voxel axis: the columns of the affine.
    directions = matrix.reshape(dimensions, dimensions)
    if dimensions == 4 and (directions[3, :3].any() or directions[:3, 3].any()):
        raise GeometryError(f"expected time apart from space in {name!r}, received them mixed")
    affine = np.eye(4)
    affine[:spatial, :spatial] = directions[:spatial, :spatial].T * np.abs(spacing[:spatial])
    affine[:spatial, 3] = origin[:spatial]
    try:
        return checked_affine(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
    except GeometryError as error:
        raise GeometryError(f"{name!r}: {error}") from None


def _numbers(
    fields: dict[str, str],
    keys: tuple[str, ...],
    count: int,
    name: str,
    *,
    whole: bool = False,
    default: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    text = next((fields[key] for key in keys if key in fields), None)
    if text is None and default is not None:
        return default
    try:
        found = np.array([float(word) for word in (text or "").split()])
    except ValueError:
        found = np.empty(0)
    fits = found.size == count and np.isfinite(found).all()
    if not fits or (
        whole and not all(re.fullmatch(r"[0-9]{1,12}", w) for w in (text or "").split())
    ):
        raise FormatError(
            f"expected {count} {'whole ' if whole else ''}numbers as {keys[0]} in the header of "
            f"{name!r}, received {(text or 'none')[:60]!r}"
        )
    return found


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("true", "1", "t")


def _header(image: Image, dtype: np.dtype[Any], packed: int) -> bytes:
    axes = image.axes.removesuffix("c")
    if axes not in ("yx", "zyx", "tzyx"):
        raise FormatError(
            f"expected axes yx, zyx or tzyx, with or without a c last, for MetaImage, received "
            f"{image.axes!r}; transpose first"
        )
    if dtype.str[1:] not in NAMES:
        raise KindError(f"MetaImage cannot hold {dtype}; convert with array.astype")
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    dimensions = len(axes)
    if dimensions == 2 and (lps[2, :2].any() or lps[2, 3]):
        raise GeometryError(
            "expected a 2-D image in the plane of world x and y at z = 0 for MetaImage, received "
            "one elsewhere; write image[None], one slice thick"
        )
    spatial = min(dimensions, 3)
    lengths = np.ones(dimensions)
    lengths[:spatial] = np.linalg.norm(lps[:spatial, :spatial], axis=0)
    if dimensions == 4:
        lengths[3] = image.time_step or 1
    matrix, origin = np.eye(dimensions), np.zeros(dimensions)
    matrix[:spatial, :spatial] = (lps[:spatial, :spatial] / lengths[:spatial]).T
    origin[:spatial] = lps[:spatial, 3]
    lines = {
        "ObjectType": "Image",
        "NDims": dimensions,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": True,
        "CompressedDataSize": packed,
        "TransformMatrix": _text(matrix.reshape(-1)),
        "Offset": _text(origin),
        "CenterOfRotation": _text(np.zeros(dimensions)),
        "ElementSpacing": _text(lengths),
        "DimSize": " ".join(map(str, image.shape[:dimensions][::-1])),
    }
    if image.axes.endswith("c"):
        lines["ElementNumberOfChannels"] = image.shape[-1]
    if image.kind == "labels":
        lines["ecvl_kind"] = "labels"
    lines["ElementType"] = NAMES[dtype.str[1:]]
    return "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()


def _text(numbers: NDArray[np.float64]) -> str:
    return " ".join(repr(float(number)) for number in numbers)


register(
    Format(
        name="metaimage",
        extensions=(".mha", ".mhd"),
        recognises=_recognises,
        read=metaimage_read,
        info=metaimage_info,
        write=metaimage_write,
        lazy=metaimage_lazy,
    )
)
