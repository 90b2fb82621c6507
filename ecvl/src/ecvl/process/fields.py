"""Smooth displacements, and chains of them and of matrices as one map.

A `Field` says how far beside a voxel index to look, as a spline over a coarse lattice, so that a
whole volume of displacements never stands in memory. A `Map` is a matrix and at most one field.

Held by `tests/ecvl/process/test_fields.py` against scipy.interpolate and brute force.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.affines import Affine
from ecvl.grids import Grid

Floats = NDArray[np.float64]

# Nodes of a lattice that stands in for several fields, for each node of the finest of them.
REFINEMENT = 4
# What an inverse may be off, in voxels, and how long it is looked for.
INVERSE_TOLERANCE = 1e-3
MOST_ROUNDS = 50


@dataclass(frozen=True, eq=False)
class Field:
    """Displacements at voxel indices, in voxels.

    Args:
        coefficients: shape (3, nodes along z, y, x): of the displacement along x, y and z.
        start: the voxel index x, y, z of the first node.
        step: voxels from node to node along x, y, z; may be negative, not zero.
        degree: 1 for linear interpolation between nodes; 3 for a uniform cubic B-spline.

    Beyond the lattice its outermost nodes are repeated.

    Example:
        >>> field = Field(np.ones((3, 1, 1, 1)), (0, 0, 0), (1, 1, 1), 1)
        >>> field.at([[5, 6, 0]])
        array([[1., 1., 1.]])
    """

    coefficients: Floats
    start: Sequence[float]
    step: Sequence[float]
    degree: int

    @property
    def is_flat(self) -> bool:
        """Whether it is the same in every slice and stays within slices."""
        return self.coefficients.shape[1] == 1 and not self.coefficients[2].any()

    def at(self, points: ArrayLike) -> Floats:
        """Return the displacements at voxel indices x, y, z, shape (n, 3)."""
        places = np.asarray(points, np.float64)
        taps = [self._taps(places[:, axis], axis) for axis in range(3)]
        result = np.zeros((len(places), 3))
        for x, y, z in product(*(range(len(weights)) for _, weights in taps)):
            weight = taps[0][1][x] * taps[1][1][y] * taps[2][1][z]
            nodes = self.coefficients[:, taps[2][0][z], taps[1][0][y], taps[0][0][x]]
            result += (nodes * weight).T
        return result

    def bases(self, shape: Sequence[int]) -> list[NDArray[np.float32]]:
        """Return matrices from nodes to the voxels of a grid along z, y and x.

        Example:
            >>> Field(np.ones((3, 1, 1, 2)), (0, 0, 0), (2, 2, 2), 1).bases((1, 1, 3))[2]
            array([[1. , 0. ],
                   [0.5, 0.5],
                   [0. , 1. ]], dtype=float32)
        """
        matrices = []
        for axis, size in zip((2, 1, 0), shape, strict=True):
            indices, weights = self._taps(np.arange(size, dtype=np.float64), axis)
            matrix = np.zeros((size, self.coefficients.shape[3 - axis]), np.float32)
            for index, weight in zip(indices, weights, strict=True):
                # Several taps may meet at the last node, but one tap has one node a voxel.
                matrix[np.arange(size), index] += weight
            matrices.append(matrix)
        return matrices

    def _taps(self, places: Floats, axis: int) -> tuple[list[Any], list[Any]]:
        """Return, for each tap, the nodes and the weights at voxel indices along an axis."""
        last = self.coefficients.shape[3 - axis] - 1
        if not last:
            return [np.zeros(len(places), np.intp)], [np.ones(len(places))]
        at = np.clip((places - self.start[axis]) / self.step[axis], -2, last + 2)
        first = np.floor(at)
        f = at - first
        if self.degree == 1:
            weights, offsets = [1 - f, f], (0, 1)
        else:
            weights = [
                (1 - f) ** 3 / 6,
                (3 * f**3 - 6 * f**2 + 4) / 6,
                (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6,
                f**3 / 6,
            ]
            offsets = (-1, 0, 1, 2)  # type: ignore[assignment]
        nodes = [np.clip(first.astype(np.intp) + offset, 0, last) for offset in offsets]
        return nodes, weights


@dataclass(frozen=True, eq=False)
class Map:
    """From voxel indices of a new grid to those of an old one: a matrix, plus a field.

    Args:
        matrix: 4x4, of indices x, y, z.
        field: over indices of the new grid, in voxels of the old one; or `None`.

    Example:
        >>> Map(np.diag([2, 1, 1, 1])).at([[3, 4, 0]])
        array([[6., 4., 0.]])
    """

    matrix: Affine
    field: Field | None = None

    def at(self, points: ArrayLike) -> Floats:
        """Return the old indices x, y, z of new ones, shape (n, 3)."""
        new = np.asarray(points, np.float64)
        old = new @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        return np.asarray(old if self.field is None else old + self.field.at(new), np.float64)

    def sources(self, points: ArrayLike) -> Floats:
        """Return the new indices that `at` takes to old ones, shape (n, 3).

        Where the field folds there are several, of which one is given.
        """
        old = np.asarray(points, np.float64)
        inverse = np.linalg.inv(self.matrix)
        new = old @ inverse[:3, :3].T + inverse[:3, 3]
        if self.field is None:
            return np.asarray(new, np.float64)
        for _ in range(MOST_ROUNDS):
            change = (self.at(new) - old) @ inverse[:3, :3].T
            new = new - change
            if not change.size or np.abs(change).max() < INVERSE_TOLERANCE:
                break
        return np.asarray(new, np.float64)

    def inverse(self, old_shape: Sequence[int]) -> "Map":
        """Return the map from old indices to new ones, on the old grid of a shape (z, y, x).

        Example:
            >>> Map(np.diag([2.0, 1, 1, 1])).inverse((1, 4, 4)).at([[6, 4, 0]])
            array([[3., 4., 0.]])
        """
        matrix = np.linalg.inv(self.matrix).astype(np.float64)
        matrix[3] = 0, 0, 0, 1
        if self.field is None:
            return Map(matrix)
        spans = np.abs(self.matrix[:3, :3] @ np.diag(np.abs(self.field.step)))
        steps = np.maximum(1.0, spans.max(axis=1) / REFINEMENT)
        return Map(matrix, _sampled(old_shape, steps, matrix, self.sources))


class Bend(NamedTuple):
    """A move that no affine holds: the grids before and after it, and the way back to before."""

    before: Grid
    after: Grid
    way: Map


def composed(stages: Sequence[Affine | Field], shape: Sequence[int]) -> Map:
    """Return a chain as one map on a grid of `shape` (z, y, x).

    Args:
        stages: matrices and fields, each from the indices after it to those before it; the first
            leads to the old grid.
        shape: the new grid's, where the last stage starts.

    Example:
        >>> composed([np.diag([2, 1, 1, 1]), np.diag([3, 1, 1, 1])], (1, 2, 2)).matrix[0, 0]
        np.float64(6.0)
    """
    total = np.eye(4)
    after: list[tuple[Field, Affine]] = []
    for stage in reversed(stages):
        if isinstance(stage, Field):
            after.append((stage, total))
        else:
            total = stage @ total
    if not after:
        return Map(total)
    field, behind = after[0]
    linear = behind[:3, :3]
    if len(after) == 1 and not (linear - np.diag(np.diag(linear))).any():
        # The field's own lattice, seen from the new grid, is a lattice again.
        before = total @ np.linalg.inv(behind)
        scale, shift = np.diag(linear), behind[:3, 3]
        moved = Field(
            np.einsum("ij,jzyx->izyx", before[:3, :3], field.coefficients),
            tuple(((np.asarray(field.start) - shift) / scale).tolist()),
            tuple((np.asarray(field.step) / scale).tolist()),
            field.degree,
        )
        return Map(total, moved)

    def end(points: Floats) -> Floats:
        for stage in reversed(stages):
            if isinstance(stage, Field):
                points = points + stage.at(points)
            else:
                points = points @ stage[:3, :3].T + stage[:3, 3]
        return points

    rates = [np.abs(behind[:3, :3] / np.reshape(one.step, (3, 1))) for one, behind in after]
    steps = np.maximum(1.0, 1 / (REFINEMENT * np.max(rates, axis=(0, 1))))
    return Map(total, _sampled(shape, steps, total, end))


def _sampled(shape: Sequence[int], steps: Floats, matrix: Affine, function: Any) -> Field:
    """Return what a map adds to a matrix as a linear field over a grid of `shape` (z, y, x)."""
    sizes = np.array(shape[::-1])
    counts = np.where(sizes > 1, np.ceil((sizes - 1) / steps).astype(int) + 1, 1)
    steps = np.where(counts > 1, (sizes - 1) / np.maximum(counts - 1, 1), 1.0)
    x, y, z = (np.arange(count) * step for count, step in zip(counts, steps, strict=True))
    nodes = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], axis=-1).reshape(-1, 3)
    beside = function(nodes) - (nodes @ matrix[:3, :3].T + matrix[:3, 3])
    coefficients = beside.T.reshape(3, *counts[::-1])
    if sizes[2] == 1 and abs(matrix[2, :2]).max() == 0:
        # One slice stays in its plane: what rounding says of z is nothing.
        coefficients[2] = 0
    return Field(coefficients, (0.0, 0.0, 0.0), tuple(steps.tolist()), 1)
