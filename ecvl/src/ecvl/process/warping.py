"""Interpolation: fill a grid through a map whose voxels fall between voxels.

* Images are interpolated linearly, labels take the nearest voxel. What lies within half a voxel of
  the outermost centres belongs to the image; beyond it stands the fill.
* OpenCV does the arithmetic of 8- and 16-bit numbers and float32. It knows planes only: a volume
  is shown to it as all its slices below each other, and two such looks, one slice apart, are
  blended. Wider numbers, and sizes beyond OpenCV's, are gathered by NumPy in float64.
* The output is made slice by slice and plane by plane, each from the input alone.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.process.dtypes import in_type, number_in_type, working_type
from ecvl.process.fields import Map
from ecvl.process.planes import in_planes

Array = NDArray[Any]
Shape = tuple[int, int, int]

# OpenCV counts rows and columns in 16 bits.
MOST_ROWS = (1 << 15) - 2
SIGN_BIT: dict[int, Any] = {1: np.uint8(1 << 7), 2: np.uint16(1 << 15)}


def stays_in_plane(way: Map, old: Shape, new: Shape) -> bool:
    """Whether every new slice is made of the old slice of the same number.

    Example:
        >>> stays_in_plane(Map(np.eye(4)), (3, 4, 4), (3, 5, 5))
        True
    """
    first, second, (a, b, c, d), _ = way.matrix.tolist()
    tilt = max(abs(a), abs(b), abs(c - 1), abs(d), abs(first[2]), abs(second[2]))
    return old[0] == new[0] and tilt < 1e-9 and (way.field is None or way.field.is_flat)


def warped_planes(array: Array, axes: str, new: Shape, way: Map, fill: Any, nearest: bool) -> Array:
    """Return an array whose every y-x plane went through a map that stays in plane.

    Args:
        array: in C order.
        axes: a letter an axis.
        new: the new grid's sizes z, y, x.
        way: from new voxel indices to old ones.
        fill: a number, or "edge".
        nearest: take nearest voxels instead of interpolating linearly.
    """
    old_y, old_x = (array.shape[axes.index(letter)] for letter in "yx")
    quick = max(old_y, old_x, *new[1:]) <= MOST_ROWS
    source, back = _prepared(array, nearest, quick)
    if not quick or (source.dtype == np.float64 and not nearest):
        look = _Look(way, (1, old_y, old_x), new, np.float64)
        maps = look.slice(0)
        value = None if fill == "edge" else _value(fill, source.dtype, array.dtype, nearest)
        flat = in_planes(source, axes, lambda plane: _gathered_plane(plane, maps, value, nearest))
        return np.asarray(back(flat))
    import cv2

    matrix = way.matrix[[0, 1]][:, [0, 1, 3]]
    straight = way.field is None and not nearest
    outside: Array | None
    if straight:
        outside = _outside(matrix, (old_y, old_x), new[1:])
    else:
        x, y, outside = _Look(way, (1, old_y, old_x), new, np.float32).plane()
        if nearest:
            x, y = _nearest(x, old_x), _nearest(y, old_y)
    method = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    if fill == "edge":
        outside = None
    value = None if outside is None else _value(fill, source.dtype, array.dtype, nearest)

    # Of four channels OpenCV makes one step each, of three it makes three.
    padded = source.dtype.itemsize <= 2 and axes[-1] == "c" and source.shape[-1] == 3

    def warp(plane: Array) -> Array:
        if padded:
            plane = cv2.cvtColor(plane, cv2.COLOR_RGB2RGBA)
        if straight:
            result = cv2.warpAffine(
                plane,
                matrix,
                (new[2], new[1]),
                flags=method | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        else:
            result = cv2.remap(plane, x, y, method, borderMode=cv2.BORDER_REPLICATE)
        if padded:
            result = cv2.cvtColor(result, cv2.COLOR_RGBA2RGB)
        if outside is not None:
            cv2.copyTo(np.full_like(result, value), outside, result)
        return np.asarray(result)

    return np.asarray(back(in_planes(source, axes, warp)))


def warped_volume(volume: Array, new: Shape, way: Map, fill: Any, nearest: bool) -> Array:
    """Return a volume after any map; arguments as `warped_planes`."""
    old: Shape = volume.shape
    quick = max(2 * old[1], old[2], *new) <= MOST_ROWS
    if not nearest and volume.dtype.itemsize <= 2:
        wide = warped_volume(volume.astype(np.float32), new, way, fill, nearest)
        return in_type(wide, volume.dtype)
    source, back = _prepared(volume, nearest, quick)
    slow = not quick or (source.dtype == np.float64 and not nearest)
    look = _Look(way, old, new, np.float64 if slow else np.float32)
    result = np.empty(new, source.dtype)
    stacked = np.ascontiguousarray(source)
    value = None if fill == "edge" else _value(fill, source.dtype, volume.dtype, nearest)
    if not slow and not nearest and way.field is None and not way.matrix[2, :2].any():
        _warp_level(stacked, way.matrix, value, result)
        return np.asarray(back(result))
    for z in range(new[0]):
        maps = look.slice(z)
        plane = result[z]
        if slow:
            plane[...] = _gathered(stacked, maps, nearest)
        else:
            _two_looks(stacked, *maps[:3], plane, nearest)
        if maps[3] is not None and value is not None:
            np.copyto(plane, value, where=~maps[3])
    return np.asarray(back(result))


def _warp_level(stack: Array, matrix: Affine, value: Any, result: Array) -> None:
    """Fill a volume whose every slice comes from between two old slices, at one height."""
    import cv2

    depth, height, width = stack.shape
    inner = matrix[[0, 1]][:, [0, 1, 3]]
    outside = _outside(inner, (height, width), result.shape[1:])
    for z, plane in enumerate(result):
        at = float(matrix[2, 2] * z + matrix[2, 3])
        if value is not None and not -0.5 <= at < depth - 0.5:
            plane[...] = value
            continue
        at = min(max(at, 0.0), depth - 1.0)
        below = min(int(at), max(depth - 2, 0))
        source = stack[below]
        if at > below:
            source = cv2.addWeighted(source, 1 - (at - below), stack[below + 1], at - below, 0)
        if matrix[:2, 2].any():
            inner[:, 2] = matrix[:2, 2] * z + matrix[:2, 3]
            outside = _outside(inner, (height, width), result.shape[1:])
        plane[...] = cv2.warpAffine(
            source,
            inner,
            (result.shape[2], result.shape[1]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if value is not None and outside is not None:
            np.copyto(plane, value, where=outside.view(np.bool_))


class _Look:
    """Where the voxels of each new slice come from."""

    def __init__(self, way: Map, old: Shape, new: Shape, kind: Any) -> None:
        self._matrix, self._old, self._new, self._kind = way.matrix, old, new, kind
        self._along_x = [
            (way.matrix[axis, 0] * np.arange(new[2])).astype(kind) for axis in range(3)
        ]
        self._down = np.arange(new[1], dtype=np.float64)
        self._nodes: dict[int, Array] = {}
        self._field = way.field
        if way.field is not None:
            self._bases = way.field.bases(new)
            coefficients = way.field.coefficients.astype(np.float32)
            self._coefficients = coefficients[: 2 if way.field.is_flat else 3]

    def plane(self) -> tuple[Array, Array, Array | None]:
        """Return the old x and y of a single slice, and 255 where they are outside, if anywhere.

        Indices are not cut off.
        """
        import cv2

        x, y = self._indices(0, 2) if self._field is None else self._straight_and_bent()
        inside: Array | None = None
        for index, size in ((x, self._old[2]), (y, self._old[1])):
            least, most, _, _ = cv2.minMaxLoc(index)
            last = float(np.nextafter(np.float32(size - 0.5), np.float32(0)))
            if least < -0.5 or most > last:
                here = np.asarray(cv2.inRange(index, -0.5, last))
                inside = here if inside is None else cv2.bitwise_and(inside, here)
        return x, y, None if inside is None else cv2.bitwise_not(inside)

    def _straight_and_bent(self) -> Array:
        """Return x and y of a single slice, matrix and field, by one product of two matrices."""
        weights, along_y, along_x = self._bases
        bent = np.tensordot(weights[0], self._coefficients[:2], (0, 1))
        nodes = np.zeros((2, bent.shape[1] + 2, bent.shape[2] + 2), np.float32)
        nodes[:, 2:, 2:] = bent
        # Before the nodes stand 1 and the index itself, whose products are the matrix.
        nodes[:, 0, 0] = self._matrix[:2, 3]
        nodes[:, 0, 1], nodes[:, 1, 0] = self._matrix[:2, 0], self._matrix[:2, 1]
        down, across = (
            np.concatenate([np.ones((len(b), 1)), np.arange(len(b))[:, None], b], 1, dtype="f4")
            for b in (along_y, along_x)
        )
        return np.asarray(down @ nodes @ across.T)

    def slice(self, z: int) -> tuple[Array, Array, Array, Array | None]:
        """Return the old x, y, z of a new slice, and where they are inside, or `None` if all are.

        Indices are cut off at the outermost centres.
        """
        indices = self._indices(z, 3)
        inside: Array | None = None
        for index, size in zip(indices, self._old[::-1], strict=True):
            if index.min() < 0 or index.max() > size - 1:
                here = (index >= -0.5) & (index < size - 0.5)
                np.clip(index, 0, size - 1, out=index)
                if not here.all():
                    inside = here if inside is None else inside & here
        return indices[0], indices[1], indices[2], inside

    def _indices(self, z: int, count: int) -> list[Array]:
        matrix, indices = self._matrix, []
        for axis in range(count):
            rows = matrix[axis, 1] * self._down + (matrix[axis, 2] * z + matrix[axis, 3])
            index = np.add(self._along_x[axis], rows.astype(self._kind)[:, None])
            indices.append(index)
        if self._field is not None:
            for node in np.flatnonzero(self._bases[0][z]).tolist():
                weight = self._bases[0][z, node]
                for index, beside in zip(indices, self._displaced(node), strict=False):
                    index += beside if weight == 1 else beside * weight
            self._forget(z)
        return indices

    def _displaced(self, node: int) -> Array:
        """Return the displacements in a plane of nodes, at every voxel of a slice."""
        if node not in self._nodes:
            _, along_y, along_x = self._bases
            self._nodes[node] = along_y @ self._coefficients[:, node] @ along_x.T
        return self._nodes[node]

    def _forget(self, z: int) -> None:
        """Drop the planes of nodes that the next slice does not need."""
        following = np.flatnonzero(self._bases[0][min(z + 1, len(self._bases[0]) - 1)])
        for node in [node for node in self._nodes if node not in following]:
            del self._nodes[node]


def _two_looks(stack: Array, x: Array, y: Array, z: Array, result: Array, nearest: bool) -> None:
    """Fill a plane from a volume whose slices stand below each other; x, y, z may be changed."""
    import cv2

    depth, height, width = stack.shape
    if nearest:
        x, y, z = _nearest(x, width), _nearest(y, height), _nearest(z, depth)
        lowest, highest = int(z.min()), int(z.max())
    else:
        lowest, highest = int(z.min()), min(int(z.max()) + 1, depth - 1)
        lowest = min(lowest, max(depth - 2, 0))
    if (highest - lowest + 1) * height > MOST_ROWS:
        axis = 0 if result.shape[0] > 1 else 1
        half = result.shape[axis] // 2
        for part in (slice(None, half), slice(half, None)):
            place = (part,) if axis == 0 else (slice(None), part)
            block = np.empty_like(result[place])
            maps = [np.ascontiguousarray(index[place]) for index in (x, y, z)]
            _two_looks(stack, maps[0], maps[1], maps[2], block, nearest)
            result[place] = block
        return
    rows = stack[lowest : highest + 1].reshape(-1, width)
    if nearest:
        y += (z - lowest) * height
        cv2.remap(rows, x, y, cv2.INTER_NEAREST, dst=result, borderMode=cv2.BORDER_REPLICATE)
        return
    below = np.floor(z)
    np.minimum(below, max(depth - 2, 0), out=below)
    z -= below
    below -= lowest
    below *= height
    y += below
    if highest == lowest:
        cv2.remap(rows, x, y, cv2.INTER_LINEAR, dst=result, borderMode=cv2.BORDER_REPLICATE)
        return
    cv2.remap(rows[:-height], x, y, cv2.INTER_LINEAR, dst=result, borderMode=cv2.BORDER_REPLICATE)
    upper = cv2.remap(rows[height:], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    upper -= result
    upper *= z
    result += upper


def _gathered_plane(plane: Array, maps: Any, value: Any, nearest: bool) -> Array:
    channels = plane.reshape(*plane.shape[:2], -1)
    parts = [_gathered(channels[None, ..., c], maps, nearest) for c in range(channels.shape[2])]
    result = np.stack(parts, axis=-1).reshape(*parts[0].shape, *plane.shape[2:])
    if maps[3] is not None and value is not None:
        result[~maps[3]] = value
    return result


def _gathered(volume: Array, maps: Any, nearest: bool) -> Array:
    """Return the values at float64 indices x, y, z."""
    places = list(zip(maps[2::-1], volume.shape, strict=True))
    if nearest:
        z, y, x = (_nearest(index, size).astype(np.intp) for index, size in places)
        return np.asarray(volume[z, y, x])
    result = np.zeros(maps[0].shape, volume.dtype)
    for weight, corner in _corners(places):
        result += volume[corner] * weight
    return result


def _corners(places: list[tuple[Array, int]]) -> Iterator[tuple[Array, tuple[Array, ...]]]:
    from itertools import product

    ends: list[list[tuple[Any, Any]]] = []
    for index, size in places:
        below = np.minimum(np.floor(index), max(size - 2, 0))
        f, low = index - below, below.astype(np.intp)
        ends.append([(1 - f, low), (f, low + 1)] if size > 1 else [(1.0, low)])
    for corner in product(*ends):
        weight = corner[0][0] * corner[1][0] * corner[2][0]
        yield weight, tuple(place for _, place in corner)


def _nearest(index: Array, size: int) -> Array:
    """Return the nearest whole index, halves upwards."""
    np.add(index, 0.5, out=index)
    np.floor(index, out=index)
    return np.minimum(index, size - 1, out=index)


def _prepared(array: Array, nearest: bool, quick: bool) -> tuple[Array, Any]:
    """Return an array in a type that OpenCV takes, and a function that leads back."""
    dtype = array.dtype
    if nearest:
        size = dtype.itemsize
        bits = {1: np.uint8, 2: np.uint16, 4: np.int32, 8: np.float64}[size]
        return array.view(bits), lambda result: result.view(dtype)
    if not quick:
        return array.astype(np.float64), lambda result: in_type(result, dtype)
    if dtype in (np.int8, np.int16):
        # Turning the sign bit over is an ascending map onto the unsigned type.
        sign = SIGN_BIT[dtype.itemsize]
        turned = array.view(sign.dtype) ^ sign
        return turned, lambda result: (result ^ sign).view(dtype)
    if dtype in (np.uint8, np.uint16, np.float32):
        return array, lambda result: result
    return array.astype(working_type(dtype)), lambda result: in_type(result, dtype)


def _value(fill: Any, source: np.dtype[Any], dtype: np.dtype[Any], nearest: bool) -> Any:
    """Return a fill in the type that a source was prepared in."""
    if nearest:
        return number_in_type(fill, dtype).view(source)
    if source == dtype or source.kind == "f":
        return number_in_type(fill, source)
    return number_in_type(fill, dtype).view(source) ^ SIGN_BIT[dtype.itemsize]


def _outside(matrix: Affine, old: tuple[int, int], new: tuple[int, ...]) -> Array | None:
    """Return 255 where the pixels of a new plane come from outside the old one."""
    rows = np.arange(new[0], dtype=np.float64)
    starts, stops = np.zeros(new[0]), np.full(new[0], float(new[1]))
    for (along, down, shift), size in zip(matrix, old[::-1], strict=True):
        first = -0.5 - (down * rows + shift)
        last = first + size
        if abs(along) < 1e-12:
            starts[(first > 0) | (last <= 0)] = new[1]
            continue
        enter, leave = (first, last) if along > 0 else (last, first)
        np.maximum(starts, np.ceil(enter / along), out=starts)
        np.minimum(stops, np.ceil(leave / along), out=stops)
    if not starts.any() and (stops >= new[1]).all():
        return None
    columns = np.arange(new[1], dtype=np.int16)
    most = float(new[1])
    first, last = (np.clip(ends, 0, most).astype(np.int16) for ends in (starts, stops))
    outside = columns < first[:, None]
    outside |= columns >= last[:, None]
    return outside.view(np.uint8)
