"""Masks of the body, the lungs and the brain by thresholds, sizes and shapes, without a model.

They are what many pipelines begin with, and good enough to crop, to normalise or to register by;
they are no segmentations to measure by. What they were tried on, and how well they agreed, is in
`tests/ecvl/process/test_masks.py`. All sizes are mm in the patient.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import GeometryError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.distances import exact_distances
from ecvl.process.labels import fill_holes, numbered
from ecvl.process.registry import processing
from ecvl.process.thresholds import threshold_value
from ecvl.process.volumes import Volume, each_volume, is_real, require_straight, stacked

Mask = NDArray[np.bool_]

# Lungs hold blood and tissue: gas in the bowel is emptier, but for its rim, which the median leaves
# out.
PUREST_LUNG = -940.0
# Gas that is no lung is rarely larger; a lung is, even where the image holds its base only.
LEAST_LUNG_ML = 30.0
# The part of the darkest voxels of a head that is left out before its tissues are told apart.
HEAD_PERCENTILES = (2.0, 98.0)


@processing("image", "labels", dtype="own")
def body_mask(
    image: Image, lower: float | str = -300.0, *, gap_mm: float = 6.0, least: float = 1.0
) -> Image:
    """Label the patient, with lungs and bowel gas, and without the table.

    What is above a threshold is opened by a ball of half `gap_mm`, so that table, cushions and
    clothes come off; the largest connected region stays, grows back, and is filled in every plane
    across the patient's long axis.

    Args:
        image: a CT in HU; or MR, with `lower="otsu"` or "triangle".
        lower: the least value of tissue, or a method of `threshold_value`.
        gap_mm: bridges to other things thinner than this are cut.
        least: regions stay that are at least this part of the largest; 0.02 takes in arms that lie
            beside the trunk, 1 nothing else.

    Returns:
        Labels (uint8): 1 inside.

    Raises:
        KindError: labels were given.
        GeometryError: the voxel axes are not at right angles.

    Example:
        >>> y, x = np.ogrid[:60, :60]
        >>> radius = np.hypot(y - 30, x - 30)
        >>> ct = Image(np.where(radius < 8, -900, np.where(radius < 25, 40, -1000)), "yx")
        >>> bool((body_mask(ct).array == (radius < 25)).mean() > 0.99)
        True
    """
    require_kind(image, "image", "body_mask")
    require_straight(image, "a mask")
    _require_length(gap_mm, "gap_mm")
    if not is_real(least) or not 0 < least <= 1:
        raise ParameterError(f"expected least above 0 and at most 1, received {least!r}")
    level = _level(image, lower)

    def found(volume: Volume) -> Mask:
        core = _opened(volume >= level, gap_mm / 2, image.grid.spacing)
        if not core.any():
            return core
        return _filled_across(_largest(core, least), image)

    return _labels(image, found)


@processing("image", "labels", dtype="own")
def lung_mask(image: Image, upper: float = -400.0, *, closing_mm: float = 6.0) -> Image:
    """Label the lungs in a CT.

    Air inside the body (`body_mask`), in regions of at least 30 ml that are not pure gas as in the
    bowel (a median below -940 HU); the two largest that are no less than a tenth of the largest.
    Vessels and nodules are taken in by a closing with a ball, but tumours that reach the chest wall
    are not. The windpipe and large bronchi are in it where they are joined to a lung.

    Args:
        image: a CT of the chest in HU.
        upper: the greatest value of lung tissue.
        closing_mm: the radius of the ball.

    Returns:
        Labels (uint8): 1 inside; empty where no lung is found.

    Raises:
        KindError: labels were given.
        GeometryError: the voxel axes are not at right angles.

    Example:
        >>> ct = Image(np.full((24, 60, 60), -1000, np.int16), "zyx", np.diag([2, 2, 2, 1]))
        >>> ct.array[2:22, 10:50, 5:55] = 40
        >>> ct.array[4:20, 15:45, 10:50] = -850
        >>> int(lung_mask(ct).array.sum()) == 16 * 30 * 40
        True
    """
    require_kind(image, "image", "lung_mask")
    require_straight(image, "a mask")
    _require_length(closing_mm, "closing_mm")
    if not is_real(upper):
        raise ParameterError(f"expected upper as a finite number of HU, received {upper!r}")
    spacing = image.grid.spacing
    # A plane is taken as 1 cm thick.
    voxel_ml = float(np.prod(spacing if "z" in image.axes else (10.0, *spacing[1:]))) / 1000
    body = body_mask(image)

    def found(volume: Volume, inside: Volume) -> Mask:
        numbers = numbered(((volume < upper) & (inside > 0)).view(np.uint8))
        sizes = np.bincount(numbers.reshape(-1))
        kept: list[int] = []
        for number in range(1, len(sizes)):
            if sizes[number] * voxel_ml < LEAST_LUNG_ML or len(kept) == 2:
                break
            if np.median(volume[numbers == number]) < PUREST_LUNG:
                continue
            if kept and sizes[number] < sizes[kept[0]] / 10:
                break
            kept.append(number)
        air = np.isin(numbers, kept)
        if not kept:
            return air
        return _closed(air, closing_mm, spacing) & (inside > 0)

    bodies = iter(stacked(body)[0])
    return _labels(image, lambda volume: found(volume, next(bodies)))


@processing("image", "labels", dtype="own", ranks=(3,))
def brain_mask(image: Image, *, bridge_mm: float = 6.0, closing_mm: float = 10.0) -> Image:
    """Label the brain in a T1-weighted MR of a head.

    Bright tissue (above Otsu's threshold of the head's middle values) is worn away by `bridge_mm`,
    which cuts the thin bridges to the scalp and the eyes; the largest region that is left grows
    back into the tissue it came from, and is closed over the sulci and filled.

    Args:
        image: a T1-weighted volume with the skull; contrast agents and pathology at the surface
            mislead it.
        bridge_mm: how thick a bridge may be that is cut.
        closing_mm: the radius of the ball that closes sulci.

    Returns:
        Labels (uint8): 1 inside.

    Raises:
        KindError: labels were given.
        GeometryError: it is no volume, or its axes are not at right angles.

    Example:
        >>> z, y, x = np.ogrid[:40, :40, :40]
        >>> radius = np.sqrt((z - 19.5) ** 2 + (y - 19.5) ** 2 + (x - 19.5) ** 2)
        >>> head = np.where(radius < 12, 100, np.where((radius > 15) & (radius < 18), 90, 10))
        >>> volume = Image(head.astype(np.int16), "zyx", np.diag([4, 4, 4, 1]))
        >>> bool((brain_mask(volume).array == (radius < 12)).mean() > 0.99)
        True
    """
    require_kind(image, "image", "brain_mask")
    require_straight(image, "a mask")
    if image.spatial_axes != "zyx":
        raise GeometryError(f"expected a volume of a head, received {image!r}")
    _require_length(bridge_mm, "bridge_mm")
    _require_length(closing_mm, "closing_mm")
    spacing = image.grid.spacing

    def found(volume: Volume) -> Mask:
        finite = np.nan_to_num(volume.astype(np.float64))
        ends = np.percentile(finite, HEAD_PERCENTILES)
        head = finite[finite > ends[0] + (ends[1] - ends[0]) / 10]
        if ends[0] == ends[1]:
            return np.zeros(volume.shape, bool)
        middle = np.clip(head, *ends).reshape(1, -1)
        tissue = finite >= threshold_value(Image(middle, "yx"))
        if not tissue.any() or tissue.all():
            return np.zeros(volume.shape, bool)
        core = exact_distances(~tissue, spacing) > bridge_mm
        if not core.any():
            return np.zeros(volume.shape, bool)
        core = _largest(core)
        # Back to where it came from, and not over the bridges that were cut.
        grown = tissue & (exact_distances(core, spacing) <= bridge_mm * 1.5)
        closed = _closed(_largest(grown), closing_mm, spacing)
        return fill_holes(_as_labels(closed)).array > 0

    return _labels(image, found)


def _labels(image: Image, function: Callable[[Volume], Mask]) -> Image:
    array = each_volume(image, lambda volume: function(volume).astype(np.uint8))
    return image.replace(array=array, kind="labels", value_range=None)


def _as_labels(inside: Mask) -> Image:
    return Image(inside.view(np.uint8), "zyx", kind="labels")


def _level(image: Image, lower: float | str) -> float:
    if isinstance(lower, str):
        return threshold_value(image, lower)
    if not is_real(lower):
        raise ParameterError(f"expected lower as a number or a method's name, received {lower!r}")
    return float(lower)


def _require_length(length: float, name: str) -> None:
    if not is_real(length) or not 0 <= length < 1e4:
        raise ParameterError(f"expected {name} of 0 to 10,000 mm, received {length!r}")


def _largest(inside: Mask, least: float = 1.0) -> Mask:
    regions = numbered(inside.view(np.uint8))
    if least == 1:
        return np.asarray(regions == 1)
    sizes = np.bincount(regions.reshape(-1))
    large = sizes >= least * sizes[1]
    large[0] = False
    return np.asarray(large[regions])


def _opened(inside: Mask, radius: float, spacing: tuple[float, float, float]) -> Mask:
    """Open by a ball, as two distances; the edge of the image wears nothing away."""
    if not inside.any() or inside.all():
        return inside.copy()
    core = exact_distances(~inside, spacing) > radius
    if not core.any():
        return core
    return np.asarray(inside & (exact_distances(core, spacing) <= radius))


def _closed(inside: Mask, radius: float, spacing: tuple[float, float, float]) -> Mask:
    if not inside.any() or inside.all():
        return inside.copy()
    grown = exact_distances(inside, spacing) <= radius
    if grown.all():
        return grown
    return np.asarray(inside | (exact_distances(~grown, spacing) > radius))


def _filled_across(inside: Mask, image: Image) -> Mask:
    """Fill holes in every plane across the patient's long axis (the image's only one in 2-D)."""
    if "z" not in image.axes or image.grid.shape[0] == 1:
        along = 0
    else:
        along = 2 - [code in "SI" for code in image.orientation].index(True)
    turned = np.ascontiguousarray(np.moveaxis(inside, along, 0))
    filled = fill_holes(_as_labels(turned), planes=True).array > 0
    return np.moveaxis(filled, 0, along)
