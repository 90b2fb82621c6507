"""Stored values to real ones: the smallest honest type, the same rule for every format."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError, ParameterError
from ecvl.image import Kind
from ecvl.io.stored import Stored
from ecvl.regions import Box

INTEGER_TYPES = tuple(
    np.dtype(name)
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
)


def smallest_integer_type(low: int, high: int) -> np.dtype[Any]:
    """Return the smallest integer type that holds `low` to `high`, unsigned where both would do.

    Raises:
        FormatError: no type of 64 bits does.

    Example:
        >>> smallest_integer_type(-1024, 3071), smallest_integer_type(0, 255)
        (dtype('int16'), dtype('uint8'))
    """
    for dtype in INTEGER_TYPES:
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return dtype
    raise FormatError(f"expected values that fit 64 bits, received {low} to {high}")


def scaled(
    stored: NDArray[Any],
    slope: float,
    intercept: float,
    stored_range: tuple[int, int] | None = None,
) -> NDArray[Any]:
    """Return `stored * slope + intercept` in the type that the toolkit promises.

    Args:
        stored: the values of the file.
        slope: finite and not 0.
        intercept: finite.
        stored_range: the least and greatest value the file could store, where it says so; else the
            data's own.

    Returns:
        The stored type where nothing is to be scaled (float64 and float16 become float32); the
        smallest integer type that holds the result where values, slope and intercept are integral;
        float32 otherwise, worked out in float64.

    Example:
        >>> import numpy as np
        >>> scaled(np.array([0, 4095], np.uint16), 1, -1024)
        array([-1024,  3071], dtype=int16)
    """
    if stored.dtype.kind == "f":
        if (slope, intercept) == (1, 0):
            return stored.astype(np.float32, copy=False)
        return _in_float(stored, slope, intercept)
    if (slope, intercept) == (1, 0):
        return stored
    if not (float(slope).is_integer() and float(intercept).is_integer()):
        return _in_float(stored, slope, intercept)
    low, high = stored_range or (int(stored.min()), int(stored.max()))
    ends = [low * int(slope) + int(intercept), high * int(slope) + int(intercept)]
    if max(map(abs, ends)) >= 1 << 53:
        return _in_float(stored, slope, intercept)
    dtype = smallest_integer_type(min(ends), max(ends))
    result = np.empty(stored.shape, dtype)
    for index in range(len(stored)):
        plane = stored[index].astype(np.int64)
        plane *= int(slope)
        plane += int(intercept)
        result[index] = plane
    return result


def require_integral(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return labels in an integer type.

    Raises:
        FormatError: a value is not a whole number.

    Example:
        >>> import numpy as np
        >>> require_integral(np.array([0.0, 2.0]), "a.nii")
        array([0, 2], dtype=uint8)
    """
    if values.dtype.kind in "iu":
        return values
    for plane in values:
        with np.errstate(invalid="ignore"):
            off = ~np.isfinite(plane) | (plane != np.rint(plane))
        if off.any():
            raise FormatError(
                f"expected whole numbers as labels in {name!r}, received for instance "
                f"{np.asarray(plane)[off].flat[0]}; read it with kind='image'"
            )
    low, high = float(values.min()), float(values.max())
    return values.astype(smallest_integer_type(int(low), int(high)))


def decoder(
    stored: Stored, slope: float, intercept: float, *, raw: bool, kind: Kind, part: str | None
) -> Callable[[Box], NDArray[Any]]:
    """Return the function that reads a box of a file in the type that the toolkit promises.

    The type is that of the whole, whatever the box: where it depends on all values, they are looked
    through once.

    Args:
        stored: the voxels in the file.
        slope, intercept: as for `scaled`; not applied with `raw`.
        raw: return stored values.
        kind: labels are refused where they are not whole numbers.
        part: of complex numbers: "real", "imaginary", "magnitude" or "phase" (radians).

    Raises:
        FormatError: the voxels are complex and `part` is not said.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.raw"
        >>> _ = path.write_bytes(bytes(range(4)))
        >>> file = Stored(path, "none", 0, 0, np.dtype("u1"), (2, 2))
        >>> decoder(file, 1, -2, raw=False, kind="image", part=None)(((1, 2), (0, 2)))
        array([[0, 1]], dtype=int8)
    """
    name, full = stored.path.name, tuple((0, size) for size in stored.shape)
    if stored.dtype.kind == "c":
        if part not in PARTS:
            raise FormatError(
                f"expected real numbers in {name!r}, received {stored.dtype}; say which part to "
                f"read: {', '.join(map(repr, PARTS))}"
            )
    elif part is not None:
        raise ParameterError(f"expected part= only for complex voxels, received {stored.dtype}")
    integral = float(slope).is_integer() and float(intercept).is_integer()

    def real(values: NDArray[Any], whole: bool) -> NDArray[Any]:
        if part is not None:
            factor = (1.0, 0.0) if raw else (slope, intercept)
            found = PARTS[part](values.astype(np.complex128) * factor[0] + factor[1])
            return np.asarray(found, np.float32)
        if raw:
            return values
        if kind == "labels" and values.dtype.kind == "f" and (slope, intercept) == (1, 0):
            return values
        look = not whole and integral and values.dtype.kind in "iu" and (slope, intercept) != (1, 0)
        return scaled(values, slope, intercept, stored.extent if look else None)

    label_type: list[np.dtype[Any]] = []

    def decode(box: Box) -> NDArray[Any]:
        values = real(stored.box(box), box == full)
        if kind != "labels":
            return values
        if values.dtype.kind in "iu" or box == full:
            return require_integral(values, name)
        if not label_type:
            blocks = (require_integral(real(block[None], False), name) for block in stored.blocks())
            ends = [(int(block.min()), int(block.max())) for block in blocks]
            label_type.append(smallest_integer_type(min(ends)[0], max(high for _, high in ends)))
        return values.astype(label_type[0])

    return decode


PARTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "real": np.real,
    "imaginary": np.imag,
    "magnitude": np.abs,
    "phase": np.angle,
}


def _in_float(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[np.float32]:
    result = np.empty(stored.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for index in range(len(stored)):
            plane = stored[index].astype(np.float64)
            plane *= slope
            plane += intercept
            result[index] = plane
    return result
