"""The neighbourhoods that morphology looks at: balls, boxes and crosses in mm, or any array.

Held by `tests/ecvl/process/test_morphology.py`.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.errors import ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.registry import processing
from ecvl.process.volumes import Unit, in_voxels

Shape = Literal["ball", "box", "cross"]
Element = NDArray[np.uint8]

MOST_VOXELS_OF_AN_ELEMENT = 1 << 20


@processing("any", "value", geometry="none", dtype="own", each=False)
def structuring_element(
    image: Image, radius: float | Sequence[float], shape: Shape = "ball", *, unit: Unit = "mm"
) -> Element:
    """Return the neighbourhood that morphology looks at on an image's grid.

    Args:
        image: an image or labels, for its voxel sizes.
        radius: how far it reaches from the middle, one number or one a spatial axis in array order.
        shape: "ball" (an ellipsoid for several radii), "box", or "cross" along the axes.
        unit: "mm" or "voxels". mm need voxel axes at right angles.

    Returns:
        uint8, axes zyx, odd sizes: 1 at voxels whose centre is within reach.

    Raises:
        ParameterError: the radius reaches no neighbour, or is too large.

    Example:
        >>> structuring_element(Image(np.zeros((9, 9)), "yx"), 1)[0]
        array([[0, 1, 0],
               [1, 1, 1],
               [0, 1, 0]], dtype=uint8)
    """
    require_kind(image, None, "structuring_element")
    reach = np.array(in_voxels(radius, image, unit, "radius"))
    # A radius that is a whole number of voxels must not lose its last voxel to rounding.
    reach *= 1 + 1e-9
    limits = np.floor(reach).astype(np.int64)
    if not limits.any():
        raise ParameterError(
            f"a radius of {radius} {unit} does not reach a neighbouring voxel (spacing "
            f"{tuple(round(s, 4) for s in image.spacing)} mm); take a greater one, or unit='voxels'"
        )
    if np.prod(2.0 * limits + 1) > MOST_VOXELS_OF_AN_ELEMENT:
        raise ParameterError(
            f"a radius of {radius} {unit} is {limits.max()} voxels: too many; use distance_map, or "
            "resample to larger voxels first"
        )
    z, y, x = np.ogrid[tuple(slice(-n, n + 1) for n in limits)]
    parts = [np.abs(axis) / max(r, 1e-9) for axis, r in zip((z, y, x), reach, strict=True)]
    if shape == "ball":
        inside = sum(part**2 for part in parts) <= 1
    elif shape == "box":
        inside = np.ones(tuple(2 * limits + 1), bool)
    elif shape == "cross":
        inside = sum((part > 0).astype(int) for part in parts) <= 1
    else:
        raise ParameterError(f"expected shape 'ball', 'box' or 'cross', received {shape!r}")
    return np.ascontiguousarray(np.broadcast_to(inside, tuple(2 * limits + 1)), np.uint8)


def own_element(image: Image, element: ArrayLike) -> Element:
    """Return an element that was given as an array, with axes zyx.

    Raises:
        ParameterError: it does not fit the image, or has even sizes.

    Example:
        >>> own_element(Image(np.zeros((3, 3)), "yx"), [[0, 2, 0]])
        array([[[0, 1, 0]]], dtype=uint8)
    """
    try:
        found = (np.asarray(element) != 0).view(np.uint8)
    except (TypeError, ValueError):
        found = np.zeros(0, np.uint8)
    if found.ndim == 2:
        found = found[None]
    if found.ndim != 3:
        raise ParameterError(
            f"expected an element with an axis for each of {image.spatial_axes!r}, or for y and x, "
            f"received {np.ndim(element)}"
        )
    if image.spatial_axes == "yx" and len(found) != 1:
        raise ParameterError(f"expected an element for y and x, received shape {found.shape}")
    if any(n % 2 == 0 for n in found.shape) or found.size > MOST_VOXELS_OF_AN_ELEMENT:
        raise ParameterError(f"expected an element of odd sizes, received shape {found.shape}")
    return np.ascontiguousarray(found)
