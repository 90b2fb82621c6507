"""Landmark standardisation of MR intensities: learned once, saved as JSON, applied anywhere.

MR units mean nothing, so that one tissue has other values in every scan. Nyúl and Udupa ("On
standardizing the MR image intensity scale", 1999; Nyúl, Udupa and Zhang, 2000) map percentiles of
each image onto the averages of a training set, piece by piece linearly.

Held by `tests/ecvl/process/test_nyul.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.volumes import finite_values, is_real, mask_of

VERSION = 1
DECILES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)
MOST_LANDMARKS = 1000


@dataclass(frozen=True)
class HistogramStandard:
    """A standard scale: percentiles and the values that they shall have.

    Args:
        percentiles: ascending, from 0 to 100.
        landmarks: the standard value of each, ascending.

    Example:
        >>> scan = Image(np.random.default_rng(0).normal(size=(20, 20)), "yx")
        >>> brighter = scan.replace(array=scan.array * 7 + 90)
        >>> standard = HistogramStandard.learn([scan, brighter])
        >>> bool(np.allclose(standard.apply(scan), standard.apply(brighter), atol=1e-3))
        True
    """

    percentiles: tuple[float, ...]
    landmarks: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("percentiles", "landmarks"):
            values = getattr(self, name)
            if (
                not isinstance(values, Sequence)
                or not 2 <= len(values) <= MOST_LANDMARKS
                or not all(map(is_real, values))
                or any(a >= b for a, b in pairwise(values))
            ):
                raise ParameterError(f"expected {name} as ascending numbers, received {values!r}")
            object.__setattr__(self, name, tuple(map(float, values)))
        if len(self.percentiles) != len(self.landmarks):
            raise ParameterError(
                f"expected a landmark for each of {len(self.percentiles)} percentiles, received "
                f"{len(self.landmarks)}"
            )
        _checked_percentiles(self.percentiles)

    @classmethod
    def learn(
        cls,
        images: Iterable[Image],
        masks: Iterable[Image] | None = None,
        *,
        percentiles: Sequence[float] = DECILES,
        low: float = 0.0,
        high: float = 100.0,
    ) -> "HistogramStandard":
        """Learn the standard scale of a training set.

        Each image is mapped linearly so that its first and last percentile become `low` and `high`;
        the landmarks are the means of all its percentiles over the images.

        Args:
            images: images of one contrast, one at a time: only one is held.
            masks: labels for each; voxels above 0 count. Without, those above the image's mean do,
                which leaves out the air around the body.
            percentiles: ascending, from 0 to 100.
            low: the standard value of the first.
            high: the standard value of the last, above `low`.

        Raises:
            KindError: labels were given as images.
            ParameterError: there is no image, a mask is missing, or an image has too few values.

        Example:
            >>> image = Image(np.arange(100.0).reshape(10, 10), "yx")
            >>> HistogramStandard.learn([image], percentiles=(0, 50, 100)).landmarks
            (0.0, 50.0, 100.0)
        """
        chosen = _checked_percentiles(percentiles)
        if not is_real(low) or not is_real(high) or not low < high:
            raise ParameterError(f"expected finite low < high, received {low!r} and {high!r}")
        missing = object()
        pairs: Iterable[Any] = ((image, None) for image in images)
        if masks is not None:
            pairs = zip_longest(images, masks, fillvalue=missing)
        sums, count = np.zeros(len(chosen)), 0
        for image, mask in pairs:
            if image is missing or mask is missing:
                raise ParameterError("expected a mask for each image, received another number")
            found = _landmarks(image, mask, chosen)
            sums += low + (high - low) * (found - found[0]) / (found[-1] - found[0])
            count += 1
        if not count:
            raise ParameterError("expected at least one image to learn from, received none")
        return cls(chosen, tuple((sums / count).tolist()))

    def apply(self, image: Image, mask: Image | None = None) -> Image:
        """Bring an image to the standard scale.

        Args:
            image: an image of the contrast that the scale was learned from.
            mask: labels; voxels above 0 count, as in `learn`. All voxels are mapped; beyond the
                first and last percentile the outer pieces go on.

        Returns:
            float32, with the value range of the landmarks.

        Raises:
            KindError: labels were given as image.

        Example:
            >>> standard = HistogramStandard((0, 100), (0, 1))
            >>> np.asarray(standard.apply(Image(np.array([[1.0, 1, 5, 7]]), "yx")))
            array([[-2., -2.,  0.,  1.]], dtype=float32)
        """
        found = _landmarks(image, mask, self.percentiles)
        target = np.array(self.landmarks)
        values = image.array.astype(np.float64)
        piece = np.clip(np.searchsorted(found, values, side="right") - 1, 0, len(found) - 2)
        slope = np.diff(target) / np.diff(found)
        mapped = target[piece] + (values - found[piece]) * slope[piece]
        ends = self.landmarks[0], self.landmarks[-1]
        return image.replace(array=mapped.astype(np.float32), value_range=ends)

    def to_json(self) -> dict[str, Any]:
        """Return plain objects, lists and numbers, with a version.

        Example:
            >>> HistogramStandard((0, 100), (0, 1)).to_json()
            {'version': 1, 'percentiles': [0.0, 100.0], 'landmarks': [0.0, 1.0]}
        """
        return {
            "version": VERSION,
            "percentiles": list(self.percentiles),
            "landmarks": list(self.landmarks),
        }

    @classmethod
    def from_json(cls, document: Any) -> "HistogramStandard":
        """Return the scale that `to_json` gave.

        Raises:
            ParameterError: it is no such document, or of another version.

        Example:
            >>> scale = HistogramStandard((0, 100), (0, 1))
            >>> HistogramStandard.from_json(scale.to_json()) == scale
            True
        """
        if not isinstance(document, Mapping) or document.keys() != {
            "version",
            "percentiles",
            "landmarks",
        }:
            raise ParameterError(
                "expected a standard scale as an object with 'version', 'percentiles' and "
                "'landmarks' only"
            )
        if document["version"] != VERSION or isinstance(document["version"], bool):
            raise ParameterError(
                f"expected a standard scale of version {VERSION}, received "
                f"{document['version']!r}; use the version of ecvl that wrote it"
            )
        return cls(document["percentiles"], document["landmarks"])


def _checked_percentiles(percentiles: Sequence[float]) -> tuple[float, ...]:
    chosen = tuple(percentiles)
    if (
        not 2 <= len(chosen) <= MOST_LANDMARKS
        or not all(map(is_real, chosen))
        or chosen[0] < 0
        or chosen[-1] > 100
        or any(a >= b for a, b in pairwise(chosen))
    ):
        raise ParameterError(
            f"expected at least two ascending percentiles from 0 to 100, received {percentiles!r}"
        )
    return tuple(map(float, chosen))


def _landmarks(
    image: Image, mask: Image | None, percentiles: Sequence[float]
) -> NDArray[np.float64]:
    require_kind(image, "image", "HistogramStandard")
    if mask is None:
        values = finite_values(image.array)
        above = values[values > values.mean(dtype=np.float64)]
        values = above if above.size else values
    else:
        values = finite_values(image.array, mask_of(image, mask))
    found = np.percentile(values.astype(np.float64), percentiles)
    if found[0] == found[-1]:
        raise ParameterError(
            "expected an image with different values inside its mask, received one"
        )
    # Where many voxels share a value percentiles fall together: keep the map ascending.
    least = (found[-1] - found[0]) * 1e-9
    for index in range(1, len(found)):
        found[index] = max(found[index], found[index - 1] + least)
    return np.asarray(found)
