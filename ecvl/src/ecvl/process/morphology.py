"""Morphology: growing and shrinking, of bright regions in images and of regions in labels.

* The element is a ball of a radius in mm (or voxels), a box or a cross, or any array of its own.
* What lies outside the image does not count, so nothing grows from or is worn away at its edge.
* Labels stay labels, several at once: a voxel is worn away where its neighbourhood is not wholly
  its label, only background is grown over, and where two labels reach a voxel the lower takes it.

Held by `tests/ecvl/process/test_morphology.py` against scipy.ndimage and brute force.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.errors import GeometryError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.dtypes import in_type
from ecvl.process.elements import Element, Shape, own_element, structuring_element
from ecvl.process.registry import processing
from ecvl.process.volumes import (
    Unit,
    Volume,
    each_volume,
    exactly_in,
)

OPENCV_TYPES = (np.uint8, np.uint16, np.int16, np.float32)


@processing("any", "same")
def erode(
    image: Image,
    radius: float | Sequence[float] = 1,
    shape: Shape = "ball",
    *,
    unit: Unit = "mm",
    element: ArrayLike | None = None,
    iterations: int = 1,
) -> Image:
    """Shrink bright or labelled regions: every voxel gets the least value in its neighbourhood.

    Args:
        image: an image or labels.
        radius: how far the neighbourhood reaches, one number or one a spatial axis in array order.
        shape: "ball", "box" or "cross".
        unit: "mm" or "voxels", of `radius`.
        element: a neighbourhood of one's own in place of the three above: an array of odd sizes
            with an axis for each spatial axis (or for y and x alone), not 0 where it looks.
        iterations: how many times over.

    Raises:
        ParameterError: the element is not valid, or reaches no neighbour.

    Example:
        >>> mask = Image(np.array([[0, 1, 1, 1, 0]], np.uint8), "yx", kind="labels")
        >>> np.asarray(erode(mask))
        array([[0, 0, 1, 0, 0]], dtype=uint8)
    """
    require_kind(image, None, "erode")
    found = _element(image, radius, shape, unit, element)
    return _repeated(image, iterations, lambda v: _eroded(v, found, image.kind == "labels"))


@processing("any", "same")
def dilate(
    image: Image,
    radius: float | Sequence[float] = 1,
    shape: Shape = "ball",
    *,
    unit: Unit = "mm",
    element: ArrayLike | None = None,
    iterations: int = 1,
) -> Image:
    """Grow bright or labelled regions: every voxel gets the greatest value in its neighbourhood.

    Args:
        image: an image or labels.
        radius: how far the neighbourhood reaches; all arguments as in `erode`.
        shape: "ball", "box" or "cross".
        unit: "mm" or "voxels", of `radius`.
        element: a neighbourhood of one's own; it is turned round, as in the textbooks.
        iterations: how many times over.

    Raises:
        ParameterError: the element is not valid, or reaches no neighbour.

    Example:
        >>> mask = Image(np.array([[0, 0, 2, 0, 0]], np.uint8), "yx", kind="labels")
        >>> np.asarray(dilate(mask))
        array([[0, 2, 2, 2, 0]], dtype=uint8)
    """
    require_kind(image, None, "dilate")
    found = _element(image, radius, shape, unit, element)
    return _repeated(image, iterations, lambda v: _dilated(v, found, image.kind == "labels"))


@processing("any", "same")
def opening(
    image: Image,
    radius: float | Sequence[float] = 1,
    shape: Shape = "ball",
    *,
    unit: Unit = "mm",
    element: ArrayLike | None = None,
) -> Image:
    """Remove what is bright, or labelled, and smaller than the element: erode, then dilate.

    Args:
        image: an image or labels.
        radius: how far the neighbourhood reaches; all arguments as in `erode`.
        shape: "ball", "box" or "cross".
        unit: "mm" or "voxels", of `radius`.
        element: a neighbourhood of one's own.

    Raises:
        ParameterError: the element is not valid, or reaches no neighbour.

    Example:
        >>> mask = Image(np.array([[1, 0, 1, 1, 1]], np.uint8), "yx", kind="labels")
        >>> np.asarray(opening(mask))
        array([[0, 0, 1, 1, 1]], dtype=uint8)
    """
    require_kind(image, None, "opening")
    found = _element(image, radius, shape, unit, element)
    return _repeated(image, 1, lambda v: _opened(v, found, image.kind == "labels"))


@processing("any", "same")
def closing(
    image: Image,
    radius: float | Sequence[float] = 1,
    shape: Shape = "ball",
    *,
    unit: Unit = "mm",
    element: ArrayLike | None = None,
) -> Image:
    """Fill what is dark, or background, and smaller than the element: dilate, then erode.

    Labels are closed one by one, into the background only.

    Args:
        image: an image or labels.
        radius: how far the neighbourhood reaches; all arguments as in `erode`.
        shape: "ball", "box" or "cross".
        unit: "mm" or "voxels", of `radius`.
        element: a neighbourhood of one's own.

    Raises:
        ParameterError: the element is not valid, or reaches no neighbour.

    Example:
        >>> mask = Image(np.array([[0, 0, 1, 1, 0, 1, 1]], np.uint8), "yx", kind="labels")
        >>> np.asarray(closing(mask))
        array([[0, 0, 1, 1, 1, 1, 1]], dtype=uint8)
    """
    require_kind(image, None, "closing")
    found = _element(image, radius, shape, unit, element)
    return _repeated(image, 1, lambda v: _closed(v, found, image.kind == "labels"))


@processing("any", "same")
def morphological_gradient(
    image: Image,
    radius: float | Sequence[float] = 1,
    shape: Shape = "ball",
    *,
    unit: Unit = "mm",
    element: ArrayLike | None = None,
) -> Image:
    """Return where values change: dilated minus eroded; for labels, the rim of each on both sides.

    Args:
        image: an image or labels.
        radius: how far the neighbourhood reaches; all arguments as in `erode`.
        shape: "ball", "box" or "cross".
        unit: "mm" or "voxels", of `radius`.
        element: a neighbourhood of one's own.

    Raises:
        ParameterError: the element is not valid, or reaches no neighbour.

    Example:
        >>> np.asarray(morphological_gradient(Image(np.array([[0, 0, 9, 9, 9]], np.uint8), "yx")))
        array([[0, 9, 9, 0, 0]], dtype=uint8)
    """
    require_kind(image, None, "morphological_gradient")
    found = _element(image, radius, shape, unit, element)
    labels = image.kind == "labels"
    return _difference(
        image, lambda v: _dilated(v, found, labels), lambda v: _eroded(v, found, labels)
    )


@processing("any", "same")
def top_hat(
    image: Image,
    radius: float | Sequence[float] = 1,
    shape: Shape = "ball",
    *,
    unit: Unit = "mm",
    element: ArrayLike | None = None,
) -> Image:
    """Return what is bright, or labelled, and smaller than the element: the image minus opening.

    Args:
        image: an image or labels.
        radius: how far the neighbourhood reaches; all arguments as in `erode`.
        shape: "ball", "box" or "cross".
        unit: "mm" or "voxels", of `radius`.
        element: a neighbourhood of one's own.

    Raises:
        ParameterError: the element is not valid, or reaches no neighbour.

    Example:
        >>> np.asarray(top_hat(Image(np.array([[5, 5, 9, 5, 5]], np.uint8), "yx")))
        array([[0, 0, 4, 0, 0]], dtype=uint8)
    """
    require_kind(image, None, "top_hat")
    found = _element(image, radius, shape, unit, element)
    return _difference(image, lambda v: v, lambda v: _opened(v, found, image.kind == "labels"))


@processing("any", "same")
def black_hat(
    image: Image,
    radius: float | Sequence[float] = 1,
    shape: Shape = "ball",
    *,
    unit: Unit = "mm",
    element: ArrayLike | None = None,
) -> Image:
    """Return what is dark, or background, and smaller than the element: closing minus the image.

    Args:
        image: an image or labels.
        radius: how far the neighbourhood reaches; all arguments as in `erode`.
        shape: "ball", "box" or "cross".
        unit: "mm" or "voxels", of `radius`.
        element: a neighbourhood of one's own.

    Raises:
        ParameterError: the element is not valid, or reaches no neighbour.

    Example:
        >>> np.asarray(black_hat(Image(np.array([[5, 5, 1, 5, 5]], np.uint8), "yx")))
        array([[0, 0, 4, 0, 0]], dtype=uint8)
    """
    require_kind(image, None, "black_hat")
    found = _element(image, radius, shape, unit, element)
    return _difference(image, lambda v: _closed(v, found, image.kind == "labels"), lambda v: v)


@processing("labels", "labels")
def hit_or_miss(labels: Image, hit: ArrayLike, miss: ArrayLike) -> Image:
    """Find a pattern of foreground and background: 1 in the middle of each place where it stands.

    Args:
        labels: labels; all above 0 are foreground, and what lies outside is background.
        hit: an array of odd sizes with an axis for each spatial axis (or for y and x alone), not 0
            where foreground must be.
        miss: the same for background.

    Raises:
        KindError: an image was given.
        ParameterError: the patterns differ in shape or ask for both at one place.

    Example:
        >>> mask = Image(np.array([[0, 1, 0, 1, 1]], np.uint8), "yx", kind="labels")
        >>> np.asarray(hit_or_miss(mask, [[0, 1, 0]], [[1, 0, 1]]))
        array([[0, 1, 0, 0, 0]], dtype=uint8)
    """
    require_kind(labels, "labels", "hit_or_miss")
    there, not_there = own_element(labels, hit), own_element(labels, miss)
    if there.shape != not_there.shape or (there & not_there).any():
        raise ParameterError(
            f"expected hit and miss of one shape that share no place, received {there.shape} and "
            f"{not_there.shape}"
        )
    margin = [(n // 2, n // 2) for n in there.shape]
    middle = tuple(slice(before, -before or None) for before, _ in margin)

    def found(volume: Volume) -> Volume:
        inside = np.pad((volume > 0).view(np.uint8), margin)
        match = _extreme(inside, there, False) & _extreme(1 - inside, not_there, False)
        return match[middle].astype(volume.dtype)

    return labels.replace(array=each_volume(labels, found), label_names=None)


def _element(image: Image, radius: Any, shape: Any, unit: Unit, element: Any) -> Element:
    if element is not None:
        return own_element(image, element)
    return structuring_element(image, radius, shape, unit=unit)


def _repeated(image: Image, iterations: int, function: Any) -> Image:
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise ParameterError(f"expected iterations from 1, received {iterations!r}")

    def run(volume: Volume) -> Volume:
        for _ in range(iterations):
            volume = function(volume)
        return volume

    return image.replace(array=each_volume(image, run))


def _difference(image: Image, more: Any, less: Any) -> Image:
    """Subtract values, which saturate; of labels, keep what the smaller lacks."""

    def run(volume: Volume) -> Volume:
        large, small = more(volume), less(volume)
        if image.kind == "labels":
            return np.where(small == large, 0, large).astype(volume.dtype)
        # Signed integers may differ by more than their type holds.
        if volume.dtype.kind in "uf":
            with np.errstate(invalid="ignore"):
                return np.asarray(large - small)
        return in_type(large.astype(np.float64) - small, volume.dtype)

    return image.replace(array=each_volume(image, run), value_range=None)


def _eroded(volume: Volume, element: Element, labels: bool) -> Volume:
    least = _extreme(volume, element, False)
    if not labels:
        return least
    same = least == _extreme(volume, element, True)
    # An element without its middle looks at neighbours of one label that may not be the voxel's.
    return np.where(same & (least == volume), volume, 0).astype(volume.dtype)


def _dilated(volume: Volume, element: Element, labels: bool) -> Volume:
    turned = np.ascontiguousarray(element[::-1, ::-1, ::-1])
    if not labels:
        return _extreme(volume, turned, True)
    if not volume.any():
        return volume
    last = volume.max()
    background = volume <= 0
    # With the background above all labels, the least value around is the lowest label there.
    lifted = np.where(background, np.int64(last) + 1, volume)
    reached = _extreme(lifted, turned, False)
    return np.where(background & (reached <= last), reached, volume).astype(volume.dtype)


def _opened(volume: Volume, element: Element, labels: bool) -> Volume:
    return _dilated(_eroded(volume, element, labels), element, labels)


def _closed(volume: Volume, element: Element, labels: bool) -> Volume:
    if not labels:
        return _eroded(_dilated(volume, element, False), element, False)
    result = volume.copy()
    reach = [n // 2 for n in element.shape]
    for label in sorted(np.unique(volume[volume > 0]).tolist(), reverse=True):
        box = _box_around(volume == label, reach)
        mask = (volume[box] == label).view(np.uint8)
        # Where the box ends at the image's edge nothing lies outside; elsewhere there is room.
        whole = _eroded(_dilated(mask, element, False), element, False)
        result[box][(whole > 0) & (volume[box] <= 0)] = label
    return result


def _box_around(inside: NDArray[np.bool_], margin: Sequence[int]) -> tuple[slice, ...]:
    """Return the smallest box that holds a mask, with twice a margin that stays in the image."""
    box = []
    for axis, (extent, reach) in enumerate(zip(inside.shape, margin, strict=True)):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        where = np.flatnonzero(inside.any(axis=others))
        box.append(slice(max(0, where[0] - 2 * reach), min(extent, where[-1] + 2 * reach + 1)))
    return tuple(box)


def _extreme(volume: Volume, element: Element, greatest: bool) -> Volume:
    """Return the greatest or least value under an element, of which what lies outside is no part.

    Raises:
        GeometryError: the element covers no voxel of the image at some place.
    """
    import cv2

    values = exactly_in(volume, OPENCV_TYPES, "morphology")
    act = cv2.dilate if greatest else cv2.erode
    join = np.maximum if greatest else np.minimum
    result: Volume | None = None
    depth, reach = len(values), len(element) // 2
    anchor = element.shape[2] // 2, element.shape[1] // 2
    for offset, plane in enumerate(element):
        shift = offset - reach
        first, last = max(0, -shift), min(depth, depth - shift)
        if not plane.any() or first >= last:
            continue
        if result is None:
            lowest, highest = _bounds(values.dtype)
            result = np.full_like(values, lowest if greatest else highest)
        for index in range(first, last):
            there = act(values[index + shift], plane, anchor=anchor)
            join(result[index], there, out=result[index])
    if result is None:
        raise GeometryError("expected an element that covers voxels, received one with none")
    # Where infinity and NaN meet, the library's greatest float32 may come out.
    with np.errstate(over="ignore"):
        return result.astype(volume.dtype, copy=False)


def _bounds(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    return np.iinfo(dtype).min, np.iinfo(dtype).max
