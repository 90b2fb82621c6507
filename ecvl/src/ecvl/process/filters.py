"""Filters: every voxel from its neighbours, along all spatial axes. Labels are refused.

* Lengths are mm in the patient unless `unit="voxels"`; a picture without geometry has 1 mm pixels.
* Borders repeat their last voxel. Axes of one voxel are left alone.
* The data type stays (integers are rounded), unless real numbers are asked for.

Held by `tests/ecvl/process/test_filters.py` against scipy.ndimage and brute force.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ecvl.errors import ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.derivatives import derived
from ecvl.process.dtypes import in_type, working_type
from ecvl.process.pull import smoothed
from ecvl.process.registry import processing
from ecvl.process.volumes import (
    Unit,
    Volume,
    each_volume,
    from_sitk,
    in_voxels,
    is_real,
    odd_sizes,
    require_straight,
    separated,
    to_sitk,
)

MOST_TAPS = 1 << 16
WIDEST_BILATERAL = 100


@processing("image", "image")
def gaussian(image: Image, sigma: float | Sequence[float] = 1.0, *, unit: Unit = "mm") -> Image:
    """Blur with a Gaussian, cut off at four standard deviations.

    Args:
        image: an image.
        sigma: the standard deviation, one number or one a spatial axis in array order; 0 leaves an
            axis alone.
        unit: "mm" or "voxels".

    Raises:
        KindError: labels were given.

    Example:
        >>> image = Image(np.array([[0, 0, 1, 0, 0]], np.float32), "yx")
        >>> np.asarray(gaussian(image, 0.5)).round(3)
        array([[0.   , 0.106, 0.787, 0.106, 0.   ]], dtype=float32)
    """
    require_kind(image, "image", "gaussian")
    sigmas = in_voxels(sigma, image, unit, "sigma")
    if max(sigmas) > 1e4:
        raise ParameterError(f"expected sigma of at most 10,000 voxels, received {max(sigmas):.6g}")
    return _smoothing(image, lambda volume: smoothed(volume, sigmas))


@processing("image", "image")
def average(image: Image, size: int | Sequence[int] = 3) -> Image:
    """Give every voxel the mean of a box around it.

    Args:
        image: an image.
        size: the box in voxels, odd, one number or one a spatial axis in array order.

    Raises:
        KindError: labels were given.

    Example:
        >>> np.asarray(average(Image(np.array([[0, 0, 9, 0, 0]], np.uint8), "yx"), (1, 3)))
        array([[0, 3, 3, 3, 0]], dtype=uint8)
    """
    require_kind(image, "image", "average")
    kernels = [np.full(n, 1 / n) for n in odd_sizes(size, image)]
    return _smoothing(image, lambda volume: separated(volume, _where_thick(kernels, volume)))


@processing("image", "image")
def median(image: Image, size: int | Sequence[int] = 3) -> Image:
    """Give every voxel the median of a box around it, which removes single bright or dark ones.

    Args:
        image: an image.
        size: the box in voxels, odd, one number or one a spatial axis in array order.

    Raises:
        KindError: labels were given.

    Example:
        >>> np.asarray(median(Image(np.array([[1, 1, 9, 1, 1]], np.uint8), "yx"), (1, 3)))
        array([[1, 1, 1, 1, 1]], dtype=uint8)
    """
    require_kind(image, "image", "median")
    sizes = odd_sizes(size, image)
    return image.replace(array=each_volume(image, lambda volume: _median(volume, sizes)))


@processing("image", "image")
def bilateral(
    image: Image,
    sigma: float | Sequence[float] = 2.0,
    range_sigma: float | None = None,
    *,
    unit: Unit = "mm",
) -> Image:
    """Blur within regions and not across edges: neighbours count less the more their values differ.

    Tomasi and Manduchi, "Bilateral filtering for gray and color images", 1998, by SimpleITK, with
    a neighbourhood of 2.5 standard deviations.

    Args:
        image: an image.
        sigma: the standard deviation in space, one number or one a spatial axis in array order.
        range_sigma: the standard deviation of values; by default a tenth of the value range.
        unit: "mm" or "voxels", of `sigma`.

    Raises:
        KindError: labels were given.

    Example:
        >>> step = Image(np.array([[0, 2, 0, 100, 98, 100]], np.float32), "yx")
        >>> np.asarray(bilateral(step, 2)).round()
        array([[  0.,   1.,   1.,  99.,  99., 100.]], dtype=float32)
    """
    import SimpleITK as sitk

    require_kind(image, "image", "bilateral")
    sigmas = in_voxels(sigma, image, unit, "sigma")
    if min(sigmas[3 - len(image.spatial_axes) :]) <= 0:
        raise ParameterError(f"expected sigma above 0, received {sigma!r}")
    if max(sigmas) > WIDEST_BILATERAL:
        raise ParameterError(
            f"expected sigma of at most {WIDEST_BILATERAL} voxels, received {max(sigmas):.6g}"
        )
    low, high = image.value_range
    width = (high - low) / 10 if range_sigma is None else range_sigma
    if not is_real(width) or width < 0 or (range_sigma is not None and width == 0):
        raise ParameterError(f"expected range_sigma above 0, received {range_sigma!r}")

    def blurred(volume: Volume) -> Volume:
        if width == 0 or np.ptp(volume) == 0:
            return volume
        task = sitk.BilateralImageFilter()
        task.SetRangeSigma(float(width))
        task.SetNumberOfRangeGaussianSamples(1000)
        # SimpleITK has one sigma for all axes, in mm: voxels are given the size that makes it 1.
        picture = to_sitk(volume, [1 / s if s else 1.0 for s in sigmas])
        task.SetDomainSigma(1.0)
        return from_sitk(task.Execute(picture))

    return _smoothing(image, blurred)


@processing("image", "image")
def anisotropic(
    image: Image,
    iterations: int = 5,
    conductance: float = 3.0,
    *,
    method: Literal["curvature", "gradient"] = "curvature",
    time_step: float | None = None,
) -> Image:
    """Smooth by diffusion that edges hold up.

    "gradient" is Perona and Malik's of 1990, "curvature" Whitaker and Xue's modified curvature
    diffusion of 2001, which is better at keeping fine structures; both by SimpleITK, with voxel
    sizes in mm taken into account.

    Args:
        image: an image.
        iterations: the number of steps.
        conductance: how easily it flows over edges; 1 keeps most of them, 5 few.
        method: "curvature" or "gradient".
        time_step: of each step; by default the greatest that is stable, `least_spacing / 2 ** (d +
            1)` for d axes.

    Raises:
        KindError: labels were given.
        GeometryError: the voxel axes are not at right angles.

    Example:
        >>> noisy = Image(np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32), "yx")
        >>> bool(np.std(anisotropic(noisy)) < np.std(noisy))
        True
    """
    import SimpleITK as sitk

    require_kind(image, "image", "anisotropic")
    require_straight(image, "diffusion")
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 0:
        raise ParameterError(f"expected iterations as a whole number from 0, got {iterations!r}")
    if not is_real(conductance) or conductance <= 0:
        raise ParameterError(f"expected conductance above 0, received {conductance!r}")
    if method not in ("curvature", "gradient"):
        raise ParameterError(f"expected method 'curvature' or 'gradient', received {method!r}")

    def diffused(volume: Volume) -> Volume:
        # SimpleITK knows this in float32, and only beyond one voxel.
        if iterations == 0 or volume.size == 1:
            return volume
        picture = to_sitk(volume.astype(np.float32), image.grid.spacing)
        task = (
            sitk.CurvatureAnisotropicDiffusionImageFilter()
            if method == "curvature"
            else sitk.GradientAnisotropicDiffusionImageFilter()
        )
        # In units of the least spacing all is the same, and ITK, which warns of time steps as if
        # that were 1, keeps quiet.
        least = min(picture.GetSpacing())
        picture.SetSpacing([size / least for size in picture.GetSpacing()])
        most = 0.5 ** (picture.GetDimension() + 1)
        stable = least * most
        if time_step is not None and not 0 < time_step <= stable * (1 + 1e-6):
            raise ParameterError(
                f"expected a time_step above 0 and at most {stable:.6g}, beyond which diffusion "
                f"is not stable, received {time_step!r}"
            )
        task.SetTimeStep(most if time_step is None else min(most, float(time_step) / least))
        task.SetConductanceParameter(float(conductance))
        task.SetNumberOfIterations(iterations)
        return from_sitk(task.Execute(picture))

    return _smoothing(image, diffused)


@processing("image", "image")
def linear_filter(image: Image, kernel: ArrayLike, *, keep_type: bool = True) -> Image:
    """Give every voxel a weighted sum of its neighbours: the correlation with any kernel.

    Args:
        image: an image.
        kernel: the weights, with an axis for each spatial axis in array order, of odd sizes; one
            with two axes works on every y-x plane of a volume. It is not turned round first (as
            in OpenCV; a mathematical convolution would).
        keep_type: whether the result has the image's data type (integers are rounded and
            saturate), or real numbers.

    Raises:
        KindError: labels were given.
        ParameterError: the kernel is not one of odd sizes for this image.

    Example:
        >>> shift = [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
        >>> np.asarray(linear_filter(Image(np.array([[1, 2, 3]], np.uint8), "yx"), shift))
        array([[1, 1, 2]], dtype=uint8)
    """
    require_kind(image, "image", "linear_filter")
    weights = _checked_kernel(kernel)
    if weights.ndim not in (2, len(image.spatial_axes)):
        raise ParameterError(
            f"expected a kernel with an axis for each of {image.spatial_axes!r}, or for y and x, "
            f"received shape {weights.shape}"
        )
    planes = weights if weights.ndim == 3 else weights[None]
    finish = _smoothing if keep_type else derived
    return finish(image, lambda volume: _correlated(volume, planes))


@processing("image", "image")
def separable_filter(
    image: Image, kernels: Sequence[ArrayLike | None], *, keep_type: bool = True
) -> Image:
    """Give every voxel weighted sums of its neighbours along one axis after another.

    Args:
        image: an image.
        kernels: one list of weights, of odd length, for each spatial axis in array order; `None`
            leaves an axis alone. They are not turned round first.
        keep_type: whether the result has the image's data type (integers are rounded and
            saturate), or real numbers.

    Raises:
        KindError: labels were given.
        ParameterError: the kernels are not one of odd length for each axis.

    Example:
        >>> image = Image(np.array([[0, 4, 0, 0]], np.uint8), "yx")
        >>> np.asarray(separable_filter(image, (None, [0.25, 0.5, 0.25])))
        array([[1, 2, 1, 0]], dtype=uint8)
    """
    require_kind(image, "image", "separable_filter")
    if not isinstance(kernels, Sequence) or len(kernels) != len(image.spatial_axes):
        raise ParameterError(
            f"expected one kernel, or None, for each of {image.spatial_axes!r}, received "
            f"{len(kernels) if isinstance(kernels, Sequence) else type(kernels).__name__}"
        )
    taps = [np.ones(1) if kernel is None else _checked_kernel(kernel) for kernel in kernels]
    if any(kernel.ndim != 1 for kernel in taps):
        raise ParameterError("expected kernels with one axis each; linear_filter takes others")
    taps = [np.ones(1), *taps][-3:]
    finish = _smoothing if keep_type else derived
    return finish(image, lambda volume: separated(volume, taps))


def _smoothing(image: Image, function: Any) -> Image:
    """Filter in floating point and return to the image's type, range kept."""
    kind = working_type(image.dtype)
    array = each_volume(
        image, lambda volume: in_type(function(volume.astype(kind, copy=False)), image.dtype)
    )
    return image.replace(array=array)


def _where_thick(kernels: Sequence[Any], volume: Volume) -> list[Any]:
    """Leave axes of one voxel alone: the mean of copies is the value itself, to the last bit."""
    return [
        kernel if size > 1 else np.ones(1)
        for kernel, size in zip(kernels, volume.shape, strict=True)
    ]


def _median(volume: Volume, sizes: tuple[int, int, int]) -> Volume:
    import cv2
    import SimpleITK as sitk

    sizes = tuple(  # type: ignore[assignment]
        size if extent > 1 else 1 for size, extent in zip(sizes, volume.shape, strict=True)
    )
    if sizes == (1, 1, 1):
        return volume
    # OpenCV's is many times faster where it has one: square windows in planes.
    quick = sizes[0] == 1 and sizes[1] == sizes[2] and sizes[1] <= 255
    if quick and volume.dtype == np.uint8:
        return np.stack([cv2.medianBlur(plane, sizes[1]) for plane in volume])
    if quick and sizes[1] <= 5 and volume.dtype in (np.uint16, np.float32):
        return np.stack([cv2.medianBlur(plane, sizes[1]) for plane in volume])
    if quick and sizes[1] <= 5 and volume.dtype == np.int16:
        # Turning the sign bit over is an ascending map of int16 onto uint16.
        turned = volume.view(np.uint16) ^ np.uint16(1 << 15)
        planes = [cv2.medianBlur(plane, sizes[1]) for plane in turned]
        return (np.stack(planes) ^ np.uint16(1 << 15)).view(np.int16)
    radius = [size // 2 for size in reversed(sizes)]
    picture = to_sitk(volume)
    result = from_sitk(sitk.Median(picture, radius[: picture.GetDimension()]))
    return result.astype(volume.dtype, copy=False)


def _correlated(volume: Volume, kernel: Volume) -> Volume:
    """Sum the 2-D correlations of neighbouring planes."""
    import cv2

    depth, reach = len(volume), len(kernel) // 2
    result = np.zeros_like(volume)
    for offset, weights in enumerate(kernel):
        if weights.any():
            for index in range(depth):
                source = min(max(index + offset - reach, 0), depth - 1)
                result[index] += cv2.filter2D(
                    volume[source], -1, weights, borderType=cv2.BORDER_REPLICATE
                )
    return result


def _checked_kernel(kernel: ArrayLike) -> Volume:
    try:
        weights = np.array(kernel, np.float64)
    except (TypeError, ValueError):
        weights = np.empty(0)
    if (
        not weights.size
        or weights.ndim > 3
        or weights.size > MOST_TAPS
        or not np.isfinite(weights).all()
        or any(n % 2 == 0 for n in weights.shape)
    ):
        raise ParameterError(
            f"expected a kernel of finite weights with odd sizes, received shape {weights.shape}"
        )
    return weights
