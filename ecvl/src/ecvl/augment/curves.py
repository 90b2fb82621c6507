"""Augmentations that are a curve: a function of the value alone.

On whole numbers of at most 16 bits the curve becomes a table that is looked up.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.base import drawn
from ecvl.augment.intensity import Amounts, Floats, Intensity, channel_places
from ecvl.augment.lookup import curved, line_table, looked_up, on_line, shifted
from ecvl.image import Image


@dataclass(frozen=True)
class Curve(Intensity):
    """What the curves have in common: one amount, for all channels or one each."""

    def curve(self, unit: Floats, amount: float, mean: float) -> Floats:
        """Return new values for values from 0 to 1; what leaves this range is cut off.

        Args:
            unit: the values; may be overwritten.
            amount: the drawn amount.
            mean: the image's mean, where `needs_mean`.
        """
        factor, summand = self.line(amount, mean) or (1.0, 0.0)
        unit *= unit.dtype.type(factor)
        unit += unit.dtype.type(summand)
        return unit

    def line(self, amount: float, mean: float) -> tuple[float, float] | None:
        """Return factor and summand, where the curve is a rising straight line."""
        return None

    @property
    def needs_mean(self) -> bool:
        """Whether the curve depends on the mean of the image."""
        return False

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return the amount, or a list with one for each channel."""
        (name,) = self.range_names()
        ends = getattr(self, name)
        if getattr(self, "per_channel", False):
            return {name: [drawn(rng, ends) for _ in range(channels)]}
        return {name: drawn(rng, ends)}

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the image after the curve."""
        (amount,) = amounts.values()
        low, high = image.value_range
        mean = 0.0
        if self.needs_mean:
            mean = (_mean(image.array) - low) / (high - low)
        array = image.array
        if not isinstance(amount, list):
            line, code = self.line(amount, mean), array.dtype.char
            if line is None:
                changed = curved(array, low, high, lambda unit: self.curve(unit, amount, mean))
            elif code == "B" and line[0] == 1 and high - low == 255:
                changed = shifted(array, round(255 * line[1]))
            elif code in "Bb":
                changed = looked_up(array, line_table(array.dtype, low, high, *line))
            elif code in "fd":
                changed = on_line(array, low, high, *line)
            else:
                changed = curved(array, low, high, lambda unit: self.curve(unit, amount, mean))
            return image.with_array(changed)
        result = np.empty_like(image.array)
        for place, one in zip(channel_places(image), amount, strict=False):
            result[place] = curved(
                image.array[place],
                low,
                high,
                lambda unit, one=one: self.curve(unit, one, mean),  # type: ignore[misc]
            )
        return image.with_array(result)


def _mean(array: NDArray[Any]) -> float:
    import cv2

    if (array.dtype.itemsize > 2 and array.dtype != np.float32) or array.dtype == np.float16:
        return float(array.mean(dtype=np.float64))
    # OpenCV sums in float64 too, without converting first.
    return float(cv2.sumElems(array.reshape(1, -1))[0]) / array.size


@dataclass(frozen=True)
class Add(Curve):
    """Add a constant.

    Args:
        value: the range of constants, as parts of the value range.
        per_channel: a constant of its own for each channel.
        p: the probability.

    Example:
        >>> np.asarray(Add(0.2)(Image(np.array([[10, 250]], np.uint8), "yx"), seed=1))
        array([[ 61, 255]], dtype=uint8)
    """

    value: tuple[float, float] = (-0.1, 0.1)
    per_channel: bool = False
    p: float = 1.0

    def line(self, amount: float, mean: float) -> tuple[float, float] | None:
        """Return the constant."""
        return 1.0, amount


@dataclass(frozen=True)
class Brightness(Curve):
    """Make the whole image brighter or darker by a constant.

    Args:
        value: the range of constants, as parts of the value range.
        p: the probability.

    Example:
        >>> np.asarray(Brightness(-0.2)(Image(np.array([[10, 250]], np.uint8), "yx"), seed=1))
        array([[  0, 199]], dtype=uint8)
    """

    value: tuple[float, float] = (-0.2, 0.2)
    p: float = 1.0

    def line(self, amount: float, mean: float) -> tuple[float, float] | None:
        """Return the constant."""
        return 1.0, amount


@dataclass(frozen=True)
class Contrast(Curve):
    """Multiply the distance from the image's mean.

    Args:
        factor: the range of factors; 0 leaves the mean alone.
        p: the probability.

    Example:
        >>> np.asarray(Contrast(2)(Image(np.array([[90, 110]], np.uint8), "yx"), seed=1))
        array([[ 80, 120]], dtype=uint8)
    """

    factor: tuple[float, float] = (0.75, 1.25)
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(factor=0)

    @property
    def needs_mean(self) -> bool:
        """It does."""
        return True

    def line(self, amount: float, mean: float) -> tuple[float, float] | None:
        """Return the line through the mean."""
        return amount, mean * (1 - amount)


@dataclass(frozen=True)
class Multiply(Curve):
    """Multiply the distance from the low end of the value range.

    Args:
        factor: the range of factors.
        per_channel: a factor of its own for each channel.
        p: the probability.

    Example:
        >>> np.asarray(Multiply(2)(Image(np.array([[10, 200]], np.uint8), "yx"), seed=1))
        array([[ 20, 255]], dtype=uint8)
    """

    factor: tuple[float, float] = (0.9, 1.1)
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(factor=0)

    def line(self, amount: float, mean: float) -> tuple[float, float] | None:
        """Return the factor."""
        return amount, 0.0


@dataclass(frozen=True)
class Invert(Curve):
    """Turn the value range over: `low + high - value`.

    Args:
        p: the probability.

    Example:
        >>> np.asarray(Invert(p=1)(Image(np.array([[10, 200]], np.uint8), "yx"), seed=1))
        array([[245,  55]], dtype=uint8)
    """

    p: float = 0.5
    draws = False

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return nothing: there is nothing to draw."""
        return {}

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the image turned over."""
        low, high = image.value_range
        array = image.array
        if array.dtype.kind == "u" and not low and high == (1 << 8 * array.itemsize) - 1:
            return image.with_array(np.invert(array))
        return image.with_array(curved(image.array, low, high, lambda unit: 1 - unit))


@dataclass(frozen=True)
class GammaContrast(Curve):
    """Bend the values: `low + width * ((value - low) / width) ** gamma`.

    For uint8 that is the specification's `255 * (I / 255) ** gamma`.

    Args:
        gamma: the range of exponents.
        per_channel: an exponent of its own for each channel.
        p: the probability.

    Example:
        >>> np.asarray(GammaContrast(2)(Image(np.array([[0, 51, 255]], np.uint8), "yx"), seed=1))
        array([[  0,  10, 255]], dtype=uint8)
    """

    gamma: tuple[float, float] = (0.5, 2.0)
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(gamma=0)

    def curve(self, unit: Floats, amount: float, mean: float) -> Floats:
        """Return the bent values."""
        if not amount or unit.size <= 256:
            return np.power(unit, unit.dtype.type(amount), out=unit)
        # NumPy's power is slow where there are zeros, of which medical images are full.
        with np.errstate(divide="ignore"):
            np.log(unit, out=unit)
        unit *= unit.dtype.type(amount)
        return np.exp(unit, out=unit)
