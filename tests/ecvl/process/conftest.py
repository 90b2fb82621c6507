"""Grids for the processing tests."""

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def oblique() -> Any:
    """An affine of 0.8 x 1.1 x 2.5 mm voxels, turned by up to 20 degrees."""
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", (12, -17, 8), degrees=True)
    affine[:3, :3] = turn.as_matrix() * (0.8, 1.1, 2.5)
    affine[:3, 3] = (-30.5, 12.25, 7)
    return affine
