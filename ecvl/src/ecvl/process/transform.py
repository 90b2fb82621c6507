"""Transforms as values: where a point of one image lies in another, to apply, invert, join, save.

A `Transform` takes points of the *fixed* space (where the result of `warp` stands) to points of the
*moving* one (where values are taken from), both in RAS+ mm. It is what `register` returns.

Held by `tests/ecvl/process/test_transform.py`.
"""

import base64
import binascii
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.affines import Affine, checked_affine
from ecvl.errors import FormatError, GeometryError, ParameterError, one_line
from ecvl.grids import Grid
from ecvl.image import Image, require_kind
from ecvl.process.dtypes import in_type, working_type
from ecvl.process.lattice import Lattice
from ecvl.process.pull import Fill, Interpolation, checked_fill, checked_interpolation
from ecvl.process.registry import processing
from ecvl.process.volumes import GREATEST_EXACT, Volume, stacked
from ecvl.sample import Sample
from ecvl.serial import is_number

VERSION = 1
MOST_PARTS = 64
MOST_NODES = 1 << 28
MOST_BYTES = 1 << 32


class Transform:
    """A map of points, made of matrices and displacements that are carried out in turn.

    Args:
        parts: 4x4 matrices of RAS+ mm and `Lattice` objects, in the order in which a point of the
            fixed space goes through them. None is the identity.

    Example:
        >>> shift = np.eye(4)
        >>> shift[0, 3] = 5
        >>> there = Transform([shift])
        >>> there.points([[1, 2, 3]]), there.inverse().points([[6, 2, 3]])
        (array([[6., 2., 3.]]), array([[1., 2., 3.]]))
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[ArrayLike | Lattice] = ()) -> None:
        joined: list[Affine | Lattice] = []
        for part in parts:
            if isinstance(part, Lattice):
                joined.append(part)
                continue
            matrix = checked_affine(part)
            last = joined[-1] if joined else None
            if last is not None and not isinstance(last, Lattice):
                matrix = matrix @ last
                joined.pop()
            matrix.flags.writeable = False
            joined.append(matrix)
        if len(joined) > MOST_PARTS:
            raise ParameterError(f"expected at most {MOST_PARTS} parts, received {len(joined)}")
        self.parts: tuple[Affine | Lattice, ...] = tuple(joined)

    @property
    def matrix(self) -> Affine:
        """The 4x4 matrix, of a transform that is nothing else.

        Raises:
            GeometryError: it has displacements.
        """
        if not self.parts:
            return np.eye(4)
        if len(self.parts) > 1 or isinstance(self.parts[0], Lattice):
            raise GeometryError("expected a transform that is a matrix, this one has displacements")
        return self.parts[0].copy()

    def points(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return where points of the fixed space lie in the moving one.

        Args:
            points: RAS+ mm, shape (n, 3).

        Example:
            >>> Transform().points([[1, 2, 3]])
            array([[1., 2., 3.]])
        """
        places = np.array(points, np.float64)
        if places.ndim != 2 or places.shape[1] != 3:
            raise GeometryError(f"expected points of shape (n, 3), received {places.shape}")
        for part in self.parts:
            if isinstance(part, Lattice):
                places = places + part.at(places)
            else:
                places = places @ part[:3, :3].T + part[:3, 3]
        return places

    def inverse(self) -> "Transform":
        """Return the transform that leads back.

        Exact for matrices; within 0.01 mm at the nodes of displacements, and between them as good
        as linear interpolation of something smooth.

        Raises:
            GeometryError: displacements fold space, so that there is no way back.

        Example:
            >>> Transform([np.diag([2.0, 2, 2, 1])]).inverse().matrix[0, 0]
            np.float64(0.5)
        """
        back: list[Affine | Lattice] = []
        for part in reversed(self.parts):
            if isinstance(part, Lattice):
                back.append(part.inverse())
            else:
                matrix: Any = np.linalg.inv(part)
                matrix[3] = 0, 0, 0, 1
                back.append(matrix)
        return Transform(back)

    def then(self, following: "Transform") -> "Transform":
        """Return this transform followed by another.

        With `a` from space 1 to 2 and `b` from 2 to 3, `a.then(b)` leads from 1 to 3.

        Example:
            >>> double = Transform([np.diag([2.0, 2, 2, 1])])
            >>> double.then(double).points([[1, 1, 1]])
            array([[4., 4., 4.]])
        """
        if not isinstance(following, Transform):
            raise ParameterError(f"expected a Transform, received {type(following).__name__}")
        return Transform([*self.parts, *following.parts])

    def to_json(self) -> dict[str, Any]:
        """Return plain objects, lists, numbers and text, with a version; float32 as base64.

        Example:
            >>> Transform().to_json()
            {'version': 1, 'parts': []}
        """
        parts: list[dict[str, Any]] = []
        for part in self.parts:
            if isinstance(part, Lattice):
                values = part.displacements.astype("<f4")
                parts.append(
                    {
                        "degree": part.degree,
                        "shape": list(values.shape[1:]),
                        "affine": part.affine.tolist(),
                        "displacements": base64.b64encode(values.tobytes()).decode("ascii"),
                    }
                )
            else:
                parts.append({"matrix": part.tolist()})
        return {"version": VERSION, "parts": parts}

    @classmethod
    def from_json(cls, document: Any) -> "Transform":
        """Return the transform that `to_json` gave.

        Raises:
            ParameterError: it is no such document, or of another version.
            GeometryError: a matrix or displacements in it are not valid.

        Example:
            >>> Transform.from_json({"version": 1, "parts": []}).parts
            ()
        """
        if not isinstance(document, Mapping) or document.keys() != {"version", "parts"}:
            raise ParameterError("expected a transform as an object with 'version' and 'parts'")
        if document["version"] != VERSION or isinstance(document["version"], bool):
            raise ParameterError(
                f"expected a transform of version {VERSION}, received {document['version']!r}; use "
                "the version of ecvl that wrote it"
            )
        parts = document["parts"]
        if not isinstance(parts, list) or len(parts) > MOST_PARTS:
            raise ParameterError(f"expected at most {MOST_PARTS} parts in a list")
        return cls([_part(entry) for entry in parts])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the transform as a JSON file.

        Raises:
            FileError: it cannot be written; nothing is left behind.
        """
        from ecvl.io.files import written_atomically

        with written_atomically(path) as stream:
            stream.write(json.dumps(self.to_json()).encode("ascii"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Transform":
        """Read a transform that `save` wrote.

        Raises:
            MissingFileError: there is no such file.
            FormatError: it is no such file.
        """
        from ecvl.io.files import existing, opened_plain

        found = existing(path)
        with opened_plain(found) as stream:
            text = stream.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise FormatError(
                f"expected a transform of at most {MOST_BYTES:,} bytes, received more"
            )
        try:
            return cls.from_json(json.loads(text))
        except (ParameterError, GeometryError) as error:
            raise FormatError(f"{found.name!r} holds no transform: {one_line(error)}") from None
        except (ValueError, RecursionError):
            raise FormatError(f"{found.name!r} holds no transform: it is not JSON") from None

    def __repr__(self) -> str:
        names = [
            f"displacements {'×'.join(map(str, part.displacements.shape[1:]))}"
            if isinstance(part, Lattice)
            else "matrix"
            for part in self.parts
        ]
        return f"Transform({', '.join(names) or 'identity'})"


@processing("any", "same", geometry="moves")
def warp(
    image: Image,
    transform: Transform,
    like: Image | Sample | None = None,
    *,
    fill: Fill = None,
    interpolation: Interpolation | None = None,
) -> Image:
    """Bring an image into the space of another through a transform.

    Every voxel of the result stands at a point of the fixed space, and has the value that the image
    has where the transform takes this point.

    Args:
        image: the moving image, or labels.
        transform: from the fixed space to that of the image.
        like: the fixed image, or sample, whose grid to take; the image's own by default.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range;
            labels are 0 there.
        interpolation: "nearest", "linear" or "cubic"; linear by default (not smoothed first, where
            voxels become larger). Labels take the nearest voxel, always.

    Raises:
        GeometryError: a 2-D image would have to leave its plane.

    Example:
        >>> left = np.eye(4)
        >>> left[0, 3] = 1
        >>> image = Image(np.array([[1, 2, 3]], np.uint8), "yx")
        >>> np.asarray(warp(image, Transform([left]), fill=0))
        array([[2, 3, 0]], dtype=uint8)
    """
    import SimpleITK as sitk

    require_kind(image, None, "warp")
    if not isinstance(transform, Transform):
        raise ParameterError(f"expected a Transform, received {type(transform).__name__}")
    method = checked_interpolation(interpolation, image)
    filling: Any = checked_fill(fill)
    if image.kind == "labels":
        filling = 0.0
    elif filling is None:
        filling = image.value_range[0]
    grid = image.grid if like is None else like.grid
    _require_plane(image, grid, transform)
    back: Any = np.linalg.inv(image.affine)
    back[3] = 0, 0, 0, 1
    whole = sitk.CompositeTransform(3)
    # SimpleITK carries out last what was added first.
    for part in (back, *reversed(transform.parts), grid.affine):
        inner = part.to_sitk() if isinstance(part, Lattice) else affine_to_sitk(part)
        whole.AddTransform(inner)
    volumes, restored = stacked(image)
    moved = [_sampled(volume, grid, whole, filling, method) for volume in volumes]
    return image.regridded(restored(np.stack(moved)), grid.affine)


def affine_to_sitk(matrix: Affine) -> Any:
    """Return a 4x4 matrix as a SimpleITK transform.

    Example:
        >>> affine_to_sitk(np.diag([2.0, 1, 1, 1])).TransformPoint((1.0, 1, 1))
        (2.0, 1.0, 1.0)
    """
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def _sampled(
    volume: Volume, grid: Grid, transform: Any, fill: Any, method: Interpolation
) -> Volume:
    """Fill a grid from a volume, through a SimpleITK transform of voxel indices."""
    import SimpleITK as sitk

    source = volume
    if method != "nearest" or volume.dtype == np.float16:
        source = volume.astype(working_type(volume.dtype))
    elif volume.dtype.kind in "iu" and volume.itemsize == 8 and volume.max() > GREATEST_EXACT:
        raise GeometryError("expected values of at most 2**53 to warp; number labels anew")
    if method == "cubic" and min(volume.shape) < 4:
        raise GeometryError(
            f"expected at least 4 voxels along each axis for cubic interpolation, received "
            f"{volume.shape}; use interpolation='linear'"
        )
    picture = sitk.GetImageFromArray(source)
    edge = fill == "edge"
    kinds = {
        "nearest": sitk.sitkNearestNeighbor,
        "linear": sitk.sitkLinear,
        "cubic": sitk.sitkBSpline,
    }
    result = sitk.Resample(
        picture,
        grid.shape[::-1],
        transform,
        kinds[method],
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        np.eye(3).ravel().tolist(),
        0.0 if edge else float(fill),
        picture.GetPixelID(),
        edge,
    )
    return in_type(np.asarray(sitk.GetArrayFromImage(result)), volume.dtype)


def _require_plane(image: Image, grid: Grid, transform: Transform) -> None:
    if "z" in image.axes:
        return
    corners = np.array([[x, y, 0] for x in (0, 1) for y in (0, 1)], np.float64)
    corners *= np.maximum(np.array(grid.shape[::-1]) - 1, 1)
    world = transform.points(corners @ grid.affine[:3, :3].T + grid.affine[:3, 3])
    beside = np.linalg.solve(image.affine[:3, :3], (world - image.affine[:3, 3]).T)[2]
    if grid.shape[0] != 1 or np.abs(beside).max() > 0.5:
        raise GeometryError(
            "expected a 2-D image to stay in its plane, received a grid or transform that leaves "
            "it; give it a z axis first: Image(array[None], axes='zyx')"
        )


def _part(entry: Any) -> Affine | Lattice:
    if isinstance(entry, Mapping) and entry.keys() == {"matrix"}:
        return _matrix(entry["matrix"])
    if not isinstance(entry, Mapping) or entry.keys() != {
        "degree",
        "shape",
        "affine",
        "displacements",
    }:
        raise ParameterError(
            "expected each part with 'matrix', or with 'degree', 'shape', 'affine' and "
            "'displacements'"
        )
    shape, text = entry["shape"], entry["displacements"]
    if (
        not isinstance(shape, list)
        or len(shape) != 3
        or not all(type(n) is int and 0 < n <= MOST_NODES for n in shape)
        or not isinstance(text, str)
        or type(entry["degree"]) is not int
    ):
        raise ParameterError("expected a shape of three whole numbers and displacements as text")
    count = 12 * math.prod(shape)
    if len(text) != 4 * -(-count // 3):
        raise ParameterError(
            f"expected {count} bytes of displacements for shape {shape}, received {len(text)} "
            "characters of base64"
        )
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except (binascii.Error, ValueError):
        raise ParameterError("expected displacements as base64, received other text") from None
    if values.size != count // 4:
        raise ParameterError(f"expected {count} bytes of displacements, received another number")
    return Lattice(values.reshape(3, *shape), _matrix(entry["affine"]), entry["degree"])


def _matrix(rows: Any) -> Affine:
    if (
        not isinstance(rows, list)
        or len(rows) != 4
        or not all(isinstance(row, list) and len(row) == 4 for row in rows)
        or not all(is_number(value) for row in rows for value in row)
    ):
        raise ParameterError("expected a matrix as four lists of four numbers")
    return checked_affine(rows)
