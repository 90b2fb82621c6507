"""Regions of labels: numbered apart, the largest kept, holes filled, outlines drawn.

What is above 0 is foreground; each volume (channel, time point) is looked at alone. Voxels touch by
their faces (`connectivity=1`), also by edges (2) or corners (3). Held by
`tests/ecvl/process/test_labels.py` against scipy.ndimage.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.registry import processing
from ecvl.process.volumes import Volume, each_volume, from_sitk, to_sitk


@processing("labels", "labels", dtype="own")
def components(labels: Image, connectivity: int = 1, *, least_mm: float = 0.0) -> Image:
    """Number the connected regions of the foreground, from the largest to the smallest.

    Voxels of different labels are never connected. `measure(components(labels))` gives the sizes.

    Args:
        labels: labels.
        connectivity: 1 for faces, 2 for edges too, 3 for corners too (in 2-D, 2 is all).
        least_mm: regions smaller than this are dropped: mm³ for volumes, mm² for 2-D labels.

    Returns:
        Labels (int32): 1 for the largest region, 2 for the next (of equal ones the first in array
        order), 0 for the background.

    Raises:
        KindError: an image was given.

    Example:
        >>> mask = Image(np.array([[1, 0, 1, 1]], np.uint8), "yx", kind="labels")
        >>> np.asarray(components(mask))
        array([[2, 0, 1, 1]], dtype=int32)
    """
    require_kind(labels, "labels", "components")
    reach = _checked_connectivity(connectivity)
    least = _least_voxels(labels, least_mm)
    array = each_volume(labels, lambda volume: _numbered(volume, reach, least))
    return labels.replace(array=array, label_names=None)


@processing("labels", "labels")
def largest_component(labels: Image, connectivity: int = 1) -> Image:
    """Keep the largest connected region of each label, drop the rest.

    Args:
        labels: labels.
        connectivity: 1 for faces, 2 for edges too, 3 for corners too.

    Raises:
        KindError: an image was given.

    Example:
        >>> mask = Image(np.array([[1, 0, 1, 1, 0, 2]], np.uint8), "yx", kind="labels")
        >>> np.asarray(largest_component(mask))
        array([[0, 0, 1, 1, 0, 2]], dtype=uint8)
    """
    require_kind(labels, "labels", "largest_component")
    reach = _checked_connectivity(connectivity)

    def kept(volume: Volume) -> Volume:
        numbers = _numbered(volume, reach, 0)
        # Regions are numbered by size: the first of each label is its largest.
        count = int(numbers.max())
        owner = np.zeros(count + 1, volume.dtype)
        owner[numbers.reshape(-1)] = volume.reshape(-1)
        _, first = np.unique(owner[1:], return_index=True)
        best = np.zeros(count + 1, bool)
        best[first + 1] = True
        return np.where(best[numbers], volume, 0).astype(volume.dtype)

    return labels.replace(array=each_volume(labels, kept))


@processing("labels", "labels")
def remove_small(labels: Image, least_mm: float, connectivity: int = 1) -> Image:
    """Drop connected regions below a size.

    Args:
        labels: labels.
        least_mm: the least size that stays: mm³ for volumes, mm² for 2-D labels.
        connectivity: 1 for faces, 2 for edges too, 3 for corners too.

    Raises:
        KindError: an image was given.

    Example:
        >>> mask = Image(np.array([[1, 0, 1, 1]], np.uint8), "yx", kind="labels")
        >>> np.asarray(remove_small(mask, 2))
        array([[0, 0, 1, 1]], dtype=uint8)
    """
    require_kind(labels, "labels", "remove_small")
    reach = _checked_connectivity(connectivity)
    least = _least_voxels(labels, least_mm)

    def kept(volume: Volume) -> Volume:
        return np.where(_numbered(volume, reach, least) > 0, volume, 0).astype(volume.dtype)

    return labels.replace(array=each_volume(labels, kept))


@processing("labels", "labels")
def fill_holes(labels: Image, connectivity: int = 1, *, planes: bool = False) -> Image:
    """Fill background that labels enclose: from where no way leads to the edge of the image.

    A hole takes the label of the region around it; between several labels, the one that most of
    its bordering voxels have (of equals the lowest).

    Args:
        labels: labels.
        connectivity: of the background: 1 by faces (more is enclosed), 2 by edges too, 3 by corners
            too.
        planes: whether each y-x plane is looked at alone, in which more is enclosed.

    Raises:
        KindError: an image was given.

    Example:
        >>> ring = Image(np.array([[2, 2, 2], [2, 0, 2], [2, 2, 2]], np.uint8), "yx", kind="labels")
        >>> np.asarray(fill_holes(ring))[1]
        array([2, 2, 2], dtype=uint8)
    """
    require_kind(labels, "labels", "fill_holes")
    reach = _checked_connectivity(connectivity)

    def filled(volume: Volume) -> Volume:
        if planes:
            return np.concatenate([_filled(plane[None], reach) for plane in volume])
        return _filled(volume, reach)

    return labels.replace(array=each_volume(labels, filled))


@processing("labels", "value", geometry="none", dtype="own")
def contours(labels: Image) -> list[dict[str, Any]]:
    """Return the outlines of all labels in every y-x plane, as polygons in pixels and mm.

    Outlines run along pixel edges (so that `polygons_to_labels` gives back the same pixels), around
    regions connected by edges of pixels; holes have outlines of their own.

    Args:
        labels: labels.

    Returns:
        A row for each outline: "label", "at" (the plane: index along each axis other than y and
        x), "hole" (whether it bounds one), "points" (float64, n x 2: y and x in pixels, pixel
        centres at whole numbers; the last point joins the first) and "world" (float64, n x 3: RAS+
        mm).

    Raises:
        KindError: an image was given.

    Example:
        >>> mask = Image(np.array([[0, 1]], np.uint8), "yx", kind="labels")
        >>> contours(mask)[0]["points"].tolist()
        [[-0.5, 0.5], [-0.5, 1.5], [0.5, 1.5], [0.5, 0.5]]
    """
    require_kind(labels, "labels", "contours")
    letters = [letter for letter in labels.axes if letter not in "yx"]
    order = [labels.axes.index(letter) for letter in (*letters, "y", "x")]
    planes = labels.array.transpose(order)
    rows = []
    for index in np.ndindex(planes.shape[:-2]):
        at = dict(zip(letters, index, strict=True))
        plane = planes[index]
        for label in label_values(plane):
            for points in outlines(plane == label):
                y, x = points[:, 0], points[:, 1]
                area = (y * np.roll(x, -1) - x * np.roll(y, -1)).sum() / 2
                place = points
                if "z" in at:
                    place = np.insert(points, 0, at["z"], axis=1)
                rows.append(
                    {
                        "label": label,
                        "at": at,
                        "hole": bool(area > 0),
                        "points": points,
                        "world": labels.world(place),
                    }
                )
    return rows


def numbered(volume: Volume, connectivity: int = 1) -> NDArray[np.int32]:
    """Return a volume (zyx) with its connected regions numbered, from the largest to the smallest.

    Example:
        >>> numbered(np.array([[[1, 0, 2, 2]]]))
        array([[[2, 0, 1, 1]]], dtype=int32)
    """
    return _numbered(volume, connectivity, 0)


def label_values(volume: Volume) -> list[int]:
    """Return the labels above 0 of an array, ascending.

    Example:
        >>> label_values(np.array([3, 0, 1, 3], np.uint8))
        [1, 3]
    """
    if volume.dtype.itemsize <= 2:
        # Counting is much quicker than sorting, where there is room for it.
        positive = volume.reshape(-1) if volume.dtype.kind == "u" else volume[volume > 0]
        found = np.flatnonzero(np.bincount(positive))
        return [int(value) for value in found if value]
    return [int(value) for value in np.unique(volume[volume > 0])]


def _checked_connectivity(connectivity: Any) -> int:
    if isinstance(connectivity, bool) or connectivity not in (1, 2, 3):
        raise ParameterError(
            f"expected connectivity 1 (faces), 2 (edges too) or 3 (corners too), received "
            f"{connectivity!r}"
        )
    return int(connectivity)


def _least_voxels(labels: Image, least_mm: Any) -> float:
    if isinstance(least_mm, bool) or not isinstance(least_mm, int | float) or not least_mm >= 0:
        raise ParameterError(f"expected a least size of at least 0, received {least_mm!r}")
    linear = labels.affine[:3, :3]
    if labels.spatial_axes == "yx":
        size = float(np.linalg.norm(np.cross(linear[:, 0], linear[:, 1])))
    else:
        size = float(abs(np.linalg.det(linear)))
    # A region of just this size must not be lost to rounding.
    return least_mm / size * (1 - 1e-9)


def _numbered(volume: Volume, connectivity: int, least: float) -> NDArray[np.int32]:
    groups = np.zeros(volume.shape, np.int64)
    count = 0
    values = label_values(volume)
    for value in values:
        found, more = _connected(volume == value, connectivity)
        groups = np.where(found > 0, found + count, groups) if len(values) > 1 else found
        count += more
    sizes = np.bincount(groups.reshape(-1), minlength=count + 1)[1:]
    # Equal ones in the order of their first voxel, whatever order the library found them in: of
    # several writes to one place the last stays.
    first = np.zeros(count + 1, np.int64)
    first[groups.reshape(-1)[::-1]] = np.arange(groups.size - 1, -1, -1)
    order = np.lexsort((first[1:], -sizes))
    rank = np.zeros(count + 1, np.int32)
    rank[order + 1] = np.arange(1, count + 1)
    rank[1:][sizes < least] = 0
    return np.asarray(rank[groups])


def _connected(inside: NDArray[np.bool_], connectivity: int) -> tuple[NDArray[np.int64], int]:
    """Number the connected regions of a mask, by SimpleITK where it has the connectivity."""
    import SimpleITK as sitk

    thin = sum(size > 1 for size in inside.shape)
    if connectivity == 2 and thin == 3:
        return _by_edges(inside)
    task = sitk.ConnectedComponentImageFilter()
    task.SetFullyConnected(connectivity > 1)
    result = task.Execute(to_sitk(inside.view(np.uint8)))
    return from_sitk(result).astype(np.int64), int(task.GetObjectCount())


def _by_edges(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Join regions that touch by faces where they also touch by edges."""
    numbers, count = _connected(inside, 1)
    parent = np.arange(count + 1)
    pairs = []
    for first in range(3):
        for second in range(first + 1, 3):
            for sign in (1, -1):
                a, b = [slice(None)] * 3, [slice(None)] * 3
                a[first], b[first] = slice(0, -1), slice(1, None)
                a[second], b[second] = (
                    (slice(0, -1), slice(1, None)) if sign > 0 else (slice(1, None), slice(0, -1))
                )
                one, other = numbers[tuple(a)], numbers[tuple(b)]
                touch = (one > 0) & (other > 0) & (one != other)
                pairs.append(np.stack([one[touch], other[touch]], axis=1))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = int(parent[number])
        return number

    for one, other in np.unique(np.concatenate(pairs), axis=0).tolist():
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    roots = np.array([root(number) for number in range(count + 1)])
    _, joined = np.unique(roots, return_inverse=True)
    return np.asarray(joined[numbers], np.int64), int(joined.max())


def _filled(volume: Volume, connectivity: int) -> Volume:
    """Give every enclosed region of background the label of most voxels around it."""
    background = volume <= 0
    holes, count = _connected(background, connectivity)
    open_ones = np.zeros(count + 1, bool)
    open_ones[0] = True
    for axis, size in enumerate(volume.shape):
        if size > 1:
            for end in (0, -1):
                open_ones[np.unique(np.take(holes, end, axis))] = True
    if all(size == 1 for size in volume.shape) or open_ones.all():
        return volume.copy()
    # Count, for each hole, the labels across its faces.
    found: list[NDArray[Any]] = []
    for axis, size in enumerate(volume.shape):
        if size == 1:
            continue
        for here, there in ((slice(0, -1), slice(1, None)), (slice(1, None), slice(0, -1))):
            a = tuple(here if other == axis else slice(None) for other in range(3))
            b = tuple(there if other == axis else slice(None) for other in range(3))
            hole, label = holes[a], volume[b]
            border = ~open_ones[hole] & (label > 0)
            found.append(np.stack([hole[border], label[border].astype(np.int64)], axis=1))
    rows, counts = np.unique(np.concatenate(found), axis=0, return_counts=True)
    # Ascending by count and descending by label, so that the last one written is the right one.
    order = np.lexsort((-rows[:, 1], counts))
    owner = np.zeros(count + 1, volume.dtype)
    owner[rows[order, 0]] = rows[order, 1]
    return np.where(background & ~open_ones[holes], owner[holes], volume).astype(volume.dtype)


def outlines(inside: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Follow the pixel edges around a mask (yx), with the region on the right hand (y runs down).

    Each edge between a pixel inside and one outside is a step between pixel corners; at a corner
    where two regions touch the path turns so that they stay apart.

    Example:
        >>> outlines(np.array([[True]]))[0].tolist()
        [[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]]
    """
    padded = np.pad(inside, 1)
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def enter(ys: Any, xs: Any, start: tuple[int, int], stop: tuple[int, int]) -> None:
        for y, x in zip(ys.tolist(), xs.tolist(), strict=True):
            steps.setdefault((y + start[0], x + start[1]), []).append((y + stop[0], x + stop[1]))

    for shift, start, stop in (
        ((-1, 0), (0, 0), (0, 1)),
        ((0, 1), (0, 1), (1, 1)),
        ((1, 0), (1, 1), (1, 0)),
        ((0, -1), (1, 0), (0, 0)),
    ):
        beyond = np.roll(padded, (-shift[0], -shift[1]), (0, 1))
        ys, xs = np.nonzero(padded & ~beyond)
        enter(ys, xs, start, stop)
    found = []
    for first in sorted(steps):
        while steps.get(first):
            path, here = [first], first
            heading = None
            while True:
                choices = steps[here]
                following = choices[0]
                if len(choices) == 2 and heading is not None:
                    following = max(choices, key=_right_of(here, heading))
                choices.remove(following)
                heading = (following[0] - here[0], following[1] - here[1])
                here = following
                if here == first:
                    break
                path.append(here)
            found.append(_corners(np.array(path, np.float64) - 1.5))
    return found


def _right_of(here: tuple[int, int], heading: tuple[int, int]) -> Callable[[tuple[int, int]], int]:
    """Return how far to the right a next corner lies."""

    def turn(there: tuple[int, int]) -> int:
        y, x = there[0] - here[0], there[1] - here[1]
        return heading[1] * y - heading[0] * x

    return turn


def _corners(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop points on straight stretches."""
    before, after = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    return np.asarray(path[(before != after).any(axis=1)])
