"""What images, lazy images and headers have in common: axes, a shape and an affine.

Everything else about geometry is derived here, once. Held by `tests/ecvl/test_image.py`.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.affines import Affine, orientation_codes, voxel_sizes
from ecvl.errors import GeometryError
from ecvl.grids import Grid


class Placed:
    """The geometry that follows from `axes`, `shape` and `affine`, which a subclass has.

    Example:
        >>> import numpy as np
        >>> class Box(Placed):
        ...     axes, shape, affine = "zyx", (3, 4, 5), np.diag([1.0, 2, 3, 1])
        >>> Box().spacing, Box().orientation
        ((3.0, 2.0, 1.0), 'RAS')
    """

    __slots__ = ()

    axes: Any
    shape: Any
    affine: Any

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def spatial_axes(self) -> str:
        """The spatial ones among the axes: "zyx" or "yx"."""
        return "zyx" if "z" in self.axes else "yx"

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Sizes along the spatial axes, in array order."""
        return tuple(self.shape[self.axes.index(letter)] for letter in self.spatial_axes)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distances between voxel centres along the spatial axes, in array order, in mm."""
        x, y, z = voxel_sizes(self.affine)
        return (z, y, x) if "z" in self.axes else (y, x)

    @property
    def orientation(self) -> str:
        """Where voxel x, y, z point to, such as "RAS"."""
        return orientation_codes(self.affine)

    @property
    def grid(self) -> Grid:
        """The geometry alone; a 2-D image is one slice thick."""
        return Grid(self.grid_shape, self.affine)

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """Sizes along z, y and x; a 2-D image is one slice thick."""
        return _grid_shape(self.axes, self.shape)

    def world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Return the RAS+ mm positions of voxel indices.

        Args:
            index: float indices in array order of the spatial axes, shape (..., 3), or (..., 2) for
                a 2-D image; whole numbers are voxel centres.

        Returns:
            Positions x, y, z in mm, shape (..., 3).

        Example:
            >>> import numpy as np, ecvl
            >>> image = ecvl.Image(np.zeros((3, 4, 5)), "zyx", np.diag([1, 2, 3, 1]))
            >>> image.world((2, 0, 1))
            array([1., 0., 6.])
        """
        return world_of(self.affine, index, len(self.spatial_axes))

    def index(self, point: ArrayLike) -> NDArray[np.float64]:
        """Return the float voxel indices of RAS+ mm positions: the inverse of `world`.

        Args:
            point: positions x, y, z in mm, shape (..., 3). For a 2-D image the distance from its
                plane is dropped.

        Returns:
            Indices in array order of the spatial axes, shape (..., 3) or (..., 2).

        Example:
            >>> import numpy as np, ecvl
            >>> image = ecvl.Image(np.zeros((3, 4, 5)), "zyx", np.diag([1, 2, 3, 1]))
            >>> image.index((1, 0, 6))
            array([2., 0., 1.])
        """
        return index_of(self.affine, point, len(self.spatial_axes))

    def _described(self) -> str:
        sizes = "×".join(map(str, self.shape))
        spacing = "×".join(f"{distance:.4g}" for distance in self.spacing)
        return f"{self.axes} {sizes} %s, spacing {spacing} mm, {self.orientation}"


@lru_cache(maxsize=256)
def _grid_shape(axes: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = (shape[axes.index(letter)] if letter in axes else 1 for letter in "zyx")
    return z, y, x


def world_of(affine: Affine, index: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    """Return RAS+ mm positions (..., 3) of float indices (..., 2 or 3) in array order.

    Example:
        >>> import numpy as np
        >>> world_of(np.diag([2.0, 3, 4, 1]), (1, 1), 2)
        array([2., 3., 0.])
    """
    indices = _points(index, dimensions, "indices")[..., ::-1]
    if dimensions == 2:
        indices = np.concatenate([indices, np.zeros_like(indices[..., :1])], axis=-1)
    return np.asarray(indices @ affine[:3, :3].T + affine[:3, 3], np.float64)


def index_of(affine: Affine, point: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    """Return float indices (..., 2 or 3) in array order of RAS+ mm positions (..., 3).

    Example:
        >>> import numpy as np
        >>> index_of(np.diag([2.0, 3, 4, 1]), (2, 3, 0), 2)
        array([1., 1.])
    """
    offsets = _points(point, 3, "positions x, y, z") - affine[:3, 3]
    indices = np.linalg.solve(affine[:3, :3], offsets[..., None])[..., 0]
    return np.asarray(indices[..., ::-1][..., 3 - dimensions :], np.float64)


def _points(values: ArrayLike, dimensions: int, what: str) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim == 0 or points.shape[-1] != dimensions:
        raise GeometryError(
            f"expected {what} of shape (..., {dimensions}), received shape {points.shape}"
        )
    return points
