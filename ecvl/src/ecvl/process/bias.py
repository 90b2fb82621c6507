"""Bias field correction: the slow shading of MR coils taken out. By SimpleITK.

Held by `tests/ecvl/process/test_bias.py`.
"""

from collections.abc import Sequence

import numpy as np

from ecvl.errors import GeometryError, ParameterError, one_line
from ecvl.image import Image, require_kind
from ecvl.process.dtypes import in_type
from ecvl.process.registry import processing
from ecvl.process.thresholds import threshold
from ecvl.process.volumes import (
    Volume,
    from_sitk,
    mask_of,
    one_thread,
    require_straight,
    stacked,
    to_sitk,
)

# The fit's B-splines need this many voxels along an axis after shrinking.
LEAST_SIZE = 8


@processing("image", "image", least=LEAST_SIZE)
def correct_bias(
    image: Image,
    mask: Image | None = None,
    *,
    shrink: int = 4,
    iterations: Sequence[int] = (50, 50, 50, 50),
    control_points: int = 4,
) -> Image:
    """Take the slow shading out of an MR image: N4 (Tustison and others, 2010).

    The field is found on a smaller copy and divided out at full resolution, so that it takes
    seconds.

    Args:
        image: an image of values above 0 in the tissue; each channel and time point has a field of
            its own.
        mask: labels on the same grid: the tissue to fit. By default what is above Otsu's threshold.
        shrink: how many times smaller the copy is along each axis (less where an axis is short).
        iterations: the greatest number of steps on each level; each doubles the field's
            resolution.
        control_points: of the field along an axis on the first level, at least 4.

    Returns:
        The image's data type (integers are rounded), divided by a field whose mean logarithm in
        the mask is 0, so that the level stays.

    Raises:
        KindError: labels were given.
        GeometryError: the image has under 8 voxels along an axis (one slice will do), or the mask
            is empty or without values above 0.

    Example:
        >>> y, x = np.mgrid[:40, :40]
        >>> disc = (y - 20) ** 2 + (x - 20) ** 2 < 300
        >>> shaded = Image((disc * (100 + 2.0 * x)).astype(np.float32), "yx")
        >>> even = correct_bias(shaded, shrink=1)
        >>> bool(np.std(even.array[disc]) < np.std(shaded.array[disc]) / 4)
        True
    """
    require_kind(image, "image", "correct_bias")
    require_straight(image, "a bias field")
    steps = list(iterations)
    whole = [shrink, control_points, *steps]
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in whole) or not steps:
        raise ParameterError(
            f"expected shrink, control_points and iterations of at least 1, received {whole}"
        )
    if control_points < 4:
        raise ParameterError(f"expected at least 4 control points, received {control_points}")
    z, y, x = image.grid.shape
    if min(y, x) < LEAST_SIZE or 1 < z < LEAST_SIZE:
        raise GeometryError(
            f"expected at least {LEAST_SIZE} voxels along each axis (or one slice) to fit a field, "
            f"received {image.spatial_shape}"
        )
    volumes, back = stacked(image)
    inside = None if mask is None else _as_stack(image, mask)
    corrected = []
    for index, volume in enumerate(volumes):
        tissue = _tissue(volume) if inside is None else inside[index]
        tissue = tissue & (volume > 0)
        if not tissue.any():
            raise GeometryError("expected tissue of values above 0 to fit a field to, found none")
        field = _field(volume, tissue, image.grid.spacing, shrink, steps, control_points)
        corrected.append(in_type(volume / field, image.dtype))
    return image.replace(array=back(np.stack(corrected)))


def _as_stack(image: Image, mask: Image) -> Volume:
    inside = np.ascontiguousarray(mask_of(image, mask)).view(np.uint8)
    return stacked(image.replace(array=inside))[0] > 0


def _tissue(volume: Volume) -> Volume:
    return threshold(Image(volume, "zyx"), "otsu").array > 0


def _field(
    volume: Volume,
    tissue: Volume,
    spacing: Sequence[float],
    shrink: int,
    steps: list[int],
    control_points: int,
) -> Volume:
    import SimpleITK as sitk

    picture = to_sitk(volume.astype(np.float32), spacing)
    inside = to_sitk(tissue.astype(np.uint8), spacing)
    factors = [max(1, min(shrink, n // LEAST_SIZE)) for n in picture.GetSize()]
    small, small_inside = sitk.Shrink(picture, factors), sitk.Shrink(inside, factors)
    if not sitk.GetArrayViewFromImage(small_inside).any():
        small, small_inside = picture, inside
    task = sitk.N4BiasFieldCorrectionImageFilter()
    task.SetMaximumNumberOfIterations(steps)
    task.SetNumberOfControlPoints([control_points] * picture.GetDimension())
    try:
        with one_thread():
            task.Execute(small, small_inside)
            logarithm = from_sitk(task.GetLogBiasFieldAsImage(picture)).astype(np.float64)
    except RuntimeError as error:
        raise GeometryError(f"no field could be fitted: {one_line(error)[-120:]}") from None
    return np.asarray(np.exp(logarithm - logarithm[tissue].mean()))
