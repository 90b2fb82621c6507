"""Contrast: curves over the value range, histograms flattened and matched. Labels are refused.

The data type and the value range stay. Histograms are those of each channel and time point alone:
to flatten a colour picture without changing its hues, go through LAB (`convert_colour`) and work on
L. Held by `tests/ecvl/process/test_contrast.py` against OpenCV, scikit-image's definitions and
formulas.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.dtypes import in_type, working_type
from ecvl.process.registry import processing
from ecvl.process.volumes import (
    Volume,
    checked_dtype,
    each_volume,
    finite_values,
    is_real,
    mask_of,
    one_value_an_axis,
    stacked,
)

BINS = 4096
CLAHE_BINS = 256


@processing("image", "image")
def gamma(image: Image, gamma: float) -> Image:
    """Bend the values: `low + width * ((value - low) / width) ** gamma` over the value range.

    For uint8 that is `255 * (value / 255) ** gamma`.

    Args:
        image: an image.
        gamma: the exponent, above 0; below 1 brightens.

    Raises:
        KindError: labels were given.

    Example:
        >>> np.asarray(gamma(Image(np.array([[0, 51, 255]], np.uint8), "yx"), 2))
        array([[  0,  10, 255]], dtype=uint8)
    """
    require_kind(image, "image", "gamma")
    if not is_real(gamma) or gamma <= 0:
        raise ParameterError(f"expected gamma above 0, received {gamma!r}")
    return _bent(image, lambda unit: unit ** unit.dtype.type(gamma))


@processing("image", "image")
def invert(image: Image) -> Image:
    """Turn bright into dark: `low + high - value` over the value range, which stays.

    Args:
        image: an image.

    Raises:
        KindError: labels were given.

    Example:
        >>> np.asarray(invert(Image(np.array([[0, 51, 255]], np.uint8), "yx")))
        array([[255, 204,   0]], dtype=uint8)
    """
    require_kind(image, "image", "invert")
    low, high = image.value_range
    values = (low + high) - image.array.astype(np.float64)
    return image.replace(array=in_type(values, image.dtype), value_range=(low, high))


@processing("image", "image", dtype="own", each=False)
def rescale(
    image: Image,
    low: float = 0.0,
    high: float = 1.0,
    *,
    value_range: tuple[float, float] | None = None,
    dtype: Any = np.float32,
) -> Image:
    """Map the value range to another, linearly; what lies outside becomes one of its ends.

    Args:
        image: an image.
        low: the new low end.
        high: the new high end, not the same.
        value_range: the values that become `low` and `high`; the image's value range by default.
        dtype: the data type of the result; integers are rounded and saturate.

    Returns:
        The new data type, with the new value range. A range without width becomes `low`.

    Raises:
        KindError: labels were given.
        ParameterError: the ends are not ascending, or the data type is not one of an image.

    Example:
        >>> ct = Image(np.array([[-1000, 0, 1000]], np.int16), "yx")
        >>> np.asarray(rescale(ct, 0, 255, dtype=np.uint8))
        array([[  0, 128, 255]], dtype=uint8)
    """
    require_kind(image, "image", "rescale")
    first, last = image.value_range if value_range is None else value_range
    if not all(map(is_real, (low, high, first, last))) or not (low < high and first <= last):
        raise ParameterError(
            f"expected finite ends low < high and an ascending value_range, received low={low!r}, "
            f"high={high!r}, value_range={value_range!r}"
        )
    wanted = checked_dtype(dtype)
    kind = working_type(wanted)
    values = (image.array.astype(np.float64) - first) / ((last - first) or 1.0)
    values = np.clip(values, 0, 1) * (high - low) + low
    return image.replace(
        array=in_type(values.astype(kind, copy=False), wanted), value_range=(low, high)
    )


@processing("image", "image")
def equalise(image: Image, *, mask: Image | None = None) -> Image:
    """Flatten the histogram: every part of the value range gets as many voxels.

    A value becomes `low + width * (N(<= value) - N(least)) / (N - N(least))` with N counting
    voxels, as OpenCV's `equalizeHist`. 8- and 16-bit integers are counted value by value, others in
    4096 bins over the value range with linear interpolation.

    Args:
        image: an image; each channel and time point has a histogram of its own.
        mask: labels on the same grid; only voxels above 0 are counted (all are mapped).

    Raises:
        KindError: labels were given.

    Example:
        >>> np.asarray(equalise(Image(np.array([[10, 11, 12, 13]], np.uint8), "yx")))
        array([[  0,  85, 170, 255]], dtype=uint8)
    """
    require_kind(image, "image", "equalise")
    inside = _mask_stack(image, mask)
    low, high = image.value_range
    volumes, back = stacked(image)
    result = np.empty_like(volumes)
    for index, volume in enumerate(volumes):
        counted = volume[inside[index]] if inside is not None else volume.reshape(-1)
        result[index] = _equalised(volume, counted, low, high)
    return image.replace(array=back(result), value_range=(low, high))


@processing("image", "image")
def clahe(image: Image, clip_limit: float = 2.0, tiles: int | Sequence[int] = 8) -> Image:
    """Flatten the histogram region by region, with a limit to how much contrast is gained.

    Contrast limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994) in 2-D and
    3-D: the field of view is divided into tiles, each tile's histogram (256 bins over the value
    range) is cut off at `clip_limit` times its mean and the rest spread evenly, and a voxel's curve
    is interpolated linearly between those of the tiles around it.

    Args:
        image: an image; NaN counts as the low end of the value range.
        clip_limit: above 1; the greatest gain of contrast.
        tiles: how many along an axis, one number or one a spatial axis in array order; never
            more than an axis has voxels.

    Raises:
        KindError: labels were given.

    Example:
        >>> dim = Image(np.arange(100, 164, dtype=np.uint8).reshape(8, 8), "yx")
        >>> bool(np.ptp(clahe(dim, tiles=2)) > np.ptp(dim))
        True
    """
    require_kind(image, "image", "clahe")
    if not is_real(clip_limit) or clip_limit < 1:
        raise ParameterError(f"expected clip_limit of at least 1, received {clip_limit!r}")
    counts = one_value_an_axis(tiles, image, "tiles", least=1)
    if any(count != int(count) for count in counts):
        raise ParameterError(f"expected tiles as whole numbers, received {tiles!r}")
    low, high = image.value_range
    if high <= low:
        return image.replace(array=image.array.copy(), value_range=(low, high))
    array = each_volume(
        image, lambda volume: _locally_equalised(volume, low, high, float(clip_limit), counts)
    )
    return image.replace(array=array, value_range=(low, high))


@processing("image", "image")
def match_histogram(
    image: Image,
    reference: Image,
    *,
    mask: Image | None = None,
    reference_mask: Image | None = None,
) -> Image:
    """Give an image the histogram of another: each value becomes the one of the same rank there.

    Args:
        image: an image.
        reference: the image to look like, on any grid. With channels (and time points) as many as
            the image they are matched one by one, else all of its values serve for each.
        mask: labels on the image's grid; only voxels above 0 are counted (all are mapped).
        reference_mask: the same for the reference.

    Returns:
        The image's data type, with the reference's value range where it holds it.

    Raises:
        KindError: labels were given.

    Example:
        >>> image = Image(np.array([[1, 2, 3, 4]], np.uint8), "yx")
        >>> like = Image(np.array([[10, 20, 30, 80]], np.uint8), "yx")
        >>> np.asarray(match_histogram(image, like))
        array([[10, 20, 30, 80]], dtype=uint8)
    """
    require_kind(image, "image", "match_histogram")
    require_kind(reference, "image", "match_histogram")
    inside, there = _mask_stack(image, mask), _mask_stack(reference, reference_mask)
    volumes, back = stacked(image)
    models, _ = stacked(reference)
    result = np.empty_like(volumes)
    each = len(models) == len(volumes)
    for index, volume in enumerate(volumes):
        model = models[index : index + 1] if each else models
        where = None if there is None else (there[index : index + 1] if each else there)
        wanted = finite_values(model, where)
        own = finite_values(volume, None if inside is None else inside[index])
        result[index] = _matched(volume, own, wanted)
    return image.replace(array=back(result), value_range=reference.value_range)


def _bent(image: Image, curve: Any) -> Image:
    low, high = image.value_range
    if high <= low:
        return image.replace(array=image.array.copy(), value_range=(low, high))
    kind = working_type(image.dtype)
    unit = np.clip((image.array.astype(kind) - kind(low)) / kind(high - low), 0, 1)
    values = curve(unit) * kind(high - low) + kind(low)
    # Rounding in float32 must not lead out of the range.
    values = in_type(np.clip(values, low, high), image.dtype)
    return image.replace(array=values, value_range=(low, high))


def _mask_stack(image: Image, mask: Image | None) -> NDArray[np.bool_] | None:
    if mask is None:
        return None
    inside = np.ascontiguousarray(mask_of(image, mask)).view(np.uint8)
    return stacked(image.replace(array=inside))[0] > 0


def _equalised(volume: Volume, counted: Volume, low: float, high: float) -> Volume:
    counted = finite_values(counted)
    if volume.dtype.itemsize <= 2 and volume.dtype.kind in "iu":
        first = int(np.iinfo(volume.dtype).min)
        levels = np.iinfo(volume.dtype).max - first + 1
        ranks = np.cumsum(np.bincount(counted.reshape(-1).astype(np.int64) - first, None, levels))
        table = _flat(ranks, low, high)
        return in_type(table, volume.dtype)[volume.astype(np.int64) - first]
    if high <= low:
        return volume.copy()
    inside = np.clip(counted.astype(np.float64), low, high)
    histogram, edges = np.histogram(inside, BINS, (low, high))
    middles = (edges[:-1] + edges[1:]) / 2
    table = _flat(np.cumsum(histogram), low, high)
    values = np.interp(volume.reshape(-1), middles, table).reshape(volume.shape)
    return in_type(values, volume.dtype)


def _flat(ranks: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    least, most = ranks[ranks > 0][0], ranks[-1]
    if least == most:
        # One value only: there is nothing to flatten, and it may stay anywhere; it stays in place.
        places = np.linspace(low, high, len(ranks))
        return np.asarray(places)
    return np.asarray(low + (high - low) * np.maximum(ranks - least, 0) / (most - least))


def _matched(volume: Volume, own: Volume, wanted: Volume) -> Volume:
    values, counts = np.unique(own, return_counts=True)
    model, model_counts = np.unique(wanted, return_counts=True)
    ranks = np.cumsum(counts) / own.size
    model_ranks = np.cumsum(model_counts) / wanted.size
    table = np.interp(ranks, model_ranks, model.astype(np.float64))
    mapped = np.interp(volume.reshape(-1), values.astype(np.float64), table)
    return in_type(mapped.reshape(volume.shape), volume.dtype)


def _locally_equalised(
    volume: Volume, low: float, high: float, clip_limit: float, tiles: Sequence[Any]
) -> Volume:
    kind = working_type(volume.dtype)
    unit = np.nan_to_num(np.clip((volume.astype(kind) - kind(low)) / kind(high - low), 0, 1))
    bins = np.minimum((unit * CLAHE_BINS).astype(np.int64), CLAHE_BINS - 1)
    counts = [max(1, min(int(n), size)) for n, size in zip(tiles, volume.shape, strict=True)]
    tile_of = [np.arange(s) * n // s for n, s in zip(counts, volume.shape, strict=True)]
    tile = (tile_of[0][:, None, None] * counts[1] + tile_of[1][:, None]) * counts[2] + tile_of[2]
    total = counts[0] * counts[1] * counts[2]
    histograms = np.bincount(
        (tile * CLAHE_BINS + bins).reshape(-1), minlength=total * CLAHE_BINS
    ).reshape(total, CLAHE_BINS)
    curves = _clipped_curves(histograms, clip_limit).astype(kind)
    # Where a voxel lies between the middles of tiles, along each axis.
    result = np.zeros(volume.shape, kind)
    places = [_between(n, s) for n, s in zip(counts, volume.shape, strict=True)]
    for corner in np.ndindex(*(1 if n == 1 else 2 for n in counts)):
        index: Any = 0
        weight: Any = 1.0
        for axis, side in enumerate(corner):
            first, second, part = places[axis]
            shape = [-1 if other == axis else 1 for other in range(3)]
            index = index * counts[axis] + (second if side else first).reshape(shape)
            weight = weight * (part if side else 1 - part).reshape(shape)
        result += curves.reshape(-1)[index * CLAHE_BINS + bins] * weight.astype(kind)
    return in_type(np.clip(result * (high - low) + low, low, high), volume.dtype)


def _clipped_curves(histograms: NDArray[Any], clip_limit: float) -> NDArray[np.float64]:
    """Return each histogram's running sum, from 0 to 1, after cutting it off and spreading."""
    sizes = histograms.sum(axis=1, keepdims=True)
    limit = np.maximum(1.0, clip_limit * sizes / CLAHE_BINS)
    kept = np.minimum(histograms, limit)
    kept = kept + (sizes - kept.sum(axis=1, keepdims=True)) / CLAHE_BINS
    return np.asarray(np.cumsum(kept, axis=1) / sizes)


def _between(count: int, size: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """Return, for each voxel, the tiles before and after it and how far it is to the second."""
    if count == 1:
        return np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size)
    edges = -(-np.arange(count + 1) * size // count)
    middles = (edges[:-1] + edges[1:] - 1) / 2
    voxels = np.arange(size)
    first = np.clip(np.searchsorted(middles, voxels, side="right") - 1, 0, count - 2)
    part = (voxels - middles[first]) / (middles[first + 1] - middles[first])
    return first, first + 1, np.clip(part, 0, 1)
