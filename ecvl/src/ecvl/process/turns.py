"""Functions that turn an image over or round, and that cut it to size around a middle.

Like all that moves voxels they keep every point of the patient where it was and let the affine say
where the new grid lies; `mirror` alone moves the content. Held by
`tests/ecvl/process/test_contract.py` and `test_geometry.py` beside it.
"""

from collections.abc import Sequence

import numpy as np

from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import Change, Grid, boxed
from ecvl.image import Image, require_kind
from ecvl.process.geometry import per_axis
from ecvl.process.pull import Fill, Interpolation, checked_fill, pull
from ecvl.process.registry import processing
from ecvl.process.volumes import in_voxels, is_real, mask_of, require_straight, stacked

AXES = "xyz"


@processing("any", "same", geometry="follows")
def flip(image: Image, axes: str = "x") -> Image:
    """Store an image with axes reversed, exactly; every point of the patient stays where it was.

    Args:
        image: an image or labels.
        axes: the letters of the spatial axes to reverse.

    Raises:
        GeometryError: the image has no such axis.

    Example:
        >>> flipped = flip(Image(np.array([[1, 2, 3]]), "yx"))
        >>> np.asarray(flipped), flipped.orientation
        (array([[3, 2, 1]]), 'LAS')
    """
    require_kind(image, None, "flip")
    _require_axes(axes, image, "flip")
    matrix = np.eye(4)
    for letter in axes:
        axis = AXES.index(letter)
        matrix[axis, axis] = -1
        matrix[axis, 3] = image.grid.shape[2 - axis] - 1
    return pull(image, Grid(image.grid.shape, image.grid.affine @ matrix), matrix)


@processing("any", "same", geometry="moves")
def mirror(image: Image, axes: str = "x") -> Image:
    """Reflect the content of an image in place: what was first comes last, on the same grid.

    The opposite of `flip`: here the patient's left and right (or whatever the axis runs between)
    change places, as for a comparison of both sides.

    Args:
        image: an image or labels.
        axes: the letters of the spatial axes along which to reflect.

    Raises:
        GeometryError: the image has no such axis.

    Example:
        >>> mirrored = mirror(Image(np.array([[1, 2, 3]]), "yx"))
        >>> np.asarray(mirrored), mirrored.orientation
        (array([[3, 2, 1]]), 'RAS')
    """
    require_kind(image, None, "mirror")
    _require_axes(axes, image, "mirror")
    along = tuple(image.axes.index(letter) for letter in axes)
    return image.replace(array=np.flip(image.array, along).copy())


@processing("any", "same", geometry="follows")
def transpose(image: Image, order: str | None = None) -> Image:
    """Store an image with its spatial axes in another order, exactly.

    Args:
        image: an image or labels.
        order: the axes that become z, y, x (or y, x) in turn; reversed by default.

    Raises:
        GeometryError: it does not name each spatial axis once.

    Example:
        >>> np.asarray(transpose(Image(np.array([[1, 2, 3]]), "yx"))).tolist()
        [[1], [2], [3]]
    """
    require_kind(image, None, "transpose")
    wanted = image.spatial_axes[::-1] if order is None else order
    if not isinstance(wanted, str) or sorted(wanted) != sorted(image.spatial_axes):
        raise GeometryError(
            f"expected each of {image.spatial_axes!r} once as order, received {order!r}"
        )
    whole = wanted if len(wanted) == 3 else "z" + wanted
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for new, old in zip("zyx", whole, strict=True):
        matrix[AXES.index(old), AXES.index(new)] = 1
    z, y, x = (image.grid.shape["zyx".index(old)] for old in whole)
    return pull(image, Grid((z, y, x), image.grid.affine @ matrix), matrix)


@processing("any", "same")
def rearrange(image: Image, axes: str) -> Image:
    """Store an image with all its axes in another order; the spatial ones keep theirs.

    Args:
        image: an image or labels.
        axes: the same letters, such as "cyx" for "yxc"; z, y and x in this order (`transpose`
            changes it).

    Raises:
        GeometryError: it does not name each axis once, or the spatial ones in another order.

    Example:
        >>> rearrange(Image(np.zeros((4, 5, 3)), "yxc"), "cyx").shape
        (3, 4, 5)
    """
    require_kind(image, None, "rearrange")
    if not isinstance(axes, str) or sorted(axes) != sorted(image.axes):
        raise GeometryError(f"expected each of {image.axes!r} once as axes, received {axes!r}")
    array = image.array.transpose([image.axes.index(letter) for letter in axes])
    return image.replace(array=array.copy(), axes=axes)


@processing("any", "same", geometry="follows")
def rotate(
    image: Image,
    degrees: float,
    axis: str = "z",
    *,
    expand: bool = False,
    fill: Fill = None,
    interpolation: Interpolation | None = None,
) -> Image:
    """Turn an image around its centre, right for voxels of any shape.

    The grid turns the other way over the patient, and the affine says so. Quarter turns of square
    voxels copy values.

    Args:
        image: an image or labels.
        degrees: the angle; positive turns x towards y (clockwise on a screen, where y runs down),
            y towards z, and z towards x.
        axis: the axis to turn around: "z" (the y-x plane, all that 2-D images know), "y" or "x".
        expand: whether the grid grows to hold the whole image; else its shape stays.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range;
            labels are 0 there.
        interpolation: "nearest", "linear" or "cubic"; linear by default. Labels take the nearest
            voxel, always.

    Raises:
        GeometryError: a 2-D image would leave its plane, or the axes are not at right angles.

    Example:
        >>> np.asarray(rotate(Image(np.array([[1, 2], [3, 4]]), "yx"), 90))
        array([[3, 1],
               [4, 2]])
    """
    require_kind(image, None, "rotate")
    if not is_real(degrees):
        raise ParameterError(f"expected an angle in degrees, received {degrees!r}")
    if axis not in ("x", "y", "z"):
        raise ParameterError(f"expected axis 'z', 'y' or 'x', received {axis!r}")
    if axis != "z" and "z" not in image.axes:
        raise GeometryError(f"a 2-D image turns around 'z' only, received axis={axis!r}")
    require_straight(image, "a rotation")
    change = _turned(image.grid, float(degrees), axis, expand)
    return pull(image, *change, checked_fill(fill), interpolation=interpolation)


@processing("any", "same", geometry="follows")
def crop_or_pad(image: Image, shape: Sequence[int] | int, *, fill: Fill = None) -> Image:
    """Cut or pad an image evenly around its centre to a shape (the odd voxel goes behind).

    Args:
        image: an image or labels.
        shape: voxels along the spatial axes, in array order, or one number for all.
        fill: where padded: a number, "edge", or `None` for the low end of the value range; labels
            get 0.

    Raises:
        ParameterError: a size is not a whole number above 0.

    Example:
        >>> np.asarray(crop_or_pad(Image(np.array([[1, 2, 3, 4]]), "yx"), (1, 2)))
        array([[2, 3]])
    """
    require_kind(image, None, "crop_or_pad")
    sizes = per_axis(shape, image, "shape")
    if any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1 for n in sizes):
        raise ParameterError(f"expected a shape of whole numbers above 0, received {shape!r}")
    box = []
    for new, old in zip((1, *map(int, sizes))[-3:], image.grid.shape, strict=True):
        start = (old - new) // 2 if new <= old else -((new - old) // 2)
        box.append((start, start + new))
    return pull(image, *boxed(image.grid, box), checked_fill(fill))


@processing("any", "same", geometry="follows")
def crop_to(image: Image, labels: Image, margin: float | Sequence[float] = 0.0) -> Image:
    """Cut an image to the smallest box that holds all labels.

    Args:
        image: an image or labels.
        labels: labels on the same grid; what is above 0 is held.
        margin: mm around it, rounded up to voxels, one number or one a spatial axis in array order;
            the box ends at the image's edge.

    Raises:
        KindError: `labels` are not labels.
        GeometryError: they stand on another grid, or are empty.

    Example:
        >>> image = Image(np.array([[1, 2, 3, 4]]), "yx")
        >>> np.asarray(crop_to(image, image.replace(array=image.array == 3, kind="labels")))
        array([[3]])
    """
    require_kind(image, None, "crop_to")
    inside = np.ascontiguousarray(mask_of(image, labels)).view(np.uint8)
    volume = stacked(image.replace(array=inside, kind="image"))[0].any(axis=0)
    if not volume.any():
        raise GeometryError("expected labels above 0 to crop to, received none")
    reach = np.ceil(np.array(in_voxels(margin, image, "mm", "margin")) - 1e-9).astype(int)
    box = []
    for axis, size in enumerate(volume.shape):
        found = np.unique(np.nonzero(volume)[axis])
        start, stop = int(found[0] - reach[axis]), int(found[-1] + reach[axis] + 1)
        box.append((max(0, start), min(size, stop)))
    return pull(image, *boxed(image.grid, box))


def _turned(grid: Grid, degrees: float, axis: str, expand: bool) -> Change:
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    first, second = {"z": (0, 1), "x": (1, 2), "y": (2, 0)}[axis]
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = cosine
    turn[first, second], turn[second, first] = sine, -sine
    sizes, old = np.array(grid.spacing[::-1]), np.array(grid.shape[::-1])
    new = old
    if expand:
        new = np.ceil(np.abs(turn) @ (old * sizes) / sizes - 1e-6).astype(int)
    matrix = np.eye(4)
    matrix[:3, :3] = turn * sizes / sizes[:, None]
    matrix[:3, 3] = (old - 1) / 2 - matrix[:3, :3] @ ((new - 1) / 2)
    x, y, z = new.tolist()
    return Change(Grid((z, y, x), grid.affine @ matrix), matrix)


def _require_axes(axes: str, image: Image, name: str) -> None:
    if not isinstance(axes, str) or not axes or len(set(axes)) != len(axes):
        raise ParameterError(f"expected axes as letters over 'zyx', received {axes!r}")
    if set(axes) - set(image.spatial_axes):
        raise GeometryError(
            f"{name} works along spatial axes, here {image.spatial_axes!r}, received {axes!r}"
        )
