"""What the augmentations that move voxels have in common, and those that move whole voxels.

Each gives a stage: a matrix, or a smooth field, from the voxel indices of the grid after it to
those before it. Neighbouring stages become one map and one interpolation (`ecvl.augment.chain`).

Lengths are mm in the patient (for a picture without geometry, pixels), so that voxels may have any
shape; the affine of the result says truly where it lies, which is how `invert` finds back. Positive
shifts move the content towards higher indices, and positive angles turn x towards y (clockwise on a
screen, where y runs down), y towards z, and z towards x.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import ORTHOGONAL_TOLERANCE, Affine, non_orthogonality
from ecvl.augment.base import Operation, Record
from ecvl.augment.chain import Chain, Sizes, Stage
from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import SAME, Grid, Recount
from ecvl.image import Image
from ecvl.process.pull import Fill, recounted

AXES = "xyz"

# The stage, from new voxel indices (x, y, z) to old ones, and the numbers that were drawn, plain.
Drawn = tuple[Stage, Record]
# The same where whole voxels move; the new sizes z, y, x; and whether the image does not reach
# everywhere.
Recounted = tuple[Recount, Record, Sizes, bool]
# What has sizes z, y, x and says if it has a z axis.
Scene = Chain | Image


@dataclass(frozen=True)
class Spatial(Operation):
    """An augmentation that moves voxels.

    Attributes:
        interpolates: whether it needs values between voxels.
        needs_right_angles: whether it measures in mm along axes that must stand at right angles.
    """

    interpolates: ClassVar[bool] = True
    needs_right_angles: ClassVar[bool] = True

    def perform(self, chain: Chain, rng: np.random.Generator) -> Record | None:
        """Let the images remember the move, and return what was drawn."""
        if self.needs_right_angles:
            chain.require_right_angles(type(self).__name__)
        stage, record = self.draw(rng, chain)
        chain.add(stage, None, (self.filling,))
        return record

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn:
        """Return what is to be done.

        Args:
            rng: where to draw from.
            scene: what is to be moved, and where it stands after all moves so far.
        """
        raise NotImplementedError

    @property
    def filling(self) -> Fill:
        """What stands where the image does not reach; labels have 0 there."""
        return getattr(self, "fill", None)


@dataclass(frozen=True)
class IndexOperation(Spatial):
    """What the operations that copy whole voxels have in common."""

    interpolates: ClassVar[bool] = False
    needs_right_angles: ClassVar[bool] = False

    def perform(self, chain: Chain, rng: np.random.Generator) -> Record | None:
        """Let the images remember the move, and return what was drawn."""
        found = self.recount(rng, chain)
        if found is None:
            return None
        stage, record, shape, reaches_outside = found
        chain.add(stage, shape, (self.filling,) if reaches_outside else ())
        return record

    def turned(self, image: Image, rng: np.random.Generator) -> Image:
        """Return one settled image after it."""
        found = self.recount(rng, image)
        if found is None:
            return image
        stage, _, shape, reaches_outside = found
        return recounted(image, shape, stage, self.filling if reaches_outside else None)

    def recount(self, rng: np.random.Generator, scene: Scene) -> Recounted | None:
        """Return what is to be done, or `None` for nothing.

        Args:
            rng: where to draw from.
            scene: what is to be moved.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Flip(IndexOperation):
    """Reverse axes, exactly.

    Args:
        axes: the letters of the axes to reverse, together.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> np.asarray(Flip("x", p=1)(Image(np.array([[1, 2, 3]]), "yx"), seed=1))
        array([[3, 2, 1]])
    """

    axes: str = "x"
    p: float = 0.5
    draws = False

    def __post_init__(self) -> None:
        checked_axes(self.axes)
        self._check()

    def recount(self, rng: np.random.Generator, scene: Scene) -> Recounted | None:
        """Return the reversal."""
        axes, shape = self.axes, scene.grid_shape
        return reversal(axes, shape, scene.spatial_axes), {"axes": axes}, shape, False


@dataclass(frozen=True)
class Mirror(IndexOperation):
    """Reverse each of some axes by its own chance, exactly.

    Args:
        axes: the letters of the axes that may be reversed.
        p: the probability for each axis.

    Example:
        >>> from ecvl import Image
        >>> np.asarray(Mirror("yx", p=1)(Image(np.array([[1, 2], [3, 4]]), "yx"), seed=1))
        array([[4, 3],
               [2, 1]])
    """

    axes: str = "x"
    p: float = 0.5

    def __post_init__(self) -> None:
        checked_axes(self.axes)
        self._check()
        # Where all axes are sure to be reversed, there is nothing to draw.
        object.__setattr__(self, "draws", self.p < 1)

    @property
    def chance(self) -> float:
        """Always: the chances are those of the axes."""
        return 1.0

    def recount(self, rng: np.random.Generator, scene: Scene) -> Recounted | None:
        """Return the reversal of the axes that chance picks."""
        axes, shape = self.axes, scene.grid_shape
        stage = reversal(axes, shape, scene.spatial_axes)
        if self.p < 1:
            axes = "".join(letter for letter in axes if rng.random() < self.p)
            if not axes:
                return None
            stage = reversal(axes, shape, scene.spatial_axes)
        return stage, {"axes": axes}, shape, False


@dataclass(frozen=True)
class Transpose(IndexOperation):
    """Swap two axes, exactly; their sizes and spacings go along.

    Args:
        axes: the letters of the two axes.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> np.asarray(Transpose(p=1)(Image(np.array([[1, 2, 3]]), "yx"), seed=1)).tolist()
        [[1], [2], [3]]
    """

    axes: str = "yx"
    p: float = 0.5
    draws = False

    def __post_init__(self) -> None:
        checked_axes(self.axes)
        if len(self.axes) != 2:
            raise ParameterError(f"expected two axes to swap, received {self.axes!r}")
        self._check()

    def recount(self, rng: np.random.Generator, scene: Scene) -> Recounted | None:
        """Return the swap."""
        require_axes(self.axes, scene.spatial_axes, "Transpose")
        first, second = map(AXES.index, self.axes)
        order = [0, 1, 2]
        order[first], order[second] = second, first
        i, j, k = order
        z, y, x = (scene.grid_shape[2 - axis] for axis in (k, j, i))
        return ((i, 1, 0), (j, 1, 0), (k, 1, 0)), {"axes": self.axes}, (z, y, x), False


@functools.lru_cache(maxsize=256)
def reversal(axes: str, shape: Sizes, spatial_axes: str) -> Recount:
    """Return the recount that reverses axes of a grid of sizes z, y, x, if an image has them.

    Example:
        >>> reversal("x", (1, 1, 3), "yx")
        ((0, -1, 2), (1, 1, 0), (2, 1, 0))
    """
    require_axes(axes, spatial_axes, "a reversal")
    x, y, z = (
        (same[0], -1, size - 1) if letter in axes else same
        for letter, same, size in zip(AXES, SAME, shape[::-1], strict=True)
    )
    return x, y, z


def in_mm(grid: Grid) -> Affine:
    """Return the upper triangular 3x3 matrix from steps of voxels to mm along upright axes.

    The upright axes begin with voxel x and the x-y plane.

    Example:
        >>> np.abs(in_mm(Grid((1, 2, 2), np.diag([-2.0, 3, 4, 1])))).round(6).tolist()
        [[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]]
    """
    _, upper = np.linalg.qr(grid.affine[:3, :3])
    return np.asarray(upper * np.sign(np.diag(upper))[:, None], np.float64)


def around_centre(linear: NDArray[Any], grid: Grid, shift: Any = 0.0, centre: Any = None) -> Affine:
    """Return a linear map of mm around the centre of a grid, then a shift, of voxel indices.

    Args:
        linear: 3x3, from new places to old ones.
        grid: where the voxels stand.
        shift: mm along x, y and z by which old places lie further.
        centre: another voxel index x, y, z to stay where it is.
    """
    places = [(size - 1) / 2 for size in grid.shape[::-1]] if centre is None else list(centre)
    moved = np.broadcast_to(shift, 3).tolist()
    if non_orthogonality(grid.affine) <= ORTHOGONAL_TOLERANCE:
        # Ratios of sizes keep right angles exact.
        sizes = grid.spacing[::-1]
        inner = [
            [value * size / own for value, size in zip(row, sizes, strict=True)]
            for row, own in zip(linear.tolist(), sizes, strict=True)
        ]
        moved = [length / own for length, own in zip(moved, sizes, strict=True)]
    else:
        upright = in_mm(grid)
        inner = np.linalg.solve(upright, linear @ upright).tolist()
        moved = np.linalg.solve(upright, moved).tolist()
    rows = [
        [*row, at - sum(v * c for v, c in zip(row, places, strict=True)) + further]
        for row, at, further in zip(inner, places, moved, strict=True)
    ]
    return np.array([*rows, [0.0, 0.0, 0.0, 1.0]])


def checked_axes(axes: Any) -> None:
    """Refuse what is not different letters of axes.

    Example:
        >>> checked_axes("yx")
    """
    if (
        not isinstance(axes, str)
        or not axes
        or len(set(axes)) != len(axes)
        or set(axes) - set(AXES)
    ):
        raise ParameterError(f"expected axes as letters over 'zyx', received {axes!r}")


def require_axes(axes: str, spatial_axes: str, name: str) -> None:
    """Refuse axes that an image does not have.

    Example:
        >>> require_axes("yx", "zyx", "Flip")
    """
    for letter in axes:
        if letter not in spatial_axes:
            raise GeometryError(
                f"{name} works along {axes!r}, received an image with axes {spatial_axes!r}: there "
                f"is no {letter!r}"
            )
