"""Where voxels stand, without the voxels: every change of geometry, worked out on its own.

A `Grid` is the sizes and the affine of three spatial axes (a 2-D image is one slice thick). A
`Change` is a new grid together with the matrix that takes its voxel indices (x, y, z) to those of
the old one. The matrices come from sizes and ratios alone, never from inverting an affine, so that
they are the same numbers however a volume is stored. `tests/ecvl/test_grids.py` holds this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ecvl.affines import Affine, parsed_orientation, voxel_sizes, world_axes
from ecvl.errors import GeometryError, ParameterError

# For each old axis x, y, z: the new axis that it is, 1 or -1 for its direction, and the old index
# of the first new voxel.
Recount = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
SAME: Recount = ((0, 1, 0), (1, 1, 0), (2, 1, 0))


@dataclass(frozen=True, eq=False)
class Grid:
    """The sizes along z, y, x and the 4x4 affine from voxel x, y, z to RAS+ mm.

    Example:
        >>> import numpy as np
        >>> Grid((1, 4, 5), np.eye(4)).spacing
        (1.0, 1.0, 1.0)
    """

    shape: tuple[int, int, int]
    affine: Affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distances between voxel centres along z, y, x in mm."""
        x, y, z = voxel_sizes(self.affine)
        return z, y, x

    def matches(self, other: "Grid", tolerance: float = 1e-3) -> bool:
        """Whether both grids have the same sizes and no voxel lies `tolerance` voxels off."""
        if self.shape != other.shape:
            return False
        if self.affine is other.affine or np.array_equal(self.affine, other.affine):
            return True
        return recount_of(index_matrix(self, other), self.shape, tolerance) == SAME


class Change(NamedTuple):
    """A new grid, and the matrix from its voxel indices (x, y, z, 1) to those of the old grid."""

    grid: Grid
    matrix: Affine


def index_matrix(old: Grid, new: Grid) -> Affine:
    """Return the matrix from voxel indices of `new` to voxel indices of `old`, through the world.

    Example:
        >>> import numpy as np
        >>> grid = Grid((1, 4, 5), np.eye(4))
        >>> bool(np.allclose(index_matrix(grid, grid), np.eye(4)))
        True
    """
    matrix = np.linalg.solve(old.affine, new.affine).astype(np.float64)
    matrix[3] = 0, 0, 0, 1
    return matrix


def recount_of(matrix: Affine, shape: Sequence[int], tolerance: float = 1e-3) -> Recount | None:
    """Return what a matrix does to the voxels of a grid of `shape`, if it moves whole ones only.

    Returns:
        `None` if voxels fall between voxels, by over `tolerance` voxels at some corner.

    Example:
        >>> recount_of(np.diag([-1.0, 1.0, 1.0, 1.0]), (4, 4, 4))
        ((0, -1, 0), (1, 1, 0), (2, 1, 0))
        >>> recount_of(np.diag([1.0, 1.0, 1.25, 1.0]), (4, 4, 4)) is None
        True
    """
    reach = [size - 1 for size in reversed(shape)]
    taken = 0
    found = []
    # Plain numbers: NumPy would take longer to start than this takes to finish.
    for row in matrix.tolist()[:3]:
        start = round(row[3])
        least = most = row[3] - start
        here: tuple[int, int, int] | None = None
        for other, size in enumerate(reach):
            nearest = round(row[other])
            if nearest:
                if abs(nearest) != 1 or here or taken >> other & 1:
                    return None
                here, taken = (other, nearest, start), taken | 1 << other
            beside = (row[other] - nearest) * size
            least, most = least + min(beside, 0.0), most + max(beside, 0.0)
        if here is None or max(-least, most) > tolerance:
            return None
        found.append(here)
    x, y, z = found
    return x, y, z


def recount_matrix(recount: Recount) -> Affine:
    """Return the matrix from new voxel indices (x, y, z, 1) to old ones.

    Example:
        >>> recount_matrix(((0, -1, 3), (1, 1, 0), (2, 1, 0)))[0]
        array([-1.,  0.,  0.,  3.])
    """
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for old, (new, step, start) in enumerate(recount):
        matrix[old, new], matrix[old, 3] = step, start
    return matrix


def recounted_twice(first: Recount, then: Recount) -> Recount:
    """Return two recounts as one: that from the oldest voxels, and that of its result.

    Example:
        >>> flip = ((0, -1, 3), (1, 1, 0), (2, 1, 0))
        >>> recounted_twice(flip, flip) == SAME
        True
    """
    x, y, z = (
        (then[middle][0], step * then[middle][1], start + step * then[middle][2])
        for middle, step, start in first
    )
    return x, y, z


def reoriented(grid: Grid, orientation: str) -> Change:
    """Permute and flip axes until voxel x, y, z point nearest to `orientation`, such as "RAS".

    Example:
        >>> import numpy as np
        >>> reoriented(Grid((1, 4, 5), np.eye(4)), "LAS").matrix[0]
        array([-1.,  0.,  0.,  4.])
    """
    target = parsed_orientation(orientation)
    sizes = grid.shape[::-1]
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    new_sizes = [0, 0, 0]
    for old, (world, sign) in enumerate(world_axes(grid.affine)):
        new = next(axis for axis, (wanted, _) in enumerate(target) if wanted == world)
        same = sign == target[new][1]
        matrix[old, new] = 1 if same else -1
        matrix[old, 3] = 0 if same else sizes[old] - 1
        new_sizes[new] = sizes[old]
    x, y, z = new_sizes
    return Change(Grid((z, y, x), grid.affine @ matrix), matrix)


def resized(grid: Grid, shape: Sequence[int]) -> Change:
    """Divide the same field of view into `shape` (z, y, x) voxels: outer edges stay where they are.

    Example:
        >>> import numpy as np
        >>> resized(Grid((1, 4, 4), np.eye(4)), (1, 2, 2)).grid.affine[0]
        array([2. , 0. , 0. , 0.5])
    """
    matrix = np.eye(4)
    for axis, (new, old) in enumerate(zip(reversed(shape), reversed(grid.shape), strict=True)):
        matrix[axis, axis] = old / new
        matrix[axis, 3] = (old / new - 1) / 2
    z, y, x = shape
    return Change(Grid((z, y, x), grid.affine @ matrix), matrix)


def resampled(grid: Grid, spacing: Sequence[float | None]) -> Change:
    """Keep the field of view and give it the number of voxels nearest to `spacing` (z, y, x; mm).

    The edges stay where they are, so the new spacing is the wanted one to within half a voxel over
    the whole field of view. `None` leaves an axis alone.

    Example:
        >>> import numpy as np
        >>> resampled(Grid((5, 10, 10), np.eye(4)), (2.5, None, 2)).grid.shape
        (2, 10, 5)
    """
    shape = [
        old if wanted is None else max(1, round(old * now / wanted))
        for old, now, wanted in zip(grid.shape, grid.spacing, spacing, strict=True)
    ]
    return resized(grid, shape)


def boxed(grid: Grid, box: Sequence[tuple[int, int]]) -> Change:
    """Cut out, or pad up to, the half-open `box` of voxel indices (z, y, x); it may reach outside.

    Raises:
        GeometryError: the box is empty along an axis.

    Example:
        >>> import numpy as np
        >>> boxed(Grid((1, 4, 4), np.eye(4)), [(0, 1), (1, 3), (-2, 4)]).grid.shape
        (1, 2, 6)
    """
    if any(stop <= start for start, stop in box):
        raise GeometryError(
            f"expected a box (start, stop) with stop > start along each axis, received {list(box)}"
        )
    matrix = np.eye(4)
    matrix[:3, 3] = [start for start, _ in reversed(box)]
    z, y, x = (stop - start for start, stop in box)
    return Change(Grid((z, y, x), grid.affine @ matrix), matrix)


def padded_to_multiple(grid: Grid, multiple: Sequence[int]) -> Change:
    """Pad evenly (the odd voxel behind) until each size is a multiple of `multiple` (z, y, x).

    Example:
        >>> import numpy as np
        >>> padded_to_multiple(Grid((1, 5, 8), np.eye(4)), (1, 4, 4)).grid.shape
        (1, 8, 8)
    """
    if any(factor < 1 for factor in multiple):
        raise ParameterError(f"expected multiples of at least 1, received {tuple(multiple)}")
    box = []
    for size, factor in zip(grid.shape, multiple, strict=True):
        missing = -size % factor
        box.append((-(missing // 2), size + missing - missing // 2))
    return boxed(grid, box)
