"""4x4 matrices from voxel indices (x, y, z) to world positions (RAS+ mm).

Held by `tests/ecvl/test_affines.py` against nibabel.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import GeometryError

Affine = NDArray[np.float64]

WORLD_CODES = (("L", "R"), ("P", "A"), ("I", "S"))
ORTHOGONAL_TOLERANCE = 1e-4


def checked_affine(affine: Any) -> Affine:
    """Return `affine` as a new 4x4 float64 matrix, or the identity for `None`.

    Raises:
        GeometryError: it is not 4x4, not finite, not invertible, or its last row is not 0 0 0 1.

    Example:
        >>> checked_affine(None)[0]
        array([1., 0., 0., 0.])
    """
    if affine is None:
        return np.eye(4)
    try:
        matrix = np.array(affine, dtype=np.float64)
    except (TypeError, ValueError):
        raise GeometryError(
            f"expected a 4x4 matrix of numbers as affine, received {type(affine).__name__}"
        ) from None
    if matrix.shape != (4, 4):
        raise GeometryError(
            f"expected a 4x4 affine from voxel x, y, z to RAS+ mm, received shape {matrix.shape}"
        )
    if not np.isfinite(matrix).all():
        raise GeometryError("expected a finite affine, received one with NaN or infinity")
    if not np.array_equal(matrix[3], (0, 0, 0, 1)):
        raise GeometryError(f"expected 0 0 0 1 as last row of the affine, received {matrix[3]}")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not ((lengths > 1e-9) & (lengths < 1e9)).all() or (
        abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-3
    ):
        raise GeometryError(
            f"expected an invertible affine, received axes of {lengths.round(6).tolist()} mm that "
            "are of no length or lie in one plane; correct the geometry of the source"
        )
    return matrix


def voxel_sizes(affine: Affine) -> tuple[float, float, float]:
    """Return the distance between neighbouring voxel centres along x, y and z, in mm.

    Example:
        >>> import numpy as np
        >>> voxel_sizes(np.diag([2.0, 3.0, 4.0, 1.0]))
        (2.0, 3.0, 4.0)
    """
    # Plain numbers: NumPy would take longer to start than this takes to finish.
    first, second, third, _ = affine.tolist()
    x, y, z = (
        math.sqrt(a * a + b * b + c * c) for a, b, c in zip(first[:3], second, third, strict=False)
    )
    return x, y, z


def non_orthogonality(affine: Affine) -> float:
    """Return the greatest cosine between two voxel axes: 0 for an orthogonal grid.

    Example:
        >>> import numpy as np
        >>> non_orthogonality(np.eye(4))
        0.0
    """
    (a, b, c, _), (d, e, f, _), (g, h, i, _), _ = affine.tolist()
    x, y, z = voxel_sizes(affine)
    greatest = max(
        abs(a * b + d * e + g * h) / (x * y),
        abs(b * c + e * f + h * i) / (y * z),
        abs(c * a + f * d + i * g) / (z * x),
    )
    return float(greatest)


def world_axes(affine: Affine) -> tuple[tuple[int, int], ...]:
    """Return, for voxel axes x, y and z, the nearest world axis (0 to 2) and direction (-1 or 1).

    The nearest rotation of the affine (polar decomposition) decides, strongest axis first, as in
    nibabel's `io_orientation`.

    Example:
        >>> import numpy as np
        >>> world_axes(np.diag([-1.0, 1.0, 1.0, 1.0]))
        ((0, -1), (1, 1), (2, 1))
    """
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(unit)
    rotation = left @ right
    found: dict[int, tuple[int, int]] = {}
    for axis in np.argsort(-(rotation**2).max(axis=0), kind="stable").tolist():
        world = int(np.argmax(np.abs(rotation[:, axis])))
        found[axis] = (world, 1 if rotation[world, axis] > 0 else -1)
        rotation[world] = 0
    return tuple(found[axis] for axis in range(3))


def orientation_codes(affine: Affine) -> str:
    """Return where voxel axes x, y and z point to, one letter each, such as "RAS" or "LPS".

    Example:
        >>> import numpy as np
        >>> orientation_codes(np.diag([-1.0, -1.0, 1.0, 1.0]))
        'LPS'
    """
    return "".join(WORLD_CODES[world][sign > 0] for world, sign in world_axes(affine))


def parsed_orientation(codes: str) -> tuple[tuple[int, int], ...]:
    """Return the world axis and direction that each letter of an orientation names.

    Raises:
        GeometryError: it is not three letters, one each of L/R, P/A and I/S.

    Example:
        >>> parsed_orientation("LAS")
        ((0, -1), (1, 1), (2, 1))
    """
    letters = {
        code: (world, 2 * sign - 1)
        for world, pair in enumerate(WORLD_CODES)
        for sign, code in enumerate(pair)
    }
    found = tuple(letters[code] for code in codes if code in letters) if codes else ()
    if len(codes) != 3 or len({world for world, _ in found}) != 3:
        raise GeometryError(
            f"expected an orientation such as 'RAS', one letter each of L/R, P/A and I/S for voxel "
            f"x, y and z, received {codes!r}"
        )
    return found
