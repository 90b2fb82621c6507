"""Augmentations that move the grid over the patient.

Each is a matrix from the new grid's voxel indices to the old one's, made in mm so that it is right
for voxels of any shape; the affine of the result says truly where it lies, which is how `invert`
finds back. Lengths are mm in the patient (for a picture without geometry, pixels). Positive shifts
move the content towards higher indices, and positive angles turn x towards y (clockwise on a
screen, where y runs down), y towards z, and z towards x.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ecvl.affines import ORTHOGONAL_TOLERANCE, Affine, non_orthogonality
from ecvl.augment.base import Operation, drawn
from ecvl.errors import GeometryError, ParameterError
from ecvl.grids import Grid
from ecvl.process.pull import Fill

AXES = "xyz"


@dataclass(frozen=True)
class Spatial(Operation):
    """What the spatial operations have in common."""

    def draw(
        self, rng: np.random.Generator, grid: Grid, spatial_axes: str
    ) -> tuple[Affine, dict[str, Any]]:
        """Return a matrix from new voxel indices to old ones, and the numbers that were drawn."""
        raise NotImplementedError

    @property
    def interpolates(self) -> bool:
        """Whether it needs values between voxels, and so a fill rule."""
        return True

    @property
    def filling(self) -> Fill:
        """What stands where the image does not reach; labels have 0 there."""
        return getattr(self, "fill", None)


@dataclass(frozen=True)
class Flip(Spatial):
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

    def __post_init__(self) -> None:
        _check_axes(self.axes)
        self._check()

    @property
    def interpolates(self) -> bool:
        """It does not."""
        return False

    def draw(
        self, rng: np.random.Generator, grid: Grid, spatial_axes: str
    ) -> tuple[Affine, dict[str, Any]]:
        """Return the reversal."""
        _require_axes(self.axes, spatial_axes, "Flip")
        matrix = np.eye(4)
        for letter in self.axes:
            axis = AXES.index(letter)
            matrix[axis, axis] = -1
            matrix[axis, 3] = grid.shape[2 - axis] - 1
        return matrix, {"axes": self.axes}


@dataclass(frozen=True)
class Rotate(Spatial):
    """Turn around the centre.

    Args:
        degrees: the range of angles.
        axis: the axis to turn around: "z" (the y-x plane, all that 2-D images know), "y" or "x".
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> np.asarray(Rotate(90)(Image(np.array([[1, 2], [3, 4]]), "yx"), seed=1))
        array([[3, 1],
               [4, 2]])
    """

    degrees: tuple[float, float] = (-10.0, 10.0)
    axis: str = "z"
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        if self.axis not in ("x", "y", "z"):
            raise ParameterError(f"expected axis 'z', 'y' or 'x', received {self.axis!r}")
        self._check()

    def draw(
        self, rng: np.random.Generator, grid: Grid, spatial_axes: str
    ) -> tuple[Affine, dict[str, Any]]:
        """Return the rotation."""
        _require_orthogonal(grid)
        if self.axis != "z" and spatial_axes == "yx":
            raise GeometryError(f"a 2-D image turns around 'z' only, received axis={self.axis!r}")
        degrees = drawn(rng, self.degrees)
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        first, second = {"z": (0, 1), "x": (1, 2), "y": (2, 0)}[self.axis]
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = cosine
        turn[first, second], turn[second, first] = sine, -sine
        return _around_centre(turn, grid), {"degrees": degrees, "axis": self.axis}


@dataclass(frozen=True)
class Scale(Spatial):
    """Enlarge or shrink around the centre; the shape stays. Shrinking by over 1.5 is smoothed
    first.

    Args:
        factor: the range of factors; above 1 enlarges.
        axes: the axes to scale, alike: "yx", or "zyx" for volumes.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> Scale((2, 2))(Image(np.zeros((4, 4)), "yx"), seed=1).spacing
        (0.5, 0.5)
    """

    factor: tuple[float, float] = (0.9, 1.1)
    axes: str = "yx"
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        _check_axes(self.axes)
        self._check(factor=1e-3)

    def draw(
        self, rng: np.random.Generator, grid: Grid, spatial_axes: str
    ) -> tuple[Affine, dict[str, Any]]:
        """Return the scaling."""
        _require_axes(self.axes, spatial_axes, "Scale")
        factor = drawn(rng, self.factor)
        scale = np.diag([1 / factor if letter in self.axes else 1.0 for letter in AXES])
        return _around_centre(scale, grid), {"factor": factor, "axes": self.axes}


@dataclass(frozen=True)
class Translate(Spatial):
    """Shift the content, by mm in the patient.

    Args:
        x: the range of shifts along x.
        y: the range along y.
        z: the range along z; volumes only.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> image = Image(np.array([[5, 6, 7]]), "yx")
        >>> np.asarray(Translate(x=(1, 1), y=0, fill=0)(image, seed=1))
        array([[0, 5, 6]])
    """

    x: tuple[float, float] = (-10.0, 10.0)
    y: tuple[float, float] = (-10.0, 10.0)
    z: tuple[float, float] = (0.0, 0.0)
    fill: Fill = None
    p: float = 1.0

    def draw(
        self, rng: np.random.Generator, grid: Grid, spatial_axes: str
    ) -> tuple[Affine, dict[str, Any]]:
        """Return the shift."""
        if self.z != (0, 0):
            _require_axes("z", spatial_axes, "Translate")
        shifts = [drawn(rng, ends) for ends in (self.x, self.y, self.z)]
        matrix = np.eye(4)
        matrix[:3, 3] = -np.array(shifts) / grid.spacing[::-1]
        return matrix, dict(zip(AXES, shifts, strict=True))


def _around_centre(linear: Affine, grid: Grid) -> Affine:
    """Return a linear map of mm around the grid's centre as a matrix of voxel indices."""
    sizes = np.array(grid.spacing[::-1])
    centre = (np.array(grid.shape[::-1]) - 1) / 2
    matrix = np.eye(4)
    matrix[:3, :3] = linear * sizes / sizes[:, None]
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix


def _check_axes(axes: Any) -> None:
    if (
        not isinstance(axes, str)
        or not axes
        or len(set(axes)) != len(axes)
        or set(axes) - set(AXES)
    ):
        raise ParameterError(f"expected axes as letters over 'zyx', received {axes!r}")


def _require_axes(axes: str, spatial_axes: str, name: str) -> None:
    if missing := set(axes) - set(spatial_axes):
        raise GeometryError(
            f"{name} works along {axes!r}, received an image with axes {spatial_axes!r}: there is "
            f"no {sorted(missing)[0]!r}"
        )


def _require_orthogonal(grid: Grid) -> None:
    if non_orthogonality(grid.affine) > ORTHOGONAL_TOLERANCE:
        raise GeometryError(
            "expected voxel axes at right angles for a rotation, received a sheared affine (a "
            "tilted series); put it on a straight grid with ecvl.resample(image, like=...) first"
        )
