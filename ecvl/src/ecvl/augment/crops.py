"""Augmentations that cut out a part of one size, exactly.

The size is in voxels along y and x, or along z, y and x; one number stands for y and x, and with
two a volume keeps all of its slices. An image that is smaller is padded evenly.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecvl.augment.base import Operation
from ecvl.augment.chain import Chain, Sizes
from ecvl.augment.spatial import IndexOperation, Recounted, Scene
from ecvl.errors import GeometryError, ParameterError
from ecvl.process.pull import Fill

Size = int | tuple[int, ...]


@dataclass(frozen=True)
class CutOut(IndexOperation):
    """What the crops have in common."""

    size: Size

    def place(self, rng: np.random.Generator, scene: Scene, have: Sizes, size: Sizes) -> list[int]:
        """Return where the part begins along z, y and x, for axes longer than the part: anywhere.

        Args:
            rng: where to draw from.
            scene: what is to be moved.
            have: its sizes z, y, x.
            size: those of the part.
        """
        (depth, height, width), (z, y, x) = have, size
        across = width - x + 1 if width > x else 1
        down = height - y + 1 if height > y else 1
        through = depth - z + 1 if depth > z else 1
        # One number picks among all places, x first, so that a volume of one slice draws the same.
        place = int(rng.random() * (across * down * through))
        at, at_x = divmod(place, across)
        if through == 1:
            return [0, at, at_x]
        at_z, at_y = divmod(at, down)
        return [at_z, at_y, at_x]

    def recount(self, rng: np.random.Generator, scene: Scene) -> Recounted | None:
        """Return the part."""
        have, axes = scene.grid_shape, scene.spatial_axes
        want, outside = _part(self.size, have, axes)
        starts = self.place(rng, scene, have, want)
        if outside:
            for axis in range(3):
                if want[axis] > have[axis]:
                    starts[axis] = -((want[axis] - have[axis]) // 2)
        z, y, x = starts
        record = {"start": starts if axes == "zyx" else [y, x]}
        return ((0, 1, x), (1, 1, y), (2, 1, z)), record, want, outside

    def _check_size(self) -> None:
        size: Any = self.size
        sizes = size if isinstance(size, tuple | list) else (size,)
        if (
            not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes)
            or len(sizes) > 3
            or (isinstance(size, tuple | list) and len(sizes) < 2)
        ):
            raise ParameterError(
                f"expected size in voxels as a whole number, or two (y, x) or three (z, y, x), "
                f"received {size!r}"
            )
        object.__setattr__(self, "size", tuple(size) if isinstance(size, list) else size)
        self._check()


@dataclass(frozen=True)
class CentreCrop(CutOut):
    """Cut out the middle.

    Args:
        size: voxels along y and x, or z, y and x.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> np.asarray(CentreCrop((1, 2))(Image(np.array([[1, 2, 3, 4]]), "yx"), seed=1))
        array([[2, 3]])
    """

    size: Size
    fill: Fill = None
    p: float = 1.0
    draws = False

    def __post_init__(self) -> None:
        self._check_size()

    def place(self, rng: np.random.Generator, scene: Scene, have: Sizes, size: Sizes) -> list[int]:
        """Return the middle."""
        (depth, height, width), (z, y, x) = have, size
        return [(depth - z) // 2, (height - y) // 2, (width - x) // 2]


@dataclass(frozen=True)
class RandomCrop(CutOut):
    """Cut out a part anywhere, each place as likely.

    Args:
        size: voxels along y and x, or z, y and x.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> RandomCrop(2)(Image(np.zeros((9, 9)), "yx"), seed=1).shape
        (2, 2)
    """

    size: Size
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check_size()


@dataclass(frozen=True)
class CropByLabel(CutOut):
    """Cut out a part around a voxel of the labels.

    One of the labels that occur is picked, then one of its voxels, each as likely; the part has it
    in its middle, as far as the image reaches. Without such a voxel the part is anywhere.

    Args:
        size: voxels along y and x, or z, y and x.
        values: the labels to pick from; none stands for all above 0.
        ratio: how often this is done; else the part is anywhere.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> image = Image(np.zeros((9, 9)), "yx")
        >>> spot = Image(np.pad([[1]], ((7, 1), (1, 7))), "yx", kind="labels")
        >>> CropByLabel(3)(image, spot, seed=1)[1].array.tolist()
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    """

    size: Size
    values: tuple[int, ...] = ()
    ratio: float = 1.0
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        values = (self.values,) if isinstance(self.values, int) else tuple(self.values)
        if not all(isinstance(value, int) for value in values):
            raise ParameterError(f"expected values as whole numbers, received {self.values!r}")
        object.__setattr__(self, "values", values)
        if not isinstance(self.ratio, int | float) or not 0 <= self.ratio <= 1:
            raise ParameterError(f"expected a ratio from 0 to 1, received {self.ratio!r}")
        object.__setattr__(self, "ratio", float(self.ratio))
        self._check_size()

    # Only a chain finds labels.
    turned = Operation.turned

    def place(self, rng: np.random.Generator, scene: Scene, have: Sizes, size: Sizes) -> list[int]:
        """Return a place around a voxel of the labels."""
        anywhere = super().place(rng, scene, have, size)
        if rng.random() >= self.ratio:
            return anywhere
        assert isinstance(scene, Chain)
        found = scene.find(self.values, rng)
        if found is None:
            return anywhere
        middle = np.rint(found[::-1]).astype(int).tolist()
        return [
            min(max(at - want // 2, 0), max(whole - want, 0))
            for at, whole, want in zip(middle, have, size, strict=True)
        ]


@functools.lru_cache(maxsize=256)
def _part(size: Size, have: Sizes, axes: str) -> tuple[Sizes, bool]:
    """Return the sizes z, y, x of a part of an image, and whether it is longer somewhere."""
    sizes = (size, size) if isinstance(size, int) else size
    if len(sizes) > len(axes):
        raise GeometryError(f"expected a size for an image with axes {axes!r}, received {sizes!r}")
    want = have[0] if len(sizes) < 3 else sizes[0], sizes[-2], sizes[-1]
    return want, any(new > old for new, old in zip(want, have, strict=True))
