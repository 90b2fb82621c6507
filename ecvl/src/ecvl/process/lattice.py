"""Displacements over a lattice that may lie anywhere in the patient: one part of a `Transform`.

Held by `tests/ecvl/process/test_transform.py` against SimpleITK's own transforms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine, checked_affine
from ecvl.errors import GeometryError

Points = NDArray[np.float64]

# What an inverse may be off at the nodes, in mm, and how long it is looked for.
INVERSE_TOLERANCE = 0.01
MOST_ROUNDS = 100
# Nodes of an inverse for each interval of a B-spline's.
REFINEMENT = 4
# Copies of a single plane of nodes, so that a library sees a volume of them.
COPIES = 8
CHUNK = 1 << 18


@dataclass(frozen=True, eq=False)
class Lattice:
    """Displacements at nodes, in mm, and how to find those between.

    Args:
        displacements: float32, shape (3, nodes along z, y, x): towards R, A and S in mm; the
            coefficients of a B-spline for degree 3.
        affine: 4x4 from node indices x, y, z to RAS+ mm.
        degree: 1 for linear interpolation, 3 for a uniform cubic B-spline (4 nodes or more along
            an axis).

    Beyond the outermost nodes (degree 3: but one) nothing is displaced. An axis of one node has the
    same displacement all along it.

    Example:
        >>> field = np.zeros((3, 1, 1, 2), np.float32)
        >>> field[0, 0, 0] = 2, 4
        >>> Lattice(field, np.eye(4), 1).at(np.array([[0.5, 0, 9], [3, 0, 0]]))
        array([[3., 0., 0.],
               [0., 0., 0.]])
    """

    displacements: NDArray[np.float32]
    affine: Affine
    degree: int = 1

    def __post_init__(self) -> None:
        field = np.ascontiguousarray(self.displacements, np.float32)
        least = 2 if self.degree == 1 else 4
        if (
            self.degree not in (1, 3)
            or field.ndim != 4
            or len(field) != 3
            or any(1 < n < least for n in field.shape[1:])
            or not field.size
        ):
            raise GeometryError(
                f"expected displacements of shape (3, z, y, x) with 1 or at least {least} nodes "
                f"along an axis, and degree 1 or 3, received {field.shape} and {self.degree!r}"
            )
        if not np.isfinite(field).all():
            raise GeometryError("expected finite displacements, received NaN or infinity")
        field.flags.writeable = False
        object.__setattr__(self, "displacements", field)
        object.__setattr__(self, "affine", checked_affine(self.affine))

    def at(self, points: Points, *, beyond: bool = False) -> Points:
        """Return the displacements at RAS+ mm positions, shape (n, 3), in mm.

        `beyond` goes on outside with what the outermost nodes have.
        """
        result = np.zeros((len(points), 3))
        linear = self.affine[:3, :3]
        for start in range(0, len(points), CHUNK):
            part = slice(start, start + CHUNK)
            places: Any = np.linalg.solve(linear, (points[part] - self.affine[:3, 3]).T).T
            result[part] = self._at_indices(places, beyond)
        return result

    def inverse(self) -> "Lattice":
        """Return the lattice (of degree 1) that leads back: `q + inverse.at(q) = p` for `q = p +
        at(p)`.

        Fixed-point iteration (Chen and others, Medical Physics 2008) on this lattice's nodes, for
        B-splines on four times as many.

        Raises:
            GeometryError: it does not converge, for the displacements fold space.
        """
        counts = np.array(self.displacements.shape[:0:-1])
        step = np.where(counts > 1, 1 if self.degree == 1 else REFINEMENT, 1)
        fine = np.where(counts > 1, (counts - 1) * step + 1, 1)
        matrix = self.affine @ np.diag([*(1 / step), 1.0])
        x, y, z = (np.arange(n, dtype=np.float64) for n in fine)
        nodes = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], axis=-1).reshape(-1, 3)
        places = nodes @ matrix[:3, :3].T + matrix[:3, 3]
        back = np.zeros_like(places)
        for _ in range(MOST_ROUNDS):
            # Without what lies beyond, nodes near the edge would jump in and out for ever.
            following = -self.at(places + back, beyond=True)
            change = np.linalg.norm(following - back, axis=1).max()
            back = following
            if change < INVERSE_TOLERANCE:
                break
        else:
            raise GeometryError(
                f"expected displacements that can be undone, received some that fold space (off by "
                f"{change:.3g} mm after {MOST_ROUNDS} rounds); register with stiffer settings"
            )
        field = back.T.reshape(3, *fine[::-1]).astype(np.float32)
        return Lattice(field, matrix, 1)

    def to_sitk(self) -> Any:
        """Return the map of points as a SimpleITK transform, of RAS+ mm.

        The lattice is given to it in node indices, between two matrices, so that its axes need not
        be at right angles.
        """
        import SimpleITK as sitk

        from ecvl.process.transform import affine_to_sitk

        inverse: Any = np.linalg.inv(self.affine)
        local = np.einsum("ij,jzyx->izyx", inverse[:3, :3], self.displacements.astype(np.float64))
        copies = [COPIES if n == 1 else 1 for n in local.shape[1:]]
        local = np.tile(local, (1, *copies))
        origin = np.array([-COPIES / 2 if n > 1 else 0.0 for n in reversed(copies)])
        size = local.shape[:0:-1]
        inner: Any
        if self.degree == 1:
            picture = sitk.GetImageFromArray(np.moveaxis(local, 0, -1).copy(), isVector=True)
            picture.SetOrigin(origin.tolist())
            inner = sitk.DisplacementFieldTransform(sitk.Cast(picture, sitk.sitkVectorFloat64))
        else:
            inner = sitk.BSplineTransform(3, 3)
            inner.SetTransformDomainOrigin((origin + 1).tolist())
            inner.SetTransformDomainDirection(np.eye(3).ravel().tolist())
            inner.SetTransformDomainPhysicalDimensions([float(n - 3) for n in size])
            inner.SetTransformDomainMeshSize([n - 3 for n in size])
            inner.SetParameters(local.reshape(-1).tolist())
        whole = sitk.CompositeTransform(3)
        for part in (affine_to_sitk(self.affine), inner, affine_to_sitk(inverse)):
            whole.AddTransform(part)
        return whole

    def _at_indices(self, places: Points, beyond: bool) -> Points:
        """Return the displacements at node indices x, y, z."""
        inside = np.ones(len(places), bool)
        taps: list[Sequence[tuple[NDArray[np.intp], Points]]] = []
        for axis in range(3):
            count, at = self.displacements.shape[3 - axis], places[:, axis]
            if count == 1:
                taps.append([(np.zeros(len(at), np.intp), np.ones(len(at)))])
                continue
            margin = 0.5 if self.degree == 1 else -1.0
            inside &= (at >= -margin) & (at <= count - 1 + margin)
            taps.append(_taps(at, count, self.degree))
        result = np.zeros((len(places), 3))
        for (x, wx), (y, wy), (z, wz) in product(*taps):
            weight = (wx * wy * wz)[:, None]
            result += self.displacements[:, z, y, x].T * weight
        if not beyond:
            result[~inside] = 0
        return result


def _taps(at: Points, count: int, degree: int) -> Sequence[tuple[NDArray[np.intp], Points]]:
    at = np.clip(at, 0, count - 1) if degree == 1 else np.clip(at, 1, count - 2)
    if degree == 1:
        first = np.minimum(np.floor(at), count - 2)
        part = at - first
        node = first.astype(np.intp)
        return [(node, 1 - part), (node + 1, part)]
    first = np.clip(np.floor(at), 1, count - 3)
    f = at - first
    weights = (
        (1 - f) ** 3 / 6,
        (3 * f**3 - 6 * f**2 + 4) / 6,
        (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6,
        f**3 / 6,
    )
    node = first.astype(np.intp)
    return [(node + offset - 1, weight) for offset, weight in enumerate(weights)]
