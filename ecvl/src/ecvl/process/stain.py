"""Stains of histology: apart, together again, and alike from slide to slide.

Light that passes a stain falls off exponentially, so that optical densities, `-log10(value /
white)`, add up (Lambert and Beer): a pixel's densities are the stains' vectors times their amounts.
White is the top of the data type (or of the value range of real images).

Held by `tests/ecvl/process/test_stain.py` against formulas and slides made of known amounts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.errors import GeometryError, ParameterError
from ecvl.image import Image, require_kind
from ecvl.process.colour import convert_colour, unit_ends
from ecvl.process.dtypes import in_type
from ecvl.process.registry import processing
from ecvl.process.volumes import checked_dtype, is_real, mask_of

Floats = NDArray[np.float64]

VERSION = 1
# Ruifrok and Johnston, "Quantification of histochemical staining by color deconvolution", 2001.
HAEMATOXYLIN, EOSIN, DAB = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)
STAINS: dict[str, tuple[tuple[float, ...], ...]] = {
    "H&E": (HAEMATOXYLIN, EOSIN),
    "H-DAB": (HAEMATOXYLIN, DAB),
    "H-E-DAB": (HAEMATOXYLIN, EOSIN, DAB),
}
# The darkest that counts, as a part of white: half a step of 8 bits.
DARKEST = 0.5 / 255
# Pixels of less density in every colour are background. (Macenko leaves out those with less than
# .065 in any colour, and so most of what is eosin only.)
LEAST_DENSITY = 0.1
# The share of directions that is cut off at either end, in percent.
OUTLIERS = 1.0
FEWEST_PIXELS = 16


@processing("image", "image", dtype="float", channels=3)
def separate_stains(image: Image, stains: str | ArrayLike = "H&E") -> Image:
    """Return the amount of each stain: colour deconvolution (Ruifrok and Johnston, 2001).

    Args:
        image: an RGB image.
        stains: "H&E", "H-DAB", "H-E-DAB", or two or three vectors of optical densities of red,
            green and blue (any length), such as `stain_vectors` finds.

    Returns:
        float32, three channels: the stains' amounts in the order of their vectors; with two, the
        third is what neither explains. An amount of 1 is an optical density of 1 (base 10).

    Raises:
        KindError: labels were given.
        GeometryError: the image has not three channels.
        ParameterError: the stains are not known, or are not two or three different vectors.

    Example:
        >>> purple = Image(np.array([[[100, 90, 160]]], np.uint8), "yxc")
        >>> np.asarray(separate_stains(purple)).round(2)
        array([[[0.63, 0.01, 0.02]]], dtype=float32)
    """
    densities = _densities(image, "separate_stains")
    amounts = densities @ np.linalg.inv(_vectors(stains))
    return _like(image, amounts.astype(np.float32), value_range=None)


@processing("image", "image", dtype="own", channels=3)
def combine_stains(
    amounts: Image, stains: str | ArrayLike = "H&E", *, dtype: Any = np.uint8
) -> Image:
    """Return the colours of amounts of stains: what `separate_stains` undid.

    Args:
        amounts: an image of three channels, as from `separate_stains` (some set to 0, say); NaN is
            no stain.
        stains: the same as there.
        dtype: the data type of the result.

    Returns:
        RGB, over the whole range of an integer type, or from 0 to 1.

    Raises:
        KindError: labels were given.
        GeometryError: there are not three channels.

    Example:
        >>> picture = Image(np.array([[[100, 90, 160]]], np.uint8), "yxc")
        >>> np.asarray(combine_stains(separate_stains(picture)))
        array([[[100,  90, 160]]], dtype=uint8)
    """
    require_kind(amounts, "image", "combine_stains")
    known = np.nan_to_num(_channels_last(amounts).astype(np.float64), posinf=100, neginf=-1)
    densities = known @ _vectors(stains)
    kind = checked_dtype(dtype)
    white = float(np.iinfo(kind).max) if kind.kind in "iu" else 1.0
    # More than a hundred steps of darkness are black in any type.
    values = np.clip(10.0 ** -np.clip(densities, -1, 100), 0, 1) * white
    return _like(amounts, in_type(values, kind), value_range=(0, white))


@processing("image", "value", geometry="none", dtype="own", each=False, channels=3)
def stain_vectors(image: Image, *, mask: Image | None = None) -> Floats:
    """Find the two stain vectors of a slide: Macenko and others, "A method for normalizing
    histology slides for quantitative analysis", 2009.

    The plane in which most optical densities lie is spanned by their two first principal
    directions; the stains are the outermost directions in it, at the first and last percentile.

    Args:
        image: an RGB image of a slide with two stains.
        mask: labels on the same grid; only voxels above 0 count. Background, below an optical
            density of .1 in every colour, never does.

    Returns:
        2 x 3: unit vectors of red, green and blue, haematoxylin (the more red) first.

    Raises:
        KindError: labels were given.
        GeometryError: the image has not three channels, or hardly any stain.

    Example:
        >>> amounts = np.random.default_rng(0).uniform(0, 1, (40, 40, 3)) * (1, 1, 0)
        >>> slide = combine_stains(Image(amounts.astype(np.float32), "yxc"))
        >>> stain_vectors(slide).round(1)
        array([[0.6, 0.7, 0.3],
               [0.1, 1. , 0.1]])
    """
    stained = _stained(image, mask, "stain_vectors")
    _, directions = np.linalg.eigh(np.cov(stained.T))
    plane = directions[:, [2, 1]]
    # Principal directions have no sign: the first one shall point to stain.
    if (stained @ plane[:, 0]).mean() < 0:
        plane = -plane
    angles = np.arctan2(stained @ plane[:, 1], stained @ plane[:, 0])
    ends = np.percentile(angles, (OUTLIERS, 100 - OUTLIERS))
    found = np.stack([plane @ (np.cos(angle), np.sin(angle)) for angle in ends])
    found = np.abs(found) / np.linalg.norm(found, axis=1, keepdims=True)
    if abs(float(found[0] @ found[1])) > 1 - 1e-6:
        raise GeometryError("expected a slide with two stains, received one of a single hue")
    return np.asarray(found if found[0, 0] > found[1, 0] else found[::-1].copy())


@processing("image", "image", channels=3, each=False)
def normalise_stain(
    image: Image,
    target: Image,
    method: Literal["macenko", "reinhard"] = "macenko",
    *,
    mask: Image | None = None,
    target_mask: Image | None = None,
) -> Image:
    """Give a slide the stains of another: `StainStandard.learn(target).apply(image)`.

    Args:
        image: an RGB image of a slide.
        target: an RGB image of the slide to look like, on any grid.
        method: "macenko" (the stains' own colours and amounts) or "reinhard" (means and standard
            deviations of L, a and b).
        mask: labels on the image's grid; only voxels above 0 are looked at (all are mapped).
        target_mask: the same for the target.

    Raises:
        KindError: labels were given.
        GeometryError: an image has not three channels, or hardly any stain.

    Example:
        >>> amounts = np.random.default_rng(0).uniform(0, 1, (40, 40, 3)) * (1, 1, 0)
        >>> slide = combine_stains(Image(amounts.astype(np.float32), "yxc"))
        >>> same = normalise_stain(slide, slide)
        >>> int(np.abs(same.array.astype(int) - slide.array).max()) < 9
        True
    """
    require_kind(image, "image", "normalise_stain")
    return StainStandard.learn(target, method, mask=target_mask).apply(image, mask)


@dataclass(frozen=True)
class StainStandard:
    """How slides shall look: learned from one, saved as JSON, applied to any.

    Args:
        method: "macenko" or "reinhard".
        colours: for "macenko" two stain vectors (2 x 3); for "reinhard" the means and standard
            deviations (2 x 3) of L, a and b.
        amounts: for "macenko" the 99th percentile of each stain's amount; else nothing.

    Example:
        >>> amounts = np.random.default_rng(0).uniform(0, 1, (40, 40, 3)) * (1, 1, 0)
        >>> standard = StainStandard.learn(combine_stains(Image(amounts.astype("f4"), "yxc")))
        >>> StainStandard.from_json(standard.to_json()) == standard
        True
    """

    method: str
    colours: tuple[tuple[float, ...], ...]
    amounts: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in ("macenko", "reinhard"):
            raise ParameterError(
                f"expected method 'macenko' or 'reinhard', received {self.method!r}"
            )
        rows, most = _rows(self.colours), _rows([self.amounts])[0]
        count = 2 if self.method == "macenko" else 0
        if len(rows) != 2 or any(len(row) != 3 for row in rows) or len(most) != count:
            raise ParameterError("expected colours of 2 x 3 numbers, and two amounts for 'macenko'")
        if any(value <= 0 for value in most):
            raise ParameterError(f"expected amounts above 0, received {most}")
        if self.method == "macenko":
            _vectors(rows)
        elif any(value < 0 for value in rows[1]):
            raise ParameterError(f"expected standard deviations from 0, received {rows[1]}")
        object.__setattr__(self, "colours", rows)
        object.__setattr__(self, "amounts", most)

    @classmethod
    def learn(
        cls,
        target: Image,
        method: Literal["macenko", "reinhard"] = "macenko",
        *,
        mask: Image | None = None,
    ) -> "StainStandard":
        """Learn from the slide that others shall look like.

        Args:
            target: an RGB image.
            method: "macenko" or "reinhard".
            mask: labels on the same grid; only voxels above 0 are looked at.

        Raises:
            KindError: labels were given.
            GeometryError: the image has not three channels, or hardly any stain.
        """
        if method == "reinhard":
            return cls(method, tuple(map(tuple, np.stack(_statistics(target, mask)).tolist())))
        vectors = stain_vectors(target, mask=mask)
        most = _most(target, vectors, mask)
        return cls(method, tuple(map(tuple, vectors.tolist())), tuple(most.tolist()))

    def apply(self, image: Image, mask: Image | None = None) -> Image:
        """Give a slide the look that was learned.

        Args:
            image: an RGB image.
            mask: labels on the same grid; only voxels above 0 are looked at, all are mapped.

        Returns:
            The image's data type and value range.

        Raises:
            KindError: labels were given.
            GeometryError: the image has not three channels, or hardly any stain.
        """
        require_kind(image, "image", "StainStandard")
        low, high = unit_ends(image)
        if self.method == "reinhard":
            mean, deviation = _statistics(image, mask)
            wanted_mean, wanted = (np.array(row) for row in self.colours)
            lab = _channels_last(convert_colour(image, "LAB", "RGB")).astype(np.float64)
            scale = np.divide(wanted, deviation, out=np.ones(3), where=deviation > 0)
            moved = _like(image, ((lab - mean) * scale + wanted_mean).astype(np.float32), None)
            unit = _channels_last(convert_colour(moved, "RGB", "LAB")).astype(np.float64)
            values = np.clip(unit, 0, 1) * (high - low) + low
        else:
            own = stain_vectors(image, mask=mask)
            amounts = _densities(image, "StainStandard") @ np.linalg.inv(_vectors(own))
            # What neither stain explains goes, as in the paper.
            part = amounts[..., :2] / _most(image, own, mask) * self.amounts
            densities = part @ np.array(self.colours)
            values = np.clip(10.0 ** -np.clip(densities, -1, 100), 0, 1) * (high - low) + low
        return _like(image, in_type(values, image.dtype), (low, high))

    def to_json(self) -> dict[str, Any]:
        """Return plain objects, lists and numbers, with a version.

        Example:
            >>> StainStandard("reinhard", ((60, 5, -5), (9, 2, 2))).to_json()["method"]
            'reinhard'
        """
        return {
            "version": VERSION,
            "method": self.method,
            "colours": [list(row) for row in self.colours],
            "amounts": list(self.amounts),
        }

    @classmethod
    def from_json(cls, document: Any) -> "StainStandard":
        """Return the standard that `to_json` gave.

        Raises:
            ParameterError: it is no such document, or of another version.
        """
        keys = {"version", "method", "colours", "amounts"}
        if not isinstance(document, Mapping) or document.keys() != keys:
            raise ParameterError(f"expected a stain standard as an object with {sorted(keys)}")
        if document["version"] != VERSION or isinstance(document["version"], bool):
            raise ParameterError(
                f"expected a stain standard of version {VERSION}, received "
                f"{document['version']!r}; use the version of ecvl that wrote it"
            )
        return cls(document["method"], document["colours"], document["amounts"])


def _rows(rows: Any) -> tuple[tuple[float, ...], ...]:
    if not isinstance(rows, list | tuple) or not all(
        isinstance(row, list | tuple) and len(row) <= 3 and all(map(is_real, row)) for row in rows
    ):
        raise ParameterError("expected lists of finite numbers in a stain standard")
    return tuple(tuple(map(float, row)) for row in rows)


def _vectors(stains: Any) -> Floats:
    """Return three unit vectors; with two given, the third is at right angles to both."""
    if isinstance(stains, str):
        if stains not in STAINS:
            raise ParameterError(
                f"expected stains among {', '.join(STAINS)}, or vectors, received {stains!r}"
            )
        stains = STAINS[stains]
    try:
        vectors = np.array(stains, np.float64)
    except (TypeError, ValueError):
        vectors = np.empty(0)
    if vectors.shape not in ((2, 3), (3, 3)) or not np.isfinite(vectors).all():
        raise ParameterError(f"expected two or three stain vectors, received {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    if len(unit) == 2:
        third = np.cross(*unit)
        unit = np.vstack([unit, third / (np.linalg.norm(third) or 1)])
    if abs(np.linalg.det(unit)) < 1e-6:
        raise ParameterError(f"expected stain vectors that differ, received {vectors.tolist()}")
    return np.asarray(unit)


def _channels_last(image: Image) -> NDArray[Any]:
    axis = image.axes.find("c")
    if axis < 0 or image.shape[axis] != 3:
        raise GeometryError(
            f"expected an image of three channels, received {image.axes!r} {image.shape}"
        )
    return np.moveaxis(image.array, axis, -1)


def _like(image: Image, last: NDArray[Any], value_range: Any) -> Image:
    array = np.moveaxis(last, -1, image.axes.index("c"))
    return image.replace(array=array, value_range=value_range)


def _densities(image: Image, name: str) -> Floats:
    require_kind(image, "image", name)
    low, high = unit_ends(image)
    unit = (_channels_last(image).astype(np.float64) - low) / (high - low)
    return np.asarray(-np.log10(np.clip(unit, DARKEST, 1)))


def _looked_at(image: Image, values: NDArray[Any], mask: Image | None) -> Floats:
    if mask is None:
        return values.reshape(-1, 3)
    inside = np.moveaxis(mask_of(image, mask), image.axes.index("c"), -1)[..., 0]
    return np.asarray(values[inside])


def _stained(image: Image, mask: Image | None, name: str) -> Floats:
    densities = _looked_at(image, _densities(image, name), mask)
    stained = densities[densities.max(axis=1, initial=0) >= LEAST_DENSITY]
    if len(stained) < FEWEST_PIXELS or not np.ptp(stained, axis=0).any():
        raise GeometryError(
            f"expected a slide with at least {FEWEST_PIXELS} stained pixels of several shades, "
            f"received {len(stained)}"
        )
    return np.asarray(stained)


def _most(image: Image, vectors: Floats, mask: Image | None) -> Floats:
    amounts = _stained(image, mask, "StainStandard") @ np.linalg.inv(_vectors(vectors))
    return np.asarray(np.maximum(np.percentile(amounts[:, :2], 99, axis=0), 1e-3))


def _statistics(image: Image, mask: Image | None) -> tuple[Floats, Floats]:
    require_kind(image, "image", "StainStandard")
    _channels_last(image)
    lab = _channels_last(convert_colour(image, "LAB", "RGB")).astype(np.float64)
    values = _looked_at(image, lab, mask)
    if not len(values):
        raise GeometryError("expected pixels to look at, received an empty mask")
    return values.mean(axis=0), values.std(axis=0)
