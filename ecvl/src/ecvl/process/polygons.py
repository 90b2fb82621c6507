"""Polygons and boxes to labels, and boxes back (`contours` gives polygons).

A pixel belongs to a polygon when its centre lies inside (on its left or upper edge, inside too).
Held by `tests/ecvl/process/test_polygons.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import GeometryError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.registry import processing
from ecvl.process.volumes import checked_dtype

MOST_POINTS = 1 << 22
MOST_CROSSINGS = 1 << 28
CHUNK = 1 << 20


@processing("value", "labels", geometry="none", dtype="own", each=False)
def polygons_to_labels(
    polygons: Iterable[Mapping[str, Any]], like: Image, *, dtype: Any = np.uint8
) -> Image:
    """Fill polygons with their labels.

    Args:
        polygons: rows as `contours` gives them: "label", "points" (n x 2: y and x in pixels, pixel
            centres at whole numbers), and where needed "at" (the plane: index along each axis other
            than y and x) and "hole" (what it bounds is cut out of its label). Of overlapping
            polygons the later label wins; those of one label are joined.
        like: the image whose grid and axes to take.
        dtype: an integer type that holds the labels.

    Raises:
        ParameterError: a row lacks something, or its label does not fit the data type.
        GeometryError: the points are not n x 2 finite numbers, or the plane is not there.

    Example:
        >>> square = {"label": 2, "points": [(-0.5, 0.5), (0.5, 0.5), (0.5, 2.5), (-0.5, 2.5)]}
        >>> np.asarray(polygons_to_labels([square], Image(np.zeros((2, 4)), "yx")))
        array([[0, 2, 2, 0],
               [0, 0, 0, 0]], dtype=uint8)
    """
    require_kind(like, None, "polygons_to_labels")
    limits = np.iinfo(checked_dtype(dtype, "iu"))
    letters = [letter for letter in like.axes if letter not in "yx"]
    sizes = {letter: like.shape[like.axes.index(letter)] for letter in like.axes}
    groups: dict[tuple[Any, ...], list[tuple[NDArray[np.float64], bool]]] = {}
    order: list[tuple[Any, ...]] = []
    for row in polygons:
        if not isinstance(row, Mapping) or "label" not in row or "points" not in row:
            raise ParameterError("expected rows with 'label' and 'points', received others")
        label, at = row["label"], row.get("at", {})
        if not isinstance(label, int | np.integer) or not 0 < label <= limits.max:
            raise ParameterError(
                f"expected labels from 1 to {limits.max} for {np.dtype(dtype)}, received {label!r}"
            )
        if (
            not isinstance(at, Mapping)
            or sorted(at) != sorted(letters)
            or any(
                not isinstance(n, int | np.integer) or not 0 <= n < sizes[a] for a, n in at.items()
            )
        ):
            raise GeometryError(
                f"expected 'at' with an index along each of {letters} within {like.shape}, "
                f"received {at!r}"
            )
        key = (int(label), *(int(at[letter]) for letter in letters))
        if key not in groups:
            groups[key] = []
        order.append(key)
        groups[key].append((_checked_points(row["points"]), bool(row.get("hole", False))))
    turned = [letter for letter in like.axes if letter in letters] + ["y", "x"]
    result = np.zeros([sizes[letter] for letter in turned], dtype)
    for key in dict.fromkeys(order):
        plane = result[key[1:]]
        plane[_filled(groups[key], plane.shape)] = key[0]
    array = result.transpose([turned.index(letter) for letter in like.axes])
    return Image(array, like.axes, like.affine, kind="labels")


@processing("labels", "value", geometry="none", dtype="own", each=False)
def labels_to_boxes(labels: Image) -> list[dict[str, Any]]:
    """Return the smallest box around every label.

    Args:
        labels: labels; further axes (channels, time points) are taken together.

    Returns:
        A row for each label: "label", and "box" with half-open (start, stop) along the spatial
        axes in array order, as `crop` takes it.

    Raises:
        KindError: an image was given.

    Example:
        >>> labels_to_boxes(Image(np.array([[0, 3, 3]], np.uint8), "yx", kind="labels"))
        [{'label': 3, 'box': [(0, 1), (1, 3)]}]
    """
    require_kind(labels, "labels", "labels_to_boxes")
    axes = [labels.axes.index(letter) for letter in labels.spatial_axes]
    where = np.nonzero(labels.array > 0)
    values = labels.array[where]
    if not values.size:
        return []
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    ends = [*starts[1:], len(order)]
    rows = []
    for label, start, stop in zip(found.tolist(), starts.tolist(), ends, strict=True):
        places = [where[axis][order[start:stop]] for axis in axes]
        rows.append({"label": label, "box": [(int(p.min()), int(p.max()) + 1) for p in places]})
    return rows


@processing("value", "labels", geometry="none", dtype="own", each=False)
def boxes_to_labels(
    boxes: Iterable[Mapping[str, Any]], like: Image, *, dtype: Any = np.uint8
) -> Image:
    """Fill boxes with their labels.

    Args:
        boxes: rows with "label" and "box": half-open (start, stop) along the spatial axes in array
            order, in voxels. Parts outside the image are left out; of overlapping boxes the later
            one wins. Fractions count where a voxel's centre lies inside.
        like: the image whose spatial axes and grid to take.
        dtype: an integer type that holds the labels.

    Raises:
        ParameterError: a row lacks something, or its label does not fit the data type.
        GeometryError: a box has not a pair of finite numbers for each axis.

    Example:
        >>> row = {"label": 3, "box": [(0, 1), (1, 3)]}
        >>> np.asarray(boxes_to_labels([row], Image(np.zeros((2, 3)), "yx")))
        array([[0, 3, 3],
               [0, 0, 0]], dtype=uint8)
    """
    require_kind(like, None, "boxes_to_labels")
    limits = np.iinfo(checked_dtype(dtype, "iu"))
    result = np.zeros(like.spatial_shape, dtype)
    for row in boxes:
        if not isinstance(row, Mapping) or "label" not in row or "box" not in row:
            raise ParameterError("expected rows with 'label' and 'box', received others")
        label = row["label"]
        if not isinstance(label, int | np.integer) or not 0 < label <= limits.max:
            raise ParameterError(
                f"expected labels from 1 to {limits.max} for {np.dtype(dtype)}, received {label!r}"
            )
        try:
            bounds = np.array(row["box"], np.float64)
        except (TypeError, ValueError):
            bounds = np.empty(0)
        if bounds.shape != (result.ndim, 2) or not np.isfinite(bounds).all():
            raise GeometryError(
                f"expected a box with (start, stop) for each of {like.spatial_axes!r}, received "
                f"{row['box']!r}"
            )
        # Voxel i covers i to i + 1 here, so that whole numbers are edges; its centre is i + 1/2.
        edges = np.clip(np.ceil(bounds - 0.5), 0, np.array(result.shape)[:, None]).astype(int)
        result[tuple(slice(start, stop) for start, stop in edges)] = label
    return Image(result, like.spatial_axes, like.affine, kind="labels")


def inside_polygon(points: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return which pixel centres lie inside a polygon (y, x), by the even-odd rule.

    Example:
        >>> inside_polygon(np.array([(0.0, 0), (0, 2), (2, 0)]), (2, 3))
        array([[ True,  True, False],
               [ True, False, False]])
    """
    following = np.roll(points, -1, axis=0)
    low = np.where((points[:, 0] <= following[:, 0])[:, None], points, following)
    high = np.where((points[:, 0] <= following[:, 0])[:, None], following, points)
    # Edges are half-open, so that a corner between two counts once.
    first = np.clip(np.ceil(low[:, 0]), 0, shape[0]).astype(int)
    last = np.clip(np.ceil(high[:, 0]), 0, shape[0]).astype(int)
    spans = np.maximum(last - first, 0)
    if spans.sum() > MOST_CROSSINGS:
        raise GeometryError(
            f"expected a polygon that crosses rows of pixels at most {MOST_CROSSINGS:,} times, "
            f"received one of {len(points):,} points that does so {int(spans.sum()):,} times"
        )
    slopes = (high[:, 1] - low[:, 1]) / np.where(spans > 0, high[:, 0] - low[:, 0], 1)
    crossings = np.zeros((shape[0], shape[1] + 1), np.int32)
    edges = np.flatnonzero(spans)
    starts = np.cumsum(spans[edges]) - spans[edges]
    for part in np.split(edges, np.flatnonzero(np.diff(starts // CHUNK)) + 1):
        edge = np.repeat(part, spans[part])
        before = np.repeat(np.cumsum(spans[part]) - spans[part], spans[part])
        rows = first[edge] + np.arange(len(edge)) - before
        x = low[edge, 1] + (rows - low[edge, 0]) * slopes[edge]
        columns = np.clip(np.ceil(x), 0, shape[1]).astype(int)
        np.add.at(crossings, (rows, columns), 1)
    return np.asarray(np.cumsum(crossings[:, :-1], axis=1) % 2 == 1)


def _filled(
    outlines: Sequence[tuple[NDArray[np.float64], bool]], shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Join outlines, cut out holes: from the largest to the smallest, for islands in holes."""
    result = np.zeros(shape, bool)

    def size(outline: tuple[NDArray[np.float64], bool]) -> float:
        y, x = outline[0].T
        return -abs(float((y * np.roll(x, -1) - x * np.roll(y, -1)).sum()))

    for points, hole in sorted(outlines, key=size):
        result[inside_polygon(points, shape)] = not hole
    return result


def _checked_points(points: Any) -> NDArray[np.float64]:
    try:
        found = np.array(points, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if (
        found.ndim != 2
        or found.shape[1] != 2
        or not 3 <= len(found) <= MOST_POINTS
        or not np.isfinite(found).all()
        or np.abs(found).max() > 1e9
    ):
        raise GeometryError(
            f"expected a polygon of at least three points (y, x), received shape {found.shape}"
        )
    return found
