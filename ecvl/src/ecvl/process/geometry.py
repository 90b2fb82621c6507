"""Functions that change where voxels stand: image in, image out, the affine always true.

Labels are moved by their nearest voxel and stay labels. Each function is a `Change` of the grid
(`ecvl.grids`) carried out by `pull`. Held by `tests/ecvl/process/test_geometry.py`.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import (
    Change,
    Grid,
    boxed,
    index_matrix,
    padded_to_multiple,
    reoriented,
    resampled,
    resized,
)
from ecvl.image import Image, require_kind
from ecvl.process.fields import Bend, Field, Map
from ecvl.process.pull import Fill, Interpolation, checked_fill, pull
from ecvl.process.registry import processing
from ecvl.process.volumes import is_real
from ecvl.sample import Sample

Value = TypeVar("Value")


@processing("any", "same", geometry="follows")
def reorient(image: Image, orientation: str = "RAS") -> Image:
    """Permute and flip the spatial axes until voxel x, y, z point nearest to `orientation`.

    An exact index operation: every value keeps its place in the patient. A 2-D image can only be
    turned within its plane.

    Args:
        image: an image or labels.
        orientation: one letter each of L/R, P/A and I/S for voxel x, y and z.

    Raises:
        GeometryError: it is no orientation, or a 2-D image would have to leave its plane.

    Example:
        >>> import numpy as np
        >>> image = Image(np.array([[1, 2, 3]], np.uint8), "yx")
        >>> np.asarray(reorient(image, "LAS"))
        array([[3, 2, 1]], dtype=uint8)
    """
    require_kind(image, None, "reorient")
    return pull(image, *reoriented(image.grid, orientation))


@processing("any", "same", geometry="follows")
def resample(
    image: Image,
    spacing: Sequence[float | None] | float | None = None,
    *,
    like: Image | Sample | None = None,
    shape: Sequence[int] | None = None,
    fill: Fill = None,
    interpolation: Interpolation | None = None,
) -> Image:
    """Put an image on a grid of another spacing, of another shape, or of another image.

    With `spacing` and `shape` the field of view is kept: the outer edges stay where they are, so
    the number of voxels is rounded and the spacing is the wanted one to within half a voxel over
    the whole field of view. Down-scaling of images by more than 1.5 is smoothed first; an image's
    own grid gives the very same values.

    Args:
        image: an image (the data type stays) or labels.
        spacing: mm along the spatial axes, in array order, or one number for all; `None` leaves an
            axis alone.
        like: an image or sample whose grid (shape and affine) to take.
        shape: voxels along the spatial axes, in array order.
        fill: beyond the image, with `like` only: a number, "edge", or `None` for the low end of the
            value range; labels are 0 there.
        interpolation: "nearest", "linear" or "cubic"; linear by default. Labels take the nearest
            voxel, always.

    Raises:
        ParameterError: not exactly one of `spacing`, `like` and `shape` was given, or not positive.

    Example:
        >>> import numpy as np
        >>> resample(Image(np.zeros((4, 6, 6)), "zyx"), spacing=(2, 1, 1)).shape
        (2, 6, 6)
    """
    require_kind(image, None, "resample")
    if sum(choice is not None for choice in (spacing, like, shape)) != 1:
        raise ParameterError("resample takes exactly one of spacing=, like= and shape=")
    if like is not None:
        return onto(image, like.grid, fill, interpolation)
    if spacing is not None:
        wanted: tuple[float | None, ...] = per_axis(spacing, image, "spacing")
        if any(s is not None and not 0 < s < np.inf for s in wanted):
            raise ParameterError(f"expected spacing above 0 mm, received {spacing!r}")
        return pull(
            image, *resampled(image.grid, (None, *wanted)[-3:]), "edge", interpolation=interpolation
        )
    sizes: tuple[int, ...] = per_axis(shape or (), image, "shape")
    if any(not isinstance(n, int | np.integer) or n < 1 for n in sizes):
        raise ParameterError(f"expected a shape of whole numbers above 0, received {shape!r}")
    return pull(image, *resized(image.grid, (1, *sizes)[-3:]), "edge", interpolation=interpolation)


@processing("any", "same", geometry="follows")
def resize(
    image: Image,
    shape: Sequence[int] | int | None = None,
    *,
    scale: Sequence[float] | float | None = None,
    interpolation: Interpolation | None = None,
) -> Image:
    """Give an image another number of voxels over the same field of view.

    `resample(image, shape=...)`, with one number for all axes or a scale.

    Args:
        image: an image or labels.
        shape: voxels along the spatial axes, in array order, or one number for all.
        scale: the new number of voxels as a multiple of the old one, rounded; above 1 enlarges.
        interpolation: "nearest", "linear" or "cubic"; linear by default. Labels take the nearest
            voxel, always.

    Raises:
        ParameterError: not exactly one of `shape` and `scale` was given, or not positive.

    Example:
        >>> import numpy as np
        >>> resize(Image(np.zeros((4, 6)), "yx"), scale=1.5).shape
        (6, 9)
    """
    require_kind(image, None, "resize")
    if (shape is None) == (scale is None):
        raise ParameterError("resize takes exactly one of shape= and scale=")
    if scale is not None:
        scales = per_axis(scale, image, "scale")
        if not all(is_real(factor) and factor > 0 for factor in scales):
            raise ParameterError(f"expected a scale above 0, received {scale!r}")
        pairs = zip(image.spatial_shape, scales, strict=True)
        shape = tuple(max(1, round(size * factor)) for size, factor in pairs)
    return resample(image, shape=per_axis(shape, image, "shape"), interpolation=interpolation)


@processing("any", "same", geometry="follows")
def crop(image: Image, box: Sequence[tuple[int, int]]) -> Image:
    """Cut a box out of an image.

    Args:
        image: an image or labels.
        box: half-open (start, stop) voxel indices along the spatial axes, in array order.

    Raises:
        GeometryError: the box is empty or reaches outside; `pad` is the way outside.

    Example:
        >>> import numpy as np
        >>> np.asarray(crop(Image(np.array([[1, 2, 3]]), "yx"), [(0, 1), (1, 3)]))
        array([[2, 3]])
    """
    require_kind(image, None, "crop")
    return pull(image, *cropped(image.grid, checked_pairs(box, image, "box")))


@processing("any", "same", geometry="follows")
def pad(image: Image, widths: Sequence[tuple[int, int]], *, fill: Fill = None) -> Image:
    """Add voxels around an image.

    Args:
        image: an image or labels.
        widths: voxels (before, after) along the spatial axes, in array order, none negative.
        fill: a number, "edge", or `None` for the low end of the value range; labels get 0.

    Raises:
        GeometryError: a width is negative or they are not one pair an axis.

    Example:
        >>> import numpy as np
        >>> np.asarray(pad(Image(np.array([[1, 2]]), "yx"), [(0, 0), (1, 0)], fill=7))
        array([[7, 1, 2]])
    """
    require_kind(image, None, "pad")
    pairs = checked_pairs(widths, image, "widths")
    return pull(image, *padded(image.grid, pairs), checked_fill(fill))


@processing("any", "same", geometry="follows")
def pad_to_multiple(
    image: Image, multiple: Sequence[int] | int = 16, *, fill: Fill = None
) -> Image:
    """Pad an image evenly (the odd voxel behind) until its sizes are multiples of a number.

    Args:
        image: an image or labels.
        multiple: one number for all spatial axes, or one an axis in array order; 1 leaves it alone.
        fill: a number, "edge", or `None` for the low end of the value range; labels get 0.

    Raises:
        ParameterError: a multiple is below 1.

    Example:
        >>> import numpy as np
        >>> pad_to_multiple(Image(np.zeros((3, 30, 30)), "zyx"), (1, 16, 16)).shape
        (3, 32, 32)
    """
    require_kind(image, None, "pad_to_multiple")
    factors = (1, *per_axis(multiple, image, "multiple"))[-3:]
    return pull(image, *padded_to_multiple(image.grid, factors), checked_fill(fill))


@processing("any", "same", geometry="follows")
def restore(prediction: Image, like: Image | Sample, *, fill: Fill = None) -> Image:
    """Put a prediction back on the grid (shape and affine) of the image it was made from.

    Where the two grids differ by flips, transpositions, crops and pads only, values are copied;
    otherwise labels take their nearest voxel and scores are interpolated linearly. The affine of
    the result is that of `like`, bit for bit.

    Args:
        prediction: labels, or an image of scores, with its own geometry.
        like: the original image, or a sample, whose grid before its augmentation is meant.
        fill: beyond the prediction, for images: a number, "edge", or `None` for the low end of the
            value range; labels are 0 there.

    Example:
        >>> import numpy as np
        >>> image = Image(np.arange(6).reshape(2, 3), "yx")
        >>> np.array_equal(restore(reorient(image, "LPS"), like=image), image)
        True
    """
    require_kind(prediction, None, "restore")
    origin = like.origin if isinstance(like, Sample) else like.grid
    return onto(prediction, origin, fill)


def onto(
    image: Image, grid: Grid, fill: Fill = None, interpolation: Interpolation | None = None
) -> Image:
    """Put an image on any grid, through the world: what `resample` and `restore` do.

    Example:
        >>> import numpy as np
        >>> image = Image(np.array([[1, 2]]), "yx")
        >>> np.asarray(onto(image, image.grid))
        array([[1, 2]])
    """
    matrix = index_matrix(image.grid, grid)
    return pull(image, grid, matrix, checked_fill(fill), interpolation=interpolation)


def unbent(image: Image, bend: Bend, back: Map) -> Image:
    """Return an image on the grid before a bend, undone by its inverse.

    Example:
        >>> import numpy as np
        >>> image = Image(np.array([[1, 2, 3]]), "yx")
        >>> shift = np.eye(4)
        >>> shift[0, 3] = 1
        >>> bend = Bend(image.grid, image.grid, Map(shift))
        >>> np.asarray(unbent(image, bend, bend.way.inverse((1, 1, 3))))
        array([[1, 1, 2]])
    """
    lead = index_matrix(image.grid, bend.after)
    field = back.field
    if field is not None:
        turned = np.einsum("ij,jzyx->izyx", lead[:3, :3], field.coefficients)
        field = Field(turned, field.start, field.step, field.degree)
    return pull(image, bend.before, lead @ back.matrix, field=field)


def per_axis(values: Sequence[Value] | Value | None, image: Image, name: str) -> tuple[Value, ...]:
    """Return one value a spatial axis, a single one repeated.

    Example:
        >>> import numpy as np
        >>> per_axis(2, Image(np.zeros((3, 3)), "yx"), "spacing")
        (2, 2)
    """
    count = len(image.spatial_axes)
    found = tuple(values) if isinstance(values, Sequence | np.ndarray) else (values,) * count
    if len(found) != count:
        raise GeometryError(
            f"expected {name} of length {count} for axes {image.spatial_axes!r}, received "
            f"{values!r}"
        )
    return found  # type: ignore[return-value]


def checked_pairs(
    pairs: Sequence[tuple[int, int]], image: Image, name: str
) -> list[tuple[int, int]]:
    """Return one pair of whole numbers for z, y and x; a 2-D image gets its one slice.

    Example:
        >>> import numpy as np
        >>> checked_pairs([(0, 2), (1, 3)], Image(np.zeros((3, 3)), "yx"), "box")
        [(0, 1), (0, 2), (1, 3)]
    """
    try:
        found = [(int(first), int(second)) for first, second in pairs]
        exact = found == [(first, second) for first, second in pairs]
    except (TypeError, ValueError):
        found, exact = [], False
    if not exact or len(found) != len(image.spatial_axes):
        raise GeometryError(
            f"expected {name} as a pair of whole numbers for each of {image.spatial_axes!r}, "
            f"received {pairs!r}"
        )
    whole = (0, 1) if name == "box" else (0, 0)
    return found if len(found) == 3 else [whole, *found]


def cropped(grid: Grid, box: Sequence[tuple[int, int]]) -> Change:
    """Cut `box` (z, y, x) out of a grid, which must hold it.

    Example:
        >>> import numpy as np
        >>> cropped(Grid((1, 4, 4), np.eye(4)), [(0, 1), (1, 3), (0, 4)]).grid.shape
        (1, 2, 4)
    """
    if any(b < 0 or e > n for (b, e), n in zip(box, grid.shape, strict=True)):
        raise GeometryError(
            f"expected a box inside 0 to {grid.shape} (z, y, x), received {list(box)}; "
            "use pad to reach outside"
        )
    return boxed(grid, box)


def padded(grid: Grid, widths: Sequence[tuple[int, int]]) -> Change:
    """Add `widths` (before, after) voxels along z, y and x to a grid.

    Example:
        >>> import numpy as np
        >>> padded(Grid((1, 4, 4), np.eye(4)), [(0, 0), (1, 0), (0, 2)]).grid.shape
        (1, 5, 6)
    """
    if any(before < 0 or after < 0 for before, after in widths):
        raise GeometryError(f"expected widths of at least 0, received {list(widths)}; use crop")
    box = [(-before, n + after) for (before, after), n in zip(widths, grid.shape, strict=True)]
    return boxed(grid, box)
