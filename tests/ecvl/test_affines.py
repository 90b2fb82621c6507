"""Orientation and shape of affines, against nibabel."""

import itertools
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ecvl import affines
from ecvl.errors import GeometryError

CODES = [
    "".join(pair[bit] for pair, bit in zip(order, bits, strict=True))
    for order in itertools.permutations(("RL", "AP", "SI"))
    for bits in itertools.product((0, 1), repeat=3)
]


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.floats(0.1, 9)] * 3),
    st.floats(-0.3, 0.3),
)
def test_orientation_is_nibabels(angles: Any, spacing: Any, shear: float) -> None:
    affine = np.eye(4)
    lean = np.eye(3)
    lean[0, 2] = shear
    affine[:3, :3] = (Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ lean) * spacing
    assert affines.orientation_codes(affine) == "".join(nibabel.aff2axcodes(affine))
    np.testing.assert_allclose(affines.voxel_sizes(affine), nibabel.affines.voxel_sizes(affine))


@pytest.mark.parametrize("codes", CODES)
def test_codes_go_round(codes: str) -> None:
    affine = nibabel.orientations.inv_ornt_aff(nibabel.orientations.axcodes2ornt(codes), (3, 4, 5))
    found = "".join(nibabel.aff2axcodes(np.linalg.inv(affine)))
    affine = np.linalg.inv(affine)
    assert affines.orientation_codes(affine) == found
    assert affines.parsed_orientation(found) == affines.world_axes(affine)


@pytest.mark.parametrize("wrong", ["", "RA", "RAR", "RAX", "ras", "RASL"])
def test_wrong_orientations_are_refused(wrong: str) -> None:
    with pytest.raises(GeometryError, match="orientation"):
        affines.parsed_orientation(wrong)


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.eye(3), "4x4"),
        (np.full((4, 4), np.nan), "finite"),
        (np.diag([1, 1, 0, 1]), "invertible"),
        (np.diag([1, 1, 1, 2]), "last row"),
        ("x", "numbers"),
        ([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], "one plane"),
    ],
)
def test_wrong_affines_are_refused(affine: Any, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        affines.checked_affine(affine)


def test_shear_is_measured() -> None:
    affine = np.eye(4)
    affine[0, 2] = 0.1
    assert affines.non_orthogonality(affine) == pytest.approx(0.1 / np.hypot(1, 0.1))
