"""What the augmentations that change values have in common.

They work over the image's value range, so that one setting fits 8-bit pictures, HU and MR alike:
amounts are parts of the range's width, results saturate at its ends, the data type stays. Labels
pass through untouched beside an image and are refused alone. Images of one sample share the drawn
amounts; noise is drawn anew for each.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.base import Operation, Record, drawn
from ecvl.augment.chain import Chain
from ecvl.errors import KindError
from ecvl.image import Image

Amounts = dict[str, Any]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Intensity(Operation):
    """An augmentation that changes values and moves nothing."""

    def perform(self, chain: Chain, rng: np.random.Generator) -> Record | None:
        """Change the images among what is moved together, and return the amounts."""
        chain.carry_out()
        images = chain.images
        amounts = self.draw(rng, self._channels(images))
        for index, image in enumerate(images):
            if image.kind == "image":
                low, high = image.value_range
                if low < high:
                    images[index] = self.apply(image, amounts, rng)
        return amounts

    def turned(self, image: Image, rng: np.random.Generator) -> Image:
        """Return one settled image after it."""
        amounts = self.draw(rng, self._channels([image]))
        low, high = image.value_range
        return self.apply(image, amounts, rng) if low < high else image

    def _channels(self, images: list[Image]) -> int:
        """Return the greatest number of channels."""
        channels = 0
        for image in images:
            if image.kind == "image":
                at = image.axes.find("c")
                channels = max(channels, 1 if at < 0 else image.shape[at])
        if not channels:
            raise KindError(
                f"{type(self).__name__} changes intensities and takes images, received labels only"
            )
        return channels

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return the amounts for one sample, as plain numbers and lists.

        Args:
            rng: where to draw from.
            channels: the greatest number of channels among the images.
        """
        return {name: drawn(rng, getattr(self, name)) for name in self.range_names()}

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return one image after the change; its value range is given and not empty."""
        raise NotImplementedError


def channel_places(image: Image) -> list[tuple[Any, ...]]:
    """Return the index of each channel; an image without channels is one.

    Example:
        >>> channel_places(Image(np.zeros((4, 4, 2)), "yxc"))
        [(Ellipsis, 0), (Ellipsis, 1)]
    """
    if "c" not in image.axes:
        return [(...,)]
    after = (slice(None),) * (image.ndim - 1 - image.axes.index("c"))
    return [(..., channel, *after) for channel in range(image.shape[image.axes.index("c")])]


def over_channels(image: Image, values: NDArray[Any], per_channel: bool) -> NDArray[Any]:
    """Return flat values in the shape of an image, or of an image of one channel.

    Example:
        >>> over_channels(Image(np.zeros((2, 2, 3)), "yxc"), np.zeros(4), False).shape
        (2, 2, 1)
    """
    return values.reshape(shape_drawn(image, per_channel))


def shape_drawn(image: Image, per_channel: bool) -> tuple[int, ...]:
    """Return the shape of what is drawn for an image: all channels or one that they share.

    Example:
        >>> shape_drawn(Image(np.zeros((2, 2, 3)), "yxc"), False)
        (2, 2, 1)
    """
    if per_channel:
        return image.shape
    return tuple(
        1 if letter == "c" else size for letter, size in zip(image.axes, image.shape, strict=True)
    )
