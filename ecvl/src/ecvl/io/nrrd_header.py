"""The NRRD header: what it says, checked, and a new one for an image.

Held by `tests/ecvl/test_nrrd.py` against SimpleITK.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import checked_affine
from ecvl.errors import FormatError, GeometryError, KindError, one_line
from ecvl.image import Image, Kind
from ecvl.io.files import inside, opened_plain
from ecvl.io.stored import Codec, Stored

GREATEST_HEADER = 1 << 20
TYPES = {
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i1": "signed char, int8, int8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
DTYPES = {name: code for code, names in TYPES.items() for name in names.split(", ")}
NAMES = {code: names.split(", ")[-1] for code, names in TYPES.items()}
CODECS: dict[str, Codec] = {
    "raw": "none",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
    "text": "text",
    "txt": "text",
    "ascii": "text",
}
# To RAS+, from the directions in which the first two space axes grow; the third is superior.
TO_RAS = {"right": 1, "left": -1, "anterior": 1, "posterior": -1}
SHORT = {"ras": (1, 1), "las": (-1, 1), "lps": (-1, -1)}
SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3}
TIME_KINDS = ("time",)


@dataclass(frozen=True, eq=False)
class Head:
    """What an NRRD header says, in ecvl's words."""

    axes: str
    affine: NDArray[np.float64]
    stored: Stored
    kind: Kind
    time_step: float | None
    label_names: dict[int, str] | None
    details: dict[str, Any]


def parsed(path: Path) -> Head:
    """Read the header of an NRRD file, and check what it says.

    Raises:
        FormatError: it is no NRRD file, damaged, or of a sort that is not read.
        GeometryError: its directions span no space.
        MissingFileError: its data file is not beside it.
    """
    with opened_plain(path) as stream:
        start = stream.read(GREATEST_HEADER)
    end = re.search(rb"\r?\n\r?\n", start)
    text = (start[: end.start()] if end else start).decode("latin-1")
    fields, keys = _fields(text, path.name)
    detached = fields.get("data file", fields.get("datafile"))
    if end is None and detached is None:
        raise FormatError(
            f"expected an empty line after the header of {path.name!r}, received none; the file is "
            "cut short or damaged"
        )
    data, offset = path, end.end() if end else 0
    if detached is not None:
        data, offset = inside(path.parent, detached, path.name), 0
    sizes = _whole(fields, "sizes", path.name)
    if _whole(fields, "dimension", path.name) != [len(sizes)] or not 2 <= len(sizes) <= 5:
        raise FormatError(
            f"expected 2 to 5 dimensions and as many sizes in {path.name!r}, received {sizes}"
        )
    if min(sizes) < 1:
        raise FormatError(f"expected sizes of at least 1 in {path.name!r}, received {sizes}")
    dtype = _dtype(fields, path.name)
    encoding = _one(fields, "encoding", path.name).lower()
    if encoding not in CODECS:
        raise FormatError(
            f"expected the encoding {', '.join(CODECS)} in {path.name!r}, received {encoding!r}"
        )
    codec = CODECS[encoding]
    skip, offset = _skipped(fields, data, offset, codec, dtype, sizes)
    directions = _directions(fields, len(sizes), path.name)
    axes = _axes(fields, sizes, directions, keys.get("ecvl_axes", ""), path.name)
    names = _segments(keys)
    labels = names is not None or keys.get("ecvl_kind") == "labels"
    return Head(
        axes[::-1],
        _affine(fields, keys, axes, directions, path.name),
        Stored(data, codec, offset, skip, dtype, tuple(sizes[::-1])),
        "labels" if labels else "image",
        _time_step(fields, axes, directions),
        names or None,
        {"encoding": encoding, "space": fields.get("space", ""), "detached": detached is not None},
    )


def _fields(text: str, name: str) -> tuple[dict[str, str], dict[str, str]]:
    lines = text.splitlines()
    if not lines or not re.fullmatch(r"NRRD000[1-9]", lines[0].strip()):
        raise FormatError(f"expected an NRRD file, received {name!r} of other content")
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in lines[1:]:
        if line.startswith("#") or not line.strip():
            continue
        key, mark, value = line.partition(":")
        if not mark:
            raise FormatError(f"expected 'field: value' lines in the header of {name!r}")
        if value.startswith("="):
            keys[key.strip()] = value[1:].strip()
        else:
            fields[key.strip().lower()] = value.strip()
    return fields, keys


def _one(fields: dict[str, str], field: str, name: str) -> str:
    if not fields.get(field):
        raise FormatError(f"expected the field {field!r} in the header of {name!r}, received none")
    return fields[field]


def _whole(fields: dict[str, str], field: str, name: str) -> list[int]:
    words = _one(fields, field, name).split()
    if not all(re.fullmatch(r"[0-9]{1,12}", word) for word in words):
        raise FormatError(f"expected whole numbers as {field!r} in {name!r}, received others")
    return [int(word) for word in words]


def _dtype(fields: dict[str, str], name: str) -> np.dtype[Any]:
    wanted = _one(fields, "type", name).lower()
    if wanted not in DTYPES:
        raise FormatError(f"expected a type of numbers in {name!r}, received {wanted!r}")
    dtype = np.dtype(DTYPES[wanted])
    endian = fields.get("endian", "little").lower()
    if endian not in ("little", "big"):
        raise FormatError(f"expected endian little or big in {name!r}, received {endian!r}")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _skipped(
    fields: dict[str, str],
    data: Path,
    offset: int,
    codec: Codec,
    dtype: np.dtype[Any],
    sizes: list[int],
) -> tuple[int, int]:
    """Return the bytes to skip in the unpacked stream, and where in the file it begins."""
    try:
        lines = int(fields.get("line skip", fields.get("lineskip", "0")))
        count = int(fields.get("byte skip", fields.get("byteskip", "0")))
    except ValueError:
        raise FormatError(f"expected whole numbers as skips for {data.name!r}") from None
    if lines < 0 or count < -1 or (lines and codec != "none"):
        raise FormatError(f"expected skips of at least 0 for {data.name!r}, received {count}")
    if count == -1:
        voxels = int(np.prod(sizes, dtype=object)) * dtype.itemsize
        if codec != "none":
            raise FormatError(f"expected byte skip -1 only for raw voxels in {data.name!r}")
        return 0, max(data.stat().st_size - voxels, 0)
    if lines:
        with opened_plain(data) as stream:
            stream.seek(offset)
            for _ in range(lines):
                if not stream.readline(GREATEST_HEADER):
                    raise FormatError(f"expected {lines} lines to skip in {data.name!r}")
            offset = stream.tell()
    return count, offset


def _directions(
    fields: dict[str, str], count: int, name: str
) -> list[NDArray[np.float64] | None] | None:
    if "space directions" not in fields:
        return None
    words = re.findall(r"none|\([^()]*\)", fields["space directions"])
    found = [None if word == "none" else _vector(word, name) for word in words]
    if len(found) != count:
        raise FormatError(f"expected {count} space directions in {name!r}, received {len(found)}")
    return found


def _vector(text: str, name: str) -> NDArray[np.float64]:
    try:
        found = np.array([float(word) for word in text.strip("() ").split(",")])
    except ValueError as error:
        raise FormatError(f"expected vectors (x,y,z) in {name!r}: {one_line(error)}") from None
    if found.size not in (2, 3, 4):
        raise FormatError(f"expected vectors of 2 to 4 numbers in {name!r}, received {found.size}")
    return found


def _axes(
    fields: dict[str, str],
    sizes: list[int],
    directions: list[NDArray[np.float64] | None] | None,
    letters_of_ours: str,
    name: str,
) -> str:
    """Return one letter an axis, fastest first; a fourth in space, as ITK has it, is time."""
    kinds = fields.get("kinds", "").lower().split()
    kinds = kinds if len(kinds) == len(sizes) else ["???"] * len(sizes)
    if directions is not None:
        spatial = [vector is not None and kinds[i] not in TIME_KINDS
                   for i, vector in enumerate(directions)]  # fmt: skip
    elif any(kind in ("domain", "space") for kind in kinds):
        spatial = [kind in ("domain", "space") for kind in kinds]
    else:
        spatial = [i < 3 for i in range(len(sizes))]
    letters = iter("xyzt")
    axes = ""
    for place, here in enumerate(spatial):
        if here:
            axes += next(letters, "?")
        elif kinds[place] in TIME_KINDS or (kinds[place] == "???" and "t" not in axes):
            axes += "t"
        elif letters_of_ours[place : place + 1] == "t":
            axes += "t"
        else:
            axes += "c"
    if len(set(axes)) != len(axes) or "?" in axes or "y" not in axes:
        raise FormatError(
            f"expected 2 or 3 spatial axes, one of time and one of channels in {name!r}, received "
            f"kinds {kinds} for sizes {sizes}"
        )
    return axes


def _affine(
    fields: dict[str, str],
    keys: dict[str, str],
    axes: str,
    directions: list[NDArray[np.float64] | None] | None,
    name: str,
) -> NDArray[np.float64]:
    affine = np.eye(4)
    for place, letter in enumerate(axes):
        if letter not in "xyz":
            continue
        column = "xyz".index(letter)
        if directions is not None and directions[place] is not None:
            vector = np.asarray(directions[place])[:3]
            affine[:3, column] = 0
            affine[: vector.size, column] = vector
        else:
            affine[column, column] = _spacing(fields, place)
    if "z" not in axes and affine[2, :2].any():
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
    if "z" not in axes and "ecvl_normal" in keys:
        normal = _vector(keys["ecvl_normal"], name)[:3]
        affine[: normal.size, 2] = normal
    if "space origin" in fields:
        origin = _vector(fields["space origin"], name)[:3]
        affine[: origin.size, 3] = origin
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    factor = {"m": 1e3, "um": 1e-3, "µm": 1e-3, "micron": 1e-3}.get(units[0] if units else "", 1)
    affine[:3] *= factor
    right, front = _towards(fields, directions is not None)
    try:
        return checked_affine(np.diag([right, front, 1.0, 1.0]) @ affine)
    except GeometryError as error:
        raise GeometryError(f"{name!r}: {error}") from None


def _towards(fields: dict[str, str], directed: bool) -> tuple[int, int]:
    space = fields.get("space", "").lower()
    words = space.split("-")
    if space[:3] in SHORT and len(space) <= 4:
        return SHORT[space[:3]]
    if len(words) >= 3 and words[0] in TO_RAS and words[1] in TO_RAS:
        return TO_RAS[words[0]], TO_RAS[words[1]]
    return -1, -1


def _spacing(fields: dict[str, str], place: int) -> float:
    try:
        found = abs(float(fields["spacings"].split()[place]))
    except (KeyError, ValueError, IndexError):
        return 1.0
    return found if 0 < found < np.inf else 1.0


def _time_step(
    fields: dict[str, str], axes: str, directions: list[NDArray[np.float64] | None] | None
) -> float | None:
    if "t" not in axes:
        return None
    place = axes.index("t")
    vector = directions[place] if directions is not None else None
    if vector is not None and vector.size == 4:
        return float(vector[3]) if 0 < vector[3] < np.inf else None
    if "spacings" not in fields:
        return None
    try:
        found = float(fields["spacings"].split()[place])
    except (ValueError, IndexError):
        return None
    units = re.findall(r'"([^"]*)"', fields.get("units", ""))
    factor = SECONDS.get(units[place], 1.0) if place < len(units) else 1.0
    return found * factor if 0 < found < np.inf else None


def _segments(keys: dict[str, str]) -> dict[int, str] | None:
    """The names of a segmentation as 3D Slicer writes them; `None` where there are none."""
    names: dict[int, str] = {}
    for key, value in keys.items():
        found = re.fullmatch(r"(Segment[0-9]{1,6})_LabelValue", key)
        if found and re.fullmatch(r"[0-9]{1,9}", value):
            names[int(value)] = keys.get(f"{found[1]}_Name", found[1])
    return names or None


def new_header(image: Image, dtype: np.dtype[Any]) -> bytes:
    """Return the header of a gzipped NRRD file, but for its last, empty line.

    Raises:
        FormatError: the image has an axis n.
        KindError: NRRD has no name for the type.
    """
    axes, sizes = image.axes[::-1], image.shape[::-1]
    if "n" in axes or dtype.str[1:] not in NAMES:
        kind = FormatError if "n" in axes else KindError
        raise kind(f"NRRD cannot hold axes {image.axes!r} of {dtype}; take the images apart")
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    # A 2-D image in the world's own plane is written with a space of two dimensions: with three,
    # which any other plane needs, ITK would not read it.
    plain = "z" not in axes and np.array_equal(lps[2], (0, 0, 1, 0)) and not lps[:2, 2].any()
    rows = 2 if plain else 3
    vectors = [
        "none" if letter not in "xyz" else _text(lps[:rows, "xyz".index(letter)]) for letter in axes
    ]
    # Not the kind "time": ITK takes that for an axis of space, and then refuses the file.
    kinds = {"t": "list", "c": "RGB-color" if sizes[axes.find("c")] == 3 else "vector"}
    lines = [
        "NRRD0005",
        f"type: {NAMES[dtype.str[1:]]}",
        f"dimension: {len(axes)}",
        "space dimension: 2" if plain else "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(vectors)}",
        f"kinds: {' '.join(kinds.get(letter, 'domain') for letter in axes)}",
        'space units: "mm" "mm"' + (rows - 2) * ' "mm"',
        "endian: little",
        "encoding: gzip",
        f"space origin: {_text(lps[:rows, 3])}",
    ]
    if image.time_step is not None and "t" in axes:
        steps = [repr(float(image.time_step)) if letter == "t" else "nan" for letter in axes]
        units = ['"s"' if letter == "t" else '""' for letter in axes]
        lines[-1:-1] = [f"spacings: {' '.join(steps)}", f"units: {' '.join(units)}"]
    if "t" in axes:
        lines.append(f"ecvl_axes:={axes}")
    if "z" not in axes and not plain:
        lines.append(f"ecvl_normal:={_text(lps[:3, 2])}")
    if image.kind == "labels":
        lines.append("ecvl_kind:=labels")
    for place, (value, name) in enumerate((image.label_names or {}).items()):
        lines += [
            f"Segment{place}_LabelValue:={value}",
            f"Segment{place}_Layer:=0",
            f"Segment{place}_Name:={' '.join(name.split())}",
        ]
    return "".join(f"{line}\n" for line in lines).encode()


def _text(vector: NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(number)) for number in vector) + ")"
