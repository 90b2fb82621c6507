"""Augmentations that cut out a part of one size, exactly.

The size is in voxels along y and x, or along z, y and x; one number stands for y and x, and with
two a volume keeps all of its slices. An image that is smaller is padded evenly.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ecvl.augment.chain import Chain, Sizes
from ecvl.augment.spatial import Drawn, IndexOperation
from ecvl.errors import GeometryError, ParameterError
from ecvl.process.pull import Fill

Size = int | tuple[int, ...]


@dataclass(frozen=True)
class CutOut(IndexOperation):
    """What the crops have in common."""

    def place(self, rng: np.random.Generator, scene: Chain, have: Sizes, size: Sizes) -> list[int]:
        """Return where the part begins along z, y and x, for axes longer than the part.

        Args:
            rng: where to draw from.
            scene: what is to be moved.
            have: its sizes z, y, x.
            size: those of the part.
        """
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn | None:
        """Return the part."""
        size: Any = getattr(self, "size", None)
        sizes: tuple[int, ...] = (size, size) if isinstance(size, int) else size
        have, axes = scene.shape, scene.spatial_axes
        count = len(axes)
        if len(sizes) > count:
            raise GeometryError(
                f"{type(self).__name__} cuts out {sizes!r}, received an image with axes {axes!r}"
            )
        want = z, y, x = have[0] if len(sizes) < 3 else sizes[0], sizes[-2], sizes[-1]
        starts = self.place(rng, scene, have, want)
        padded = z > have[0] or y > have[1] or x > have[2]
        if padded:
            for axis in range(3):
                if want[axis] > have[axis]:
                    starts[axis] = -((want[axis] - have[axis]) // 2)
        first, second, third = starts
        stage = (0, 1, third), (1, 1, second), (2, 1, first)
        return Drawn(stage, {"start": starts if count == 3 else starts[1:]}, want, padded)

    def _check_size(self) -> None:
        size: Any = getattr(self, "size", None)
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

    def __post_init__(self) -> None:
        self._check_size()

    @property
    def draws(self) -> bool:
        """It does not."""
        return False

    def place(self, rng: np.random.Generator, scene: Chain, have: Sizes, size: Sizes) -> list[int]:
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

    def place(self, rng: np.random.Generator, scene: Chain, have: Sizes, size: Sizes) -> list[int]:
        """Return any place."""
        return _anywhere(rng, have, size)


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

    def place(self, rng: np.random.Generator, scene: Chain, have: Sizes, size: Sizes) -> list[int]:
        """Return a place around a voxel of the labels."""
        anywhere = _anywhere(rng, have, size)
        if rng.random() >= self.ratio:
            return anywhere
        found = scene.find(self.values, rng)
        if found is None:
            return anywhere
        middle = np.rint(found[::-1]).astype(int).tolist()
        return [
            min(max(at - want // 2, 0), max(whole - want, 0))
            for at, whole, want in zip(middle, have, size, strict=True)
        ]


def _anywhere(rng: np.random.Generator, have: Sizes, size: Sizes) -> list[int]:
    (depth, height, width), (z, y, x) = have, size
    # x first, so that a slice and a volume of one slice draw the same.
    at_x = int(rng.random() * (width - x + 1)) if width > x else 0
    at_y = int(rng.random() * (height - y + 1)) if height > y else 0
    return [int(rng.random() * (depth - z + 1)) if depth > z else 0, at_y, at_x]
