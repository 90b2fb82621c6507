"""Displacements and chains against scipy.interpolate and brute force."""

from typing import Any

import numpy as np
import pytest
import scipy.interpolate
import scipy.ndimage

from ecvl import Image
from ecvl.grids import Grid
from ecvl.process import warping
from ecvl.process.fields import Field, Map, composed
from ecvl.process.pull import pull


def field(degree: int = 3, flat: bool = False, scale: float = 1.0, seed: int = 0) -> Field:
    rng = np.random.default_rng(seed)
    shape = (3, 1, 7, 8) if flat else (3, 6, 7, 8)
    coefficients = rng.normal(size=shape) * scale
    if flat:
        coefficients[2] = 0
    return Field(coefficients, (-4.0, -5.0, -4.0), (5.0, 6.0, 4.0), degree)


def points(count: int = 200) -> Any:
    return np.random.default_rng(1).uniform(0, (20, 18, 10), (count, 3))


def test_a_cubic_field_is_a_b_spline() -> None:
    made = field()
    places = points() + np.array([1, 0, 0])
    ours = Field(made.coefficients[:, :1, :1], made.start, made.step, 3).at(places)[:, 0]
    spline = scipy.interpolate.BSpline(np.arange(-2, 10) * 5.0 - 4, made.coefficients[0, 0, 0], 3)
    np.testing.assert_allclose(ours, spline(places[:, 0]), atol=1e-12)


def test_a_linear_field_is_linear_interpolation() -> None:
    made = field(1)
    z, y, x = (s + np.arange(n) * w for s, w, n in zip((-4, -5, -4), (4, 6, 5), (6, 7, 8),
                                                       strict=True))  # fmt: skip
    theirs = scipy.interpolate.RegularGridInterpolator(
        (z, y, x), np.moveaxis(made.coefficients, 0, -1)
    )
    np.testing.assert_allclose(made.at(points()), theirs(points()[:, ::-1]), atol=1e-12)


@pytest.mark.parametrize("degree", [1, 3])
def test_bases_say_the_same_as_points(degree: int) -> None:
    made, shape = field(degree), (5, 8, 9)
    bases = made.bases(shape)
    dense = np.einsum("zk,yl,xm,aklm->zyxa", *bases, made.coefficients)
    nodes = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")[::-1], -1).reshape(-1, 3)
    np.testing.assert_allclose(dense.reshape(-1, 3), made.at(nodes), atol=1e-5)


def _apart(stages: Any, places: Any) -> Any:
    for stage in reversed(stages):
        if isinstance(stage, Field):
            places = places + stage.at(places)
        else:
            places = places @ stage[:3, :3].T + stage[:3, 3]
    return places


def _turn() -> Any:
    matrix = np.eye(4)
    matrix[:2, :2] = [[0.9, -0.3], [0.3, 0.9]]
    matrix[:3, 3] = 1, -2, 0.5
    return matrix


@pytest.mark.parametrize("degree", [1, 3])
def test_chains_are_their_stages(degree: int) -> None:
    scale = np.diag([-0.5, 0.8, 1.25, 1.0])
    scale[:3, 3] = 12, 1, -0.5
    exact = [_turn(), field(degree), scale]
    places = np.random.default_rng(1).integers(0, (20, 18, 10), (200, 3)).astype(float)
    np.testing.assert_allclose(
        composed(exact, (10, 18, 20)).at(places), _apart(exact, places), atol=1e-9
    )
    for stages in (
        [_turn(), field(3, scale=0.5), _turn()],
        [field(3, scale=0.5), _turn(), field(3, scale=0.5, seed=1), scale],
    ):
        off = composed(stages, (10, 18, 20)).at(places) - _apart(stages, places)
        assert np.abs(off).max() < 0.1


def test_inverses_lead_back() -> None:
    way = Map(_turn(), field(3, scale=0.4))
    places = points()
    np.testing.assert_allclose(way.sources(way.at(places)), places, atol=5e-3)
    there = way.at(places)
    inside = ((there >= 0) & (there <= (25, 23, 11))).all(axis=1)
    back = way.inverse((12, 24, 26))
    assert inside.sum() > 50
    assert np.abs(back.at(there[inside]) - places[inside]).max() < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16", "int32"])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("tilt", [0.0, 0.1])
def test_a_warp_is_scipys(dtype: str, flat: bool, tilt: float) -> None:
    array = (np.random.default_rng(2).normal(size=(10, 18, 20)) * 20 + 100).astype(dtype)
    matrix = _turn()
    if flat:
        matrix[2, 3] = 0
        array = array[:1]
    else:
        matrix[2, 0] = tilt
    made = field(flat=flat)
    ours = pull(Image(array, "zyx"), Grid(array.shape, np.eye(4)), matrix, "edge", field=made).array
    nodes = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij")[::-1], -1)
    places = Map(matrix, made).at(nodes.reshape(-1, 3).astype(float))
    theirs = scipy.ndimage.map_coordinates(
        array.astype(float), places.T[::-1], order=1, mode="nearest"
    ).reshape(array.shape)
    bound = 0.51 if np.dtype(dtype).kind in "iu" else 2e-2 if dtype == "float32" else 1e-4
    assert np.abs(ours - theirs).max() < bound
    labels = Image(array.astype(np.int64), "zyx", kind="labels")
    moved = pull(labels, Grid(array.shape, np.eye(4)), matrix, field=made).array
    x, y, z = np.floor(places + 0.5).astype(int).T
    inside = (x >= 0) & (x < 20) & (y >= 0) & (y < 18) & (z >= 0) & (z < len(array))
    expected = np.zeros(len(places), np.int64)
    expected[inside] = labels.array[z[inside], y[inside], x[inside]]
    assert (moved.reshape(-1) != expected).mean() < 1e-3


@pytest.mark.parametrize("lean", [0.0, 0.3])
@pytest.mark.parametrize("fill", ["edge", -7.0])
def test_level_slices_are_blended_first(lean: float, fill: Any) -> None:
    rng = np.random.default_rng(3)
    image = Image(rng.normal(size=(6, 18, 20)).astype(np.float32), "zyx")
    matrix = _turn()
    matrix[2, 2:] = 0.83, -0.61
    matrix[:2, 3] += 0.0137, 0.0271
    matrix[0, 2] = lean
    ours = pull(image, Grid((9, 17, 19), np.eye(4)), matrix, fill).array
    # Ever so little tilted, it takes the other way.
    tilted = matrix.copy()
    tilted[2, 0] = 1e-9
    theirs = pull(image, Grid((9, 17, 19), np.eye(4)), tilted, fill).array
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_tall_volumes_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = Image(rng.normal(size=(9, 16, 20)).astype(np.float32), "zyx")
    labels = Image(rng.integers(0, 99, (9, 16, 20)), "zyx", kind="labels")
    matrix = np.eye(4)
    matrix[:3, :3] = [[0.91, 0.11, 0.23], [-0.2, 0.8, 0.3], [0.33, -0.21, 0.93]]
    matrix[:3, 3] = 0.017, 0.3171, 0.137
    before = [pull(given, given.grid, matrix).array for given in (image, labels)]
    monkeypatch.setattr(warping, "MOST_ROWS", 40)
    after = [pull(given, given.grid, matrix).array for given in (image, labels)]
    np.testing.assert_allclose(after[0], before[0], atol=1e-4)
    assert np.array_equal(after[1], before[1])
    # Beyond OpenCV's sizes altogether.
    monkeypatch.setattr(warping, "MOST_ROWS", 4)
    after = [pull(given, given.grid, matrix).array for given in (image, labels)]
    np.testing.assert_allclose(after[0], before[0], atol=1e-4)
    assert np.array_equal(after[1], before[1])
