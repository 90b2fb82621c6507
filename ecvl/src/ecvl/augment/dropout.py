"""Augmentations that replace some pixels by an end of the value range."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.intensity import Amounts, Intensity, shape_drawn
from ecvl.augment.randoms import BLOCK, Source, blocks
from ecvl.image import Image
from ecvl.process.dtypes import number_in_type
from ecvl.process.planes import MOST_CHANNELS


@dataclass(frozen=True)
class Replacement(Intensity):
    """What the replacing augmentations have in common."""

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the image with some pixels at an end of the value range."""
        source = Source(rng)
        shape = shape_drawn(image, getattr(self, "per_channel", True))
        result = image.array.copy()
        low, high = (number_in_type(end, image.dtype) for end in image.value_range)
        for chosen, bright in self.chosen(amounts["amount"], math.prod(shape), source):
            put(result, chosen.reshape(shape), high if bright else low)
        return image.with_array(result)

    def chosen(
        self, amount: float, count: int, source: Source
    ) -> list[tuple[NDArray[np.bool_], bool]]:
        """Return which pixels are replaced, by the low end or the high one."""
        raise NotImplementedError


def put(result: NDArray[Any], chosen: NDArray[np.bool_], value: Any) -> None:
    """Write a value where pixels are chosen; a last or first axis of one stands for all of it.

    Example:
        >>> array = np.zeros((1, 2, 3), np.uint8)
        >>> put(array, np.array([[[True], [False]]]), 9)
        >>> array.tolist()
        [[[9, 9, 9], [0, 0, 0]]]
    """
    import cv2

    words = {1: np.uint8, 2: np.uint16, 4: np.int32, 8: np.float64}[result.dtype.itemsize]
    channels = result.shape[-1] if chosen.shape != result.shape else 1
    if chosen.size * channels != result.size or channels > MOST_CHANNELS:
        np.copyto(result, value, where=chosen)
        return
    # Only bits are copied, so any type of the size will do.
    pixels = result.view(words).reshape(1, -1, channels)
    marks = chosen.view(np.uint8).reshape(1, -1)
    bits = np.array(value, result.dtype).view(words)
    stamp = np.full((1, min(BLOCK, marks.size), channels), bits)
    for place in blocks(marks.size):
        part = pixels[:, place]
        cv2.copyTo(stamp[:, : part.shape[1]], marks[:, place], part)


@dataclass(frozen=True)
class Dropout(Replacement):
    """Set single pixels to the low end of the value range.

    Args:
        amount: the range of parts of the pixels.
        per_channel: choose in each channel by itself.
        p: the probability.

    Example:
        >>> np.asarray(Dropout(1)(Image(np.array([[10, 200]], np.uint8), "yx"), seed=1))
        array([[0, 0]], dtype=uint8)
    """

    amount: tuple[float, float] = (0.0, 0.1)
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(amount=(0, 1))

    def chosen(
        self, amount: float, count: int, source: Source
    ) -> list[tuple[NDArray[np.bool_], bool]]:
        """Return the pixels that go dark."""
        return [(source.bernoulli(amount, count), False)]


@dataclass(frozen=True)
class Pepper(Dropout):
    """Set single pixels to the low end of the value range: pepper on the picture.

    Args:
        amount: the range of parts of the pixels.
        per_channel: choose in each channel by itself.
        p: the probability.

    Example:
        >>> np.asarray(Pepper(1)(Image(np.array([[10, 200]], np.uint8), "yx"), seed=1))
        array([[0, 0]], dtype=uint8)
    """


@dataclass(frozen=True)
class Salt(Dropout):
    """Set single pixels to the high end of the value range: salt on the picture.

    Args:
        amount: the range of parts of the pixels.
        per_channel: choose in each channel by itself.
        p: the probability.

    Example:
        >>> np.asarray(Salt(1)(Image(np.array([[10, 200]], np.uint8), "yx"), seed=1))
        array([[255, 255]], dtype=uint8)
    """

    def chosen(
        self, amount: float, count: int, source: Source
    ) -> list[tuple[NDArray[np.bool_], bool]]:
        """Return the pixels that go bright."""
        return [(source.bernoulli(amount, count), True)]


@dataclass(frozen=True)
class SaltAndPepper(Dropout):
    """Set single pixels to an end of the value range, each end as likely.

    Args:
        amount: the range of parts of the pixels.
        per_channel: choose in each channel by itself.
        p: the probability.

    Example:
        >>> image = Image(np.full((9, 9), 100, np.uint8), "yx")
        >>> np.unique(SaltAndPepper(1)(image, seed=1))
        array([  0, 255], dtype=uint8)
    """

    def chosen(
        self, amount: float, count: int, source: Source
    ) -> list[tuple[NDArray[np.bool_], bool]]:
        """Return the pixels that go dark and those that go bright."""
        dark, bright = source.either(amount, count)
        return [(dark, False), (bright, True)]


@dataclass(frozen=True)
class ImpulseNoise(Replacement):
    """Set single values, in each channel by itself, to an end of the range, each end as likely.

    Args:
        amount: the range of parts of the values.
        p: the probability.

    Example:
        >>> image = Image(np.full((9, 9, 3), 100, np.uint8), "yxc")
        >>> np.unique(ImpulseNoise(1)(image, seed=1))
        array([  0, 255], dtype=uint8)
    """

    amount: tuple[float, float] = (0.0, 0.1)
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(amount=(0, 1))

    def chosen(
        self, amount: float, count: int, source: Source
    ) -> list[tuple[NDArray[np.bool_], bool]]:
        """Return the values that go to each end."""
        return SaltAndPepper.chosen(self, amount, count, source)  # type: ignore[arg-type]


@dataclass(frozen=True)
class CoarseDropout(Intensity):
    """Set rectangles (boxes in volumes) to the low end of the value range.

    The image is divided into boxes alike, each of which is dropped by chance.

    Args:
        amount: the range of parts of the boxes that are dropped.
        size: the range of the boxes' sides, as parts of the image's sides (at least one pixel).
        per_channel: choose in each channel by itself.
        p: the probability.

    Example:
        >>> image = Image(np.full((4, 4), 7, np.uint8), "yx")
        >>> dropped = np.asarray(CoarseDropout(0.5, 0.5)(image, seed=1))
        >>> bool((dropped == np.kron(dropped[::2, ::2], np.ones((2, 2)))).all())
        True
    """

    amount: tuple[float, float] = (0.0, 0.2)
    size: tuple[float, float] = (0.02, 0.1)
    per_channel: bool = False
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(amount=(0, 1), size=(1e-4, 1))

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the image without some boxes."""
        array, part = image.array, amounts["size"]
        sides = [
            max(1, round(size * part)) if letter in "zyx" else 1 if self.per_channel else size
            for letter, size in zip(image.axes, array.shape, strict=True)
        ]
        cells = [-(-size // side) for size, side in zip(array.shape, sides, strict=True)]
        result, low = array.copy(), number_in_type(image.value_range[0], array.dtype)
        for cell in np.argwhere(rng.random(cells) < amounts["amount"]).tolist():
            box = [slice(at * side, at * side + side) for at, side in zip(cell, sides, strict=True)]
            result[tuple(box)] = low
        return image.with_array(result)


@dataclass(frozen=True)
class ChannelShuffle(Intensity):
    """Put the channels into another order; an image without channels stays.

    Args:
        p: the probability.

    Example:
        >>> image = Image(np.array([[[1, 2, 3]]], np.uint8), "yxc")
        >>> sorted(np.asarray(ChannelShuffle(p=1)(image, seed=1))[0, 0].tolist())
        [1, 2, 3]
    """

    p: float = 0.5

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return where each channel comes from."""
        return {"order": rng.permutation(channels).tolist()}

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the image with its channels in the drawn order."""
        if "c" not in image.axes:
            return image.with_array(image.array.copy())
        axis = image.axes.index("c")
        order = [index for index in amounts["order"] if index < image.shape[axis]]
        if axis == image.ndim - 1 and image.dtype.char in "BbHhif":
            import cv2

            array = image.array
            pixels = array.reshape(1, -1, array.shape[-1])
            if order == [2, 1, 0] and array.dtype.char in "BHf":
                return image.with_array(
                    cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR).reshape(array.shape)
                )
            result = np.empty(array.shape, array.dtype)
            pairs = [number for pair in enumerate(order) for number in pair[::-1]]
            cv2.mixChannels([pixels], [result.reshape(pixels.shape)], pairs)
            return image.with_array(result)
        return image.with_array(np.ascontiguousarray(np.take(image.array, order, axis)))
