"""Which part of an image `image[...]` means: the same rule for images in memory and in files.

A whole number along z, t, c or n drops that axis, a slice keeps it, `None` in front of a 2-D image
makes it one slice thick, and the affine, the time step and what `meta` holds a slice or a time step
go along. Held by `tests/ecvl/test_image.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecvl.affines import Affine
from ecvl.errors import GeometryError

Box = tuple[tuple[int, int], ...]
PER_TIME = ("bvals", "bvecs")


@dataclass(frozen=True, eq=False)
class Region:
    """A part of an image: what to decode, what to take of it, and where it stands.

    Attributes:
        box: the half-open (start, stop) to decode along each axis of the whole.
        inner: the index into the decoded box.
        axes: the axes of the result.
        affine: the affine of the result.
        times: the time steps that are taken, where the image has them.

    Example:
        >>> part = chosen((slice(1, 3), ..., slice(None, None, -2)), "zyx", (4, 5, 6), np.eye(4))
        >>> part.box, part.affine[:, 3].tolist()
        (((1, 3), (0, 5), (1, 6)), [5.0, 0.0, 1.0, 1.0])
    """

    box: Box
    inner: tuple[Any, ...]
    axes: str
    affine: Affine
    times: range | None

    def meta(self, meta: Mapping[str, Any], old: Affine, whole: bool) -> dict[str, Any]:
        """Return what is still true of the metadata of the whole."""
        kept = dict(meta)
        if not (whole and np.array_equal(self.affine, old)):
            kept.pop("slices", None)
            kept.pop("positions", None)
        if self.times is None:
            return kept
        if "t" not in self.axes:
            kept.pop("time_step", None)
        elif kept.get("time_step") is not None:
            kept["time_step"] = kept["time_step"] * abs(self.times.step)
        for key in PER_TIME:
            if kept.get(key) is not None:
                kept[key] = [kept[key][index] for index in self.times]
        return kept


def chosen(key: Any, axes: str, shape: tuple[int, ...], affine: Affine) -> Region:
    """Work out what an index means.

    Args:
        key: what stands between the brackets: whole numbers, slices, `...`, and `None` first.
        axes: the axes of the whole.
        shape: its shape.
        affine: its affine.

    Raises:
        GeometryError: too many indices, an index out of range, an empty slice, a number for y or x,
            or an index of another sort.

    Example:
        >>> chosen(2, "zyx", (4, 5, 6), np.eye(4)).axes
        'yx'
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    thicker = bool(parts) and parts[0] is None
    if thicker:
        parts = parts[1:]
        if "z" in axes:
            raise GeometryError(f"expected None only for an image without z, received axes {axes}")
    full = _filled(parts, axes)
    box: list[tuple[int, int]] = []
    inner: list[Any] = []
    left = ""
    moved = affine.copy()
    times: range | None = None
    for letter, size, part in zip(axes, shape, full, strict=True):
        taken = _range(part, letter, size)
        low, high = min(taken[0], taken[-1]), max(taken[0], taken[-1])
        box.append((low, high + 1))
        if letter in "xyz":
            column = "xyz".index(letter)
            moved[:3, 3] += affine[:3, column] * taken[0]
            moved[:3, column] = affine[:3, column] * taken.step
        if letter == "t":
            times = taken
        if isinstance(part, slice):
            left += letter
            inner.append(slice(None, None, taken.step))
        else:
            inner.append(0)
    if thicker:
        inner.insert(left.index("y"), None)
        left = left.replace("y", "zy", 1)
    return Region(tuple(box), tuple(inner), left, moved, times)


def _filled(parts: list[Any], axes: str) -> list[Any]:
    dots = [place for place, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1 or len(parts) - len(dots) > len(axes):
        raise GeometryError(
            f"expected at most one index an axis of {axes!r}, received {len(parts)} indices"
        )
    missing = [slice(None)] * (len(axes) - len(parts) + len(dots))
    place = dots[0] if dots else len(parts)
    return parts[:place] + missing + parts[place + len(dots) :]


def _range(part: Any, letter: str, size: int) -> range:
    if isinstance(part, slice):
        try:
            found = range(*part.indices(size))
        except (TypeError, ValueError):
            raise GeometryError(f"expected a slice of whole numbers, received {part}") from None
        if not found:
            raise GeometryError(
                f"expected at least one voxel along {letter!r}, received {part} of {size}"
            )
        return found
    if isinstance(part, bool | np.bool_) or not isinstance(part, int | np.integer):
        raise GeometryError(
            f"expected whole numbers and slices as index, received {type(part).__name__}; "
            "index image.array for anything else"
        )
    if letter in "yx":
        raise GeometryError(
            f"expected a slice along {letter!r}, received {part}: an image keeps y and x; "
            "index image.array for rows and columns"
        )
    place = int(part) + size if part < 0 else int(part)
    if not 0 <= place < size:
        raise GeometryError(f"expected an index below {size} along {letter!r}, received {part}")
    return range(place, place + 1)
