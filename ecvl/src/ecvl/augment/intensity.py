"""Augmentations that change what voxels say.

They work over the image's value range, so that one setting fits 8-bit pictures, HU and MR alike:
amounts are parts of the range's width, results saturate at its ends, the data type stays. Labels
pass through untouched beside an image and are refused alone. Images of one sample share the drawn
amounts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.base import Operation, drawn
from ecvl.image import Image
from ecvl.process.pull import in_type, working_type


@dataclass(frozen=True)
class Intensity(Operation):
    """What the intensity operations have in common."""

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Return the amounts for one sample."""
        raise NotImplementedError

    def changed(
        self, unit: NDArray[Any], amounts: dict[str, float], rng: np.random.Generator, axes: str
    ) -> NDArray[Any]:
        """Return values whose range is 0 to 1 after the change; the rest is cut off."""
        raise NotImplementedError

    def apply(self, image: Image, amounts: dict[str, float], rng: np.random.Generator) -> Image:
        """Return one image after the change, with its value range written down."""
        low, high = image.value_range
        if high <= low:
            return image.replace(value_range=(low, high))
        kind = working_type(image.dtype)
        unit = np.clip((image.array.astype(kind) - kind(low)) / kind(high - low), 0, 1)
        unit = np.clip(self.changed(unit, amounts, rng, image.axes), 0, 1)
        values = unit.astype(kind, copy=False) * kind(high - low) + kind(low)
        # Rounding in float32 must not lead out of the range.
        values = in_type(np.clip(values, low, high), image.dtype)
        return image.replace(array=values, value_range=(low, high))


@dataclass(frozen=True)
class AdditiveGaussianNoise(Intensity):
    """Add independent Gaussian noise to every pixel.

    Args:
        deviation: the range of standard deviations, as parts of the value range.
        p: the probability.

    Example:
        >>> image = Image(np.full((2, 2), 100, np.uint8), "yx")
        >>> AdditiveGaussianNoise(0.1)(image, seed=1).dtype
        dtype('uint8')
    """

    deviation: tuple[float, float] = (0.0, 0.1)
    p: float = 1.0

    def __post_init__(self) -> None:
        self._store_range("deviation", least=0)
        self._store_chance()

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Return the standard deviation."""
        return {"deviation": drawn(rng, self.deviation)}

    def changed(
        self, unit: NDArray[Any], amounts: dict[str, float], rng: np.random.Generator, axes: str
    ) -> NDArray[Any]:
        """Return the noisy values."""
        noise = rng.standard_normal(unit.shape, dtype=np.float32)
        return np.asarray(unit + noise * np.float32(amounts["deviation"]))


@dataclass(frozen=True)
class Multiply(Intensity):
    """Multiply the distance from the low end of the value range.

    Args:
        factor: the range of factors.
        p: the probability.

    Example:
        >>> np.asarray(Multiply(2)(Image(np.array([[10, 200]], np.uint8), "yx"), seed=1))
        array([[ 20, 255]], dtype=uint8)
    """

    factor: tuple[float, float] = (0.9, 1.1)
    p: float = 1.0

    def __post_init__(self) -> None:
        self._store_range("factor", least=0)
        self._store_chance()

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Return the factor."""
        return {"factor": drawn(rng, self.factor)}

    def changed(
        self, unit: NDArray[Any], amounts: dict[str, float], rng: np.random.Generator, axes: str
    ) -> NDArray[Any]:
        """Return the multiplied values."""
        return np.asarray(unit * unit.dtype.type(amounts["factor"]))


@dataclass(frozen=True)
class Add(Intensity):
    """Add a constant.

    Args:
        value: the range of constants, as parts of the value range.
        p: the probability.

    Example:
        >>> np.asarray(Add(0.2)(Image(np.array([[10, 250]], np.uint8), "yx"), seed=1))
        array([[ 61, 255]], dtype=uint8)
    """

    value: tuple[float, float] = (-0.1, 0.1)
    p: float = 1.0

    def __post_init__(self) -> None:
        self._store_range("value")
        self._store_chance()

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Return the constant."""
        return {"value": drawn(rng, self.value)}

    def changed(
        self, unit: NDArray[Any], amounts: dict[str, float], rng: np.random.Generator, axes: str
    ) -> NDArray[Any]:
        """Return the sum."""
        return np.asarray(unit + unit.dtype.type(amounts["value"]))


@dataclass(frozen=True)
class GammaContrast(Intensity):
    """Bend the values: `low + width * ((value - low) / width) ** gamma`.

    For uint8 that is the specification's `255 * (I / 255) ** gamma`.

    Args:
        gamma: the range of exponents.
        p: the probability.

    Example:
        >>> np.asarray(GammaContrast(2)(Image(np.array([[0, 51, 255]], np.uint8), "yx"), seed=1))
        array([[  0,  10, 255]], dtype=uint8)
    """

    gamma: tuple[float, float] = (0.5, 2.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        self._store_range("gamma", least=0)
        self._store_chance()

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Return the exponent."""
        return {"gamma": drawn(rng, self.gamma)}

    def changed(
        self, unit: NDArray[Any], amounts: dict[str, float], rng: np.random.Generator, axes: str
    ) -> NDArray[Any]:
        """Return the bent values."""
        return np.asarray(unit ** unit.dtype.type(amounts["gamma"]))


@dataclass(frozen=True)
class GaussianBlur(Intensity):
    """Blur every y-x plane; borders repeat their last pixel.

    Args:
        sigma: the range of standard deviations, in pixels.
        p: the probability.

    Example:
        >>> image = Image(np.eye(5, dtype=np.float32), "yx")
        >>> bool(np.asarray(GaussianBlur(1)(image, seed=1)).max() < 1)
        True
    """

    sigma: tuple[float, float] = (0.0, 1.5)
    p: float = 1.0

    def __post_init__(self) -> None:
        self._store_range("sigma", least=0)
        self._store_chance()

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Return the standard deviation."""
        return {"sigma": drawn(rng, self.sigma)}

    def changed(
        self, unit: NDArray[Any], amounts: dict[str, float], rng: np.random.Generator, axes: str
    ) -> NDArray[Any]:
        """Return the blurred values."""
        import cv2

        sigma = amounts["sigma"]
        if sigma < 1e-3:
            return unit
        order = [index for index, letter in enumerate(axes) if letter not in "yx"]
        order += [axes.index("y"), axes.index("x")]
        turned = np.ascontiguousarray(unit.transpose(order))
        planes = turned.reshape(-1, *turned.shape[-2:])
        for plane in planes:
            plane[...] = cv2.GaussianBlur(
                plane, (0, 0), sigmaX=sigma, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE
            )
        return turned.transpose(np.argsort(order))
