"""Changes of geometry: no voxel moves in the patient, and nothing depends on how it was stored."""

from typing import Any

import nibabel
import numpy as np
import pytest

from ecvl import grids
from ecvl.grids import Grid

CHANGES = {
    "reoriented": lambda g: grids.reoriented(g, "PIR"),
    "resampled": lambda g: grids.resampled(g, (3, None, 0.7)),
    "resized": lambda g: grids.resized(g, (3, 9, 20)),
    "boxed": lambda g: grids.boxed(g, [(1, 3), (-2, 5), (4, 20)]),
    "padded": lambda g: grids.padded_to_multiple(g, (4, 4, 16)),
}


@pytest.fixture
def grid() -> Grid:
    affine = np.diag([0.8, 1.1, 2.5, 1])
    affine[:3, 3] = 3, -4, 5
    return Grid((6, 9, 11), affine)


@pytest.mark.parametrize("name", CHANGES)
def test_the_matrix_and_the_affine_say_the_same(grid: Grid, name: str) -> None:
    change = CHANGES[name](grid)
    np.testing.assert_allclose(change.grid.affine, grid.affine @ change.matrix, atol=1e-12)
    np.testing.assert_allclose(grids.index_matrix(grid, change.grid), change.matrix, atol=1e-9)


@pytest.mark.parametrize("codes", ["LPS", "PIR", "SLA", "IPL"])
def test_reoriented_is_nibabels(grid: Grid, codes: str) -> None:
    picture = nibabel.Nifti1Image(np.zeros(grid.shape[::-1], np.uint8), grid.affine)
    ours = grids.reoriented(grid, codes).grid
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(grid.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    theirs = picture.as_reoriented(turn)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-12)
    assert ours.shape == theirs.shape[::-1]


def test_resampling_keeps_the_edges(grid: Grid) -> None:
    new = grids.resampled(grid, (3.1, 2.2, 2.2)).grid
    for corner in (-0.5, 1):
        old_edge = np.array([*([-0.5] * 3 if corner < 0 else np.array(grid.shape[::-1]) - 0.5), 1])
        new_edge = np.array([*([-0.5] * 3 if corner < 0 else np.array(new.shape[::-1]) - 0.5), 1])
        np.testing.assert_allclose(grid.affine @ old_edge, new.affine @ new_edge, atol=1e-9)


@pytest.mark.parametrize("codes", ["LPS", "PIR", "SLA"])
def test_matrices_do_not_depend_on_storage(grid: Grid, codes: str) -> None:
    stored = grids.reoriented(grid, codes).grid
    back = grids.reoriented(stored, "RAS").grid
    assert back.shape == grid.shape
    for change in (CHANGES["resampled"], CHANGES["padded"]):
        assert np.array_equal(change(back).matrix, change(grid).matrix)


def _matrix(*rows: Any) -> Any:
    return np.array([*rows, (0, 0, 0, 1)], float)


@pytest.mark.parametrize(
    ("matrix", "answer"),
    [
        (np.eye(4), grids.SAME),
        (np.diag([-1.0, 1, 1, 1]), ((0, -1, 0), (1, 1, 0), (2, 1, 0))),
        (_matrix((0, 1, 0, 2), (1, 0, 0, 0), (0, 0, 1, -3)), ((1, 1, 2), (0, 1, 0), (2, 1, -3))),
        (_matrix((1, 0, 0, 0.5), (0, 1, 0, 0), (0, 0, 1, 0)), None),
        (np.diag([1.001, 1, 1, 1]), None),
        (_matrix((1, 1, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)), None),
    ],
)
def test_index_operations_are_recognised(matrix: Any, answer: Any) -> None:
    assert grids.recount_of(matrix, (10, 10, 10)) == answer
    if answer:
        assert np.array_equal(grids.recount_matrix(answer), matrix)


def test_two_recounts_are_the_product_of_their_matrices() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, then = (
            tuple(
                zip(
                    rng.permutation(3).tolist(),
                    rng.choice([-1, 1], 3).tolist(),
                    rng.integers(-9, 9, 3).tolist(),
                    strict=True,
                )
            )
            for _ in range(2)
        )
        both = grids.recounted_twice(first, then)  # type: ignore[arg-type]
        product = grids.recount_matrix(first) @ grids.recount_matrix(then)  # type: ignore[arg-type]
        assert np.array_equal(grids.recount_matrix(both), product)
