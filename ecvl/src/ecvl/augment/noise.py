"""Noise: a random number added to every pixel.

Whole-number pixels of at most 16 bits get whole-number noise: rounding `value + noise` is adding
the rounded noise, whose distribution is known exactly.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.intensity import Amounts, Intensity, shape_drawn
from ecvl.augment.randoms import Source, blocks
from ecvl.image import Image
from ecvl.process.dtypes import in_type, working_type

# Beyond this many different values of noise, drawing real numbers is quicker.
MOST_LEVELS = 1 << 13


@dataclass(frozen=True)
class Noise(Intensity):
    """What the additive noises have in common."""

    def levels(self, amount: float, unit: float) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return the cumulative probabilities of the rounded noise, and its values.

        Args:
            amount: the drawn amount.
            unit: the width of the value range.
        """
        raise NotImplementedError

    def spread(self, amount: float, unit: float) -> float:
        """Return how far the noise reaches, with a probability of 2**-48 to go beyond."""
        raise NotImplementedError

    def add(
        self, values: NDArray[Any], amount: float, unit: float, source: Source, out: NDArray[Any]
    ) -> None:
        """Add real noise to flat values, into an array that may be the same."""
        raise NotImplementedError

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the noisy image."""
        (amount,) = amounts.values()
        low, high = image.value_range
        source = Source(rng)
        shape = shape_drawn(image, getattr(self, "per_channel", True))
        whole = image.dtype.kind in "iu" and image.dtype.itemsize <= 2
        if whole and 2 * self.spread(amount, high - low) < MOST_LEVELS:
            noise = source.choices(*self.levels(amount, high - low), math.prod(shape))
            return image.with_array(_sum(image, noise.reshape(shape)))
        kind = working_type(image.dtype)
        if shape != image.shape:
            shared = np.zeros(math.prod(shape), kind)
            self.add(shared, amount, high - low, source, shared)
            values = np.clip(image.array + shared.reshape(shape), low, high)
            return image.with_array(in_type(values, image.dtype))
        result = np.empty_like(image.array)
        flat, out = image.array.reshape(-1), result.reshape(-1)
        for place in blocks(flat.size):
            if kind == image.dtype:
                self.add(flat[place], amount, high - low, source, out[place])
                out[place].clip(low, high, out=out[place])
                continue
            values = flat[place].astype(kind)
            self.add(values, amount, high - low, source, values)
            out[place] = in_type(values.clip(low, high, out=values), image.dtype)
        return image.with_array(result)


@dataclass(frozen=True)
class AdditiveGaussianNoise(Noise):
    """Add Gaussian noise to every pixel.

    Args:
        deviation: the range of standard deviations, as parts of the value range.
        per_channel: noise of its own for each channel; `False` changes no colours.
        p: the probability.

    Example:
        >>> image = Image(np.full((2, 2), 100, np.uint8), "yx")
        >>> AdditiveGaussianNoise(0.1)(image, seed=1).dtype
        dtype('uint8')
    """

    deviation: tuple[float, float] = (0.0, 0.1)
    per_channel: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(deviation=0)

    def spread(self, amount: float, unit: float) -> float:
        """Return eight deviations."""
        return 8 * amount * unit

    def levels(self, amount: float, unit: float) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return the Gaussian between half levels."""
        values = _whole(self.spread(amount, unit))
        scale = max(amount * unit, 1e-9) * math.sqrt(2)
        cumulative = [0.5 * math.erfc(-(value + 0.5) / scale) for value in values.tolist()]
        return np.array(cumulative), values

    def add(
        self, values: NDArray[Any], amount: float, unit: float, source: Source, out: NDArray[Any]
    ) -> None:
        """Add normal numbers."""
        for place, noise in source.normals(values.size, amount * unit):
            np.add(values[place], noise, out=out[place])


@dataclass(frozen=True)
class AdditiveLaplaceNoise(Noise):
    """Add Laplace noise, which has more large values than Gaussian noise, to every pixel.

    Args:
        deviation: the range of standard deviations, as parts of the value range.
        per_channel: noise of its own for each channel; `False` changes no colours.
        p: the probability.

    Example:
        >>> image = Image(np.full((2, 2), 100, np.uint8), "yx")
        >>> AdditiveLaplaceNoise(0.1)(image, seed=1).dtype
        dtype('uint8')
    """

    deviation: tuple[float, float] = (0.0, 0.1)
    per_channel: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(deviation=0)

    def spread(self, amount: float, unit: float) -> float:
        """Return 24 deviations."""
        return 24 * amount * unit

    def levels(self, amount: float, unit: float) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return the Laplace distribution between half levels."""
        values = _whole(self.spread(amount, unit))
        places = (values + 0.5) / (max(amount * unit, 1e-9) * math.sqrt(0.5))
        tail = 0.5 * np.exp(-np.abs(places))
        return np.where(places < 0, tail, 1 - tail), values

    def add(
        self, values: NDArray[Any], amount: float, unit: float, source: Source, out: NDArray[Any]
    ) -> None:
        """Add Laplace numbers."""
        for place, noise in source.laplaces(values.size):
            noise *= np.float32(amount * unit)
            np.add(values[place], noise, out=out[place])


@dataclass(frozen=True)
class AdditivePoissonNoise(Noise):
    """Add a Poisson-distributed count to every pixel; a count is 1/255 of the value range.

    Args:
        rate: the range of mean counts; at most 10,000.
        per_channel: noise of its own for each channel; `False` changes no colours.
        p: the probability.

    Example:
        >>> image = Image(np.full((2, 2), 100, np.uint8), "yx")
        >>> bool((np.asarray(AdditivePoissonNoise(20)(image, seed=1)) > 100).all())
        True
    """

    rate: tuple[float, float] = (0.0, 20.0)
    per_channel: bool = True
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(rate=(0, 10_000))

    def spread(self, amount: float, unit: float) -> float:
        """Return the mean and ten deviations, and a few counts more for the smallest rates."""
        return (amount + 10 * math.sqrt(amount) + 20) * unit / 255

    def levels(self, amount: float, unit: float) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return the counts, in levels."""
        cumulative, counts = _poisson(amount)
        return cumulative, np.rint(counts * (unit / 255)).astype(np.int16)

    def add(
        self, values: NDArray[Any], amount: float, unit: float, source: Source, out: NDArray[Any]
    ) -> None:
        """Add counts."""
        cumulative, counts = _poisson(amount)
        levels = (counts * (unit / 255)).astype(np.float32)
        np.add(values, source.choices(cumulative, levels, values.size), out=out)


def _poisson(rate: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    counts = np.arange(int(rate + 10 * math.sqrt(rate) + 20) + 1)
    if rate <= 0:
        return np.ones(len(counts)), counts
    logarithms = [n * math.log(rate) - rate - math.lgamma(n + 1) for n in counts.tolist()]
    return np.cumsum(np.exp(logarithms)), counts


def _whole(reach: float) -> NDArray[np.int16]:
    most = math.ceil(reach) + 1
    return np.arange(-most, most + 1, dtype=np.int16)


def _sum(image: Image, noise: NDArray[np.int16]) -> NDArray[Any]:
    import cv2

    low, high = image.value_range
    flat = image.array.reshape(1, -1)
    whole = np.ascontiguousarray(np.broadcast_to(noise, image.shape)).reshape(flat.shape)
    kinds = {"uint8": cv2.CV_8U, "int8": cv2.CV_8S, "uint16": cv2.CV_16U, "int16": cv2.CV_16S}
    result = np.asarray(cv2.add(flat, whole, dtype=kinds[image.dtype.name]))
    limits = np.iinfo(image.dtype)
    if low > limits.min or high < limits.max:
        np.clip(result, math.ceil(low), math.floor(high), out=result)
    return result.reshape(image.shape)
