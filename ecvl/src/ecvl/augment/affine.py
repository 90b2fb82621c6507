"""Augmentations that are a matrix: turning, scaling, shearing and shifting the content."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.augment.base import drawn
from ecvl.augment.chain import Chain
from ecvl.augment.spatial import (
    AXES,
    Drawn,
    Spatial,
    around_centre,
    checked_axes,
    require_axes,
)
from ecvl.errors import GeometryError, ParameterError
from ecvl.process.pull import Fill
from ecvl.serial import is_number

# The plane that turns around an axis, first axis towards second.
PLANES = {"z": (0, 1), "x": (1, 2), "y": (2, 0)}
GREATEST_SHEAR = 80.0


@dataclass(frozen=True)
class Rotate(Spatial):
    """Turn around the centre.

    Args:
        degrees: the range of angles.
        axis: the axis to turn around: "z" (the y-x plane, all that 2-D images know), "y" or "x".
        centre: the voxel index to turn around, in array order; the middle by default.
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
    centre: tuple[float, ...] | None = None
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        if self.axis not in ("x", "y", "z"):
            raise ParameterError(f"expected axis 'z', 'y' or 'x', received {self.axis!r}")
        if self.centre is not None:
            if not isinstance(self.centre, tuple | list) or not all(map(is_number, self.centre)):
                raise ParameterError(f"expected centre as a voxel index, received {self.centre!r}")
            object.__setattr__(self, "centre", tuple(map(float, self.centre)))
        self._check()

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn:
        """Return the rotation."""
        if self.axis != "z" and scene.spatial_axes == "yx":
            raise GeometryError(f"a 2-D image turns around 'z' only, received axis={self.axis!r}")
        if self.centre is not None and len(self.centre) != len(scene.spatial_axes):
            raise GeometryError(
                f"expected centre along {scene.spatial_axes!r}, received {self.centre!r}"
            )
        degrees = drawn(rng, self.degrees)
        centre = None if self.centre is None else (*self.centre[::-1], 0.0)[:3]
        matrix = around_centre(turned_about(degrees, self.axis), scene.grid, centre=centre)
        return matrix, {"degrees": degrees, "axis": self.axis}


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
        checked_axes(self.axes)
        self._check(factor=1e-3)

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn:
        """Return the scaling."""
        require_axes(self.axes, scene.spatial_axes, "Scale")
        factor = drawn(rng, self.factor)
        scale = np.diag([1 / factor if letter in self.axes else 1.0 for letter in AXES])
        return around_centre(scale, scene.grid), {"factor": factor, "axes": self.axes}


@dataclass(frozen=True)
class Shear(Spatial):
    """Shear the y-x plane around the centre; every slice alike.

    Args:
        x: the range of angles in degrees by which lines along y lean towards x.
        y: the range of angles in degrees by which lines along x lean towards y.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> image = Image(np.array([[0, 1, 0]] * 3), "yx")
        >>> np.asarray(Shear(x=45, y=0)(image, seed=1))
        array([[1, 0, 0],
               [0, 1, 0],
               [0, 0, 1]])
    """

    x: tuple[float, float] = (-5.0, 5.0)
    y: tuple[float, float] = (-5.0, 5.0)
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(x=(-GREATEST_SHEAR, GREATEST_SHEAR), y=(-GREATEST_SHEAR, GREATEST_SHEAR))

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn:
        """Return the shearing."""
        x, y = drawn(rng, self.x), drawn(rng, self.y)
        return around_centre(_sheared(x, y), scene.grid), {"x": x, "y": y}


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
    # It moves along the axes as they are.
    needs_right_angles = False

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn:
        """Return the shift."""
        if self.z != (0, 0):
            require_axes("z", scene.spatial_axes, "Translate")
        shifts = [drawn(rng, ends) for ends in (self.x, self.y, self.z)]
        matrix = np.eye(4)
        matrix[:3, 3] = -np.array(shifts) / scene.grid.spacing[::-1]
        return matrix, dict(zip(AXES, shifts, strict=True))


@dataclass(frozen=True)
class Affine(Spatial):
    """Scale, shear, turn and shift around the centre, in this order and in one go.

    Args:
        degrees: the range of angles; with "zyx" for each axis to turn around.
        scale: the range of factors; above 1 enlarges.
        shear: the range of angles in degrees of the y-x plane's shear, along x and along y.
        translate: the range of shifts in mm along each axis.
        axes: "yx" to stay in the plane, or "zyx" for all of a volume.
        isotropic: one factor for all axes.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> image = Image(np.array([[1, 2], [3, 4]]), "yx")
        >>> np.asarray(Affine(degrees=90, scale=1, shear=0, translate=0)(image, seed=1))
        array([[3, 1],
               [4, 2]])
    """

    degrees: tuple[float, float] = (-10.0, 10.0)
    scale: tuple[float, float] = (0.9, 1.1)
    shear: tuple[float, float] = (0.0, 0.0)
    translate: tuple[float, float] = (-5.0, 5.0)
    axes: str = "yx"
    isotropic: bool = True
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        if self.axes not in ("yx", "zyx"):
            raise ParameterError(f"expected axes 'yx' or 'zyx', received {self.axes!r}")
        self._check(scale=1e-3, shear=(-GREATEST_SHEAR, GREATEST_SHEAR))

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn:
        """Return the map."""
        require_axes(self.axes, scene.spatial_axes, "Affine")
        letters = self.axes[::-1]
        degrees = {"z": drawn(rng, self.degrees)}
        if "z" in letters:
            degrees |= {letter: drawn(rng, self.degrees) for letter in "xy"}
        factors = {letter: drawn(rng, self.scale) for letter in letters}
        if self.isotropic:
            factors = dict.fromkeys(letters, factors["x"])
        shears = [drawn(rng, self.shear) for _ in range(2)]
        shifts = {letter: drawn(rng, self.translate) for letter in letters}
        linear = np.diag([1 / factors.get(letter, 1.0) for letter in AXES])
        linear = linear @ _sheared(*shears)
        for letter, angle in degrees.items():
            linear = linear @ turned_about(angle, letter)
        shift = np.array([shifts.get(letter, 0.0) for letter in AXES])
        record = {"degrees": degrees, "scale": factors, "shear": shears, "translate": shifts}
        return around_centre(linear, scene.grid, -linear @ shift), record


def turned_about(degrees: float, axis: str) -> NDArray[Any]:
    """Return the 3x3 matrix from places after a turn to places before it.

    Example:
        >>> turned_about(90, "z").round()[0]
        array([0., 1., 0.])
    """
    first, second = PLANES[axis]
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = cosine
    turn[first, second], turn[second, first] = sine, -sine
    return turn


def _sheared(x: float, y: float) -> NDArray[Any]:
    lean = np.eye(3)
    lean[0, 1] = -np.tan(np.deg2rad(x))
    other = np.eye(3)
    other[1, 0] = -np.tan(np.deg2rad(y))
    return other @ lean
