"""Histogram equalisation: a curve that follows from all values together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.intensity import Amounts, Floats, Intensity, channel_places
from ecvl.augment.lookup import curved
from ecvl.image import Image
from ecvl.process.dtypes import in_type, working_type

HISTOGRAM_BINS = 4096
LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class HistogramEqualization(Intensity):
    """Flatten the histogram: every part of the value range gets as many pixels.

    A value becomes `low + width * (N(<= value) - N(least)) / (N - N(least))`, with N counting
    pixels, as OpenCV's `equalizeHist`. 8- and 16-bit numbers are counted one by one, others in 4096
    bins over the value range.

    Args:
        by_channel: equalise each channel, which changes colours. `False` equalises the luminance
            of RGB (ITU-R BT.601) and shifts the channels alike.
        p: the probability.

    Example:
        >>> image = Image(np.array([[10, 11, 12, 13]], np.uint8), "yx")
        >>> np.asarray(HistogramEqualization(p=1)(image, seed=1))
        array([[  0,  85, 170, 255]], dtype=uint8)
    """

    by_channel: bool = False
    p: float = 0.5
    draws = False

    def draw(self, rng: np.random.Generator, channels: int) -> Amounts:
        """Return nothing: there is nothing to draw."""
        return {}

    def apply(self, image: Image, amounts: Amounts, rng: np.random.Generator) -> Image:
        """Return the equalised image."""
        low, high = image.value_range
        places = channel_places(image)
        if not self.by_channel and len(places) == 3:
            if image.dtype == np.uint8 and (low, high) == (0, 255) and image.axes[-1] == "c":
                return image.with_array(_equalised_colours(image.array))
            kind = working_type(image.dtype)
            luminance = np.zeros(image.array[places[0]].shape, kind)
            for place, weight in zip(places, LUMINANCE, strict=True):
                luminance += image.array[place] * kind(weight)
            # Colours are counted as finely as grey values are.
            counted = in_type(luminance, image.dtype)
            shift = (equalised(counted, low, high).astype(kind) - counted)[..., None]
            shift = np.moveaxis(shift, -1, image.axes.index("c"))
            moved = np.clip(image.array + shift, low, high)
            return image.with_array(in_type(moved, image.dtype))
        result = np.empty_like(image.array)
        for place in places:
            result[place] = equalised(image.array[place], low, high)
        return image.with_array(result)


def _equalised_colours(array: NDArray[np.uint8]) -> NDArray[Any]:
    import cv2

    picture = array.reshape(-1, *array.shape[-2:])
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    even = cv2.equalizeHist(grey)
    brighter, darker = cv2.subtract(even, grey), cv2.subtract(grey, even)
    result = cv2.add(picture, cv2.cvtColor(brighter, cv2.COLOR_GRAY2RGB))
    cv2.subtract(result, cv2.cvtColor(darker, cv2.COLOR_GRAY2RGB), dst=result)
    return np.asarray(result).reshape(array.shape)


def equalised(array: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Return an array with a flat histogram over a value range.

    Example:
        >>> equalised(np.array([1.0, 1.5, 2.0]), 0, 10).round()
        array([ 0.,  5., 10.])
    """

    if array.dtype.kind in "iu" and array.dtype.itemsize <= 2:
        first, last = int(np.iinfo(array.dtype).min), int(np.iinfo(array.dtype).max)
        bins, start, step = last - first + 1, float(first), 1.0
        held = np.bincount(array.reshape(-1).astype(np.intp) - first, minlength=bins)
    else:
        bins, start, step = HISTOGRAM_BINS, low, (high - low) / HISTOGRAM_BINS
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        values = np.clip(finite, low, high, dtype=working_type(array.dtype))
        held, _ = np.histogram(values, bins, (low, high))
    ranks = np.cumsum(held)
    least = ranks[np.flatnonzero(held)[:1]]
    if not least.size or least[0] == ranks[-1]:
        return array.copy()
    table = np.maximum((ranks - least) / (ranks[-1] - least), 0)

    def curve(unit: Floats) -> Floats:
        places = (unit * ((high - low) / step) + (low - start) / step + 1e-3).astype(np.intp)
        return np.asarray(table[np.minimum(places, bins - 1)].astype(unit.dtype))

    return curved(array, low, high, curve)
