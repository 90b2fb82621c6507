"""Thresholds: from values to labels, and where to put them.

A voxel at a threshold belongs to the region above it. Automatic methods look at all voxels of the
image at once (or of a mask), through one histogram. Held by `tests/ecvl/process/test_thresholds.py`
against scikit-image's definitions and brute force.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.registry import processing
from ecvl.process.volumes import finite_values, is_real, mask_of

METHODS = {
    "otsu": "OtsuThreshold",
    "li": "LiThreshold",
    "triangle": "TriangleThreshold",
    "yen": "YenThreshold",
    "huang": "HuangThreshold",
    "isodata": "IsoDataThreshold",
    "moments": "MomentsThreshold",
    "kittler": "KittlerIllingworthThreshold",
    "entropy": "MaximumEntropyThreshold",
}


@processing("image", "labels", dtype="own")
def threshold(image: Image, lower: float | str | None = None, upper: float | None = None) -> Image:
    """Label voxels whose values lie in an interval.

    Args:
        image: an image.
        lower: the least value inside, or a method that finds it: one of `threshold_value`, such as
            "otsu".
        upper: the greatest value inside; no bound by default.

    Returns:
        Labels (uint8): 1 inside (both ends included), 0 elsewhere.

    Raises:
        KindError: labels were given.
        ParameterError: there is no bound, or they are in the wrong order.

    Example:
        >>> ct = Image(np.array([[-1000, 40, 300]], np.int16), "yx")
        >>> np.asarray(threshold(ct, -100, 200)), np.asarray(threshold(ct, "otsu"))
        (array([[0, 1, 0]], dtype=uint8), array([[0, 1, 1]], dtype=uint8))
    """
    require_kind(image, "image", "threshold")
    if isinstance(lower, str):
        lower = threshold_value(image, lower)
    if lower is None and upper is None:
        raise ParameterError("threshold takes lower=, upper= or both, received neither")
    for bound in (lower, upper):
        if bound is not None and not is_real(bound):
            raise ParameterError(f"expected a bound as a finite number, received {bound!r}")
    if lower is not None and upper is not None and lower > upper:
        raise ParameterError(f"expected lower <= upper, received {lower} and {upper}")
    inside = np.ones(image.shape, bool)
    if lower is not None:
        inside &= image.array >= lower
    if upper is not None:
        inside &= image.array <= upper
    return image.replace(array=inside.view(np.uint8), kind="labels", value_range=None)


@processing("image", "labels", dtype="own")
def multi_threshold(image: Image, thresholds: Sequence[float] | int = 3) -> Image:
    """Label voxels by the interval that their values lie in.

    Args:
        image: an image.
        thresholds: ascending values, or a number of classes, for which Otsu's are taken.

    Returns:
        Labels (uint8, uint16 beyond 255 thresholds): the number of thresholds that a value
        reaches, from 0 to their count.

    Raises:
        KindError: labels were given.
        ParameterError: they are not ascending finite numbers.

    Example:
        >>> ct = Image(np.array([[-1000, -80, 40, 300]], np.int16), "yx")
        >>> np.asarray(multi_threshold(ct, (-200, 0, 200)))
        array([[0, 1, 2, 3]], dtype=uint8)
    """
    require_kind(image, "image", "multi_threshold")
    if isinstance(thresholds, int | np.integer):
        thresholds = multi_otsu_values(image, int(thresholds))
    bounds = list(thresholds)
    if not bounds or not all(is_real(bound) for bound in bounds):
        raise ParameterError(f"expected thresholds as finite numbers, received {thresholds!r}")
    if len(bounds) > 65535 or any(a >= b for a, b in pairwise(bounds)):
        raise ParameterError(f"expected at most 65,535 ascending thresholds, received {bounds}")
    dtype = np.uint8 if len(bounds) < 256 else np.uint16
    # Comparing one by one is exact for every data type, and quick for the few there are.
    labels = np.zeros(image.shape, dtype)
    for bound in bounds:
        labels += image.array >= bound
    return image.replace(array=labels, kind="labels", value_range=None)


@processing("image", "value", geometry="none", dtype="own", each=False)
def threshold_value(
    image: Image, method: str = "otsu", *, mask: Image | None = None, bins: int = 256
) -> float:
    """Return the value that best parts an image in two, by a method that looks at its histogram.

    Args:
        image: an image; all its voxels count, infinite ones and NaN excepted.
        method: "otsu" (greatest variance between both parts), "li" (least cross entropy),
            "triangle" (a small part beside one great peak), "yen", "huang", "isodata", "moments",
            "kittler" or "entropy", as SimpleITK has them.
        mask: labels on the same grid; only voxels above 0 count.
        bins: the histogram's number of bins.

    Returns:
        A threshold for `threshold(image, lower=...)`: the lowest value of the upper part's first
        bin. A constant image gives its value.

    Raises:
        KindError: labels were given.
        ParameterError: the method is not known, it finds no threshold, or no voxel counts.

    Example:
        >>> threshold_value(Image(np.array([[1, 2, 1, 9, 8, 9]], np.uint8), "yx")) > 2
        True
    """
    import SimpleITK as sitk

    require_kind(image, "image", "threshold_value")
    if method not in METHODS:
        raise ParameterError(f"expected method among {', '.join(METHODS)}, received {method!r}")
    values = _values(image, mask, bins)
    if values.min() == values.max():
        return float(values.flat[0])
    task = getattr(sitk, f"{METHODS[method]}ImageFilter")()
    task.SetNumberOfHistogramBins(bins)
    try:
        task.Execute(sitk.GetImageFromArray(values))
    except RuntimeError:
        raise ParameterError(
            f"method {method!r} finds no threshold in this histogram; take another, or a value"
        ) from None
    return _above(float(task.GetThreshold()), values)


@processing("image", "value", geometry="none", dtype="own", each=False)
def multi_otsu_values(
    image: Image, classes: int = 3, *, mask: Image | None = None, bins: int = 128
) -> tuple[float, ...]:
    """Return the values that best part an image in several classes, by Otsu's criterion.

    Args:
        image: an image; all its voxels count, infinite ones and NaN excepted.
        classes: 2 to 5; the time grows with `bins ** (classes - 1)`.
        mask: labels on the same grid; only voxels above 0 count.
        bins: the histogram's number of bins.

    Returns:
        One threshold less than classes, ascending, for `multi_threshold`.

    Raises:
        KindError: labels were given.
        ParameterError: there are fewer values than classes.

    Example:
        >>> image = Image(np.array([[0, 1, 10, 11, 30, 31]], np.uint8), "yx")
        >>> np.asarray(multi_threshold(image, multi_otsu_values(image, 3)))
        array([[0, 0, 1, 1, 2, 2]], dtype=uint8)
    """
    import SimpleITK as sitk

    require_kind(image, "image", "multi_otsu_values")
    if isinstance(classes, bool) or not isinstance(classes, int) or not 2 <= classes <= 5:
        raise ParameterError(f"expected 2 to 5 classes, received {classes!r}")
    values = _values(image, mask, bins)
    if len(np.unique(values)) < classes:
        raise ParameterError(
            f"expected an image of at least {classes} different values for as many classes, "
            f"received {len(np.unique(values))}"
        )
    task = sitk.OtsuMultipleThresholdsImageFilter()
    task.SetNumberOfThresholds(classes - 1)
    task.SetNumberOfHistogramBins(bins)
    task.Execute(sitk.GetImageFromArray(values))
    found = tuple(_above(float(bound), values) for bound in task.GetThresholds())
    if any(a >= b for a, b in pairwise(found)):
        raise ParameterError(
            f"{bins} bins are too few to tell {classes} classes apart; use more bins="
        )
    return found


def _values(image: Image, mask: Image | None, bins: int) -> NDArray[Any]:
    """Return what counts, as the one-row picture that SimpleITK's histogram takes."""
    if isinstance(bins, bool) or not isinstance(bins, int) or not 2 <= bins <= 65536:
        raise ParameterError(f"expected 2 to 65,536 bins, received {bins!r}")
    values = finite_values(image.array, None if mask is None else mask_of(image, mask))
    # SimpleITK's histograms are of float64; float16 it does not know.
    return values.reshape(1, -1).astype(np.float64)


def _above(bound: float, values: NDArray[Any]) -> float:
    """Return the least value above SimpleITK's bound, which itself belongs to the lower part."""
    above = values[values > bound]
    return float(above.min()) if above.size else bound
