"""Augmentations that bend: a smooth field of displacements.

No affine can say where voxels of a bent image lie in the patient; a `Sample` remembers the bend,
moves boxes and points along, and `invert` undoes it.
"""

import math
from dataclasses import dataclass

import numpy as np

from ecvl.augment.base import drawn
from ecvl.augment.chain import Chain
from ecvl.augment.spatial import Drawn, Spatial
from ecvl.errors import ParameterError
from ecvl.process.fields import Field
from ecvl.process.pull import Fill

# The mean over a cell of the sum of squares of the cubic B-spline's weights, for one axis.
SPLINE_POWER = 151 / 315


@dataclass(frozen=True)
class Elastic(Spatial):
    """Bend like rubber: displacements along each axis that are random and smooth.

    As the specification's: white noise between -alpha and alpha in every pixel, smoothed by a
    Gaussian of sigma (Simard et al. 2003), which gives displacements of standard deviation
    `0.163 * alpha / sigma`. Here they are a cubic B-spline with nodes `sqrt(3) * sigma` apart (its
    kernel is nearly that Gaussian), scaled to this deviation in 2-D and 3-D alike. Above
    `alpha = 2.5 * sigma ** 2` the content begins to fold.

    Args:
        alpha: the range of strengths, for mm.
        sigma: the range of smoothness, in mm.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> Elastic()(Image(np.zeros((9, 9)), "yx"), seed=1).shape
        (9, 9)
    """

    alpha: tuple[float, float] = (0.0, 120.0)
    sigma: tuple[float, float] = (9.0, 13.0)
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(alpha=0, sigma=0.1)

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn:
        """Return the field."""
        alpha, sigma = drawn(rng, self.alpha), drawn(rng, self.sigma)
        shape, spacing = scene.grid.shape, scene.grid.spacing
        steps = [max(1.0, math.sqrt(3) * sigma / size) for size in spacing]
        counts = [
            math.ceil((size - 1) / step) + 3 if size > 1 else 1
            for size, step in zip(shape, steps, strict=True)
        ]
        deviation = alpha / (math.sqrt(12 * math.pi) * sigma)
        deviation /= SPLINE_POWER ** (sum(count > 1 for count in counts) / 2)
        coefficients = np.zeros((3, *counts))
        # One slice stays where it is; x and y are drawn before z.
        for axis in range(3 if shape[0] > 1 else 2):
            noise = rng.standard_normal(counts)
            coefficients[axis] = noise * (deviation / spacing[2 - axis])
        starts = [-step if count > 1 else 0.0 for step, count in zip(steps, counts, strict=True)]
        field = Field(coefficients, tuple(starts[::-1]), tuple(steps[::-1]), 3)
        return field, {"alpha": alpha, "sigma": sigma}


@dataclass(frozen=True)
class GridDistortion(Spatial):
    """Divide each axis into cells and make some wider and some narrower; the ends stay.

    Args:
        steps: the number of cells along each axis.
        limit: the range by which a cell's width changes, as a part of it.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> GridDistortion()(Image(np.zeros((9, 9)), "yx"), seed=1).shape
        (9, 9)
    """

    steps: int = 5
    limit: tuple[float, float] = (-0.3, 0.3)
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or not 1 <= self.steps <= 1000:
            raise ParameterError(
                f"expected steps as a whole number from 1 to 1000, received {self.steps!r}"
            )
        self._check(limit=(-0.9, 9))

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn:
        """Return the field."""
        sizes = scene.grid.shape[::-1]
        counts = [self.steps + 1 if size > 1 else 1 for size in sizes]
        coefficients = np.zeros((3, *counts[::-1]))
        widths: list[list[float]] = []
        for axis, size in enumerate(sizes):
            if size == 1:
                continue
            low, high = self.limit
            changed = 1 + low + (high - low) * rng.random(self.steps)
            widths.append((changed * (self.steps / changed.sum())).tolist())
            ends = np.concatenate([[0], np.cumsum(widths[-1])]) - np.arange(self.steps + 1)
            along = [1, 1, 1]
            along[2 - axis] = self.steps + 1
            coefficients[axis] = (ends * (size / self.steps)).reshape(along)
        starts = [-0.5 if size > 1 else 0.0 for size in sizes]
        steps = [size / self.steps if size > 1 else 1.0 for size in sizes]
        field = Field(coefficients, tuple(starts), tuple(steps), 1)
        return field, {"widths": widths}


@dataclass(frozen=True)
class OpticalDistortion(Spatial):
    """Bend like a lens, in every y-x plane: look at `centre + d * (1 + k * r ** 2)` instead of
    `centre + d`, with r the length of d as a part of the longer side.

    Args:
        k: the range of strengths; above 0 the content shrinks outwards (a barrel).
        shift: the range of the lens's place beside the middle, as a part of each side.
        fill: beyond the image: a number, "edge", or `None` for the low end of the value range.
        p: the probability.

    Example:
        >>> from ecvl import Image
        >>> OpticalDistortion()(Image(np.zeros((9, 9)), "yx"), seed=1).shape
        (9, 9)
    """

    k: tuple[float, float] = (-0.3, 0.3)
    shift: tuple[float, float] = (-0.05, 0.05)
    fill: Fill = None
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check(k=(-0.6, 10))

    def draw(self, rng: np.random.Generator, scene: Chain) -> Drawn:
        """Return the field."""
        k = drawn(rng, self.k)
        shifts = [drawn(rng, self.shift) for _ in range(2)]
        sizes, spacing = scene.grid.shape[:0:-1], scene.grid.spacing[:0:-1]
        lengths = [n * size for n, size in zip(sizes, spacing, strict=True)]
        longest = max(lengths)
        # A polynomial of degree 3 is a cubic spline of one cell, whose coefficients are its polar
        # form (Ramshaw 1989) at three neighbouring nodes.
        steps = [float(max(n - 1, 1)) for n in sizes]
        powers = []
        for n, size, step, moved in zip(sizes, spacing, steps, shifts, strict=True):
            places = (np.arange(-1, 3) * step - (n - 1) / 2 - moved * n) * size / longest
            gap = step * size / longest
            powers.append((places, places**2 - gap**2 / 3, places**3 - gap**2 * places))
        (x, x2, x3), (y, y2, y3) = powers
        coefficients = np.zeros((3, 1, 4, 4))
        coefficients[0, 0] = (x3[None, :] + x[None, :] * y2[:, None]) * (k * longest / spacing[0])
        coefficients[1, 0] = (y3[:, None] + y[:, None] * x2[None, :]) * (k * longest / spacing[1])
        field = Field(coefficients, (-steps[0], -steps[1], 0.0), (*steps, 1.0), 3)
        return field, {"k": k, "shift": shifts}
